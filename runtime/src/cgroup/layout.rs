//! Which control group hierarchies the host has: the one place that looks.
//!
//! The rule is libcontainer's own, so that both agree: unified when
//! `/sys/fs/cgroup` itself is a cgroup2 file system, legacy otherwise. On a
//! hybrid host the v2 tree at `/sys/fs/cgroup/unified` limits nothing, but its
//! `cgroup.kill` ends a whole group at once, so a leaf is made there too.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};

/// Where libcontainer expects the hierarchies (it takes no other root).
const ROOT: &str = "/sys/fs/cgroup";

/// Which interface files limit things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// One cgroup2 tree for everything.
    Unified,
    /// A v1 hierarchy per controller (a hybrid host counts as this).
    Legacy,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Which group the mount shows as its top (`/` except in a container).
    pub top: PathBuf,
    /// Its controllers, by their kernel names.
    pub controllers: Vec<String>,
    /// Whether it is a cgroup2 tree.
    pub v2: bool,
}

/// All hierarchies in which a container gets a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Which interface applies.
    pub version: Version,
    /// The hierarchies, in the order they are mounted.
    pub mounts: Vec<Mount>,
}

impl Layout {
    /// Looks at the host.
    ///
    /// # Errors
    /// [`RuntimeError::CgroupLayout`] when no controller is mounted where it is expected.
    pub fn detect() -> Result<Self> {
        let path = Path::new("/proc/self/mountinfo");
        let text = fs::read_to_string(path).map_err(RuntimeError::io("read", path))?;
        let mut layout = Self::parse(&text)?;
        for mount in layout.mounts.iter_mut().filter(|mount| mount.v2) {
            let path = mount.point.join("cgroup.controllers");
            let text = fs::read_to_string(&path).map_err(RuntimeError::io("read", &path))?;
            mount.controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    /// Reads a layout out of the text of a mountinfo file (proc_pid_mountinfo(5)).
    /// Controllers of cgroup2 mounts are not in it.
    ///
    /// # Errors
    /// [`RuntimeError::CgroupLayout`] when no hierarchy is below `/sys/fs/cgroup`.
    pub fn parse(mountinfo: &str) -> Result<Self> {
        let all: Vec<Mount> = mountinfo.lines().filter_map(parse_mount).collect();
        if let Some(unified) = all.iter().find(|mount| mount.v2 && mount.point == Path::new(ROOT)) {
            return Ok(Self { version: Version::Unified, mounts: vec![unified.clone()] });
        }
        let hybrid = Path::new(ROOT).join("unified");
        let mounts: Vec<Mount> =
            all.into_iter()
                .filter(|mount| mount.point.starts_with(ROOT))
                .filter(|mount| {
                    if mount.v2 { mount.point == hybrid } else { !mount.controllers.is_empty() }
                })
                .collect();
        if mounts.iter().any(|mount| !mount.v2) {
            return Ok(Self { version: Version::Legacy, mounts });
        }
        Err(RuntimeError::CgroupLayout {
            reason: format!("no cgroup hierarchy with a controller is mounted below {ROOT}"),
        })
    }

    /// The hierarchy in which the interface files of a v1 or v2 controller live
    /// (`io` on v2 is `blkio` on v1).
    #[must_use]
    pub fn mount_of(&self, controller: &str) -> Option<&Mount> {
        let v2 = self.version == Version::Unified;
        self.mounts
            .iter()
            .find(|mount| mount.v2 == v2 && mount.controllers.iter().any(|c| c == controller))
    }
}

/// One line of mountinfo, when it is a control group hierarchy. For v1 the super
/// block's options name the controllers; a named hierarchy (`name=systemd`) has none.
fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut right = right.split(' ');
    let v2 = match right.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = right.nth(1)?;
    let mut left = left.split(' ').skip(3);
    let top = PathBuf::from(left.next()?);
    let point = PathBuf::from(left.next()?);
    let known = |option: &&str| {
        !matches!(*option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children" | "seclabel")
            && !option.contains('=')
    };
    let controllers =
        if v2 { Vec::new() } else { options.split(',').filter(known).map(str::to_owned).collect() };
    Some(Mount { point, top, controllers, v2 })
}

#[cfg(test)]
mod tests;
