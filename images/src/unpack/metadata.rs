//! Owner, mode, extended attributes and times of a new node, by descriptor.
//!
//! The order matters: chown(2) clears the set-id bits and
//! `security.capability`, and every one of the others changes times.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::change::Metadata;
use super::inroot::os;

/// A step that failed, by its system call.
pub(super) type Step = (&'static str, io::Error);

fn step<E: Into<io::Error>>(name: &'static str) -> impl FnOnce(E) -> Step {
    move |error| (name, error.into())
}

/// Attributes of the host or of its mounts, which an image has no say in:
/// labels of the host's policy, and the marks by which overlayfs would read
/// plain files as whiteouts or redirects.
fn belongs_to_host(name: &[u8]) -> bool {
    name == b"security.selinux"
        || name == b"security.ima"
        || name == b"security.evm"
        || name.starts_with(b"trusted.overlay.")
        || name.starts_with(b"user.overlay.")
        || name.starts_with(b"system.nfs4_acl")
}

fn xattrs(metadata: &Metadata) -> impl Iterator<Item = (&OsStr, &[u8])> {
    let wanted = metadata.xattrs.iter().filter(|(name, _)| !belongs_to_host(name));
    wanted.map(|(name, value)| (os(name), value.as_slice()))
}

pub(super) fn timespec((seconds, nanos): (i64, i64)) -> TimeSpec {
    TimeSpec::new(seconds, nanos)
}

fn owner(metadata: &Metadata) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)))
}

/// Sets everything on an open regular file or directory. `old_xattrs`: the node
/// was there before, and what it had must go.
pub(super) fn apply_open(
    node: BorrowedFd<'_>,
    metadata: &Metadata,
    old_xattrs: bool,
) -> Result<(), Step> {
    let (uid, gid) = owner(metadata);
    fchown(node, uid, gid).map_err(step("fchown"))?;
    fchmod(node, Mode::from_bits_truncate(metadata.mode)).map_err(step("fchmod"))?;
    let by_descriptor = descriptor_path(node);
    if old_xattrs {
        let present = xattr::list_deref(&by_descriptor).map_err(step("flistxattr"))?;
        for name in present.filter(|name| !belongs_to_host(name.as_encoded_bytes())) {
            xattr::remove_deref(&by_descriptor, &name).map_err(step("fremovexattr"))?;
        }
    }
    for (name, value) in xattrs(metadata) {
        xattr::set_deref(&by_descriptor, name, value).map_err(step("fsetxattr"))?;
    }
    let mtime = timespec(metadata.mtime);
    futimens(node, &mtime, &mtime).map_err(step("futimens"))
}

/// Sets everything on a new node that can't be opened without consequences: a
/// device, fifo or symbolic link. `node` is its O_PATH descriptor.
pub(super) fn apply_unopened(
    directory: BorrowedFd<'_>,
    name: &[u8],
    node: BorrowedFd<'_>,
    metadata: &Metadata,
    symlink: bool,
) -> Result<(), Step> {
    let (uid, gid) = owner(metadata);
    fchownat(node, "", uid, gid, AtFlags::AT_EMPTY_PATH).map_err(step("fchownat"))?;
    // An O_PATH descriptor takes neither fchmod nor fsetxattr; its name in
    // /proc leads to the node itself, even where that is a symbolic link.
    let by_descriptor = descriptor_path(node);
    if !symlink {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(metadata.mode);
        std::fs::set_permissions(&by_descriptor, mode).map_err(step("fchmod"))?;
    }
    for (name, value) in xattrs(metadata) {
        xattr::set_deref(&by_descriptor, name, value).map_err(step("setxattr"))?;
    }
    let mtime = timespec(metadata.mtime);
    utimensat(directory, os(name), &mtime, &mtime, UtimensatFlags::NoFollowSymlink)
        .map_err(step("utimensat"))
}

fn descriptor_path(node: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", node.as_raw_fd()))
}
