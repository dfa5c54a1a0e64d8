//! One container's group, in every hierarchy of the host at once.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::layout::{Layout, Mount, Version};
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::files;
use crate::pidfd::PidFd;
use crate::procfs;

/// How long to wait before looking again whether killed processes are gone.
const RECHECK: Duration = Duration::from_millis(2);

/// The v2 controllers that limits need, enabled from the root downwards.
const V2_CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// The group `<parent>/<id>` below each hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    layout: Layout,
    relative: PathBuf,
    /// The part of `relative` that somebody else makes: it and what is above is not touched,
    /// except that its controllers are enabled for what is below.
    given: PathBuf,
}

impl Leaf {
    /// Names a leaf; touches nothing. `relative` holds normal components only.
    pub(crate) fn new(layout: Layout, relative: PathBuf) -> Result<Self> {
        let normal = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !normal || relative.as_os_str().is_empty() {
            return Err(RuntimeError::InvalidSpec {
                field: "cgroup",
                reason: format!("{} is not a plain relative path", relative.display()),
            });
        }
        Ok(Self { layout, relative, given: PathBuf::new() })
    }

    /// Names one that is inside this one, which somebody else makes.
    pub(crate) fn below(&self, relative: PathBuf) -> Result<Self> {
        let leaf = Self::new(self.layout.clone(), relative)?;
        Ok(Self { given: self.relative.clone(), ..leaf })
    }

    /// Which interface files it has.
    pub(crate) fn version(&self) -> Version {
        self.layout.version
    }

    /// The path for an OCI spec: absolute below every hierarchy's mount point.
    pub(crate) fn spec_path(&self) -> PathBuf {
        Path::new("/").join(&self.relative)
    }

