//! Why a layer could not be applied.

use std::io;

use super::{change, metadata};
use crate::tarstream::TarError;

/// A layer that could not be applied, and the member at fault.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.member))]
pub struct LayerError {
    pub(super) member: Option<String>,
    pub(super) source: LayerErrorKind,
}

fn describe(member: &Option<String>) -> String {
    match member {
        Some(name) => format!("cannot apply {name:?}"),
        None => "cannot read it to its end".to_owned(),
    }
}

/// Why a layer could not be applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LayerErrorKind {
    #[error(transparent)]
    Tar(TarError),
    #[error(transparent)]
    Refused(#[from] change::Refused),
    #[error("cannot read its content")]
    Read(#[source] io::Error),
    #[error("{call} failed")]
    System { call: &'static str, source: io::Error },
    #[error("directories nested more than {limit} deep")]
    TooDeep { limit: u32 },
    #[error("it stands in a file, or in a symbolic link that leads to no directory")]
    ParentNotADirectory,
    #[error("the target of the hard link is not there")]
    NoLinkTarget,
    #[error("more than {limit} {what} in the image")]
    Limit { what: &'static str, limit: u64 },
}

impl LayerErrorKind {
    pub(super) fn step((call, source): metadata::Step) -> Self {
        Self::System { call, source }
    }
}

impl From<io::Error> for LayerError {
    fn from(source: io::Error) -> Self {
        Self { member: None, source: LayerErrorKind::Read(source) }
    }
}

pub(super) type LayerResult<T> = Result<T, LayerErrorKind>;
