//! The accounts that hosts of a cluster log in to each other with.
//!
//! Every host holds the fleet's key file; a password follows from the key, the cluster's name
//! and its purpose, so that hosts agree without speaking to each other. Nothing is stored.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

pub(super) mod sha_crypt;

/// The fewest bytes a fleet key has.
pub const KEY_MIN: usize = 32;
/// The most bytes a fleet key file has.
pub const KEY_MAX: usize = 4096;

/// A password. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password, for the statement or the login that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Replicating from the server.
    Replication,
    /// Cloning from the server.
    Clone,
    /// Reading the server's positions and read-only state.
    Check,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Replication, Self::Clone, Self::Check];

    /// The account's name; its host part is `%`.
    #[must_use]
    pub fn user(self) -> &'static str {
        match self {
            Self::Replication => "berth_repl",
            Self::Clone => "berth_clone",
            Self::Check => "berth_check",
        }
    }

    /// The global privilege that the account has, and the only one. `Check` reads GTID sets
    /// and read-only flags, which need none, and `SHOW REPLICA STATUS`, which needs this one.
    #[must_use]
    pub fn privilege(self) -> &'static str {
        match self {
            Self::Replication => "REPLICATION SLAVE",
            Self::Clone => "BACKUP_ADMIN",
            Self::Check => "REPLICATION CLIENT",
        }
    }

    /// The word that goes into the password's derivation; never changed.
    fn label(self) -> &'static str {
        match self {
            Self::Replication => "replication",
            Self::Clone => "clone",
            Self::Check => "check",
        }
    }
}

/// Why a fleet key file is not used. No variant shows its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It can't be read.
    #[error("can't read the fleet key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It is no ordinary file.
    #[error("the fleet key {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner can use it.
    #[error("the fleet key {} has mode {mode:04o}: only its owner may read it (0600 or 0400)", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too short or too long.
    #[error("the fleet key {} holds {length} bytes: {KEY_MIN} to {KEY_MAX} are needed", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes found, without white space at the end.
        length: usize,
    },
}

/// The fleet's key.
#[derive(Clone)]
pub struct FleetKey(Vec<u8>);

impl fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FleetKey(hidden)")
    }
}

impl FleetKey {
    /// Reads a key file: at least [`KEY_MIN`] bytes of any kind, readable by its owner only.
    /// White space at its end does not count, so that an editor's line break changes nothing.
    ///
    /// # Errors
    /// [`KeyError`] names the path and never the content.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_owned(), source };
        // Without O_NONBLOCK the open of a named pipe would wait for a writer.
        let file = fs::File::options()
            .read(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(KeyError::NotAFile { path: path.to_owned() });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions { path: path.to_owned(), mode });
        }
        let mut key = Vec::new();
        file.take(KEY_MAX as u64 + 1).read_to_end(&mut key).map_err(failed)?;
        let length = key.trim_ascii_end().len();
        if key.len() > KEY_MAX || length < KEY_MIN {
            let length = if key.len() > KEY_MAX { key.len() } else { length };
            return Err(KeyError::Length { path: path.to_owned(), length });
        }
        key.truncate(length);
        Ok(Self(key))
    }

    /// The password of `purpose` in the cluster `cluster`: HMAC-SHA256 as text of 32
    /// characters, the most that `SOURCE_PASSWORD` takes. 28 of them carry 6 bits each; the
    /// rest make `validate_password` content.
    #[must_use]
    pub fn password(&self, cluster: &str, purpose: Purpose) -> Secret {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes any key length");
        for part in ["berth account v1", cluster, purpose.label()] {
            // The length keeps two parts from being read as one.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        let digest = mac.finalize().into_bytes();
        let mut text: String =
            digest[..28].iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect();
        text.push_str("-aA1");
        Secret(text)
    }
}

#[cfg(test)]
mod tests;
