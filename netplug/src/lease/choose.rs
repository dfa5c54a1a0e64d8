//! Which address of a pool to hand out. Pure.

use std::net::IpAddr;

use crate::addr::next;
use crate::name::PoolName;
use crate::pool::Pool;

/// Why a pool can't give an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChooseError {
    /// Every address is leased, reserved or taken by a stranger.
    #[error("pool {pool} has no free address: enlarge its ranges or remove an instance")]
    Exhausted {
        /// The pool.
        pool: PoolName,
    },
    /// The address that was asked for belongs to somebody else.
    #[error("{address} of pool {pool} is taken")]
    Taken {
        /// The pool.
        pool: PoolName,
        /// The address.
        address: IpAddr,
    },
    /// The pool doesn't hand out the address that was asked for.
    #[error("{address} is outside the ranges of pool {pool}, reserved or its gateway")]
    NotOffered {
        /// The pool.
        pool: PoolName,
        /// The address.
        address: IpAddr,
    },
}

/// The address to lease: the wanted one, or the lowest free one.
pub(super) fn choose(
    pool: &Pool,
    wanted: Option<IpAddr>,
    taken: impl Fn(IpAddr) -> bool,
) -> Result<IpAddr, ChooseError> {
    let name = || pool.name.clone();
    if let Some(address) = wanted {
        return match (pool.offers(address), taken(address)) {
            (false, _) => Err(ChooseError::NotOffered { pool: name(), address }),
            (true, true) => Err(ChooseError::Taken { pool: name(), address }),
            (true, false) => Ok(address),
        };
    }
    for range in &pool.ranges {
        let mut candidate = Some(range.first());
        // Every turn passes a reserved range or one taken address: bounded by their number.
        while let Some(address) = candidate.filter(|address| range.contains(*address)) {
            let reserved = pool.reserved.iter().find(|reserved| reserved.contains(address));
            candidate = match reserved {
                Some(reserved) => next(reserved.last()),
                None if taken(address) || pool.gateway == Some(address) => next(address),
                None => return Ok(address),
            };
        }
    }
    Err(ChooseError::Exhausted { pool: name() })
}
