use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{DeviceNumber, Via, btrfs_devices, mount_of, resolve, weights::takes_weights_in};

/// A /sys with a disk of two partitions, a volume, an array and a char-like node.
fn fake_sys(root: &Path) {
    let block = root.join("devices/block");
    for (dir, files) in [
        ("sda", &["queue/"][..]),
        ("sda/sda2", &["partition"]),
        ("dm-3", &["queue/", "dm/"]),
        ("md0", &["queue/", "md/"]),
        ("odd", &[]),
    ] {
        fs::create_dir_all(block.join(dir)).unwrap();
        for file in files {
            match file.strip_suffix('/') {
                Some(sub) => fs::create_dir_all(block.join(dir).join(sub)).unwrap(),
                None => fs::write(block.join(dir).join(file), "2\n").unwrap(),
            }
        }
    }
    fs::write(block.join("sda/dev"), "8:0\n").unwrap();
    let links = root.join("dev/block");
    fs::create_dir_all(&links).unwrap();
    for (number, dir) in
        [("8:0", "sda"), ("8:2", "sda/sda2"), ("253:3", "dm-3"), ("9:0", "md0"), ("7:9", "odd")]
    {
        symlink(block.join(dir), links.join(number)).unwrap();
    }
}

#[test]
fn each_kind_of_device_leads_to_what_can_be_limited() {
    let sys = tempfile::tempdir().unwrap();
    fake_sys(sys.path());
    for (from, to, name, via) in [
        ("8:0", "8:0", "sda", Via::Disk),
        ("8:2", "8:0", "sda", Via::Partition),
        ("253:3", "253:3", "dm-3", Via::DeviceMapper),
        ("9:0", "9:0", "md0", Via::Md),
    ] {
        let found = resolve(sys.path(), Path::new("/x"), from.parse().unwrap()).unwrap();
        assert_eq!(
            (found.number, found.name.as_str(), found.via),
            (to.parse().unwrap(), name, via)
        );
    }
    let error = resolve(sys.path(), Path::new("/x"), "7:9".parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no block device to limit under /x: 7:9 is neither a disk nor a partition"
    );
}

#[test]
fn an_anonymous_device_is_found_in_mountinfo() {
    let text =
        "1 0 8:2 / / rw - ext4 /dev/sda2 rw\n2 1 0:44 / /data rw shared:1 - btrfs /dev/sdb rw\n";
    let number = DeviceNumber { major: 0, minor: 44 };
    assert_eq!(mount_of(text, number), Some(("btrfs".into(), "/dev/sdb".into())));
    assert_eq!(mount_of(text, DeviceNumber { major: 0, minor: 45 }), None);
}

#[test]
fn btrfs_devices_are_counted() {
    let sys = tempfile::tempdir().unwrap();
    fake_sys(sys.path());
    let devices = sys.path().join("fs/btrfs/uuid/devices");
    fs::create_dir_all(devices.join("sda")).unwrap();
    let disk = "8:0".parse().unwrap();
    assert_eq!(btrfs_devices(sys.path(), disk).unwrap(), 1);
    fs::create_dir_all(devices.join("sdb")).unwrap();
    assert_eq!(btrfs_devices(sys.path(), disk).unwrap(), 2);
}

#[test]
fn numbers_parse_strictly() {
    assert_eq!("254:0\n".parse(), Ok(DeviceNumber { major: 254, minor: 0 }));
    for bad in ["", "254", "254:", "a:b", "8:0:1"] {
        assert!(bad.parse::<DeviceNumber>().is_err(), "{bad:?}");
    }
}

#[test]
fn weights_count_where_a_device_on_the_way_shares_out_by_them() {
    let sys = tempfile::tempdir().unwrap();
    fake_sys(sys.path());
    let block = sys.path().join("devices/block");
    let takes = |number: &str| takes_weights_in(sys.path(), number.parse().unwrap());
    let scheduler = |text| fs::write(block.join("sda/queue/scheduler"), text).unwrap();
    scheduler("none [mq-deadline] bfq\n");
    assert!(!takes("8:0") && !takes("253:3") && !takes("1:1"));
    scheduler("none mq-deadline [bfq]\n");
    assert!(takes("8:0") && !takes("253:3"));
    // A volume on a partition of that disk.
    fs::create_dir_all(block.join("dm-3/slaves")).unwrap();
    symlink(block.join("sda/sda2"), block.join("dm-3/slaves/sda2")).unwrap();
    assert!(takes("253:3"));
    scheduler("[none]\n");
    assert!(!takes("253:3"));
    fs::create_dir_all(sys.path().join("fs/cgroup")).unwrap();
    let costs = sys.path().join("fs/cgroup/io.cost.qos");
    fs::write(&costs, "8:0 enable=0 ctrl=auto\n8:16 enable=1 ctrl=auto\n").unwrap();
    assert!(!takes("8:0"));
    fs::write(&costs, "8:0 enable=1 ctrl=auto\n").unwrap();
    assert!(takes("8:0") && takes("253:3"));
}
