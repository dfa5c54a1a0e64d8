//! Network namespaces that outlive the processes in them.
//!
//! A namespace is *pinned* by a bind mount of its `/proc/…/ns/net` on a file in our
//! run directory, as ip-netns(8) does, so that it stays while mysqld restarts. The
//! file is named by the owner, which makes everything inside ours.
//!
//! Only a throw-away thread ever changes its namespace: [`inside`] starts one, and it
//! ends there. The thread that calls stays where it is, and that is the *host's*
//! namespace throughout this crate.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::failpoint::{Failpoint, hit};
use crate::name::Owner;

const SELF: &str = "/proc/thread-self/ns/net";

/// Why a namespace could not be handled.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// The directory or a file in it.
    #[error("can't use the namespace pin {}", path.display())]
    Pin {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The mount.
    #[error("can't mount the namespace on {}", path.display())]
    Mount {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// The unmount.
    #[error("can't unmount the namespace from {}", path.display())]
    Unmount {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// A new namespace.
    #[error("can't make a network namespace")]
    Create(#[source] Errno),
    /// Entering one.
    #[error("can't enter the network namespace")]
    Enter(#[source] Errno),
    /// No thread to enter it with.
    #[error("can't start a thread for the network namespace")]
    Thread(#[source] io::Error),
}

/// Opens the calling thread's own namespace.
pub(crate) fn own() -> Result<File, NetnsError> {
    File::open(SELF).map_err(|source| NetnsError::Pin { path: SELF.into(), source })
}

/// Runs `work` inside of a namespace, on a thread of its own.
pub(crate) fn inside<T: Send>(
    namespace: &File,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetnsError> {
    on_thread(|| {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
        Ok(work())
    })
}

pub(crate) fn on_thread<T: Send>(
    work: impl FnOnce() -> Result<T, NetnsError> + Send,
) -> Result<T, NetnsError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(NetnsError::Thread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The directory of pins.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    dir: PathBuf,
}

impl Pins {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn path(&self, owner: &Owner) -> PathBuf {
        self.dir.join(owner.as_str())
    }

    pub(crate) fn set_up(&self) -> Result<(), NetnsError> {
        fs::create_dir_all(&self.dir).map_err(|source| pin_error(&self.dir, source))
    }

    /// The owner's namespace, if one is pinned.
    pub(crate) fn open(&self, owner: &Owner) -> Result<Option<File>, NetnsError> {
        let path = self.path(owner);
        match File::open(&path) {
            Ok(file) if is_namespace(&path)? => Ok(Some(file)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(NetnsError::Pin { path, source }),
        }
    }

    /// Whether the owner's file is there, mounted on or not.
    pub(crate) fn file_exists(&self, owner: &Owner) -> bool {
        self.path(owner).symlink_metadata().is_ok()
    }

    /// The owners of all files here.
    pub(crate) fn owners(&self) -> Result<Vec<Owner>, NetnsError> {
        let failed = |source| pin_error(&self.dir, source);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut owners = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            owners.extend(name.to_str().and_then(|name| Owner::new(name).ok()));
        }
        Ok(owners)
    }

    /// Pins a namespace for the owner: the one at `from`, or a new one.
    pub(crate) fn pin(&self, owner: &Owner, from: Option<&Path>) -> Result<(), NetnsError> {
        self.set_up()?;
        let path = self.path(owner);
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| pin_error(&path, source))?;
        hit(Failpoint::PinCreated);
        let bind = |source: &Path| {
            mount(Some(source), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|source| NetnsError::Mount { path: path.clone(), source })
        };
        match from {
            Some(from) => bind(from)?,
            None => on_thread(|| {
                unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Create)?;
                bind(Path::new(SELF))
            })?,
        }
        hit(Failpoint::NamespacePinned);
        Ok(())
    }

    /// Removes the pin. The namespace itself ends with the last process in it.
    pub(crate) fn unpin(&self, owner: &Owner) -> Result<(), NetnsError> {
        let path = self.path(owner);
        // A pin that was mounted on twice needs as many turns; more than a few is not ours.
        for _ in 0..8 {
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) => {}
                // Nothing is mounted there, or the file is gone.
                Err(Errno::EINVAL | Errno::ENOENT) => break,
                Err(source) => return Err(NetnsError::Unmount { path, source }),
            }
        }
        hit(Failpoint::NamespaceUnmounted);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(NetnsError::Pin { path, source }),
        }
    }
}

fn is_namespace(path: &Path) -> Result<bool, NetnsError> {
    statfs(path)
        .map(|found| found.filesystem_type() == NSFS_MAGIC)
        .map_err(|errno| pin_error(path, errno.into()))
}

fn pin_error(path: &Path, source: io::Error) -> NetnsError {
    NetnsError::Pin { path: path.to_owned(), source }
}
