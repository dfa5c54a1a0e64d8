//! Applies the changes of layers, in order, to a tree.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, futimens, makedev, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};

use super::change::{Change, Metadata, Node, Place};
use super::dirs::{Directories, Inode};
use super::inroot::{open_in_root, open_name, open_plain, os};
use super::metadata::{apply_open, apply_unopened, timespec};
use super::{LayerErrorKind, LayerResult};
use crate::tarstream::TarStream;

/// For a directory that a layer uses but does not describe.
const IMPLICIT_DIRECTORY: Metadata =
    Metadata { mode: 0o755, uid: 0, gid: 0, mtime: (0, 0), xattrs: Vec::new() };

/// An open directory of the tree. A path's last one is kept, because members
/// mostly come directory by directory.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    path: Vec<u8>,
    pub(super) fd: OwnedFd,
    pub(super) inode: Inode,
}

/// A tree under construction.
#[derive(Debug)]
pub(super) struct Builder {
    root: OwnedFd,
    pub(super) directories: Directories,
    last: Option<OpenDirectory>,
}

impl OpenDirectory {
    /// A directory found by its name in another one.
    pub(super) fn unnamed(fd: OwnedFd) -> LayerResult<Self> {
        let inode = fstat(&fd).map_err(failed("fstat"))?.st_ino;
        Ok(Self { path: Vec::new(), fd, inode })
    }
}

/// Names the system call that failed.
pub(super) fn failed<E: Into<io::Error>>(call: &'static str) -> impl FnOnce(E) -> LayerErrorKind {
    move |error| LayerErrorKind::System { call, source: error.into() }
}

impl Builder {
    /// Begins with an empty directory.
    pub(super) fn new(root: OwnedFd) -> LayerResult<Self> {
        apply_open(root.as_fd(), &IMPLICIT_DIRECTORY, false).map_err(LayerErrorKind::step)?;
        let inode = fstat(&root).map_err(failed("fstat"))?.st_ino;
        Ok(Self { root, directories: Directories::new(inode), last: None })
    }

    /// Begins the next layer.
    pub(super) fn begin_layer(&mut self) {
        self.directories.begin_layer();
    }

    /// Applies one change; a file's content is the current member of `content`.
    pub(super) fn apply<R: BufRead>(
        &mut self,
        change: Change,
        content: &mut TarStream<R>,
    ) -> LayerResult<()> {
        match change {
            Change::Ignore => Ok(()),
            Change::Root(metadata) => {
                self.directories.put_root(metadata.mtime);
                apply_open(self.root.as_fd(), &metadata, true).map_err(LayerErrorKind::step)
            }
            Change::Whiteout(place) => self.hide(&place),
            Change::Opaque(directory) => self.hide_children(&directory),
            Change::Put(place, node, metadata) => {
                let parent = self.parent(&place.parent)?;
                self.put(&parent, &place.name, &node, &metadata, content)?;
                self.directories.wrote(parent.inode, &place.name);
                self.last = Some(parent);
                Ok(())
            }
        }
    }

    /// Sets the times of all directories. Call once, after the last layer.
    pub(super) fn finish(&self) -> LayerResult<()> {
        for (path, mtime) in self.directories.times() {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            let directory =
                open_plain(self.root.as_fd(), os(&path), flags).map_err(failed("openat2"))?;
            let mtime = timespec(mtime);
            futimens(&directory, &mtime, &mtime).map_err(failed("futimens"))?;
        }
        Ok(())
    }

    /// Opens the directory that a path leads to, `None` when there is none.
    pub(super) fn find(&mut self, path: &[u8]) -> LayerResult<Option<OpenDirectory>> {
        if let Some(last) = self.last.take_if(|last| last.path == path) {
            return Ok(Some(last));
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match open_in_root(self.root.as_fd(), os(path), flags) {
            Ok(fd) => {
                let inode = fstat(&fd).map_err(failed("fstat"))?.st_ino;
                Ok(Some(OpenDirectory { path: path.to_vec(), fd, inode }))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(failed("openat2")(errno)),
        }
    }

    /// Forgets the open directory: a path may lead elsewhere from now on.
    pub(super) fn forget_paths(&mut self) {
        self.last = None;
    }

    /// Opens the directory that a path leads to, and makes what is missing.
    fn parent(&mut self, path: &[u8]) -> LayerResult<OpenDirectory> {
        if let Some(found) = self.find(path)? {
            return Ok(found);
        }
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        let above = self.parent(above)?;
        match mkdirat(&above.fd, os(name), Mode::from_bits_truncate(0o700)) {
            Ok(()) => {}
            // There, and yet not to be found as a directory.
            Err(Errno::EEXIST) => return Err(LayerErrorKind::ParentNotADirectory),
            Err(errno) => return Err(failed("mkdirat")(errno)),
        }
        let fd = self.describe_directory(&above, name, &IMPLICIT_DIRECTORY, false)?;
        let inode = fstat(&fd).map_err(failed("fstat"))?.st_ino;
        Ok(OpenDirectory { path: path.to_vec(), fd, inode })
    }

    fn put<R: BufRead>(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        node: &Node,
        metadata: &Metadata,
        content: &mut TarStream<R>,
    ) -> LayerResult<()> {
        match node {
            Node::File => self.put_file(parent, name, metadata, content),
            Node::Directory => self.put_directory(parent, name, metadata),
            Node::HardLink(target) => self.put_link(parent, name, target),
            Node::Symlink(target) => {
                self.replacing(parent, name, "symlinkat", |directory, name| {
                    symlinkat(os(target), directory, os(name))
                })?;
                self.describe_unopened(parent, name, metadata, true)
            }
            Node::Fifo => self.put_special(parent, name, SFlag::S_IFIFO, 0, metadata),
            Node::CharDevice { major, minor } => {
                let device = makedev(u64::from(*major), u64::from(*minor));
                self.put_special(parent, name, SFlag::S_IFCHR, device, metadata)
            }
            Node::BlockDevice { major, minor } => {
                let device = makedev(u64::from(*major), u64::from(*minor));
                self.put_special(parent, name, SFlag::S_IFBLK, device, metadata)
            }
        }
    }

    /// Makes a node; where something is in the way, removes that first.
    fn replacing<T>(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        call: &'static str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> nix::Result<T>,
    ) -> LayerResult<T> {
        match make(parent.fd.as_fd(), name) {
            Err(Errno::EEXIST) => {
                self.remove(parent.fd.as_fd(), parent.inode, name)?;
                make(parent.fd.as_fd(), name).map_err(failed(call))
            }
            result => result.map_err(failed(call)),
        }
    }

    fn put_file<R: BufRead>(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        metadata: &Metadata,
        content: &mut TarStream<R>,
    ) -> LayerResult<()> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY;
        let fd = self.replacing(parent, name, "openat", |directory, name| {
            openat(directory, os(name), flags | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o600))
        })?;
        let mut file = File::from(fd);
        loop {
            let chunk = content.fill_content().map_err(LayerErrorKind::Read)?;
            if chunk.is_empty() {
                break;
            }
            file.write_all(chunk).map_err(failed("write"))?;
            let written = chunk.len();
            content.consume_content(written);
        }
        apply_open(file.as_fd(), metadata, false).map_err(LayerErrorKind::step)
    }

