//! The two groups of one container: its own, and the nursery of its start.
//!
//! While a container is being started, helper and libcontainer's processes must
//! be in some group from their first instruction, so that killing it ends
//! whatever they are doing. It can't be the container's own: when a create fails,
//! libcontainer kills everything in that, and the helper could not say why. So
//! the helper begins in the nursery, in one hierarchy, and libcontainer moves its
//! children over. In the v2 tree of a hybrid host, which libcontainer does not
//! know, the helper is put into the container's own group, and init inherits that.
//!
//! Without systemd the nursery is `ID~start` beside the container's `ID` (no id
//! holds a `~`). With it, both are in the container's scope (see [`Units`]), which
//! needs a process to begin with: the helper.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::layout::Layout;
use super::leaf::{Leaf, is_managed};
use super::units::Units;
use super::{Manager, systemd, usage};
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::id::ContainerId;

/// How soon to look again whether systemd has done what it was asked.
const RECHECK: Duration = Duration::from_millis(2);

/// The groups of one container.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    /// The container's own, in every hierarchy.
    pub(crate) leaf: Leaf,
    nursery: Leaf,
    systemd: Option<Supervised>,
}

/// What systemd has of a container.
#[derive(Debug, Clone)]
struct Supervised {
    units: Units,
    slice: Leaf,
    scope: Leaf,
}

impl Groups {
    /// Names the groups of a container below `parent`; touches nothing.
    pub(crate) fn new(
        layout: &Layout,
        manager: Manager,
        parent: &Path,
        id: &ContainerId,
    ) -> Result<Self> {
        let first = layout.mounts.iter().find(|mount| is_managed(layout, mount)).cloned();
        let one = Layout { version: layout.version, mounts: first.into_iter().collect() };
        match manager {
            Manager::Own => Ok(Self {
                leaf: Leaf::new(layout.clone(), parent.join(id))?,
                nursery: Leaf::new(one, parent.join(format!("{id}~start")))?,
                systemd: None,
            }),
            Manager::Systemd => {
                let units = Units::new(&parent.to_string_lossy().replace('/', "-"), id);
                let scope = Leaf::new(layout.clone(), units.scope_path())?;
                let slice = Leaf::new(layout.clone(), units.slice_path())?;
                Ok(Self {
                    leaf: scope.below(units.payload_path())?,
                    nursery: scope.below(units.start_path())?,
                    systemd: Some(Supervised { units, slice, scope }),
                })
            }
        }
    }

    /// Makes both, and puts the helper of a start where everything it starts can be found.
    pub(crate) fn create_with_helper(&self, pid: i32, deadline: Deadline) -> Result<()> {
        if let Some(supervised) = &self.systemd {
            supervised.start(pid, deadline)?;
            // First out of the scope's own group: only a group without processes can have
            // its controllers enabled for those below ("no internal processes").
            self.nursery.create_bare()?;
            self.nursery.attach(pid)?;
            return self.leaf.create();
        }
        self.nursery.create()?;
        self.leaf.create()?;
        self.nursery.attach(pid)?;
        self.leaf.attach_unmanaged(pid)
    }

    /// Takes the nursery away once the helper has gone.
    pub(crate) fn end_start(&self, deadline: Deadline) -> Result<()> {
        self.nursery.kill(deadline)?;
        self.nursery.remove(deadline)
    }

    /// The processes in both.
    pub(crate) fn pids(&self) -> Result<BTreeSet<i32>> {
        let mut pids = self.leaf.pids()?;
        pids.extend(self.nursery.pids()?);
        Ok(pids)
    }

    /// Ends every process in both. Processes move from the nursery to the leaf
    /// only, so that the order matters.
    pub(crate) fn kill(&self, deadline: Deadline) -> Result<()> {
        self.nursery.kill(deadline)?;
        self.leaf.kill(deadline)
    }

    /// Removes both, and what systemd has of the container.
    pub(crate) fn remove(&self, deadline: Deadline) -> Result<()> {
        self.nursery.remove(deadline)?;
        self.leaf.remove(deadline)?;
        self.systemd.as_ref().map_or(Ok(()), |supervised| supervised.stop(deadline))
    }

    /// How many processes of the container were killed for want of memory; known after its
    /// end too, until it is removed.
    pub(crate) fn oom_kills(&self) -> Result<Option<u64>> {
        let counted = self.systemd.as_ref().map_or(&self.leaf, |supervised| &supervised.slice);
        usage::oom_kills(counted)
    }
}

impl Supervised {
    /// Has systemd make slice and scope, the scope with this process in it.
    fn start(&self, pid: i32, deadline: Deadline) -> Result<()> {
        // One that an earlier container of this name left would still count its deaths.
        self.stop(deadline)?;
        systemd::start_slice(&self.units, deadline)?;
        systemd::start_scope(&self.units, pid.cast_unsigned(), deadline)?;
        loop {
            match self.scope.holds(pid)? {
                Some(true) => return Ok(()),
                None => {
                    return Err(RuntimeError::HelperDied {
                        operation: "start",
                        status: "before its scope was there".to_owned(),
                    });
                }
                Some(false) if deadline.expired() => {
                    return Err(RuntimeError::Deadline {
                        operation: "starting the scope",
                        granted: deadline.granted(),
                    });
                }
                Some(false) => thread::sleep(RECHECK),
            }
        }
    }

    /// Has systemd take both away, and waits until that is done.
    fn stop(&self, deadline: Deadline) -> Result<()> {
        if !self.slice.exists() {
            return Ok(());
        }
        systemd::stop_slice(&self.units, deadline)?;
        while self.slice.exists() {
            if deadline.expired() {
                return Err(RuntimeError::Deadline {
                    operation: "stopping the slice",
                    granted: deadline.granted(),
                });
            }
            thread::sleep(RECHECK);
        }
        Ok(())
    }
}
