//! The file system that a path is on: where it is mounted, how full it is, whether it can be
//! written, and its disk.
//!
//! All is asked of the kernel through a descriptor that is only a place in the tree (O_PATH,
//! open(2)), so nothing is read from the disk: a file system of this machine answers while its
//! disk hangs, as long as the names on the way are those of another one, or are known to the
//! kernel. One of the network may not answer.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, fstatvfs};

use crate::device::{BlockDevice, device_of_number};
use crate::error::{Result, RuntimeError};
use crate::files;

/// A file system, as seen through one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Whether the path is that place itself.
    pub is_root: bool,
    /// Its type, such as `ext4`.
    pub kind: String,
    /// Its disk, or why no single one lies below it.
    pub device: std::result::Result<BlockDevice, String>,
    /// Bytes that can still be written by others than root.
    pub free_bytes: u64,
    /// All its bytes.
    pub total_bytes: u64,
    /// Whether nothing can be written, by its mount's options or because the kernel took it
    /// out of use after errors.
    pub read_only: bool,
    /// Whether its superblock counts errors (ext4), of this mount or an earlier one.
    pub errors_recorded: bool,
    /// Whether its disk is a device mapper volume that is suspended (`dmsetup suspend`): what
    /// is read or written waits.
    pub suspended: bool,
}

/// Finds the file system of `path`.
///
/// # Errors
/// The path is not there, or /proc can't be read.
pub fn file_system_of(path: &Path) -> Result<FileSystem> {
    let place = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_PATH | nix::libc::O_CLOEXEC)
        .open(path)
        .map_err(RuntimeError::io("open", path))?;
    let device = place.metadata().map_err(RuntimeError::io("examine", path))?.dev();
    let errors_recorded = has_errors(device);
    let room = fstatvfs(&place).map_err(RuntimeError::io("examine", path))?;
    let mount = mount_of(&place)?;
    let own = PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd()));
    let real = fs::read_link(&own).map_err(RuntimeError::io("read", &own))?;
    let device = device_of_number(path, device);
    let suspended = device.as_ref().is_ok_and(is_suspended);
    let unit = room.fragment_size();
    Ok(FileSystem {
        is_root: real == mount.point,
        mount_point: mount.point,
        kind: mount.kind,
        device: device.map_err(|error| match error {
            RuntimeError::NoDevice { reason, .. } => reason,
            other => other.to_string(),
        }),
        free_bytes: room.blocks_available() * unit,
        total_bytes: room.blocks() * unit,
        read_only: mount.read_only || room.flags().contains(FsFlags::ST_RDONLY),
        errors_recorded,
        suspended,
    })
}

/// sysfs-fs-ext4: `/sys/fs/ext4/DEVICE/errors_count`.
fn has_errors(device: u64) -> bool {
    let (major, minor) = (nix::libc::major(device), nix::libc::minor(device));
    let Ok(link) = fs::read_link(format!("/sys/dev/block/{major}:{minor}")) else { return false };
    let name = link.file_name().unwrap_or_default();
    let file = Path::new("/sys/fs/ext4").join(name).join("errors_count");
    files::read_optional(&file).is_ok_and(|text| text.is_some_and(|text| text.trim() != "0"))
}

/// sysfs-block-dm: `/sys/block/DEVICE/dm/suspended`.
fn is_suspended(device: &BlockDevice) -> bool {
    let file = PathBuf::from(format!("/sys/dev/block/{}/dm/suspended", device.number));
    files::read_optional(&file).is_ok_and(|text| text.is_some_and(|text| text.trim() == "1"))
}

/// One line of a mountinfo file (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    kind: String,
    read_only: bool,
}

/// The mount that a descriptor is in, by its number in proc_pid_fdinfo(5): the path alone may
/// lead through symbolic links and mounts on top of each other.
fn mount_of(place: &File) -> Result<Mount> {
    let info = PathBuf::from(format!("/proc/self/fdinfo/{}", place.as_raw_fd()));
    let text = fs::read_to_string(&info).map_err(RuntimeError::io("read", &info))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default();
    let mounts = PathBuf::from("/proc/self/mountinfo");
    let text = fs::read(&mounts).map_err(RuntimeError::io("read", &mounts))?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| parse(line, id.trim())).ok_or_else(|| RuntimeError::Format {
        path: mounts,
        found: format!("no mount {}", id.trim()),
        expected: "the mount of an open file",
    })
}

/// Options of a file system by which the kernel says that it takes no writes any more: ext4
/// sets the second after an error and the third when it is shut down, and leaves `rw`.
const NO_WRITES: [&str; 3] = ["ro", "emergency_ro", "shutdown"];

/// The line, if it is that of mount `id`.
fn parse(line: &str, id: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    if left.next()? != id {
        return None;
    }
    let point = unescape(left.nth(3)?);
    let of_mount = left.next()?;
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let of_file_system = right.nth(1)?;
    let mut options = of_mount.split(',').chain(of_file_system.split(','));
    let read_only = options.any(|option| NO_WRITES.contains(&option));
    Some(Mount { point, kind, read_only })
}

/// Blanks and backslashes stand as three octal digits (`\040`).
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let digits = others.get(..3).filter(|_| first == b'\\');
        let code = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[3..];
            }
            None => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests;
