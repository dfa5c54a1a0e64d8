//! The disks of instances.

use std::path::PathBuf;

use berth_model::EntryKey;
use berth_runtime::{BlockDevice, DeviceNumber, FileSystem, Via};

use super::World;
use crate::observe::{DiskFacts, Observed};

/// The disk of one instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Disk {
    /// It is mounted at the instance's directory, and no other instance's.
    pub(crate) own: bool,
    pub(crate) read_only: bool,
    pub(crate) free_bytes: u64,
    /// Nothing on it can be read or written.
    pub(crate) hangs: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self { own: false, read_only: false, free_bytes: 1 << 40, hangs: false }
    }
}

impl Disk {
    pub(super) fn writable(&self) -> Result<(), String> {
        match self {
            Self { hangs: true, .. } => Err("a step on a disk that hangs never ends".to_owned()),
            Self { read_only: true, .. } => Err("Read-only file system".to_owned()),
            Self { free_bytes: 0, .. } => Err("No space left on device".to_owned()),
            _ => Ok(()),
        }
    }
}

impl World {
    /// The disk of an instance, to be changed.
    pub(crate) fn disk(&mut self, key: &EntryKey) -> &mut Disk {
        &mut self.place(key).disk
    }

    /// Makes the disk of an instance sound, unwritable, full or silent, by a number.
    pub(crate) fn set_disk(&mut self, key: &EntryKey, state: u8) {
        let own = self.disk(key).own;
        let sound = Disk { own, ..Disk::default() };
        *self.disk(key) = match state {
            0 => sound,
            1 => Disk { read_only: true, ..sound },
            2 => Disk { free_bytes: 0, ..sound },
            _ => Disk { hangs: true, ..sound },
        };
    }

    pub(super) fn disk_facts(&self, key: &EntryKey) -> Observed<DiskFacts> {
        let disk = &self.places[key].disk;
        let dir = self.config.instance_dir(key);
        let (path, name, number): (PathBuf, _, _) = match disk.own {
            true => (dir, "dm-1", DeviceNumber { major: 253, minor: 1 }),
            false => (self.config.data_dir.clone(), "vdb", DeviceNumber { major: 254, minor: 16 }),
        };
        let via = if disk.own { Via::DeviceMapper } else { Via::Disk };
        Observed::Present(DiskFacts {
            on: FileSystem {
                mount_point: path.clone(),
                is_root: true,
                kind: "ext4".to_owned(),
                device: Ok(BlockDevice { number, name: name.to_owned(), via }),
                free_bytes: disk.free_bytes,
                total_bytes: 2 << 40,
                read_only: disk.read_only,
                errors_recorded: false,
                suspended: disk.own && disk.hangs,
            },
            path,
            takes_weights: false,
        })
    }
}
