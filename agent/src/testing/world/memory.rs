//! Memory of the model: a server has its pool's pages, what clients took, and what
//! it takes beside that. A pool changes in steps of its own, and not at once.

use berth_model::sizing::{RunningPool, Sizing};
use berth_runtime::Limits;

use super::{Server, World};
use crate::mysql::{BufferPool, initialise::SMALL_DIGESTS};

/// What a server takes beside its pool, in bytes; with the large `performance_schema` more.
const SMALL_REST: u64 = 280 << 20;
const LARGE_REST: u64 = 500 << 20;

impl Server {
    /// What it has that can't be taken back, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let rest = if self.pool.fixed.small { SMALL_REST } else { LARGE_REST };
        rest + self.pool.allocated + self.clients_bytes
    }

    /// Begins to change the pool, as `SET GLOBAL innodb_buffer_pool_size` does.
    pub(super) fn set_pool(&mut self, bytes: u64) -> Result<(), String> {
        if self.pool.is_changing() {
            return Err("3957: another buffer pool resize is in progress".to_owned());
        }
        let step = self.pool.fixed.instances * self.pool.fixed.chunk;
        self.pool.size = bytes.next_multiple_of(step);
        Ok(())
    }

    /// Some seconds pass.
    pub(super) fn pool_changes(&mut self) {
        self.pool.allocated = self.pool.size;
    }
}

/// The pool of a server that was started for this memory limit.
pub(crate) fn pool_for(limit: u64) -> BufferPool {
    let sizing = Sizing::for_limit(limit).unwrap();
    let (instances, chunk) = (sizing.pool_instances, sizing.pool_chunk);
    let fixed = RunningPool { instances, chunk, small: sizing.small };
    BufferPool { size: sizing.buffer_pool, allocated: sizing.buffer_pool, fixed }
}

/// The pool of a server that was started with these arguments.
pub(super) fn pool_of(args: &[String]) -> BufferPool {
    let number = |name: &str| -> Option<u64> {
        args.iter().find_map(|arg| arg.strip_prefix(name)?.parse().ok())
    };
    let size = number("--innodb-buffer-pool-size=").unwrap();
    let fixed = RunningPool {
        instances: number("--innodb-buffer-pool-instances=").unwrap(),
        chunk: number("--innodb-buffer-pool-chunk-size=").unwrap(),
        small: number("--performance-schema-digests-size=") == Some(SMALL_DIGESTS),
    };
    BufferPool { size, allocated: size, fixed }
}

impl World {
    /// Changes a container's limits. A memory limit below what is in use is refused, and must
    /// never have been asked for.
    pub(super) fn limit(&mut self, id: &str, limits: &Limits) -> Result<(), String> {
        let place = self.place(&super::parse(id));
        let used = place.server().map_or(0, Server::memory);
        let container = place.container.as_mut().ok_or("no such container")?;
        let before = container.limits.memory_max_bytes;
        if let Some(new) = limits.memory_max_bytes
            && before.is_none_or(|old| new < old)
            && used >= new
        {
            self.wrongs.push(format!("{id}: a limit of {new} bytes while {used} are in use"));
            return Err("the memory limit can't be lowered".to_owned());
        }
        container.limits = limits.clone();
        Ok(())
    }

    /// The kernel kills who is above a limit.
    pub(super) fn killed_for_memory(&self) -> Vec<String> {
        let of = |(key, place): (&_, &super::Place)| {
            let limit = place.container.as_ref()?.limits.memory_max_bytes?;
            let used = place.server()?.memory();
            (used > limit).then(|| format!("{key}: {used} bytes in use, above its limit {limit}"))
        };
        self.places.iter().filter_map(of).collect()
    }
}
