//! The buffer pool, which follows the instance's memory while the server runs.

use berth_model::sizing::RunningPool;

use super::super::{Cause, initialise::SMALL_DIGESTS, row::Row};

pub(super) const POOL: &str = "SELECT @@GLOBAL.innodb_buffer_pool_size AS size, \
     @@GLOBAL.innodb_buffer_pool_chunk_size AS chunk, \
     @@GLOBAL.innodb_buffer_pool_instances AS instances, @@GLOBAL.innodb_page_size AS page, \
     @@GLOBAL.performance_schema_digests_size AS digests";

/// InnoDB's buffer pool (MySQL 8.4 Reference Manual, 17.8.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferPool {
    /// `innodb_buffer_pool_size`, in bytes: what it has, or what it is changing to.
    pub size: u64,
    /// The bytes of the pages that it has; a little less than its size, when that is reached.
    pub allocated: u64,
    /// What a running server can't change.
    pub fixed: RunningPool,
}

impl BufferPool {
    /// Whether it has not reached its size yet. Another size is refused meanwhile.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.allocated > self.size || self.allocated + self.fixed.chunk <= self.size
    }
}

pub(super) fn read(answer: &[Row], pages: u64) -> Result<BufferPool, Cause> {
    let row = answer.first().ok_or_else(|| Cause::Answer("no buffer pool".to_owned()))?;
    let digests: i64 = row.parse("digests")?;
    Ok(BufferPool {
        size: row.parse("size")?,
        allocated: pages * row.parse::<u64>("page")?,
        fixed: RunningPool {
            instances: row.parse("instances")?,
            chunk: row.parse("chunk")?,
            small: u64::try_from(digests).is_ok_and(|digests| digests <= SMALL_DIGESTS),
        },
    })
}