    /// Its directories, one per hierarchy.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.layout.mounts.iter().map(|mount| mount.point.join(&self.relative)).collect()
    }

    /// The directory with a controller's interface files, when the host has that
    /// controller.
    pub(crate) fn dir_of(&self, controller: &str) -> Option<PathBuf> {
        self.layout.mount_of(controller).map(|mount| mount.point.join(&self.relative))
    }

    /// Whether it is there, in any hierarchy.
    pub(crate) fn exists(&self) -> bool {
        self.dirs().iter().any(|dir| dir.is_dir())
    }

    /// Makes the leaf and its parents where they are missing, with the controllers that
    /// limits need.
    pub(crate) fn create(&self) -> Result<()> {
        self.create_where(true)
    }

    /// The same without controllers.
    pub(crate) fn create_bare(&self) -> Result<()> {
        self.create_where(false)
    }

    fn create_where(&self, with_controllers: bool) -> Result<()> {
        let own = self.relative.strip_prefix(&self.given).unwrap_or(&self.relative);
        for mount in &self.layout.mounts {
            let mut dir = mount.point.join(&self.given);
            for part in own.components() {
                if with_controllers && mount.v2 && self.layout.version == Version::Unified {
                    enable_controllers(&dir)?;
                }
                dir.push(part);
                match fs::create_dir(&dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(RuntimeError::io("create control group", &dir)(error));
                    }
                    _ => {}
                }
                if !mount.v2 && mount.controllers.iter().any(|name| name == "cpuset") {
                    fill_cpuset(&dir)?;
                }
            }
        }
        Ok(())
    }

    /// Moves a process into the leaf, in every hierarchy.
    pub(crate) fn attach(&self, pid: i32) -> Result<()> {
        self.attach_where(pid, |_| true)
    }

    /// Moves a process into the leaf in those hierarchies only that libcontainer
    /// leaves alone: the v2 tree of a hybrid host.
    pub(crate) fn attach_unmanaged(&self, pid: i32) -> Result<()> {
        self.attach_where(pid, |mount| !is_managed(&self.layout, mount))
    }

    fn attach_where(&self, pid: i32, wanted: impl Fn(&Mount) -> bool) -> Result<()> {
        for mount in self.layout.mounts.iter().filter(|mount| wanted(mount)) {
            let path = mount.point.join(&self.relative).join("cgroup.procs");
            files::write_kernel(&path, &pid.to_string())
                .map_err(RuntimeError::io("write", &path))?;
        }
        Ok(())
    }

    /// The processes in the leaf, in any hierarchy; empty when it does not exist.
    pub(crate) fn pids(&self) -> Result<BTreeSet<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs() {
            let path = dir.join("cgroup.procs");
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(RuntimeError::io("read", &path)(error)),
            };
            // 0 stands for a process of a pid namespace that can't be seen from here.
            pids.extend(
                text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&p| p > 0),
            );
        }
        Ok(pids)
    }

    /// Whether a process is in the leaf, in every hierarchy that it has.
    /// `None` when the process is gone.
    pub(crate) fn holds(&self, pid: i32) -> Result<Option<bool>> {
        let Some(text) = procfs::read(pid, "cgroup")? else {
            return Ok(None);
        };
        let wanted = |mount: &Mount| mount.top.join(&self.relative);
        Ok(Some(self.layout.mounts.iter().all(|mount| {
            let path = group_of(&text, mount);
            path.is_some_and(|path| path == wanted(mount))
        })))
    }

    /// Ends every process in the leaf and waits until none is left: by
    /// `cgroup.kill` where there is a v2 tree (Linux 5.14), otherwise frozen,
    /// killed one by one and thawed, again until the group is empty.
    pub(crate) fn kill(&self, deadline: Deadline) -> Result<()> {
        loop {
            for mount in self.layout.mounts.iter().filter(|mount| mount.v2) {
                let path = mount.point.join(&self.relative).join("cgroup.kill");
                match files::write_kernel(&path, "1") {
                    Err(error) if !is_absent(&error) => {
                        return Err(RuntimeError::io("write", &path)(error));
                    }
                    _ => {}
                }
            }
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            self.kill_each(&pids)?;
            if deadline.expired() {
                return Err(RuntimeError::Unkillable {
                    leaf: self.relative.clone(),
                    count: pids.len(),
                    granted: deadline.granted(),
                });
            }
            thread::sleep(RECHECK);
        }
    }

    /// SIGKILL for each of `pids` that is (still) in the leaf. Frozen meanwhile,
    /// where v1 has a freezer, so that none can fork away.
    fn kill_each(&self, pids: &BTreeSet<i32>) -> Result<()> {
        let freezer = (self.version() == Version::Legacy)
            .then(|| self.dir_of("freezer"))
            .flatten()
            .map(|dir| dir.join("freezer.state"))
            .filter(|path| path.exists());
        if let Some(path) = &freezer {
            files::write_kernel(path, "FROZEN").map_err(RuntimeError::io("write", path))?;
        }
        let killed = pids.iter().try_for_each(|&pid| {
            let Some(fd) = PidFd::open(pid)? else {
                return Ok(());
            };
            if self.mentions(pid)? {
                fd.signal(Signal::SIGKILL)?;
            }
            Ok(())
        });
        if let Some(path) = &freezer {
            files::write_kernel(path, "THAWED").map_err(RuntimeError::io("write", path))?;
        }
        killed
    }

    /// Whether a process is in the leaf in at least one hierarchy (one that was
    /// caught half-way through an attach must die too).
    fn mentions(&self, pid: i32) -> Result<bool> {
        let Some(text) = procfs::read(pid, "cgroup")? else {
            return Ok(false);
        };
        Ok(self.layout.mounts.iter().any(|mount| {
            group_of(&text, mount).is_some_and(|path| path == mount.top.join(&self.relative))
        }))
    }

    /// Removes the leaf's directories; those already gone are fine. The kernel
    /// answers EBUSY while the last process is still on its way out.
    pub(crate) fn remove(&self, deadline: Deadline) -> Result<()> {
        for dir in self.dirs() {
            loop {
                match fs::remove_dir(&dir) {
                    Ok(()) => break,
                    Err(error) if is_absent(&error) => break,
                    Err(error)
                        if error.raw_os_error() == Some(nix::libc::EBUSY)
                            && !deadline.expired() =>
                    {
                        thread::sleep(RECHECK);
                    }
                    Err(error) => {
                        return Err(RuntimeError::io("remove control group", &dir)(error));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether libcontainer moves and kills processes in a hierarchy.
pub(super) fn is_managed(layout: &Layout, mount: &Mount) -> bool {
    mount.v2 == (layout.version == Version::Unified)
}

/// Whether an error says that a control group (file) is not there. ENODEV comes
/// when the group goes away while its file is open.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENODEV)
}

/// The group of a hierarchy in the text of `/proc/PID/cgroup` (cgroups(7)):
/// lines of `number:controllers:path`, without controllers for v2.
fn group_of<'a>(text: &'a str, mount: &Mount) -> Option<&'a Path> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let matches = if mount.v2 {
            controllers.is_empty()
        } else {
            controllers.split(',').any(|name| mount.controllers.iter().any(|own| own == name))
        };
        matches.then(|| Path::new(path))
    })
}

/// Enables, for the children of a v2 group, those controllers that limits need
/// and the group has. A controller that can't be enabled shows later, as a
/// limit that could not be applied.
fn enable_controllers(dir: &Path) -> Result<()> {
    let has = |name: &str| -> Result<Vec<String>> {
        let text = files::read_optional(&dir.join(name))?.unwrap_or_default();
        Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
    };
    let available = has("cgroup.controllers")?;
    let enabled = has("cgroup.subtree_control")?;
    for name in V2_CONTROLLERS {
        let name = name.to_owned();
        if available.contains(&name) && !enabled.contains(&name) {
            let path = dir.join("cgroup.subtree_control");
            if let Err(error) = files::write_kernel(&path, &format!("+{name}")) {
                tracing::warn!(%error, path = %path.display(), controller = name, "cannot enable a controller");
            }
        }
    }
    Ok(())
}

/// A new v1 cpuset is empty, and takes no process until both files are filled.
fn fill_cpuset(dir: &Path) -> Result<()> {
    let Some(parent) = dir.parent() else {
        return Ok(());
    };
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let path = dir.join(name);
        let own = fs::read_to_string(&path).map_err(RuntimeError::io("read", &path))?;
        if own.trim().is_empty() {
            let from = parent.join(name);
            let inherited = fs::read_to_string(&from).map_err(RuntimeError::io("read", &from))?;
            files::write_kernel(&path, inherited.trim())
                .map_err(RuntimeError::io("write", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
