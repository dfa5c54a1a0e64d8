//! Limits of cgroup v2: set, changed while running, kept by the kernel; what one is worth to
//! a neighbour; and an instance that passes its memory limit.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    host::{CONVERGE, Host, Packages, client, key},
    neighbour,
    pair::{LIMITED, OTHER, await_files, goal},
    spare::{self, DATA_DEVICE},
};

const MIB: u64 = 1 << 20;

/// See the module.
pub(crate) fn limits_hold_and_change_while_running(packages: &Packages) {
    let mut host = Host::on_a_slow_disk(packages);
    goal(&mut host, &json!({}));
    host.await_converged("two masters", 2);
    let servers = host.servers();
    change_while_running(&mut host);
    size_changes_while_running(&mut host);
    processor_time(&mut host);
    threads(&mut host);
    assert_eq!(host.servers(), servers, "limits change without a restart");
    neighbour::has_the_disk_it_needs(&mut host);
    out_of_memory(&mut host);
}

/// Edits the goal and looks at the kernel's files, and at the status.
fn change_while_running(host: &mut Host) {
    let disk = spare::number(host, DATA_DEVICE);
    // A scheduler that has weights.
    let scheduler = "/sys/block/vdb/queue/scheduler";
    let before =
        host.vm.sh(&format!("modprobe bfq && sed 's/.*\\[\\(.*\\)\\].*/\\1/' {scheduler}"));
    host.vm.sh(&format!("echo bfq > {scheduler}"));
    for (fields, io_max, others) in steps(&disk) {
        goal(host, &fields);
        let mut files = vec![("io.max", io_max.clone())];
        files.extend(FILES.into_iter().zip(others.map(str::to_owned)));
        await_files(host, &files);
        let status = host.status();
        let usage = status.instances.iter().find(|(at, _)| at.as_str() == key(LIMITED));
        let shown = usage.map(|(_, one)| one.usage.io_max.clone()).unwrap_or_default();
        assert_eq!(shown.is_empty(), io_max.is_empty(), "io.max in the status: {shown:?}");
        assert!(shown.starts_with(&disk) || io_max.is_empty(), "{shown}");
        eprintln!("goal {fields}: {files:?}");
    }
    assert_eq!(host.limit(LIMITED, "memory.max"), (600 * MIB).to_string());
    host.vm.sh(&format!("echo {before} > {scheduler}"));
}

/// Another size is another limit and another buffer pool of the same server, up and down.
fn size_changes_while_running(host: &mut Host) {
    for (size, bytes) in [("800MiB", 800 * MIB), ("600MiB", 600 * MIB)] {
        goal(host, &json!({ "size": size }));
        await_files(host, &[("memory.max", bytes.to_string())]);
        host.await_converged(&format!("a size of {size}"), 2);
        let pool = host.sql(LIMITED, "SELECT @@innodb_buffer_pool_size DIV 1048576");
        eprintln!("size {size}: memory.max {bytes}, a buffer pool of {pool} MiB");
    }
}

/// The kernel's files beside io.max.
const FILES: [&str; 6] =
    ["io.bfq.weight", "cpu.max", "cpu.weight", "cpuset.cpus", "memory.high", "pids.max"];

