//! Removal from a tree under construction: whiteouts, opaque directories, and
//! what is in the way of a new node.

use std::os::fd::{AsFd, BorrowedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::LayerResult;
use super::apply::{Builder, OpenDirectory, failed};
use super::change::Place;
use super::dirs::Inode;
use super::inroot::{open_name, os};

impl Builder {
    /// Hides what lower layers have at a place. What this layer put there, or
    /// below, before or after, stays.
    pub(super) fn hide(&mut self, place: &Place) -> LayerResult<()> {
        // Without the directory there is nothing to hide.
        let Some(parent) = self.find(&place.parent)? else {
            return Ok(());
        };
        self.forget_paths();
        self.hide_name(&parent, &place.name).map(drop)
    }

    /// Hides all that lower layers have in a directory.
    pub(super) fn hide_children(&mut self, path: &[u8]) -> LayerResult<()> {
        let Some(directory) = self.find(path)? else {
            return Ok(());
        };
        self.forget_paths();
        for name in names(directory.fd.as_fd())? {
            self.hide_name(&directory, &name)?;
        }
        Ok(())
    }

    /// Returns whether something stays.
    fn hide_name(&mut self, parent: &OpenDirectory, name: &[u8]) -> LayerResult<bool> {
        let written = self.directories.is_written(parent.inode, name);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let directory = match open_name(parent.fd.as_fd(), name, flags) {
            Ok(fd) => OpenDirectory::unnamed(fd)?,
            Err(Errno::ENOTDIR | Errno::ELOOP) if written => return Ok(true),
            Err(Errno::ENOTDIR | Errno::ELOOP) => {
                self.remove(parent.fd.as_fd(), parent.inode, name)?;
                return Ok(false);
            }
            Err(Errno::ENOENT) => return Ok(false),
            Err(errno) => return Err(failed("openat")(errno)),
        };
        let mut any_stays = false;
        for child in names(directory.fd.as_fd())? {
            any_stays |= self.hide_name(&directory, &child)?;
        }
        if written {
            return Ok(true);
        }
        if any_stays {
            // The lower directory is hidden; this layer's things stand in one
            // that it did not describe.
            self.make_implicit(parent, name)?;
            return Ok(true);
        }
        self.remove(parent.fd.as_fd(), parent.inode, name)?;
        Ok(false)
    }

    /// Removes a name and all below it, whoever put it there.
    pub(super) fn remove(
        &mut self,
        directory: BorrowedFd<'_>,
        inode: Inode,
        name: &[u8],
    ) -> LayerResult<()> {
        self.forget_paths();
        self.directories.removed(inode, name);
        match unlinkat(directory, os(name), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {}
            result => return result.map_err(failed("unlinkat")),
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let below = open_name(directory, name, flags).map_err(failed("openat"))?;
        let below_inode = fstat(&below).map_err(failed("fstat"))?.st_ino;
        for child in names(below.as_fd())? {
            self.remove(below.as_fd(), below_inode, &child)?;
        }
        self.directories.removed_directory(below_inode);
        unlinkat(directory, os(name), UnlinkatFlags::RemoveDir).map_err(failed("unlinkat"))
    }
}

/// The names in a directory, read to the end before anything is changed.
fn names(directory: BorrowedFd<'_>) -> LayerResult<Vec<Vec<u8>>> {
    let own = open_name(directory, b".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)
        .map_err(failed("openat"))?;
    let mut listing = Dir::from_fd(own).map_err(failed("fdopendir"))?;
    let mut names = Vec::new();
    for entry in listing.iter() {
        let name = entry.map_err(failed("getdents64"))?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}
