//! OCI images for berth: a content store, import, build and unpack.
//!
//! Flow: [`Store::pull`], [`Store::import`] or [`build`] verify blobs and tag them;
//! [`Store::resolve`] turns a [`Reference`] into an [`Image`];
//! [`Store::unpack`] makes the one read-only [`Tree`] that all containers of
//! that image stand on.
//!
//! All calls block; run them on a thread that may. Nothing here mounts, starts
//! containers or draws on a terminal.

mod build;
mod decode;
mod digest;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod import;
mod lock;
mod manifest;
mod progress;
mod pull;
mod reference;
mod store;
mod tarstream;
mod tree;
mod unpack;

pub use build::machine_mirror;
pub use build::{
    BuildError, BuildOptions, Built, Compression, EXPIRED_ANNOTATION, PACKAGES_ANNOTATION, Recipe,
    build, builtin_recipes,
};
pub use digest::{Digest, DigestError};
pub use error::{ImageError, Result};
pub use progress::{NoProgress, Progress};
pub use pull::{PullError, Pulled, Registries, docker_config_file};
pub use reference::{Reference, ReferenceError};
pub use store::{
    Collected, Damage, Image, Inspection, Layer, Limits, Listing, Remedy, Removed, Store, Usage,
    UsageMeter, Verification,
};
pub use tree::{Tree, User};
pub use unpack::LayerError;
