//! Limits of cgroup v2: set, changed while running, kept by the kernel, on every kind of disk;
//! and an instance that passes its memory limit.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{CONVERGE, Host, Packages, client, key, master};

const LIMITED: &str = "orders-db1";
const OTHER: &str = "stock-db1";
const MIB: u64 = 1 << 20;

/// What fio does, which rate of io.max limits it, and how much of that is asked for.
const LOADS: [(&str, &str, &str, u64); 5] = [
    (
        "direct write",
        "--rw=write --bs=64k --direct=1 --ioengine=libaio --iodepth=16",
        "wbps",
        8 * MIB,
    ),
    (
        "direct read",
        "--rw=read --bs=64k --direct=1 --ioengine=libaio --iodepth=16",
        "rbps",
        8 * MIB,
    ),
    ("buffered write and fsync", "--rw=write --bs=64k --fsync=16", "wbps", 8 * MIB),
    (
        "direct random write",
        "--rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=16",
        "wiops",
        200,
    ),
    (
        "direct random read",
        "--rw=randread --bs=4k --direct=1 --ioengine=libaio --iodepth=16",
        "riops",
        200,
    ),
];

/// How far what is achieved may be from what is asked. Wide, because the kernel lets bursts
/// pass and emulation stutters; the figures are printed.
const ACHIEVED_PERCENT: std::ops::RangeInclusive<u64> = 40..=140;

/// See the module.
pub(crate) fn limits_hold_and_change_while_running(packages: &Packages) {
    let mut host = Host::new(packages);
    goal(&mut host, &json!({}));
    host.await_converged("two masters", 2);
    let servers = host.servers();
    change_while_running(&mut host);
    size_changes_while_running(&mut host);
    rates(&mut host, "disk");
    processor_time(&mut host);
    threads(&mut host);
    assert_eq!(host.servers(), servers, "limits change without a restart");
    kinds_of_disks(&mut host);
    out_of_memory(&mut host);
}

/// The goal of two masters, one of them with these fields.
fn goal(host: &mut Host, fields: &Value) {
    let mut limited = master(LIMITED, 7335);
    for (name, value) in fields.as_object().into_iter().flatten() {
        limited[name] = value.clone();
    }
    host.goal(&[(LIMITED, limited), (OTHER, master(OTHER, 7336))]);
}

/// Waits until the kernel's files of the limited instance have these texts.
fn await_files(host: &mut Host, files: &[(&str, String)]) {
    let group = Host::group(LIMITED);
    let tests: Vec<String> = files
        .iter()
        .map(|(file, text)| format!("test \"$(cat '{group}/{file}')\" = '{text}'"))
        .collect();
    host.vm.await_sh("the goal's limits in the kernel", CONVERGE, &tests.join(" && "));
}

