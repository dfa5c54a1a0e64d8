//! The disk of an instance in the status document.

use berth_model::status::{DiskDevice, DiskKind, DiskStatus};
use berth_runtime::{BlockDevice, Via};

use crate::observe::{DiskFacts, Observed};

pub(super) fn instance(disk: &Observed<DiskFacts>) -> Option<DiskStatus> {
    let disk = disk.present()?;
    let on = &disk.on;
    Some(DiskStatus {
        path: disk.path.display().to_string(),
        mount_point: on.mount_point.display().to_string(),
        file_system: on.kind.clone(),
        device: on.device.as_ref().ok().map(device),
        no_device: on.device.as_ref().err().cloned(),
        free_bytes: on.free_bytes,
        total_bytes: on.total_bytes,
        read_only: on.read_only,
        suspended: on.suspended,
    })
}

fn device(device: &BlockDevice) -> DiskDevice {
    DiskDevice {
        name: device.name.clone(),
        number: device.number.to_string(),
        kind: match device.via {
            Via::Disk => DiskKind::Disk,
            Via::Partition => DiskKind::Partition,
            Via::DeviceMapper => DiskKind::DeviceMapper,
            Via::Md => DiskKind::Md,
        },
    }
}
