//! Why a lease could not be had, kept or given back.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{ChooseError, Generation, Lease};
use crate::lock::LockError;
use crate::name::Owner;

/// A lease file that could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It can't be read.
    #[error("can't read the lease {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It holds no lease.
    #[error("the lease {} is damaged", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Its name and its content tell different addresses.
    #[error("the lease {} holds the address {address}, which is not its name", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// The address inside.
        address: IpAddr,
    },
}

/// Why a lease could not be had, kept or given back.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The lock.
    #[error("can't lock the leases")]
    Lock(#[source] LockError),
    /// The directory.
    #[error("can't list the leases in {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory was never set up, or it was emptied: which addresses are taken is
    /// not known.
    #[error("the lease directory {} is not set up or was emptied", path.display())]
    Lost {
        /// The directory.
        path: PathBuf,
    },
    /// A record can't be written.
    #[error("can't write the lease record {name} in {}", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A record can't be removed.
    #[error("can't remove the lease record {name} in {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file in the directory can't be understood; nothing new is leased meanwhile.
    #[error("a lease can't be read: restore or remove it, until then nothing new is leased")]
    Unreadable(#[source] Unreadable),
    /// The same, of a file that stays with the list of leases.
    #[error("{file}: restore or remove it, until then nothing new is leased")]
    Damaged {
        /// What is wrong with which file.
        file: String,
    },
    /// The owner holds another address or one of another pool.
    #[error("{} holds {} of pool {} already", held.owner, held.address, held.pool)]
    HoldsAnother {
        /// What it holds.
        held: Box<Lease>,
    },
    /// The pool can't give it.
    #[error("can't lease an address for {owner}")]
    Choose {
        /// Who asked.
        owner: Owner,
        /// Why not.
        #[source]
        source: ChooseError,
    },
    /// The lease to give back or to confirm is not the one on disk.
    #[error("{address} is not leased to {owner} in generation {}", generation.0)]
    Stale {
        /// The address.
        address: IpAddr,
        /// The owner that was named.
        owner: Owner,
        /// The generation that was named.
        generation: Generation,
    },
}