/// Edits the goal and looks at the kernel's files, and at the status.
fn change_while_running(host: &mut Host) {
    let disk = host.vm.sh("lsblk --noheadings --nodeps --output MAJ:MIN /dev/vdb");
    let disk = disk.trim().to_owned();
    // A scheduler that has weights.
    host.vm.sh("modprobe bfq && echo bfq > /sys/block/vdb/queue/scheduler");
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
    host.sql(
        LIMITED,
        "SELECT id INTO @busy FROM performance_schema.processlist \
                       WHERE info LIKE 'SELECT BENCHMARK%' LIMIT 1; KILL @busy",
    );
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

/// Sets each rate by the goal, and measures it from inside the instance's control group.
fn rates(host: &mut Host, what: &str) {
    for (load, arguments, rate, asked) in LOADS {
        let field = match rate {
            "wbps" => json!({ "write_bps": asked_rate(asked) }),
            "rbps" => json!({ "read_bps": asked_rate(asked) }),
            "wiops" => json!({ "write_iops": asked }),
            _ => json!({ "read_iops": asked }),
        };
        goal(host, &json!({ "io": field }));
        let group = Host::group(LIMITED);
        let set = format!("grep -q {rate}={asked} '{group}/io.max'");
        host.vm.await_sh("the rate in the kernel", CONVERGE, &set);
        let achieved = fio(host, &group, "/var/lib/berth/fio", arguments, rate);
        judge(&format!("{what}, {load}, {rate}"), asked, achieved);
    }
    goal(host, &json!({}));
    host.vm.sh("rm -f /var/lib/berth/fio");
}

fn asked_rate(bytes: u64) -> String {
    format!("{}MiB/s", bytes / MIB)
}

fn judge(what: &str, asked: u64, achieved: u64) {
    let percent = achieved * 100 / asked;
    eprintln!("io.max on {what}: asked {asked}, achieved {achieved} ({percent} %)");
    assert!(ACHIEVED_PERCENT.contains(&percent), "{what}: {percent} % of what was asked");
}

/// What fio achieves on a file from inside a control group: bytes or requests a second.
fn fio(host: &mut Host, group: &str, file: &str, arguments: &str, rate: &str) -> u64 {
    let script = format!(
        "echo $$ > '{group}/cgroup.procs' && exec fio --name=load --filename={file} --size=64M \
         --time_based --ramp_time=2 --runtime=12 --output-format=json {arguments}"
    );
    let text =
        host.vm.run_within(&format!("sh -c \"{}\"", script.replace("$$", "\\$\\$")), CONVERGE);
    let found: Value = serde_json::from_str(text.stdout.trim_start_matches(|c| c != '{'))
        .unwrap_or_else(|error| panic!("{error}: {text:?}"));
    let side = if rate.starts_with('r') { "read" } else { "write" };
    let job = &found["jobs"][0][side];
    let value = if rate.ends_with("bps") { &job["bw_bytes"] } else { &job["iops"] };
    value.as_f64().map(|value| value.round()).map_or(0, |value| {
        // A rate is far below 2^53.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        let value = value as u64;
        value
    })
}

/// Data directories on a partition, a logical volume and a mirror: the device that berth
/// chooses must be one that the kernel limits.
fn kinds_of_disks(host: &mut Host) {
    host.vm.sh(
        "printf 'size=700M\\nsize=700M\\nsize=500M\\nsize=500M\\n' | sfdisk --quiet /dev/vdc && \
         udevadm settle && \
         pvcreate -q /dev/vdc2 && vgcreate -q vg /dev/vdc2 && lvcreate -q -L 600M -n lv vg && \
         yes | mdadm --create /dev/md0 --quiet --level=1 --raid-devices=2 --assume-clean \
           /dev/vdc3 /dev/vdc4 && udevadm settle",
    );
    for (kind, device, chosen) in [
        ("partition", "/dev/vdc1", "vdc"),
        ("logical volume", "/dev/vg/lv", "dm-0"),
        ("md mirror", "/dev/md0", "md0"),
    ] {
        host.vm.sh(&format!(
            "mkfs.ext4 -q {device} && mkdir -p /mnt/kind && mount {device} /mnt/kind"
        ));
        host.vm.sh("printf 'data_dir = \"/mnt/kind\"\\n' > /root/kind.toml");
        // It ends with 1 where something else is missing.
        let said = host.vm.run("berth --config /root/kind.toml preflight").stdout;
        let line = said.lines().find(|line| line.contains("/mnt/kind is on"));
        let line = line.unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(&format!("is on {chosen} (")), "{kind}: {line}");
        let number = line.rsplit(['(', ')']).nth(1).unwrap_or_default().to_owned();
        let group = format!("{}/../probe", Host::group(LIMITED));
        host.vm.sh(&format!(
            "mkdir -p '{group}' && echo '{number} wbps={}' > '{group}/io.max'",
            8 * MIB
        ));
        let write = "--rw=write --bs=64k --direct=1 --ioengine=libaio --iodepth=16";
        let achieved = fio(host, &group, "/mnt/kind/fio", write, "wbps");
        judge(&format!("{kind} ({chosen} {number}), direct write, wbps"), 8 * MIB, achieved);
        host.vm.sh(&format!("rmdir '{group}' && umount /mnt/kind"));
    }
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
