//! The two groups of one container: its own, and the nursery of its start.
//!
//! While a container is being started, helper and libcontainer's processes must
//! be in some group from their first instruction, so that killing it ends
//! whatever they are doing. It can't be the container's own: when a create fails,
//! libcontainer kills everything in that, and the helper could not say why. So
//! the helper begins in the nursery `ID~start` (no id holds a `~`), in one
//! hierarchy, and libcontainer moves its children over. In the v2 tree of a
//! hybrid host, which libcontainer does not know, the helper is put into the
//! container's own group, and init inherits that.

use std::collections::BTreeSet;
use std::path::Path;

use super::layout::Layout;
use super::leaf::{Leaf, is_managed};
use crate::deadline::Deadline;
use crate::error::Result;
use crate::id::ContainerId;

/// The groups of one container.
#[derive(Debug, Clone)]
pub(crate) struct Groups {
    /// The container's own, in every hierarchy.
    pub(crate) leaf: Leaf,
    nursery: Leaf,
}

impl Groups {
    /// Names the groups of a container below `parent`; touches nothing.
    pub(crate) fn new(layout: &Layout, parent: &Path, id: &ContainerId) -> Result<Self> {
        let first = layout.mounts.iter().find(|mount| is_managed(layout, mount)).cloned();
        let one = Layout { version: layout.version, mounts: first.into_iter().collect() };
        Ok(Self {
            leaf: Leaf::new(layout.clone(), parent.join(id))?,
            nursery: Leaf::new(one, parent.join(format!("{id}~start")))?,
        })
    }

    /// Makes both.
    pub(crate) fn create(&self) -> Result<()> {
        self.nursery.create()?;
        self.leaf.create()
    }

    /// Puts the helper of a start where everything it starts can be found.
    pub(crate) fn adopt_helper(&self, pid: i32) -> Result<()> {
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

    /// Removes both.
    pub(crate) fn remove(&self, deadline: Deadline) -> Result<()> {
        self.nursery.remove(deadline)?;
        self.leaf.remove(deadline)
    }
}
