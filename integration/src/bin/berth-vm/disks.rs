//! Instances on disks of their own: a logical volume, a partition and an md mirror. Which
//! device is limited; and a disk that fills up, one whose file system fails, and one that
//! hangs, each of which is told of its instance alone, while the others go on.

use std::{
    thread,
    time::{Duration, Instant},
};

use berth_model::status::{InstanceStatus, Phase};
use serde_json::json;

use crate::{
    host::{CONVERGE, Host, Packages, client, key},
    spare::{self, DISKS, Disk, ON_MIRROR, ON_VOLUME, SHARED, VOLUME, dir},
};

const MIB: u64 = 1 << 20;

/// See the module.
pub(crate) fn disks_fail_alone(packages: &Packages) {
    let mut host = Host::new(packages);
    spare::make(&mut host);
    spare::goal(&mut host, &[], &json!({}));
    host.await_converged("four masters, three on disks of their own", 4);
    the_right_devices_are_limited(&mut host);
    host.start_writer(SHARED);
    it_fills_up(&mut host);
    its_file_system_fails(&mut host);
    it_hangs(&mut host);
    an_agent_starts_beside_it(&mut host);
    let last = host.end_writer();
    eprintln!("the writer beside them saw no error in {last} commits");
}

fn instance(host: &mut Host, name: &str) -> InstanceStatus {
    let mut status = host.status();
    let key = key(name).parse().expect("a key");
    status.instances.remove(&key).unwrap_or_else(|| panic!("{name} is not in the status"))
}

fn pid(host: &mut Host, name: &str) -> u32 {
    let container = instance(host, name).container;
    container.and_then(|container| container.pid).unwrap_or_else(|| panic!("{name} must run"))
}

fn the_right_devices_are_limited(host: &mut Host) {
    spare::goal(host, &DISKS.map(|disk| disk.name), &json!({ "write_bps": "50MiB/s" }));
    for disk in &DISKS {
        let Disk { name, limited, kind, .. } = *disk;
        let number = spare::number(host, limited);
        let group = Host::group(name);
        let set = format!("grep -q '^{number} .*wbps={}' '{group}/io.max'", 50 * MIB);
        host.vm.await_sh("the limit on the instance's own device", CONVERGE, &set);
        let disk = instance(host, name).disk.expect("its disk");
        assert_eq!((&disk.path, &disk.mount_point), (&dir(name), &dir(name)));
        let device = disk.device.unwrap_or_else(|| panic!("{name}: {:?}", disk.no_device));
        assert_eq!((device.number.as_str(), device.kind), (&*number, kind), "{name}");
        eprintln!("{name}: {} ({}) by {kind:?}, io.max set there", device.name, device.number);
        preflight_names_it(host, name, &device.name, &number);
    }
    spare::goal(host, &[], &json!({}));
    host.await_converged("without limits", 4);
}

/// `berth preflight`, with this disk as the one of all data, names the same device.
fn preflight_names_it(host: &mut Host, name: &str, device: &str, number: &str) {
    host.vm.write("/run/other.toml", &format!("data_dir = \"{}\"\n", dir(name)));
    // It ends with 1 where something else is missing.
    let said = host.vm.run("berth --config /run/other.toml preflight").stdout;
    let expected = format!("{} is on {device} ({number})", dir(name));
    assert!(said.contains(&expected), "expected {expected}: {said}");
}