/// What is asked for, one after the other, and how the files read then.
fn steps(disk: &str) -> [(Value, String, [&'static str; 6]); 3] {
    [
        (
            json!({ "io": { "write_bps": "10MiB/s", "read_iops": 300, "weight": 200 },
                    "cpu": { "cores": 1.5, "weight": 50, "cpuset": "0" },
                    "memory": { "high": "560MiB" }, "pids": 200 }),
            format!("{disk} rbps=max wbps=10485760 riops=300 wiops=max"),
            ["default 200", "150000 100000", "50", "0", "587202560", "200"],
        ),
        (
            json!({ "io": { "read_bps": "20MiB/s", "write_bps": "20MiB/s", "read_iops": 400,
                            "write_iops": 500 },
                    "cpu": { "cores": 0.5, "cpuset": "0-1" }, "pids": 300 }),
            format!("{disk} rbps=20971520 wbps=20971520 riops=400 wiops=500"),
            ["default 100", "50000 100000", "100", "0-1", "max", "300"],
        ),
        // A group with processes can't be without CPUs again: it has all.
        (json!({}), String::new(), ["default 100", "max 100000", "100", "0-1", "max", "max"]),
    ]
}

/// A server that reckons as much as it may has half a processor, if that is its limit.
fn processor_time(host: &mut Host) {
    goal(host, &json!({ "cpu": { "cores": 0.5 } }));
    await_files(host, &[("cpu.max", "50000 100000".to_owned())]);
    host.begin(LIMITED, "SELECT BENCHMARK(2000000000, SHA2(RAND(), 512))");
    let group = Host::group(LIMITED);
    let used = host.vm.sh(&format!(
        "sleep 2; u() {{ sed -n 's/^usage_usec //p' '{group}/cpu.stat'; }}; t() {{ date +%s%N; }}; \
         a=$(u); s=$(t); sleep 10; b=$(u); e=$(t); echo $(( (b - a) * 100000 / (e - s) ))"
    ));
    eprintln!("cpu.max of 0.5: {used} % of a processor");
    assert!(used.parse::<u64>().is_ok_and(|used| (25..=55).contains(&used)), "{used}");
    host.end_begun(LIMITED);
    goal(host, &json!({}));
    await_files(host, &[("cpu.max", "max 100000".to_owned())]);
}

/// More clients than a server may have threads for: those are refused, the others go on.
fn threads(host: &mut Host) {
    let now: u64 = host.limit(LIMITED, "pids.current").parse().expect("a number");
    let most = (now + 8).max(64);
    goal(host, &json!({ "pids": most }));
    await_files(host, &[("pids.max", most.to_string())]);
    let client = client(LIMITED);
    let group = Host::group(LIMITED);
    let ran = host.vm.run_within(
        &format!(
            "for i in $(seq 60); do {client} -e 'SELECT SLEEP(15)' > /dev/null 2>&1 & done; \
             for i in $(seq 20); do cat '{group}/pids.current'; sleep 0.5; done | sort -n | tail -n 1; wait"
        ),
        CONVERGE,
    );
    let seen: u64 = ran.stdout.trim().parse().unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let refused = host.vm.sh(&format!("sed -n 's/^max //p' '{group}/pids.events'"));
    eprintln!("pids.max of {most}: at most {seen} were seen, {refused} were refused");
    assert!(seen <= most && refused != "0", "{seen} of {most}, {refused} refused");
    goal(host, &json!({}));
    await_files(host, &[("pids.max", "max".to_owned())]);
    host.sql(LIMITED, "SELECT 1");
}

/// A query that wants more memory than its server may have.
fn out_of_memory(host: &mut Host) {
    let other = host.sql(OTHER, "SELECT @@pid_file, @@server_uuid");
    let before = host.servers();
    host.sql(LIMITED, "SET GLOBAL max_allowed_packet = 1073741824");
    let client = format!(
        "mariadb --no-defaults -uroot -S /run/berth/sockets/{}/mysqld.sock -e \
         \"SELECT LENGTH(REPEAT('a', 1000000000))\"",
        key(LIMITED)
    );
    let ran = host.vm.run_within(&client, Duration::from_secs(300));
    assert!(ran.code != 0, "the server passed its memory limit: {ran:?}");
    host.vm.await_sh(
        "the report",
        CONVERGE,
        "journalctl -u berth-agent -o cat | grep -i 'out of memory'",
    );
    host.await_converged("after running out of memory", 2);
    let after = host.servers();
    let kept = before.iter().filter(|pid| after.contains(pid)).count();
    assert_eq!(kept, 1, "one server was killed: {before:?} {after:?}");
    assert_eq!(host.sql(OTHER, "SELECT @@pid_file, @@server_uuid"), other);
    eprintln!("out of memory: the instance alone was killed, reported, and came back");
}
