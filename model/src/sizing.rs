//! How a memory limit is shared out inside mysqld. A goal's `size` means this, and its
//! `memory.high` is checked against it.
//!
//! Measured on 9.7.4, idle, with a 32 MiB buffer pool: 530 MB resident with the default
//! `performance_schema`, 310 MB with the small one, 219 MB with none. berth reads
//! `performance_schema`, so small instances get the small one.
//!
//! - Below [`SMALL_BELOW`]: 320 MiB for the server, of the rest three quarters.
//! - From there on: 640 MiB for the server, of the rest three quarters, but never more than
//!   8 GiB set aside for connections, sorts, temporary tables and the page cache of logs.
//!
//! Whether `performance_schema` is small, how many instances a pool has and in what chunks it
//! grows are fixed when a server starts; its pool's size is not, see [`RunningPool`].

use crate::size::SERVER_BYTES_MIN;

/// Below this limit `performance_schema` is kept small.
pub const SMALL_BELOW: u64 = 2 * GIB;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// `innodb_buffer_pool_chunk_size`: a pool is rounded up to instances × this. The server's
/// default; a small server gets smaller ones, so that its pool can follow a new limit closely.
const CHUNK: u64 = 128 * MIB;
const SMALL_CHUNK: u64 = 16 * MIB;

/// A limit below [`SERVER_BYTES_MIN`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} MiB of memory are too few for a server, it needs {} MiB; give it a larger size",
    limit >> 20,
    SERVER_BYTES_MIN >> 20
)]
pub struct SizingError {
    limit: u64,
}

/// How a server that is started uses its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    /// `innodb_buffer_pool_size`, in bytes; a multiple of instances × chunk.
    pub buffer_pool: u64,
    /// `innodb_buffer_pool_instances`.
    pub pool_instances: u64,
    /// `innodb_buffer_pool_chunk_size`, in bytes.
    pub pool_chunk: u64,
    /// Whether `performance_schema` and the table caches are kept small.
    pub small: bool,
}

impl Sizing {
    /// Shares out `limit` bytes, the instance's memory.max.
    ///
    /// # Errors
    /// [`SizingError`] below [`SERVER_BYTES_MIN`].
    pub fn for_limit(limit: u64) -> Result<Self, SizingError> {
        if limit < SERVER_BYTES_MIN {
            return Err(SizingError { limit });
        }
        let small = limit < SMALL_BELOW;
        let pool = pool_share(limit, small);
        let pool_instances = if small { 1 } else { (pool / GIB).clamp(1, 8) };
        let pool_chunk = if small { SMALL_CHUNK } else { CHUNK };
        let step = pool_instances * pool_chunk;
        Ok(Self { buffer_pool: pool / step * step, pool_instances, pool_chunk, small })
    }

    /// What the server takes once its pool is full, in bytes.
    #[must_use]
    pub fn server_bytes(&self) -> u64 {
        self.buffer_pool + reserve(self.small)
    }
}

/// What a server takes beside its pool.
fn reserve(small: bool) -> u64 {
    if small { 320 * MIB } else { 640 * MIB }
}

/// The pool's share of a limit, before it is rounded.
fn pool_share(limit: u64, small: bool) -> u64 {
    let rest = limit.saturating_sub(reserve(small));
    rest - (rest / 4).min(8 * GIB)
}

/// What of a running server's buffer pool can't change any more, and so decides what sizes it
/// can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningPool {
    /// `innodb_buffer_pool_instances`.
    pub instances: u64,
    /// `innodb_buffer_pool_chunk_size`, in bytes.
    pub chunk: u64,
    /// Whether the server was started with a small `performance_schema`.
    pub small: bool,
}

impl RunningPool {
    /// The size, in bytes, that the pool is to have under a limit: what the server makes of it
    /// is this very number (it rounds up to instances × chunk; MySQL 8.4 Reference Manual,
    /// 17.8.3.1), and at least one chunk for each instance.
    #[must_use]
    pub fn size_for(&self, limit: u64) -> u64 {
        let step = (self.instances * self.chunk).max(1);
        let share = pool_share(limit, self.small && limit < SMALL_BELOW);
        (share / step * step).max(step)
    }
}

#[cfg(test)]
mod tests;
