//! What stands in a marker.

use std::{fmt, path::Path};

use berth_model::{EntryKey, goal::Role};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::files::{self, Durability, FileError};

/// The version of the marker's form.
pub const MARKER_VERSION: u32 = 1;

/// How far the making of a data directory has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataState {
    /// Being copied or initialised; what is there is worth nothing.
    Initialising,
    /// Being filled by CLONE from this donor; what is there is worth nothing.
    Seeding {
        /// `host:port` of the donor.
        from: String,
    },
    /// CLONE has ended well; the next start completes it and is verified before serving.
    Seeded {
        /// `host:port` of the donor.
        from: String,
    },
    /// Complete.
    Ready,
}

impl fmt::Display for DataState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initialising => f.write_str("initialising"),
            Self::Seeding { from } => write!(f, "seeding from {from}"),
            Self::Seeded { from } => write!(f, "seeded from {from}"),
            Self::Ready => f.write_str("ready"),
        }
    }
}

/// Where the data came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Made empty on this host.
    Initialised,
    /// Cloned from a donor.
    Cloned,
}

/// The marker of a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Version of this form.
    pub version: u32,
    /// Whose data it is.
    pub instance: EntryKey,
    /// How far its making has come.
    pub state: DataState,
    /// Where the data came from.
    pub origin: Origin,
    /// The role it last had while it served. A directory that was a master's may hold
    /// transactions that no one else has.
    pub role: Option<Role>,
    /// When the directory was made.
    pub created_at: Timestamp,
}

impl Marker {
    /// Replaces the marker at `path`, so that it outlives a power cut.
    ///
    /// # Errors
    /// The file can't be written; the old marker stays.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        files::write_json(path, self, Durability::PowerCut)
    }
}
