//! The disk of an instance, for `berth status INSTANCE`.

use berth_model::status::{DiskKind, DiskStatus};

use crate::cli::output;

/// Its device and how that was found, where it is mounted, its room, and what is wrong.
pub(super) fn words(disk: &DiskStatus) -> String {
    let device = match (&disk.device, &disk.no_device) {
        (Some(device), _) => {
            let kind = match device.kind {
                DiskKind::Disk => "disk",
                DiskKind::Partition => "the disk of its partition",
                DiskKind::DeviceMapper => "device mapper",
                DiskKind::Md => "md",
            };
            format!("{} ({}, {kind})", device.name, device.number)
        }
        (None, Some(why)) => format!("no device: {why}"),
        (None, None) => "no device".to_owned(),
    };
    let room =
        format!("{} of {} free", output::bytes(disk.free_bytes), output::bytes(disk.total_bytes));
    let mut text =
        format!("{device}, {} mounted at {}, {room}", disk.file_system, disk.mount_point);
    for (is_so, word) in [(disk.read_only, ", read-only"), (disk.suspended, ", suspended")] {
        if is_so {
            text.push_str(word);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use berth_model::status::DiskDevice;

    use super::*;

    #[test]
    fn the_device_and_how_it_was_found_are_told() {
        let mut disk = DiskStatus {
            path: "/data/h-a".into(),
            mount_point: "/data/h-a".into(),
            file_system: "ext4".into(),
            device: Some(DiskDevice {
                name: "dm-0".into(),
                number: "253:0".into(),
                kind: DiskKind::DeviceMapper,
            }),
            no_device: None,
            free_bytes: 3 << 29,
            total_bytes: 2 << 30,
            read_only: true,
            suspended: true,
        };
        assert_eq!(
            words(&disk),
            "dm-0 (253:0, device mapper), ext4 mounted at /data/h-a, 1.5GiB of 2.0GiB free, \
             read-only, suspended"
        );
        (disk.device, disk.no_device) = (None, Some("it is on tmpfs".into()));
        assert!(words(&disk).starts_with("no device: it is on tmpfs, ext4 mounted at"));
    }
}
