//! Data directories on disks of their own: a logical volume, a partition and an md mirror on
//! the machine's spare disk; and one on the data disk that all other instances share.

use berth_model::status::DiskKind;
use serde_json::{Value, json};

use crate::host::{Host, key, master};

/// The device under the data disk, which is not divided.
pub(crate) const DATA_DEVICE: &str = "/dev/vdb";
/// On the data disk.
pub(crate) const SHARED: &str = "stock-db1";
pub(crate) const ON_VOLUME: &str = "orders-db1";
pub(crate) const ON_PARTITION: &str = "parts-db1";
pub(crate) const ON_MIRROR: &str = "mirror-db1";
/// The volume's name to dmsetup(8).
pub(crate) const VOLUME: &str = "vg-orders";

/// An instance's own disk.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Whose data directory it is.
    pub(crate) name: &'static str,
    /// What holds the file system.
    pub(crate) device: &'static str,
    /// The device that io.max must name.
    pub(crate) limited: &'static str,
    /// What berth must take it for.
    pub(crate) kind: DiskKind,
}

/// The disks of their own.
pub(crate) const DISKS: [Disk; 3] = [
    Disk {
        name: ON_VOLUME,
        device: "/dev/vg/orders",
        limited: "/dev/vg/orders",
        kind: DiskKind::DeviceMapper,
    },
    Disk {
        name: ON_PARTITION,
        device: "/dev/vdc1",
        limited: "/dev/vdc",
        kind: DiskKind::Partition,
    },
    Disk { name: ON_MIRROR, device: "/dev/md0", limited: "/dev/md0", kind: DiskKind::Md },
];

/// Makes all disks, and mounts them.
pub(crate) fn make(host: &mut Host) {
    host.vm.sh(
        "printf 'size=700M\\nsize=900M\\nsize=700M\\nsize=700M\\n' | sfdisk --quiet /dev/vdc && \
         udevadm settle && \
         pvcreate -q /dev/vdc2 && vgcreate -q vg /dev/vdc2 && lvcreate -q -L 800M -n orders vg && \
         yes | mdadm --create /dev/md0 --quiet --level=1 --raid-devices=2 --assume-clean \
           /dev/vdc3 /dev/vdc4 && udevadm settle",
    );
    for Disk { name, device, .. } in &DISKS {
        host.vm.sh(&format!("mkfs.ext4 -q -m 0 {device} && mkdir -p '{}'", dir(name)));
        mount(host, name);
    }
}

/// Mounts the disk of this instance.
pub(crate) fn mount(host: &mut Host, name: &str) {
    let disk = own(name).expect("one of those with a disk of its own");
    host.vm.sh(&format!("mount -o errors=remount-ro {} '{}'", disk.device, dir(name)));
}

/// An instance's own disk, if it has one.
pub(crate) fn own(name: &str) -> Option<&'static Disk> {
    DISKS.iter().find(|disk| disk.name == name)
}

/// The data directory of an instance.
pub(crate) fn dir(name: &str) -> String {
    format!("/var/lib/berth/data/{}", key(name))
}

/// The number of a device, such as `253:0`.
pub(crate) fn number(host: &mut Host, device: &str) -> String {
    let number = host.vm.sh(&format!("lsblk -ndo MAJ:MIN $(readlink -f {device})"));
    number.trim().to_owned()
}

/// The goal of a master on each of the four disks; those named here have this `io`.
pub(crate) fn goal(host: &mut Host, limited: &[&str], io: &Value) {
    let entry = |name: &str, port| {
        let mut entry = master(name, port);
        entry["io"] = if limited.contains(&name) { io.clone() } else { json!({}) };
        entry
    };
    let entries = [(SHARED, 7335), (ON_VOLUME, 7336), (ON_PARTITION, 7337), (ON_MIRROR, 7338)];
    host.goal(&entries.map(|(name, port)| (name, entry(name, port))));
}
