//! Leases: which address belongs to whom.
//!
//! One file per lease, named by its address, in one directory. The set of free
//! addresses is computed from the pool and these files and never stored, so that
//! there is nothing to leak or to repair. A lease is written and synced before the
//! kernel is touched, and removed after all else is gone.
//!
//! A lease is *sticky*: it belongs to its owner until [`LeaseStore::release`], however
//! often the container, the agent or the host restarts. Each has a *generation*, a
//! number that this host never uses twice, so that nothing left over from an earlier
//! lease of the same address can be taken for the present one. `confirmed` tells that
//! the address has been in service: such an address is never exchanged for another by
//! itself.
//!
//! A file that can't be read is neither a lease nor absent: its address counts as
//! taken, and nothing new is leased until an operator has looked at it, because it
//! might be the asker's own lease.

mod choose;
mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use choose::ChooseError;
use choose::choose;
pub use error::{LeaseError, Unreadable};

use crate::addr::fnv1a;
use crate::deadline::Deadline;
use crate::durable;
use crate::failpoint::{Failpoint, hit};
use crate::lock::Lock;
use crate::name::{HostName, Owner, PoolName};
use crate::pool::Pool;

/// Which use of an address it is. Higher is later; never used twice on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The durable record that an address belongs to an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub owner: Owner,
    /// Which use of the address it is.
    pub generation: Generation,
    /// The pool it came from.
    pub pool: PoolName,
    /// Whether the address has been in service.
    pub confirmed: bool,
}

impl Lease {
    /// Whether it is what is asked for: of that pool, and that address if one is named.
    #[must_use]
    pub fn fits(&self, pool: &Pool, address: Option<IpAddr>) -> bool {
        self.pool == pool.name && address.is_none_or(|address| address == self.address)
    }

    /// The name of the outer end of the veth pair: at most 15 characters (IFNAMSIZ),
    /// and another one for each lease, so that nothing left over from an earlier one
    /// is in the way.
    #[must_use]
    pub fn link_name(&self, host: &HostName) -> String {
        let key = format!("{host} {} {} {}", self.owner, self.address, self.generation.0);
        format!("be{:012x}", fnv1a(key.as_bytes()) & 0xffff_ffff_ffff)
    }
}

/// What an owner asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose the address will be.
    pub owner: &'a Owner,
    /// Where it comes from.
    pub pool: &'a Pool,
    /// The one address that will do, if any.
    pub address: Option<IpAddr>,
    /// Addresses that turned out to be taken by strangers.
    pub exclude: &'a BTreeSet<IpAddr>,
    /// Address and generation that the kernel still carries for this owner. Used if
    /// the owner has no lease, so that a lost lease directory changes no address.
    pub in_use: Option<(IpAddr, Generation)>,
}

/// All leases at one moment.
#[derive(Debug, Default)]
pub struct Leases {
    by_address: BTreeMap<IpAddr, Lease>,
    unreadable: Vec<Unreadable>,
    taken_by_name: BTreeSet<IpAddr>,
}

impl Leases {
    /// Every lease that could be read, by address.
    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values()
    }

    /// What this owner holds.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Option<&Lease> {
        self.iter().find(|lease| lease.owner == *owner)
    }

    /// The address that the owner would be given now if it held none.
    ///
    /// # Errors
    /// [`LeaseError::Choose`], and [`LeaseError::Damaged`] while a file can't be read.
    pub fn would_give(
        &self,
        owner: &Owner,
        pool: &Pool,
        address: Option<IpAddr>,
    ) -> Result<IpAddr, LeaseError> {
        if let Some(unreadable) = self.unreadable.first() {
            return Err(LeaseError::Damaged { file: unreadable.to_string() });
        }
        let own = self.of(owner).map(|lease| lease.address);
        let taken = |asked| self.taken_by_name.contains(&asked) && own != Some(asked);
        choose(pool, address, taken)
            .map_err(|source| LeaseError::Choose { owner: owner.clone(), source })
    }

    /// Files that could not be read.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }
}

const SEQUENCE: &str = "sequence";
const SUFFIX: &str = ".json";

/// The directory of leases.
#[derive(Debug, Clone)]
pub struct LeaseStore {
    dir: PathBuf,
    patience: Duration,
}

impl LeaseStore {
    /// The store in `dir`. Waiting for other users of it takes at most `patience`.
    #[must_use]
    pub fn new(dir: PathBuf, patience: Duration) -> Self {
        Self { dir, patience }
    }

    /// Sets up the directory if it is not there. After that, a directory without its
    /// `sequence` file counts as lost.
    ///
    /// # Errors
    /// When it can't be created or written.
    pub fn set_up(&self) -> Result<(), LeaseError> {
        fs::create_dir_all(&self.dir)
            .map_err(|source| LeaseError::List { path: self.dir.clone(), source })?;
        let _lock = self.lock()?;
        if self.sequence()?.is_none() {
            let highest = self.read()?.iter().map(|lease| lease.generation).max();
            self.write(SEQUENCE, &highest.unwrap_or(Generation(0)))?;
        }
        Ok(())
    }