/// Waits until an instance is blocked for this reason, and asserts that all others go on.
fn told(host: &mut Host, name: &str, why: &str) -> InstanceStatus {
    let begun = Instant::now();
    let found = loop {
        let found = instance(host, name);
        if found.blocked.as_ref().is_some_and(|told| told.contains(why)) {
            break found;
        }
        assert!(begun.elapsed() < CONVERGE, "waited in vain for {name}: {why}; it is {found:?}");
        thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(found.phase, Phase::Blocked);
    eprintln!("{name}, after {:?}: {}", begun.elapsed(), found.blocked.as_deref().unwrap_or("-"));
    the_others_go_on(host, name);
    found
}

fn the_others_go_on(host: &mut Host, name: &str) {
    let begun = Instant::now();
    host.vm.sh("timeout 20 berth status --json > /dev/null");
    eprintln!("status answers in {:?}", begun.elapsed());
    let status = host.status();
    let others = status.instances.iter().filter(|(at, _)| at.as_str() != key(name));
    for (at, other) in others {
        assert_eq!(other.phase, Phase::Converged, "{at} beside {name}: {other:?}");
    }
    host.await_commits(3);
}

fn it_fills_up(host: &mut Host) {
    let before = pid(host, ON_VOLUME);
    let filler = format!("{}/filler", dir(ON_VOLUME));
    host.vm.sh(&format!(
        "free=$(df --output=avail -B1 '{0}' | tail -n 1) && fallocate -l $((free - {1})) '{2}'",
        dir(ON_VOLUME),
        6 * MIB,
        filler
    ));
    told(host, ON_VOLUME, "is full, with");
    host.vm.sh(&format!("rm '{filler}'"));
    host.await_converged("with room again", 4);
    assert_eq!(pid(host, ON_VOLUME), before, "its server was left alone");
}

/// As after an error of the disk: the kernel takes the file system out of use.
fn its_file_system_fails(host: &mut Host) {
    let before = pid(host, ON_MIRROR);
    host.vm.sh("echo 'a test of berth' > /sys/fs/ext4/md0/trigger_fs_error");
    told(host, ON_MIRROR, "read-only");
    // It may have ended by itself.
    host.vm.run(&format!("kill -9 {before}"));
    let told = told(host, ON_MIRROR, "no server is started on it");
    let exit = told.last_exit.unwrap_or_default();
    assert!(exit.contains("is read-only"), "{exit}");
    eprintln!("its server ended by {exit}");
    host.vm.sh(&format!("umount '{}'", dir(ON_MIRROR)));
    let free = "test ! -e /sys/fs/ext4/md0";
    host.vm.await_sh("the file system to be given up", CONVERGE, free);
    let checked = host.vm.run("fsck.ext4 -f -y /dev/md0");
    assert!(checked.code <= 1, "{checked:?}");
    spare::mount(host, ON_MIRROR);
    host.await_converged("after a check of the file system", 4);
}

fn suspend(host: &mut Host) {
    host.vm.sh(&format!("dmsetup suspend --noflush --nolockfs {VOLUME}"));
}

fn resume(host: &mut Host) {
    host.vm.sh(&format!("dmsetup resume {VOLUME}"));
}

fn it_hangs(host: &mut Host) {
    let before = pid(host, ON_VOLUME);
    let restarts = host.vm.sh("systemctl show -P NRestarts berth-agent");
    host.sql(ON_VOLUME, "CREATE DATABASE late");
    host.sql(ON_VOLUME, "CREATE TABLE late.t (id INT PRIMARY KEY)");
    suspend(host);
    let client = client(ON_VOLUME);
    host.beside(
        "late",
        &format!("{client} -e 'INSERT INTO late.t VALUES (1)' && touch /run/late.done\n"),
    );
    let told_of = told(host, ON_VOLUME, "has not answered for");
    assert!(told_of.disk.is_some_and(|disk| disk.suspended), "the reason is seen too");
    assert_eq!((told_of.retry, pid(host, ON_VOLUME)), (None, before));
    // Longer than the watchdog allows between two signs of life.
    for _ in 0..4 {
        thread::sleep(Duration::from_secs(50));
        the_others_go_on(host, ON_VOLUME);
    }
    assert_eq!(host.vm.sh("systemctl show -P NRestarts berth-agent"), restarts);
    assert_ne!(host.vm.run("test -e /run/late.done").code, 0, "it was committed nowhere");
    resume(host);
    host.vm.await_sh("the commit that waited", CONVERGE, "test -e /run/late.done");
    host.await_converged("after the disk answered again", 4);
    assert_eq!(pid(host, ON_VOLUME), before, "its server was left alone");
    assert_eq!(host.sql(ON_VOLUME, "SELECT id FROM late.t"), "1");
}

/// The old agent can't end wholly while one of its threads waits for the disk; systemd gives
/// it up after a minute.
fn an_agent_starts_beside_it(host: &mut Host) {
    let before = pid(host, ON_VOLUME);
    suspend(host);
    told(host, ON_VOLUME, "has not answered for");
    let old = host.status().agent.pid;
    let begun = Instant::now();
    let ran = host.vm.run_within("systemctl restart berth-agent", Duration::from_secs(400));
    assert_eq!(ran.code, 0, "{ran:?}");
    eprintln!("an agent started anew beside a disk that hangs: {:?}", begun.elapsed());
    assert_ne!(host.status().agent.pid, old);
    told(host, ON_VOLUME, "has not answered for");
    resume(host);
    host.await_converged("after the disk answered again", 4);
    assert_eq!(pid(host, ON_VOLUME), before, "its server was left alone");
}
