//! Whether anything on the way to a disk shares it out by weight: the BFQ scheduler, or iocost.
//!
//! The kernel takes `io.weight` in any case; without one of them it does nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::DeviceNumber;

/// How deep volumes are stacked at most: md on LVM on LUKS and the like.
const DEPTH_MAX: usize = 8;

/// Whether the disk shares its time out by weight: the BFQ scheduler leads it, or a device below
/// it (Documentation/block/bfq-iosched.rst), or iocost is enabled for one of them (`io.cost.qos`,
/// Documentation/admin-guide/cgroup-v2.rst). What can't be read counts as no.
#[must_use]
pub fn takes_weights(device: DeviceNumber) -> bool {
    takes_weights_in(Path::new("/sys"), device)
}

pub(super) fn takes_weights_in(sys: &Path, device: DeviceNumber) -> bool {
    let costs = fs::read_to_string(sys.join("fs/cgroup/io.cost.qos")).unwrap_or_default();
    let dir = fs::canonicalize(sys.join(format!("dev/block/{device}")));
    dir.is_ok_and(|dir| shares_out(&dir, &costs, DEPTH_MAX))
}

fn shares_out(dir: &Path, costs: &str, depth: usize) -> bool {
    let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let number = read("dev");
    let is_enabled = |line: &str| {
        line.split_once(' ').is_some_and(|(of, words)| {
            of == number.trim() && words.split(' ').any(|word| word == "enable=1")
        })
    };
    read("queue/scheduler").contains("[bfq]")
        || costs.lines().any(is_enabled)
        || (depth > 0 && below(dir).iter().any(|dir| shares_out(dir, costs, depth - 1)))
}

/// The devices that a volume is made of; a partition's disk.
fn below(dir: &Path) -> Vec<PathBuf> {
    if dir.join("partition").exists() {
        return dir.parent().map(Path::to_owned).into_iter().collect();
    }
    let slaves = fs::read_dir(dir.join("slaves")).into_iter().flatten().flatten();
    slaves.filter_map(|slave| fs::canonicalize(slave.path()).ok()).collect()
}
