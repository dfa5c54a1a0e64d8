//! The content store: a directory that holds blobs by digest, tags, and one
//! unpacked tree per image configuration.
//!
//! ```text
//! format                  the layout's version
//! lock                    held, briefly, while names appear or disappear
//! blobs/sha256/<hex>      verified, complete, never changed
//! refs/<reference>        a tag: the digest of its manifest, then that of its index
//! trees/<config hex>/     root/ and, written last, complete
//! locks/<config hex>      held by whoever unpacks that configuration
//! partial/<hex>           the beginning of a blob that is being pulled
//! tmp/<random>/           work in progress, locked by its process
//! ```
//!
//! Everything is prepared in `tmp/` and appears by rename(2), so a reader sees
//! all of it or none, without a lock. A process that dies leaves a directory in
//! `tmp/` whose lock is free; [`Store::sweep`] removes those and no others.
//! The store's directory is closed to other users: a tree holds set-uid
//! programs that the host's users must not reach.
//!
//! A pull, which may last, says in `tmp/<random>/needs` which blobs it counts on.
//!
//! Does not talk to registries and does not mount anything.

mod collect;
mod lease;
mod partial;
mod refs;
mod remove;
mod resolve;
mod stage;
mod temp;
mod usage;
mod verify;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use collect::Collected;
pub(crate) use lease::Lease;
pub(crate) use partial::Partial;
pub(crate) use refs::Tag;
pub use remove::Removed;
pub use resolve::{Image, Inspection, Layer, Listing};
pub(crate) use stage::Stage;
pub(crate) use temp::TempDir;
pub use usage::{Usage, UsageMeter};
pub use verify::{Damage, Remedy, Verification};

use crate::Digest;
use crate::digest::HashReader;
use crate::error::{ImageError, Result, creating_dir, opening, reading, syncing, writing};
use crate::lock::FileLock;

const FORMAT: &str = "berth-images 1\n";
const HASH_BYTES: usize = 256 << 10;
const DIRECTORIES: [&str; 5] = ["blobs/sha256", "refs", "trees", "locks", "tmp"];

/// Bounds on what the store accepts and how long it waits. The defaults are far
/// above any database image.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Entries in all layers of an image together.
    pub entries: u64,
    /// Uncompressed bytes in all layers of an image together.
    pub unpacked_bytes: u64,
    /// Layers of an image.
    pub layers: usize,
    /// Bytes of a manifest, index or configuration.
    pub document_bytes: u64,
    /// How long to wait for another process that unpacks the same image.
    pub unpack_wait: Duration,
    /// How long to wait for another process that adds or removes names.
    pub lock_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 4_000_000,
            unpacked_bytes: 64 << 30,
            layers: 512,
            document_bytes: 8 << 20,
            unpack_wait: Duration::from_secs(600),
            lock_wait: Duration::from_secs(60),
        }
    }
}

/// A store of images in a directory. Cheap to clone; any number of processes
/// may use the same directory at once.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    limits: Limits,
}

impl Store {
    /// Opens the store at `root`, and makes it if it is not there.
    ///
    /// # Errors
    /// When a directory can't be made, or holds a store of another format.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(root, Limits::default())
    }

    /// Opens the store with other bounds than the default ones.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(root: impl Into<PathBuf>, limits: Limits) -> Result<Self> {
        let store = Self { root: root.into(), limits };
        let format = store.root.join("format");
        match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => Ok(store),
            Ok(found) => Err(ImageError::Format { path: format, found, expected: FORMAT }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                store.make(&format)?;
                Ok(store)
            }
            Err(error) => Err(reading(&format)(error)),
        }
    }

    fn make(&self, format: &Path) -> Result<()> {
        for directory in DIRECTORIES {
            let path = self.root.join(directory);
            make_private_dir(&path)?;
        }
        // Two processes may both get here: the content is the same.
        self.replace_file(format, FORMAT.as_bytes())
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Removes what processes that died left unfinished, and nothing that a
    /// living one works on. Import, unpack, build and remove do so first; an
    /// agent calls it when it starts. Returns how many leftovers went.
    ///
    /// # Errors
    /// When the directory can't be listed or a leftover can't be removed.
    pub fn sweep(&self) -> Result<usize> {
        temp::sweep(&self.tmp_dir())
    }

    /// Sweeps before other work. A leftover that can't be removed is no reason
    /// not to do it.
    pub(crate) fn sweep_first(&self) {
        if let Err(error) = self.sweep() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot sweep the image store"
            );
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn blob_dir(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    /// Whether a blob is there, whole and right. Reads all of it.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let path = self.blob_path(digest);
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(opening(&path)(error)),
        };
        if file.metadata().map_err(reading(&path))?.len() != size {
            return Ok(false);
        }
        let buffered = io::BufReader::with_capacity(HASH_BYTES, file);
        let (found, _) = HashReader::new(buffered).finish().map_err(reading(&path))?;
        Ok(found == *digest)
    }

    /// Bytes that can still be written to the store's file system (statvfs(3)).
    ///
    /// # Errors
    /// When the store's directory can't be examined.
    pub fn free_bytes(&self) -> Result<u64> {
        let found = nix::sys::statvfs::statvfs(&self.root);
        let found = found.map_err(|errno| opening(&self.root)(errno.into()))?;
        Ok(found.blocks_available() * found.fragment_size())
    }

    pub(crate) fn refs_dir(&self) -> PathBuf {
        self.root.join("refs")
    }

    pub(crate) fn tree_path(&self, config: &Digest) -> PathBuf {
        self.root.join("trees").join(config.hex())
    }

    pub(crate) fn trees_dir(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn unpack_lock_path(&self, config: &Digest) -> PathBuf {
        self.root.join("locks").join(config.hex())
    }

    pub(crate) fn temp(&self) -> Result<TempDir> {
        TempDir::create(&self.tmp_dir())
    }

    fn tmp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The lock under which names appear and disappear. Held for a few renames,
    /// never while bytes are copied.
    pub(crate) fn lock_names(&self) -> Result<FileLock> {
        FileLock::acquire(&self.root.join("lock"), self.limits.lock_wait)
    }

    /// Writes a small file so that readers see the old content or the new, and
    /// a power cut leaves one of the two.
    pub(crate) fn replace_file(&self, path: &Path, content: &[u8]) -> Result<()> {
        let temp = self.temp()?;
        let new = temp.path().join("file");
        fs::write(&new, content).map_err(writing(&new))?;
        sync(&new)?;
        rename(&new, path)?;
        sync_parent(path)
    }
}

pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(creating_dir(path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| ImageError::Rename {
        from: from.to_owned(),
        to: to.to_owned(),
        source,
    })
}

/// fsync(2) of a file or directory.
pub(crate) fn sync(path: &Path) -> Result<()> {
    let file = fs::File::open(path).map_err(opening(path))?;
    file.sync_all().map_err(syncing(path))
}

/// fsync(2) of the directory that holds `path`, which makes a rename durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    sync(path.parent().unwrap_or(Path::new("/")))
}
