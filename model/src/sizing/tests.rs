//! Known shares, and what holds for all of them.

use proptest::prelude::*;

use super::*;

fn pool(limit_mib: u64) -> Sizing {
    Sizing::for_limit(limit_mib * MIB).unwrap()
}

#[test]
fn known_limits_give_known_pools() {
    assert_eq!(pool(384).buffer_pool, 48 * MIB);
    assert_eq!(pool(448).buffer_pool, 96 * MIB);
    assert_eq!(pool(1024).buffer_pool, 528 * MIB);
    assert_eq!(pool(2048).buffer_pool, 1024 * MIB);
    assert!(pool(2047).small && !pool(2048).small);
    let large = pool(64 * 1024);
    assert_eq!((large.buffer_pool, large.pool_instances), (55 * GIB, 8));
    let error = Sizing::for_limit(384 * MIB - 1).unwrap_err();
    assert!(error.to_string().contains("too few"));
}

#[test]
fn a_running_pool_follows_a_limit_in_its_own_steps() {
    let small = RunningPool { instances: 1, chunk: 16 * MIB, small: true };
    let sizes = [384, 448, 640, 1024, 4096].map(|mib| small.size_for(mib * MIB) / MIB);
    assert_eq!(sizes, [48, 96, 240, 528, 2592]);
    // Started by an earlier version with a pool below a chunk, which then is the chunk.
    let earlier = RunningPool { instances: 1, chunk: 96 * MIB, small: true };
    assert_eq!([448, 640].map(|mib| earlier.size_for(mib * MIB) / MIB), [96, 192]);
    // A large server keeps its large `performance_schema`, and one chunk for each instance.
    let large = RunningPool { instances: 2, chunk: 128 * MIB, small: false };
    let sizes = [384, 1024, 2048, 4096].map(|mib| large.size_for(mib * MIB) / MIB);
    assert_eq!(sizes, [256, 256, 1024, 2560]);
}

proptest! {
    #[test]
    fn a_pool_leaves_room_and_is_not_rounded_up_by_the_server(
        limit in SERVER_BYTES_MIN..1 << 42,
    ) {
        let sizing = Sizing::for_limit(limit).unwrap();
        prop_assert!(sizing.server_bytes() <= limit);
        prop_assert!(sizing.buffer_pool >= 48 * MIB);
        prop_assert!(sizing.buffer_pool.is_multiple_of(sizing.pool_instances * sizing.pool_chunk));
    }

    /// A server that has just been started has the pool that it would be given while it runs.
    #[test]
    fn a_new_pool_is_already_what_it_is_to_be(limit in SERVER_BYTES_MIN..1 << 42) {
        let sizing = Sizing::for_limit(limit).unwrap();
        let running = RunningPool {
            instances: sizing.pool_instances,
            chunk: sizing.pool_chunk,
            small: sizing.small,
        };
        prop_assert_eq!(running.size_for(limit), sizing.buffer_pool);
    }

    /// An upgrade changes no pool: earlier versions left the chunks to the server, which cuts
    /// the default to the pool where that is smaller.
    #[test]
    fn a_pool_of_an_earlier_version_is_what_it_is_to_be(limit in SERVER_BYTES_MIN..1 << 42) {
        let small = limit < SMALL_BELOW;
        let share = pool_share(limit, small);
        let instances = (share / GIB).clamp(1, 8);
        let step = if share < CHUNK { MIB } else { instances * CHUNK };
        let pool = share / step * step;
        let running = RunningPool { instances, chunk: CHUNK.min(pool / instances), small };
        prop_assert_eq!(running.size_for(limit), pool);
    }

    /// Whatever it was started with, its size is one that the server doesn't round.
    #[test]
    fn a_running_pool_is_a_multiple_of_its_step(
        limit in SERVER_BYTES_MIN..1 << 42, instances in 1u64..=8, chunk in 1u64..=256, small: bool,
    ) {
        let running = RunningPool { instances, chunk: chunk * MIB, small };
        let size = running.size_for(limit);
        prop_assert!(size > 0 && size.is_multiple_of(instances * chunk * MIB));
    }
}
