//! Pools of addresses.
//!
//! A drop-in directory (`/etc/berth/pools.d/*.json`), each file an object of one or
//! more pools by name:
//! ```json
//! { "orders": { "vlan": 120, "subnet": "10.20.0.0/22", "gateway": "10.20.0.1",
//!               "ranges": ["10.20.0.16-10.20.3.250"], "reserved": ["10.20.1.7"],
//!               "rate": {"in": "1Gbit", "out": "500Mbit"}, "mtu": 1500 } }
//! ```
//! [`PoolSet::load`] reads the files in name order, refuses each bad entry by itself
//! ([`Refusal`] tells the place, what was found and what was expected) and keeps the
//! rest. Pools never share an address. Two pools may split one subnet if both name
//! it, and its VLAN, in the same way.
//!
//! A refused pool says nothing about the leases in it: those stay.

mod parse;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::addr::{AddressRange, Subnet};
use crate::name::{PoolName, VlanId};
use crate::rate::Rates;

/// The MTU of a pool that names none.
pub const DEFAULT_MTU: u16 = 1500;

/// A valid pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: PoolName,
    /// The VLAN its addresses live in.
    pub vlan: VlanId,
    /// The network.
    pub subnet: Subnet,
    /// What may be handed out, ascending and without overlap.
    pub ranges: Vec<AddressRange>,
    /// The default route, if there is one.
    pub gateway: Option<IpAddr>,
    /// What is never handed out, though within the ranges; ascending and without overlap.
    pub reserved: Vec<AddressRange>,
    /// Limits of an instance that names none.
    pub rate: Rates,
    /// The MTU in bytes.
    pub mtu: u16,
}

impl Pool {
    /// How many addresses it may hand out.
    #[must_use]
    pub fn capacity(&self) -> u128 {
        let offered: u128 = self.ranges.iter().map(|range| range.len()).sum();
        let within = |range: &AddressRange| -> u128 {
            self.ranges.iter().map(|offered| offered.shared(*range)).sum()
        };
        let reserved: u128 = self.reserved.iter().map(within).sum();
        let gateway = self.gateway.is_some_and(|gateway| {
            self.ranges.iter().any(|range| range.contains(gateway))
                && !self.reserved.iter().any(|range| range.contains(gateway))
        });
        offered.saturating_sub(reserved).saturating_sub(gateway.into())
    }

    /// Whether the pool may hand out this address at all.
    #[must_use]
    pub fn offers(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
            && !self.reserved.iter().any(|range| range.contains(address))
            && self.gateway != Some(address)
    }
}

/// Why an entry, or a whole file, was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// The pool, if the error is inside of one.
    pub pool: Option<String>,
    /// The field, if the error is inside of one.
    pub field: Option<&'static str>,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
}

impl Refusal {
    /// What is wrong, without the place.
    #[must_use]
    pub fn mistake(&self) -> String {
        let pool = self.pool.iter().map(|pool| format!("pool {pool}: "));
        let field = self.field.iter().map(|field| format!("{field}: "));
        let place: String = pool.chain(field).collect();
        format!("{place}found {}, expected {}", self.found, self.expected)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        f.write_str(&self.mistake())
    }
}

impl std::error::Error for Refusal {}

/// Why the directory could not be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read the pools in {}", path.display())]
pub struct PoolSetError {
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Every pool of this host, and what was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolSet {
    pools: BTreeMap<PoolName, Pool>,
    refused: Vec<Refusal>,
}

impl PoolSet {
    /// Reads every `*.json` in the directory. A directory that isn't there holds no pools.
    ///
    /// # Errors
    /// [`PoolSetError`] when the directory or a file can't be read: then nothing is known
    /// about the pools, and the caller keeps those it had.
    pub fn load(dir: &Path) -> Result<Self, PoolSetError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PoolSetError { path, source }
        };
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(dir)(error)),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed(dir))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let bytes = std::fs::read(&path).map_err(failed(&path))?;
            files.push((path, bytes));
        }
        Ok(Self::from_files(&files))
    }

    /// The pools of these files, given in order.
    #[must_use]
    pub fn from_files(files: &[(PathBuf, Vec<u8>)]) -> Self {
        let mut set = Self::default();
        let mut places = BTreeMap::new();
        for (path, bytes) in files {
            let (pools, refused) = parse::file(path, bytes);
            set.refused.extend(refused);
            for found in pools {
                match parse::clash(&found, &set.pools, &places) {
                    Some(refusal) => set.refused.push(refusal),
                    None => {
                        places.insert(found.pool.name.clone(), path.clone());
                        set.pools.insert(found.pool.name.clone(), found.pool);
                    }
                }
            }
        }
        set
    }

    /// The pool of that name.
    #[must_use]
    pub fn get(&self, name: &PoolName) -> Option<&Pool> {
        self.pools.get(name)
    }

    /// All pools by name.
    pub fn iter(&self) -> impl Iterator<Item = &Pool> {
        self.pools.values()
    }

    /// What was refused, in the order of the files.
    #[must_use]
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }
}

#[cfg(test)]
mod tests;
