//! Why an image could not be pulled, and whether trying again may help.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::Digest;
use crate::error::{ImageError, chain};

pub(super) type Result<T> = std::result::Result<T, PullError>;

/// Why an image could not be pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The name is kept for images that are built here.
    #[error(
        "names that begin with `berth/` are of images built on this host, which no registry has; \
         use `berth image build` or `berth image import`"
    )]
    LocalName,
    /// The HTTP client can't be had.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// The asynchronous runtime can't be had.
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[source] io::Error),
    /// No answer to a request.
    #[error("{registry} can't be reached{}", hint(.source))]
    Unreachable {
        /// Host and port.
        registry: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An answer began and ended early.
    #[error("the connection to {registry} broke off")]
    BrokenOff {
        /// Host and port.
        registry: String,
        /// Why.
        source: reqwest::Error,
    },
    /// An answer ended before all bytes were there.
    #[error("{registry} ended {what} after {found} of {expected} bytes")]
    Short {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The bytes there are.
        found: u64,
        /// The bytes there should be.
        expected: u64,
    },
    /// Nothing came for too long.
    #[error("{registry} sent nothing for {} s", waited.as_secs_f32())]
    Stalled {
        /// Host and port.
        registry: String,
        /// The deadline.
        waited: Duration,
    },
    /// The registry can't do it now, or answers what no registry should.
    #[error("{registry} answered {status} to the request for {what}{detail}")]
    Status {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it says of it; begins with `: `, or is empty.
        detail: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The registry wants a longer rest than is granted.
    #[error(
        "{registry} answered {status} and asks for a rest of {} s, which is longer than {} s; \
         try again later", asked.as_secs(), granted.as_secs()
    )]
    Busy {
        /// Host and port.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What it asks for.
        asked: Duration,
        /// What would have been waited.
        granted: Duration,
    },
    /// The registry wants a login that it accepts.
    #[error(
        "{registry} answered 401 to the request for {what}, {as_whom}{detail}; put a login for \
         {registry} into the auth file (`docker login` writes one)"
    )]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// With which login.
        as_whom: String,
        /// What it says of it; begins with `: `, or is empty.
        detail: String,
    },
    /// The login is good, but not for this.
    #[error(
        "{registry} answered 403 to the request for {what}, {as_whom}{detail}; use a login that \
         may pull it"
    )]
    Forbidden {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// With which login.
        as_whom: String,
        /// What it says of it; begins with `: `, or is empty.
        detail: String,
    },
    /// There is no such thing.
    #[error(
        "{registry} has no {what}{detail}; check the image's name and tag (some registries say \
         this too when a login is needed)"
    )]
    NotFound {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// What it says of it; begins with `: `, or is empty.
        detail: String,
    },
    /// The token service refused.
    #[error("cannot log in to {registry} {as_whom}")]
    Login {
        /// Host and port.
        registry: String,
        /// With which login.
        as_whom: String,
        /// Why.
        source: Box<oci_client::errors::OciDistributionError>,
    },
    /// A login could not be looked up.
    #[error("cannot find out the login for {registry}")]
    Credentials {
        /// Host and port.
        registry: String,
        /// Why.
        source: super::credentials::CredentialsError,
    },
    /// The bytes are not those that were asked for.
    #[error("{registry} sent other bytes than {what}: found {found}, expected {expected}")]
    WrongDigest {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// The digest of what came.
        found: Digest,
        /// The digest that was asked for.
        expected: Digest,
    },
    /// The length is not that of the blob.
    #[error("{registry} has {found} bytes as {what}, expected {expected}")]
    WrongLength {
        /// Host and port.
        registry: String,
        /// What was asked for.
        what: String,
        /// What the registry says.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// There is less room than the image needs.
    #[error("{} has {free} bytes free, expected at least {needed} for the image", path.display())]
    NoRoom {
        /// The store.
        path: PathBuf,
        /// Bytes that are to come.
        needed: u64,
        /// Bytes there are.
        free: u64,
    },
    /// What the registry sent is no image that can be used.
    #[error("{registry} has no usable image there")]
    Content {
        /// Host and port.
        registry: String,
        /// Why.
        source: Box<ImageError>,
    },
    /// The store failed.
    #[error("cannot store it")]
    Store(#[source] Box<ImageError>),
    /// Neither mirror nor origin gave the image.
    #[error("{}", .0.join("; and "))]
    Everywhere(Vec<String>),
}

/// A remedy for the most frequent mistake.
fn hint(error: &reqwest::Error) -> &'static str {
    let text = chain(error);
    if text.contains("wrong version number") || text.contains("record overflow") {
        return " (if it speaks plain HTTP, name it in `plain_http`)";
    }
    ""
}

impl PullError {
    pub(super) fn store(source: ImageError) -> Self {
        Self::Store(Box::new(source))
    }

    /// Whether another try may help, and how long the registry wants to be left alone.
    pub(super) fn retry(&self) -> Option<Option<Duration>> {
        match self {
            Self::Unreachable { .. }
            | Self::BrokenOff { .. }
            | Self::Short { .. }
            | Self::Stalled { .. }
            | Self::WrongDigest { .. } => Some(None),
            Self::Status { status, retry_after, .. } => {
                matches!(status, 408 | 429 | 500..=599).then_some(*retry_after)
            }
            _ => None,
        }
    }

    /// Whether the cause is on this host, so that no other registry can help.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::LocalName
                | Self::Client(_)
                | Self::Runtime(_)
                | Self::NoRoom { .. }
                | Self::Store(_)
        )
    }

    /// Whether the disk is full.
    pub(super) fn is_no_space(&self) -> bool {
        let Self::Store(error) = self else {
            return matches!(self, Self::NoRoom { .. });
        };
        let source = match &**error {
            ImageError::Write { source, .. } | ImageError::Sync { source, .. } => source,
            _ => return false,
        };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}
