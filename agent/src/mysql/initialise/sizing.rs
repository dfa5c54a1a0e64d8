//! How a memory limit is shared out inside mysqld.
//!
//! Measured on 9.7.4, idle, with a 32 MiB buffer pool: 530 MB resident with the default
//! `performance_schema`, 310 MB with the small one below, 219 MB with none. berth reads
//! `performance_schema`, so small instances get the small one.
//!
//! - Below [`SMALL_BELOW`]: 320 MiB for the server, of the rest three quarters.
//! - From there on: 640 MiB for the server, of the rest three quarters, but never more than
//!   8 GiB set aside for connections, sorts, temporary tables and the page cache of logs.

/// The smallest limit that a server runs in.
pub const MIN_MEMORY: u64 = berth_model::size::SERVER_BYTES_MIN;

/// Below this limit `performance_schema` is kept small.
const SMALL_BELOW: u64 = 2 * GIB;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// `innodb_buffer_pool_chunk_size`: a pool is rounded up to instances × this, so the sizes
/// here are multiples of it already.
const CHUNK: u64 = 128 * MIB;

/// Arguments of the small `performance_schema`, and of what is sized by it.
const SMALL: &[&str] = &[
    "--max-connections=100",
    "--table-open-cache=400",
    "--table-definition-cache=400",
    "--performance-schema-digests-size=200",
    "--performance-schema-error-size=200",
    "--performance-schema-events-stages-history-long-size=100",
    "--performance-schema-events-statements-history-long-size=100",
    "--performance-schema-events-transactions-history-long-size=100",
    "--performance-schema-events-waits-history-long-size=100",
    "--performance-schema-max-digest-length=512",
    "--performance-schema-max-index-stat=400",
    "--performance-schema-max-metadata-locks=4000",
    "--performance-schema-max-sql-text-length=512",
    "--performance-schema-max-table-handles=400",
    "--performance-schema-max-table-instances=200",
];

/// A limit below [`MIN_MEMORY`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} MiB of memory are too few for a server, it needs {} MiB; give it a larger size",
    limit >> 20,
    MIN_MEMORY >> 20
)]
pub struct SizingError {
    limit: u64,
}

/// How a server uses its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizing {
    /// `innodb_buffer_pool_size`, in bytes.
    pub buffer_pool: u64,
    /// `innodb_buffer_pool_instances`.
    pub pool_instances: u64,
    /// Whether `performance_schema` and the table caches are kept small.
    pub small: bool,
}

impl Sizing {
    /// Shares out `limit` bytes, the instance's memory.max.
    ///
    /// # Errors
    /// [`SizingError`] below [`MIN_MEMORY`].
    pub fn for_limit(limit: u64) -> Result<Self, SizingError> {
        if limit < MIN_MEMORY {
            return Err(SizingError { limit });
        }
        let small = limit < SMALL_BELOW;
        let rest = limit - if small { 320 * MIB } else { 640 * MIB };
        let pool = rest - (rest / 4).min(8 * GIB);
        let pool_instances = (pool / GIB).clamp(1, 8);
        let step = if pool < CHUNK { MIB } else { pool_instances * CHUNK };
        Ok(Self { buffer_pool: pool / step * step, pool_instances, small })
    }

    /// The arguments that say so.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![
            format!("--innodb-buffer-pool-size={}", self.buffer_pool),
            format!("--innodb-buffer-pool-instances={}", self.pool_instances),
        ];
        if self.small {
            args.extend(SMALL.iter().map(|arg| (*arg).to_owned()));
        }
        args
    }
}
