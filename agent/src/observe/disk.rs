//! The disk of an instance's directory, by what the kernel says of its mount. Nothing of the
//! disk itself is read, so it is known also while the disk hangs.

use std::path::{Path, PathBuf};

use berth_runtime::{FileSystem, file_system_of};

use super::Observed;
use crate::files;

/// The disk of an instance's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// The instance's directory, or while that is not there the nearest above it that is.
    pub path: PathBuf,
    /// The file system that this is on.
    pub on: FileSystem,
    /// Whether its device shares itself out by weight.
    pub takes_weights: bool,
}

impl DiskFacts {
    /// The device's name; without one, the type of the file system.
    #[must_use]
    pub fn name(&self) -> &str {
        self.on.device.as_ref().map_or(&self.on.kind, |device| &device.name)
    }

    /// Whether a file system is mounted at `dir` itself: a disk of the instance's own.
    #[must_use]
    pub fn is_mounted_at(&self, dir: &Path) -> bool {
        self.path == dir && self.on.is_root
    }
}

pub(super) fn look(dir: &Path) -> Observed<DiskFacts> {
    let looked = dir.ancestors().map(|path| (path, file_system_of(path)));
    // The root is there, so some are left.
    let mut there = looked.skip_while(|(_, found)| found.as_ref().is_err_and(|e| e.is_missing()));
    match there.next() {
        Some((path, Ok(on))) => {
            let takes_weights =
                on.device.as_ref().is_ok_and(|device| berth_runtime::takes_weights(device.number));
            Observed::Present(DiskFacts { path: path.to_owned(), on, takes_weights })
        }
        Some((_, Err(error))) => Observed::Unknown(files::chain(&error).join(": ")),
        None => Observed::Unknown(format!("no directory of {} is there", dir.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_on_the_disk_of_what_is_above() {
        let dir = tempfile::tempdir().unwrap();
        let (here, below) = (look(dir.path()), look(&dir.path().join("not/there")));
        let (Observed::Present(here), Observed::Present(below)) = (here, below) else {
            panic!("a temporary directory is on a file system")
        };
        assert_eq!((&below.path, &below.on.mount_point), (&here.path, &here.on.mount_point));
        assert!(!here.is_mounted_at(dir.path()));
        assert!(here.on.total_bytes >= here.on.free_bytes);
    }

    #[test]
    fn a_mount_point_is_told_from_what_is_below_it() {
        let Observed::Present(found) = look(Path::new("/proc")) else { panic!("no /proc") };
        assert!(found.is_mounted_at(Path::new("/proc")));
        assert!(!found.is_mounted_at(Path::new("/")));
        assert_eq!(found.name(), "proc");
        let Observed::Present(found) = look(Path::new("/proc/self")) else { panic!("no self") };
        assert!(!found.is_mounted_at(Path::new("/proc/self")));
    }
}
