//! An unpacked image, and safe answers to questions about what is in it.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag};

use crate::Digest;
use crate::error::{Result, opening, reading};
use crate::unpack::inroot;

/// Where programs are, most specific first. A server's helpers may be in
/// libexec.
const PROGRAM_DIRECTORIES: [&str; 7] =
    ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin", "usr/libexec"];
const PASSWD_BYTES_MAX: u64 = 1 << 20;

/// The read-only root file system of an image configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The directory that is the container's root.
    pub root: PathBuf,
    /// The configuration it belongs to.
    pub config_digest: Digest,
}

/// A user of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric id of the user's group.
    pub gid: u32,
    /// Home directory, as seen in the container.
    pub home: PathBuf,
}

impl Tree {
    pub(crate) fn new(root: PathBuf, config_digest: Digest) -> Self {
        Self { root, config_digest }
    }

    /// Looks a user up in the image's own `/etc/passwd` (passwd(5)); `None`
    /// when the file or the user is not there. Symbolic links end within the
    /// tree.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn user(&self, name: &str) -> Result<Option<User>> {
        let path = Path::new("etc/passwd");
        let root = self.open()?;
        let passwd = inroot::read_in_root(root.as_fd(), path.as_os_str(), PASSWD_BYTES_MAX)
            .map_err(reading(&self.root.join(path)))?;
        Ok(passwd.and_then(|passwd| find_user(&passwd, name)))
    }

    /// Looks for a program by name in the usual directories; gives its path as
    /// seen in the container, `None` when it is not there or not executable.
    /// Symbolic links end within the tree.
    ///
    /// # Errors
    /// When a directory can't be read.
    pub fn find_executable(&self, name: &str) -> Result<Option<PathBuf>> {
        if name.is_empty() || name.contains('/') {
            return Ok(None);
        }
        let root = self.open()?;
        for directory in PROGRAM_DIRECTORIES {
            let path = Path::new(directory).join(name);
            let status = inroot::stat_in_root(root.as_fd(), path.as_os_str())
                .map_err(|errno| opening(&self.root.join(&path))(errno.into()))?;
            if status.is_some_and(|status| is_program(status.st_mode)) {
                return Ok(Some(Path::new("/").join(path)));
            }
        }
        Ok(None)
    }

    /// Whether a path, as seen in the container, is a directory. Symbolic links
    /// end within the tree.
    ///
    /// # Errors
    /// When it can't be examined.
    pub fn has_directory(&self, path: &Path) -> Result<bool> {
        let root = self.open()?;
        let status = inroot::stat_in_root(root.as_fd(), path.as_os_str())
            .map_err(|errno| opening(path)(errno.into()))?;
        Ok(status.is_some_and(|it| it.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits()))
    }

    fn open(&self) -> Result<OwnedFd> {
        inroot::open_root(&self.root).map_err(opening(&self.root))
    }
}

fn is_program(mode: u32) -> bool {
    let any_execute = Mode::S_IXUSR | Mode::S_IXGRP | Mode::S_IXOTH;
    mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits() && mode & any_execute.bits() != 0
}

/// The first line of that name counts, as in getpwnam(3); lines that are not of
/// the form are passed over.
fn find_user(passwd: &[u8], name: &str) -> Option<User> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let [login, _, uid, gid, _, home, _] = fields[..] else {
            return None;
        };
        if login != name.as_bytes() {
            return None;
        }
        let id = |field| std::str::from_utf8(field).ok()?.parse().ok();
        let home = PathBuf::from(std::ffi::OsStr::from_bytes(home));
        Some(User { uid: id(uid)?, gid: id(gid)?, home })
    })
}

#[cfg(test)]
mod tests;
