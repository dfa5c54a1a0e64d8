//! From a path to the disk that I/O limits must name.
//!
//! The kernel limits whole disks only (ENODEV for a partition). Policy:
//! - a file system on a partition: the partition's disk;
//! - on device mapper (LVM, LUKS) or md: that device itself, because the kernel
//!   throttles at each stacked device and a limit there holds for this volume
//!   alone, while one on the disks below would count other volumes too;
//! - btrfs (whose `st_dev` is anonymous): the one device of the file system;
//!   refused if there are several, since a limit on one says little;
//! - other anonymous devices (overlay, tmpfs, NFS): refused.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Result, RuntimeError};

mod weights;

pub use weights::takes_weights;

/// A block device's number, written `major:minor`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct DeviceNumber {
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// The text was not `major:minor`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a device number such as 8:16")]
pub struct NotADeviceNumber;

impl FromStr for DeviceNumber {
    type Err = NotADeviceNumber;
    fn from_str(text: &str) -> Result<Self, NotADeviceNumber> {
        let (major, minor) = text.trim().split_once(':').ok_or(NotADeviceNumber)?;
        let number = |text: &str| text.parse().map_err(|_| NotADeviceNumber);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// How the disk follows from the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The file system is on the whole disk (or on a loop device).
    Disk,
    /// It is on a partition of the disk.
    Partition,
    /// It is on a device mapper volume, which is limited itself.
    DeviceMapper,
    /// It is on an md array, which is limited itself.
    Md,
}

/// The disk below a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Its number, for limits. Numbers can change at a reboot: ask again at every start.
    pub number: DeviceNumber,
    /// Its kernel name, such as `nvme0n1`.
    pub name: String,
    /// How it was found.
    pub via: Via,
}

/// Finds the disk that holds `path`.
///
/// # Errors
/// [`RuntimeError::NoDevice`] when the file system has no single disk below it.
pub fn device_of(path: &Path) -> Result<BlockDevice> {
    let device = fs::metadata(path).map_err(RuntimeError::io("examine", path))?.dev();
    device_of_number(path, device)
}

/// The same by the `st_dev` of what is at `path`.
pub(crate) fn device_of_number(path: &Path, device: u64) -> Result<BlockDevice> {
    let number = DeviceNumber {
        major: nix::libc::major(device).into(),
        minor: nix::libc::minor(device).into(),
    };
    let number = if number.major == 0 { behind_anonymous(path, number)? } else { number };
    resolve(Path::new("/sys"), path, number)
}

/// The disk of a btrfs file system of one device, from its mount entry.
fn behind_anonymous(path: &Path, number: DeviceNumber) -> Result<DeviceNumber> {
    let refuse = |reason: String| RuntimeError::NoDevice { path: path.to_path_buf(), reason };
    let mounts = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(mounts).map_err(RuntimeError::io("read", mounts))?;
    let Some((kind, source)) = mount_of(&text, number) else {
        return Err(refuse(format!("its device {number} is anonymous and not in mountinfo")));
    };
    if kind != "btrfs" {
        return Err(refuse(format!("it is on {kind}, which has no disk of its own")));
    }
    let metadata = fs::metadata(&source).map_err(RuntimeError::io("examine", &source))?;
    let disk = metadata.rdev();
    let disk =
        DeviceNumber { major: nix::libc::major(disk).into(), minor: nix::libc::minor(disk).into() };
    let count = btrfs_devices(Path::new("/sys"), disk)?;
    if count != 1 {
        return Err(refuse(format!("its btrfs file system has {count} devices")));
    }
    Ok(disk)
}

/// Type and source of the file system with an anonymous device number. A btrfs
/// subvolume has a number of its own, so that it may not be found.
fn mount_of(mountinfo: &str, number: DeviceNumber) -> Option<(String, PathBuf)> {
    mountinfo.lines().rev().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let found: DeviceNumber = left.split(' ').nth(2)?.parse().ok()?;
        let mut right = right.split(' ');
        let (kind, source) = (right.next()?, right.next()?);
        (found == number).then(|| (kind.to_owned(), PathBuf::from(source)))
    })
}

/// How many devices the btrfs file system on `disk` has, by /sys/fs/btrfs/*/devices.
fn btrfs_devices(sys: &Path, disk: DeviceNumber) -> Result<usize> {
    let name = kernel_name(sys, disk)?;
    let base = sys.join("fs/btrfs");
    for entry in fs::read_dir(&base).map_err(RuntimeError::io("list", &base))? {
        let devices = entry.map_err(RuntimeError::io("list", &base))?.path().join("devices");
        if devices.join(&name).exists() {
            return Ok(fs::read_dir(&devices).map_err(RuntimeError::io("list", &devices))?.count());
        }
    }
    Ok(0)
}

/// The kernel's name of a device: the last component of what /sys/dev/block links to.
fn kernel_name(sys: &Path, number: DeviceNumber) -> Result<String> {
    let link = sys.join(format!("dev/block/{number}"));
    let target = fs::canonicalize(&link).map_err(RuntimeError::io("resolve", &link))?;
    Ok(target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default())
}

/// From a block device's number to the device to limit.
fn resolve(sys: &Path, path: &Path, number: DeviceNumber) -> Result<BlockDevice> {
    let link = sys.join(format!("dev/block/{number}"));
    let dir = fs::canonicalize(&link).map_err(RuntimeError::io("resolve", &link))?;
    if dir.join("partition").exists() {
        let parent = dir.parent().unwrap_or(&dir);
        let file = parent.join("dev");
        let text = fs::read_to_string(&file).map_err(RuntimeError::io("read", &file))?;
        let number = text.parse().map_err(|_| RuntimeError::Format {
            path: file,
            found: text.clone(),
            expected: "a device number",
        })?;
        let name = kernel_name(sys, number)?;
        return Ok(BlockDevice { number, name, via: Via::Partition });
    }
    if !dir.join("queue").exists() {
        return Err(RuntimeError::NoDevice {
            path: path.to_path_buf(),
            reason: format!("{number} is neither a disk nor a partition"),
        });
    }
    let via = match () {
        () if dir.join("dm").exists() => Via::DeviceMapper,
        () if dir.join("md").exists() => Via::Md,
        () => Via::Disk,
    };
    Ok(BlockDevice { number, name: kernel_name(sys, number)?, via })
}

#[cfg(test)]
mod tests;
