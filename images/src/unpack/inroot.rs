//! File system calls that cannot leave a tree: every path is resolved by
//! openat2(2) with RESOLVE_IN_ROOT, so that an absolute symbolic link or `..`
//! ends inside; every creation and removal is one name in an open directory and
//! follows nothing.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, fstat};

/// openat2 gives EAGAIN when something below is renamed while `..` resolves.
/// Nobody renames in a tree; the bound is for the principle.
const ATTEMPTS_MAX: usize = 16;

/// A name or path as the system calls take it.
pub(crate) fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Opens a path as seen from a process whose root is `root`. An empty path is
/// the root itself.
pub(crate) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    open_resolving(root, path, flags, ResolveFlag::RESOLVE_IN_ROOT)
}

/// Opens a path that has no symbolic link in it.
pub(crate) fn open_plain(root: BorrowedFd<'_>, path: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    open_resolving(
        root,
        path,
        flags,
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS,
    )
}

fn open_resolving(
    root: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlag,
    resolve: ResolveFlag,
) -> nix::Result<OwnedFd> {
    let resolve = resolve | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    let path = if path.is_empty() { OsStr::new(".") } else { path };
    let mut attempts = 0;
    loop {
        attempts += 1;
        match openat2(root, path, how) {
            Err(Errno::EAGAIN | Errno::EINTR) if attempts < ATTEMPTS_MAX => {}
            result => return result,
        }
    }
}

/// Opens one name in a directory; a symbolic link is not followed.
pub(crate) fn open_name(
    directory: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    openat(directory, os(name), flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens a directory by its path on the host, to be the root of what follows.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Reads a regular file of the tree, `None` when it is not there, at most
/// `limit` bytes.
pub(crate) fn read_in_root(
    root: BorrowedFd<'_>,
    path: &OsStr,
    limit: u64,
) -> io::Result<Option<Vec<u8>>> {
    // Without O_NONBLOCK a fifo of that name would wait for a writer.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match open_in_root(root, path, flags) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// The status of a path of the tree, symbolic links followed within it.
pub(crate) fn stat_in_root(root: BorrowedFd<'_>, path: &OsStr) -> nix::Result<Option<FileStat>> {
    match open_in_root(root, path, OFlag::O_PATH) {
        Ok(fd) => fstat(fd.as_fd()).map(Some),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}
