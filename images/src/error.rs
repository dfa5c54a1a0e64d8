//! What can go wrong with images, one variant per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Digest;
use crate::build::error::BuildError;
use crate::pull::error::PullError;
use crate::unpack::error::LayerError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, ImageError>;

/// A failed operation on the store, an image or a recipe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A directory could not be made.
    #[error("cannot make directory {}", path.display())]
    CreateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory could not be listed.
    #[error("cannot list directory {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file, directory or file system could not be brought to the disk.
    #[error("cannot sync {}", path.display())]
    Sync {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be given its final name.
    #[error("cannot rename {} to {}", from.display(), to.display())]
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new name.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or tree could not be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file or tree.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A lock could not be taken, for a reason other than another holder.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process kept a lock for too long.
    #[error("{} is still locked by another process after {} s", path.display(), waited.as_secs())]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The store was made by a program that writes another format.
    #[error("{}: found store format {found:?}, expected {expected:?}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this program writes.
        expected: &'static str,
    },
    /// A document is not what its place promises.
    #[error("{place} is not a valid {kind}")]
    Document {
        /// The file or archive member.
        place: String,
        /// What it should have been.
        kind: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A document or member is larger than anything genuine.
    #[error("{place}: found more than {limit} bytes")]
    TooLarge {
        /// The file or archive member.
        place: String,
        /// The bound.
        limit: u64,
    },
    /// Bytes do not have the digest they are named by.
    #[error("{place}: found {found}, expected {expected}")]
    WrongDigest {
        /// The file or archive member.
        place: String,
        /// The digest of what is there.
        found: Digest,
        /// The digest it is named by.
        expected: Digest,
    },
    /// A layer unpacks to other bytes than the image's configuration promises.
    #[error("layer {layer}: its uncompressed form is {found}, expected diff_id {expected}")]
    WrongDiffId {
        /// The layer's blob.
        layer: Digest,
        /// The digest of the uncompressed layer.
        found: Digest,
        /// What the configuration says.
        expected: Digest,
    },
    /// A blob does not have the size its descriptor gives.
    #[error("{place}: found {found} bytes, expected {expected}")]
    WrongSize {
        /// The file or archive member.
        place: String,
        /// The bytes there are.
        found: u64,
        /// The bytes there should be.
        expected: u64,
    },
    /// A path to import is neither a layout nor an archive.
    #[error("{}: {reason}; expected an OCI layout, its tar, or a docker save archive", path.display())]
    NotAnImage {
        /// The path.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// An archive lacks a member that another names.
    #[error("{place} has no {member}")]
    MissingMember {
        /// The archive or layout.
        place: String,
        /// The member.
        member: String,
    },
    /// A layout or archive holds none or several images for this reference.
    #[error("{place}: expected one image for {reference}, found {found}")]
    Selection {
        /// The archive or layout.
        place: String,
        /// The reference to import as.
        reference: String,
        /// The images there are.
        found: String,
    },
    /// The image is for another machine.
    #[error("{place}: found an image for {found}, expected {expected}")]
    Platform {
        /// The archive or layout.
        place: String,
        /// The image's system and architecture.
        found: String,
        /// This machine's.
        expected: String,
    },
    /// A part of an image is of a kind that this crate does not read.
    #[error("{place}: found media type {found}, expected {expected}")]
    MediaType {
        /// The document that says so.
        place: String,
        /// The media type.
        found: String,
        /// What would have done.
        expected: &'static str,
    },
    /// Manifest and configuration contradict each other.
    #[error("{place}: found {layers} layers, but its configuration has {diff_ids} diff_ids")]
    LayerCount {
        /// The manifest.
        place: String,
        /// Layers in the manifest.
        layers: usize,
        /// diff_ids in the configuration.
        diff_ids: usize,
    },
    /// A bound on what an image may hold was passed.
    #[error("{place}: more than {limit} {what}")]
    Limit {
        /// The image or layer.
        place: String,
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// A blob that a tag needs is not in the store.
    #[error("{reference}: blob {digest} is missing from the store; bring the image again")]
    MissingBlob {
        /// The tag.
        reference: String,
        /// The blob.
        digest: Digest,
    },
    /// There is no such tag.
    #[error("no image {reference} in the store")]
    NoSuchImage {
        /// The tag.
        reference: String,
    },
    /// The image's containers are still there.
    #[error("image {reference} (config {config}) is in use")]
    InUse {
        /// The tag.
        reference: String,
        /// The configuration whose tree is in use.
        config: Digest,
    },
    /// What an image or tree needs can't be found out, so nothing may be removed.
    #[error("what {what} needs is not known, so nothing was removed; bring it again or remove it")]
    UnknownNeeds {
        /// The image or tree.
        what: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// The image lost its last tag while it was being unpacked.
    #[error("image {reference} was removed while it was being unpacked")]
    RemovedMeanwhile {
        /// The tag.
        reference: String,
    },
    /// A layer could not be decompressed or applied.
    #[error("cannot unpack layer {layer} of {reference}")]
    Unpack {
        /// The image.
        reference: String,
        /// The layer's blob.
        layer: Digest,
        /// Why.
        source: LayerError,
    },
    /// The attributes of a tree's directories could not be set.
    #[error("cannot set the attributes of directories in {}", path.display())]
    TreeAttributes {
        /// The tree's root.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image could not be built.
    #[error("cannot build recipe {recipe}")]
    Build {
        /// The recipe's name.
        recipe: String,
        /// Why.
        source: BuildError,
    },
    /// An image could not be pulled.
    #[error("cannot pull {reference}")]
    Pull {
        /// The image.
        reference: String,
        /// Why.
        source: Box<PullError>,
    },
    /// A thread or other resource of this process could not be had.
    #[error("cannot start a thread for {purpose}")]
    Thread {
        /// What for.
        purpose: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Adds the path to an I/O error: `.map_err(at(path, Open))`-style helpers, one
/// per operation.
macro_rules! io_context {
    ($($function:ident => $variant:ident),+ $(,)?) => {$(
        pub(crate) fn $function(path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
            let path = path.to_owned();
            move |source| ImageError::$variant { path, source }
        }
    )+};
}

io_context! {
    creating_dir => CreateDir,
    listing => List,
    opening => Open,
    reading => Read,
    writing => Write,
    syncing => Sync,
    removing => Remove,
    locking => Lock,
}

/// An error and its causes on one line, for the places that take text only.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