    fn put_directory(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        metadata: &Metadata,
    ) -> LayerResult<()> {
        let make = |directory: BorrowedFd<'_>, name: &[u8]| {
            mkdirat(directory, os(name), Mode::from_bits_truncate(0o700))
        };
        self.directories.check_depth(parent.inode)?;
        let existed = match make(parent.fd.as_fd(), name) {
            Ok(()) => false,
            Err(Errno::EEXIST) => {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
                match open_name(parent.fd.as_fd(), name, flags) {
                    Ok(_) => true,
                    // Not a directory, or a symbolic link to one.
                    Err(Errno::ENOTDIR | Errno::ELOOP) => {
                        self.remove(parent.fd.as_fd(), parent.inode, name)?;
                        make(parent.fd.as_fd(), name).map_err(failed("mkdirat"))?;
                        false
                    }
                    Err(errno) => return Err(failed("openat")(errno)),
                }
            }
            Err(errno) => return Err(failed("mkdirat")(errno)),
        };
        self.describe_directory(parent, name, metadata, existed).map(drop)
    }

    pub(super) fn make_implicit(&mut self, parent: &OpenDirectory, name: &[u8]) -> LayerResult<()> {
        self.describe_directory(parent, name, &IMPLICIT_DIRECTORY, true).map(drop)
    }

    /// Sets a directory's attributes, and notes the time for later.
    fn describe_directory(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        metadata: &Metadata,
        existed: bool,
    ) -> LayerResult<OwnedFd> {
        self.directories.check_depth(parent.inode)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let fd = open_name(parent.fd.as_fd(), name, flags).map_err(failed("openat"))?;
        apply_open(fd.as_fd(), metadata, existed).map_err(LayerErrorKind::step)?;
        let inode = fstat(&fd).map_err(failed("fstat"))?.st_ino;
        self.directories.put(inode, parent.inode, name, metadata.mtime);
        Ok(fd)
    }

    fn put_special(
        &mut self,
        parent: &OpenDirectory,
        name: &[u8],
        kind: SFlag,
        device: u64,
        metadata: &Metadata,
    ) -> LayerResult<()> {
        self.replacing(parent, name, "mknodat", |directory, name| {
            mknodat(directory, os(name), kind, Mode::from_bits_truncate(0o600), device)
        })?;
        self.describe_unopened(parent, name, metadata, false)
    }

    fn describe_unopened(
        &self,
        parent: &OpenDirectory,
        name: &[u8],
        metadata: &Metadata,
        symlink: bool,
    ) -> LayerResult<()> {
        let node = open_name(parent.fd.as_fd(), name, OFlag::O_PATH).map_err(failed("openat"))?;
        apply_unopened(parent.fd.as_fd(), name, node.as_fd(), metadata, symlink)
            .map_err(LayerErrorKind::step)
    }

    /// Gives a file that is there another name. Its attributes stay: they are
    /// the file's, not the name's.
    fn put_link(&mut self, parent: &OpenDirectory, name: &[u8], target: &Place) -> LayerResult<()> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let from = match open_in_root(self.root.as_fd(), os(&target.parent), flags) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Err(LayerErrorKind::NoLinkTarget),
            Err(errno) => return Err(failed("openat2")(errno)),
        };
        let inode = fstat(&from).map_err(failed("fstat"))?.st_ino;
        if (inode, target.name.as_slice()) == (parent.inode, name) {
            return Err(LayerErrorKind::NoLinkTarget);
        }
        let link = |directory: BorrowedFd<'_>, name: &[u8]| {
            linkat(&from, os(&target.name), directory, os(name), AtFlags::empty())
        };
        match link(parent.fd.as_fd(), name) {
            Err(Errno::EEXIST) => {
                self.remove(parent.fd.as_fd(), parent.inode, name)?;
                link(parent.fd.as_fd(), name)
            }
            result => result,
        }
        .map_err(|errno| match errno {
            Errno::ENOENT => LayerErrorKind::NoLinkTarget,
            errno => failed("linkat")(errno),
        })
    }
}
