//! Limits that change while servers run, read from the kernel's own files: memory with the
//! buffer pool, processes, CPUs, shares.

use berth_integration::{Bed, Entry, cgroup};
use berth_model::{
    EntryKey,
    status::{Phase, Usage},
};
use serde_json::json;

use super::{keys, pids};

const FILE: &str = "shop.json";
const MIB: u64 = 1 << 20;
const POOL: &str = "SELECT @@innodb_buffer_pool_size >> 20";
/// Rows of 1 KB, for pages in the pool.
const ROWS: u32 = 60_000;
/// Rows in a transaction: what it takes in memory is not to matter here.
const BATCH: u32 = 1000;

#[test]
fn limits_follow_the_goal_while_servers_run() {
    let bed = Bed::new();
    let entries = with(&bed.cluster("shop", 0, 2), "size", &json!("512MiB"));
    bed.goal(FILE, &entries);
    bed.await_converged(&entries);
    let before = pids(&bed, &entries);
    bed.sql(&keys()[0], "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY, pad TEXT)");
    in_batches(&bed, |first, last| {
        format!(
            "INSERT INTO app.t WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 \
             FROM n WHERE i < {last}) SELECT i, REPEAT('x', 1000) FROM n"
        )
    });
    bed.await_answer(&keys()[1], "SELECT COUNT(*) FROM app.t", &ROWS.to_string());

    // Of 768 MiB the pool's share is 336, of 512 it is 144.
    memory_becomes(&bed, &entries, 768, "336");
    in_batches(&bed, |first, last| {
        format!("UPDATE app.t SET pad = REPEAT('y', 1000) WHERE id BETWEEN {first} AND {last}")
    });
    memory_becomes(&bed, &entries, 512, "144");
    const CHANGED: &str = "SELECT COUNT(*) FROM app.t WHERE pad LIKE 'y%'";
    bed.await_answer(&keys()[1], CHANGED, &ROWS.to_string());
    processes_cpus_and_shares_change(&bed, &entries);
    cpus_that_are_not_there_are_told(&bed, &entries);

    assert_eq!(pids(&bed, &entries), before, "the servers ran on");
    for instance in bed.status().instances.values() {
        assert_eq!((instance.crashes, instance.usage.oom_kills), (0, Some(0)));
    }
}

fn in_batches(bed: &Bed, statement: impl Fn(u32, u32) -> String) {
    let each = (0..ROWS / BATCH).map(|batch| statement(batch * BATCH + 1, (batch + 1) * BATCH));
    bed.sql(&keys()[0], &each.collect::<Vec<_>>().join("; "));
}

fn with(entries: &[Entry], field: &str, value: &serde_json::Value) -> Vec<Entry> {
    entries.iter().map(|entry| entry.clone().data(field, value.clone())).collect()
}

fn usage(bed: &Bed, key: &EntryKey) -> Usage {
    bed.status().instances[key].usage.clone()
}

/// A master and its minion alike.
fn memory_becomes(bed: &Bed, entries: &[Entry], mib: u64, pool: &str) {
    let sized = with(entries, "size", &json!(format!("{mib}MiB")));
    bed.goal(FILE, &sized);
    bed.await_converged(&sized);
    for key in &keys()[..2] {
        let limit =
            cgroup::file(bed.name(), key.as_str(), "memory", "memory.limit_in_bytes", "memory.max");
        assert_eq!(limit, Some((mib * MIB).to_string()), "{key}");
        assert_eq!(usage(bed, key).memory_max_bytes, Some(mib * MIB));
        assert_eq!(bed.sql(key, POOL), pool, "{key}");
    }
}

fn processes_cpus_and_shares_change(bed: &Bed, entries: &[Entry]) {
    let key = &keys()[0];
    let file =
        |controller, v1, v2| cgroup::file(bed.name(), key.as_str(), controller, v1, v2).unwrap();
    let limited: Vec<Entry> = with(entries, "pids", &json!(500));
    let limited = with(&limited, "cpu", &json!({ "cpuset": "0", "weight": 50 }));
    let limited = with(&limited, "io", &json!({ "weight": 200 }));
    let limited = with(&limited, "memory", &json!({ "high": "480MiB" }));
    bed.goal(FILE, &limited);
    bed.await_converged(&limited);
    assert_eq!(file("pids", "pids.max", "pids.max"), "500");
    assert_eq!(file("cpuset", "cpuset.cpus", "cpuset.cpus.effective"), "0");
    let shares = if cgroup::is_unified() { "50" } else { "512" };
    assert_eq!(file("cpu", "cpu.shares", "cpu.weight"), shares);
    let shown = usage(bed, key);
    assert_eq!(
        (shown.pids_max, shown.cpuset.as_deref(), shown.cpu_weight),
        (Some(500), Some("0"), Some(50))
    );
    let notes = bed.status().instances[key].notes.clone();
    // In force, or told why not: that depends on the disk's scheduler.
    let not = notes.iter().any(|note| note.starts_with("no limit io_weight: "));
    assert_eq!(shown.io_weight.is_none(), not, "{notes:?}");
    if cgroup::is_unified() {
        assert_eq!(file("memory", "", "memory.high"), (480 * MIB).to_string());
        assert_eq!(shown.memory_high_bytes, Some(480 * MIB));
    } else {
        // Told after a change under way too, and not shown as if it were in force.
        assert!(
            notes.iter().any(|note| note.starts_with("no limit memory_high_bytes: ")),
            "{notes:?}"
        );
        assert_eq!(shown.memory_high_bytes, None);
    }

    bed.goal(FILE, entries);
    bed.await_converged(entries);
    assert_eq!(file("pids", "pids.max", "pids.max"), "max");
    assert_ne!(file("cpuset", "cpuset.effective_cpus", "cpuset.cpus.effective"), "");
    let shares = if cgroup::is_unified() { "100" } else { "1024" };
    assert_eq!(file("cpu", "cpu.shares", "cpu.weight"), shares);
    let left = bed.status().instances[key].notes.clone();
    assert!(!left.iter().any(|note| note.starts_with("no limit")), "{left:?}");
}

fn cpus_that_are_not_there_are_told(bed: &Bed, entries: &[Entry]) {
    let key = &keys()[0];
    bed.goal(FILE, &with(entries, "cpu", &json!({ "cpuset": "0,8191" })));
    let told = bed.await_instance(key, "told of CPUs that are not there", |instance| {
        instance.phase == Phase::Converged
            && instance.notes.iter().any(|note| note.contains("the CPUs to be had are 0"))
    });
    assert!(told.blocked.is_none() && usage(bed, key).cpuset.is_none());
    bed.goal(FILE, entries);
    bed.await_converged(entries);
}
