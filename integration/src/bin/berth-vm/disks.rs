//! Instances on disks of their own: a logical volume, a partition and an md mirror. Which
//! device is limited; and a disk that fills up, one whose file system fails, and one that
//! hangs, each of which is told of its instance alone, while the others go on.

use std::{
    thread,
    time::{Duration, Instant},
};

use berth_model::status::{DiskKind, InstanceStatus, Phase};
use serde_json::{Value, json};

use crate::host::{CONVERGE, Host, Packages, client, key, master};

/// On the data disk that all others share.
const OTHER: &str = "stock-db1";
const ON_VOLUME: &str = "orders-db1";
const ON_PARTITION: &str = "parts-db1";
const ON_MIRROR: &str = "mirror-db1";
/// The volume's name to dmsetup(8).
const VOLUME: &str = "vg-orders";
const MIB: u64 = 1 << 20;

/// The instance, its disk, the device that io.max must name, and how it is found.
const DISKS: [(&str, &str, &str, DiskKind); 3] = [
    (ON_VOLUME, "/dev/vg/orders", "/dev/vg/orders", DiskKind::DeviceMapper),
    (ON_PARTITION, "/dev/vdc1", "/dev/vdc", DiskKind::Partition),
    (ON_MIRROR, "/dev/md0", "/dev/md0", DiskKind::Md),
];

/// See the module.
pub(crate) fn disks_fail_alone(packages: &Packages) {
    let mut host = Host::new(packages);
    make_disks(&mut host);
    goal(&mut host, &json!({}));
    host.await_converged("four masters, three on disks of their own", 4);
    the_right_devices_are_limited(&mut host);
    host.start_writer(OTHER);
    it_fills_up(&mut host);
    its_file_system_fails(&mut host);
    it_hangs(&mut host);
    an_agent_starts_beside_it(&mut host);
    let last = host.end_writer();
    eprintln!("the writer beside them saw no error in {last} commits");
}

fn make_disks(host: &mut Host) {
    host.vm.sh(
        "printf 'size=700M\\nsize=900M\\nsize=700M\\nsize=700M\\n' | sfdisk --quiet /dev/vdc && \
         udevadm settle && \
         pvcreate -q /dev/vdc2 && vgcreate -q vg /dev/vdc2 && lvcreate -q -L 800M -n orders vg && \
         yes | mdadm --create /dev/md0 --quiet --level=1 --raid-devices=2 --assume-clean \
           /dev/vdc3 /dev/vdc4 && udevadm settle",
    );
    for (name, device, ..) in DISKS {
        host.vm.sh(&format!("mkfs.ext4 -q -m 0 {device} && mkdir -p '{}'", dir(name)));
        mount(host, name);
    }
}

fn dir(name: &str) -> String {
    format!("/var/lib/berth/data/{}", key(name))
}

fn mount(host: &mut Host, name: &str) {
    let device = DISKS.iter().find(|(is, ..)| *is == name).map_or("", |(_, device, ..)| device);
    host.vm.sh(&format!("mount -o errors=remount-ro {device} '{}'", dir(name)));
}

fn goal(host: &mut Host, io: &Value) {
    let entry = |name: &str, port| {
        let mut entry = master(name, port);
        entry["io"] = if name == OTHER { json!({}) } else { io.clone() };
        entry
    };
    let entries = [(OTHER, 7335), (ON_VOLUME, 7336), (ON_PARTITION, 7337), (ON_MIRROR, 7338)];
    host.goal(&entries.map(|(name, port)| (name, entry(name, port))));
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
    goal(host, &json!({ "write_bps": "50MiB/s" }));
    for (name, _, limited, kind) in DISKS {
        let number = host.vm.sh(&format!("lsblk -ndo MAJ:MIN $(readlink -f {limited})"));
        let group = Host::group(name);
        let set = format!("grep -q '^{} .*wbps={}' '{group}/io.max'", number.trim(), 50 * MIB);
        host.vm.await_sh("the limit on the instance's own device", CONVERGE, &set);
        let disk = instance(host, name).disk.expect("its disk");
        assert_eq!((&disk.path, &disk.mount_point), (&dir(name), &dir(name)));
        let device = disk.device.unwrap_or_else(|| panic!("{name}: {:?}", disk.no_device));
        assert_eq!((device.number.as_str(), device.kind), (number.trim(), kind), "{name}");
        eprintln!("{name}: {} ({}) by {kind:?}, io.max set there", device.name, device.number);
    }
    goal(host, &json!({}));
    host.await_converged("without limits", 4);
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
    mount(host, ON_MIRROR);
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
    host.vm.write(
        "/run/late",
        &format!("{client} -e 'INSERT INTO late.t VALUES (1)' && touch /run/late.done\n"),
    );
    host.vm.sh("systemd-run --quiet --unit=late sh /run/late");
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