    /// Whether the directory was ever set up.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn exists(&self) -> Result<bool, LeaseError> {
        self.dir.try_exists().map_err(|source| LeaseError::List { path: self.dir.clone(), source })
    }

    /// All leases.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] when the directory is not as [`LeaseStore::set_up`] left it;
    /// then nothing is known about any lease.
    pub fn list(&self) -> Result<Leases, LeaseError> {
        if self.sequence()?.is_none() {
            return Err(LeaseError::Lost { path: self.dir.clone() });
        }
        self.read()
    }

    /// The owner's lease: the one it holds, or a new one.
    ///
    /// # Errors
    /// [`LeaseError::HoldsAnother`] when it holds one that doesn't fit what is wanted,
    /// [`LeaseError::Choose`] when the pool has none to give.
    pub fn acquire(&self, wanted: Wanted<'_>) -> Result<Lease, LeaseError> {
        let _lock = self.lock()?;
        let leases = self.list()?;
        if let Some(held) = leases.of(wanted.owner) {
            return if held.fits(wanted.pool, wanted.address) {
                Ok(held.clone())
            } else {
                Err(LeaseError::HoldsAnother { held: Box::new(held.clone()) })
            };
        }
        self.create(leases, wanted)
    }

    fn create(&self, mut leases: Leases, wanted: Wanted<'_>) -> Result<Lease, LeaseError> {
        if let Some(unreadable) = leases.unreadable.pop() {
            return Err(LeaseError::Unreadable(unreadable));
        }
        let taken =
            |address| leases.taken_by_name.contains(&address) || wanted.exclude.contains(&address);
        let in_use = wanted.in_use.filter(|(address, _)| {
            !taken(*address) && wanted.address.is_none_or(|asked| asked == *address)
        });
        let chosen =
            choose(wanted.pool, wanted.address.or(in_use.map(|(address, _)| address)), taken);
        let address =
            chosen.map_err(|source| LeaseError::Choose { owner: wanted.owner.clone(), source })?;
        let latest = self.sequence()?.unwrap_or(Generation(0));
        let next = Generation(latest.0.saturating_add(1));
        let generation = in_use.map_or(next, |(_, generation)| generation);
        self.write(SEQUENCE, &latest.max(next).max(generation))?;
        let lease = Lease {
            address,
            owner: wanted.owner.clone(),
            generation,
            pool: wanted.pool.name.clone(),
            confirmed: in_use.is_some(),
        };
        self.write(&file_name(address), &lease)?;
        hit(Failpoint::LeaseWritten);
        Ok(lease)
    }

    /// Records that the leased address is in service.
    ///
    /// # Errors
    /// [`LeaseError::Stale`] when the lease on disk is another.
    pub fn confirm(&self, lease: &Lease) -> Result<(), LeaseError> {
        let _lock = self.lock()?;
        self.same_on_disk(lease)?;
        self.write(&file_name(lease.address), &Lease { confirmed: true, ..lease.clone() })
    }

    /// Gives the address back.
    ///
    /// # Errors
    /// [`LeaseError::Stale`] when the lease on disk is another.
    pub fn release(&self, lease: &Lease) -> Result<(), LeaseError> {
        let _lock = self.lock()?;
        self.same_on_disk(lease)?;
        let name = file_name(lease.address);
        durable::remove(&self.dir, &name).map_err(|source| LeaseError::Remove {
            path: self.dir.clone(),
            name,
            source,
        })
    }

    fn same_on_disk(&self, lease: &Lease) -> Result<(), LeaseError> {
        let found = match read_record::<Lease>(&self.dir.join(file_name(lease.address))) {
            Ok(found) => Some(found),
            Err(Unreadable::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                None
            }
            Err(error) => return Err(LeaseError::Unreadable(error)),
        };
        if found.is_some_and(|l| l.owner == lease.owner && l.generation == lease.generation) {
            return Ok(());
        }
        Err(LeaseError::Stale {
            address: lease.address,
            owner: lease.owner.clone(),
            generation: lease.generation,
        })
    }

    fn lock(&self) -> Result<Lock, LeaseError> {
        let path = self.dir.join("lock");
        Lock::acquire(&path, "leases", Deadline::after(self.patience)).map_err(LeaseError::Lock)
    }

    fn sequence(&self) -> Result<Option<Generation>, LeaseError> {
        let path = self.dir.join(SEQUENCE);
        match read_record(&path) {
            Ok(generation) => Ok(Some(generation)),
            Err(Unreadable::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(LeaseError::Unreadable(error)),
        }
    }

    fn read(&self) -> Result<Leases, LeaseError> {
        let failed = |source| LeaseError::List { path: self.dir.clone(), source };
        let mut leases = Leases::default();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(stem) = name.strip_suffix(SUFFIX) else {
                continue;
            };
            if name.starts_with(durable::UNFINISHED) {
                continue;
            }
            let by_name: Option<IpAddr> = stem.parse().ok();
            leases.taken_by_name.extend(by_name);
            match read_record::<Lease>(&path) {
                Ok(lease) if by_name == Some(lease.address) => {
                    leases.by_address.insert(lease.address, lease);
                }
                Ok(Lease { address, .. }) => {
                    leases.unreadable.push(Unreadable::Name { path, address });
                }
                // Released between the listing and the reading.
                Err(Unreadable::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => leases.unreadable.push(error),
            }
        }
        Ok(leases)
    }

    fn write(&self, name: &str, record: &impl Serialize) -> Result<(), LeaseError> {
        let failed =
            |source| LeaseError::Write { path: self.dir.clone(), name: name.to_owned(), source };
        let mut bytes = serde_json::to_vec(record).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        durable::write(&self.dir, name, &bytes).map_err(failed)
    }
}

fn file_name(address: IpAddr) -> String {
    format!("{address}{SUFFIX}")
}

fn read_record<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Unreadable> {
    let bytes =
        fs::read(path).map_err(|source| Unreadable::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|source| Unreadable::Parse { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
