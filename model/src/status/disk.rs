//! The disk of an instance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the device that io limits name follows from an instance's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskKind {
    /// The file system is on the whole disk.
    Disk,
    /// It is on a partition of the disk, which is limited as a whole.
    Partition,
    /// It is on a device mapper volume (LVM, LUKS, multipath), which is limited itself.
    DeviceMapper,
    /// It is on an md array, which is limited itself.
    Md,
}

/// A device that io limits name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskDevice {
    /// Its kernel name, such as `nvme0n1` or `dm-0`.
    pub name: String,
    /// Its number, `major:minor`, as io.max has it. It can be another one after a boot.
    pub number: String,
    /// How it was found.
    pub kind: DiskKind,
}

/// The disk of an instance, as the last pass found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskStatus {
    /// The instance's directory, or while that is not there the nearest above it that is.
    pub path: String,
    /// Where its file system is mounted. If that is the path, it is the instance's own.
    pub mount_point: String,
    /// The type of that, such as `ext4`.
    pub file_system: String,
    /// The device that the goal's io limits are set for; `None` if there is no single one.
    pub device: Option<DiskDevice>,
    /// Why there is none.
    pub no_device: Option<String>,
    /// Bytes that servers can still write.
    pub free_bytes: u64,
    /// All its bytes.
    pub total_bytes: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Whether its device mapper volume is suspended.
    pub suspended: bool,
}
