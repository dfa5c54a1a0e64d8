//! What a container has used, read from its leaf's counters.
//!
//! A counter that the host does not have is `None`, never zero.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::layout::Version;
use super::leaf::Leaf;
use crate::device::DeviceNumber;
use crate::error::Result;
use crate::files;

/// Bytes and requests of one disk since the container's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUsage {
    /// The disk.
    pub device: DeviceNumber,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read requests.
    pub read_ops: u64,
    /// Write requests.
    pub write_ops: u64,
}

/// Counters of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Memory now, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// The most memory so far, in bytes (v2: Linux 5.19).
    pub memory_peak_bytes: Option<u64>,
    /// How often the kernel killed a process of it for want of memory.
    pub oom_kills: Option<u64>,
    /// CPU time, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Periods in which its CPU quota ran out.
    pub throttled_periods: Option<u64>,
    /// Time that it waited for quota, in microseconds.
    pub throttled_usec: Option<u64>,
    /// Processes and threads now.
    pub pids: Option<u64>,
    /// Disks, in the order of their numbers; empty until one was used.
    pub io: Vec<IoUsage>,
}

/// Reads all counters of a leaf.
pub(crate) fn usage(leaf: &Leaf) -> Result<Usage> {
    let reader = Reader(leaf);
    match leaf.version() {
        Version::Unified => Ok(Usage {
            memory_bytes: reader.number("memory", "memory.current")?,
            memory_peak_bytes: reader.number("memory", "memory.peak")?,
            oom_kills: reader.keyed("memory", "memory.events", "oom_kill")?,
            cpu_usec: reader.keyed("cpu", "cpu.stat", "usage_usec")?,
            throttled_periods: reader.keyed("cpu", "cpu.stat", "nr_throttled")?,
            throttled_usec: reader.keyed("cpu", "cpu.stat", "throttled_usec")?,
            pids: reader.number("pids", "pids.current")?,
            io: parse_io_stat(&reader.text("io", "io.stat")?.unwrap_or_default()),
        }),
        Version::Legacy => {
            let text = |name: &str| -> Result<String> {
                Ok(reader.text("blkio", name)?.unwrap_or_default())
            };
            let bytes = text("blkio.throttle.io_service_bytes_recursive")?;
            let operations = text("blkio.throttle.io_serviced_recursive")?;
            Ok(Usage {
                memory_bytes: reader.number("memory", "memory.usage_in_bytes")?,
                memory_peak_bytes: reader.number("memory", "memory.max_usage_in_bytes")?,
                oom_kills: reader.keyed("memory", "memory.oom_control", "oom_kill")?,
                cpu_usec: reader.number("cpuacct", "cpuacct.usage")?.map(|ns| ns / 1000),
                throttled_periods: reader.keyed("cpu", "cpu.stat", "nr_throttled")?,
                throttled_usec: reader
                    .keyed("cpu", "cpu.stat", "throttled_time")?
                    .map(|ns| ns / 1000),
                pids: reader.number("pids", "pids.current")?,
                io: parse_blkio(&bytes, &operations),
            })
        }
    }
}

/// How many processes of the leaf were killed for want of memory.
pub(crate) fn oom_kills(leaf: &Leaf) -> Result<Option<u64>> {
    let file = match leaf.version() {
        Version::Unified => "memory.events",
        Version::Legacy => "memory.oom_control",
    };
    Reader(leaf).keyed("memory", file, "oom_kill")
}

/// How much of the leaf's memory the kernel can't take back, in bytes: all but the page cache
/// of files and reclaimable slabs, so that what isn't known of counts. With a limit below this
/// it would have to kill (v2) or refuses (v1). `None` where there is no memory controller.
pub(crate) fn pinned_memory(leaf: &Leaf) -> Result<Option<u64>> {
    let reader = Reader(leaf);
    let (file, prefix) = match leaf.version() {
        Version::Unified => ("memory.current", ""),
        // Those without a prefix leave out the groups below.
        Version::Legacy => ("memory.usage_in_bytes", "total_"),
    };
    let stat = reader.text("memory", "memory.stat")?;
    let used = reader.number("memory", file)?;
    Ok(used.zip(stat).map(|(used, stat)| pinned(used, &stat, prefix)))
}

fn pinned(used: u64, stat: &str, prefix: &str) -> u64 {
    let of = |key: &str| keyed(stat, &format!("{prefix}{key}")).unwrap_or_default();
    let reclaimable = ["active_file", "inactive_file", "slab_reclaimable"].map(of);
    used.saturating_sub(reclaimable.into_iter().sum())
}

struct Reader<'a>(&'a Leaf);

impl Reader<'_> {
    fn text(&self, controller: &str, file: &str) -> Result<Option<String>> {
        let path: Option<PathBuf> = self.0.dir_of(controller).map(|dir| dir.join(file));
        path.map_or(Ok(None), |path| files::read_optional(&path))
    }

    fn number(&self, controller: &str, file: &str) -> Result<Option<u64>> {
        Ok(self.text(controller, file)?.and_then(|text| text.trim().parse().ok()))
    }

    /// The number after `key` in a flat keyed file.
    fn keyed(&self, controller: &str, file: &str, key: &str) -> Result<Option<u64>> {
        Ok(self.text(controller, file)?.and_then(|text| keyed(&text, key)))
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

/// `io.stat` of v2: `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
fn parse_io_stat(text: &str) -> Vec<IoUsage> {
    let mut disks: Vec<IoUsage> = text.lines().filter_map(parse_io_stat_line).collect();
    disks.sort_by_key(|disk| disk.device);
    disks
}

fn parse_io_stat_line(line: &str) -> Option<IoUsage> {
    let mut words = line.split_ascii_whitespace();
    let mut usage = IoUsage { device: words.next()?.parse().ok()?, ..IoUsage::default() };
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        let field = match key {
            "rbytes" => &mut usage.read_bytes,
            "wbytes" => &mut usage.write_bytes,
            "rios" => &mut usage.read_ops,
            "wios" => &mut usage.write_ops,
            _ => continue,
        };
        *field = value.parse().ok()?;
    }
    Some(usage)
}

/// The two v1 files, both of lines such as `254:0 Read 4096`.
fn parse_blkio(bytes: &str, operations: &str) -> Vec<IoUsage> {
    let mut disks: BTreeMap<DeviceNumber, IoUsage> = BTreeMap::new();
    for (text, in_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(device), Some(kind), Some(value)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (Ok(device), Ok(value)) = (device.parse(), value.parse()) else {
                continue;
            };
            let usage =
                disks.entry(device).or_insert_with(|| IoUsage { device, ..IoUsage::default() });
            match (kind, in_bytes) {
                ("Read", true) => usage.read_bytes = value,
                ("Write", true) => usage.write_bytes = value,
                ("Read", false) => usage.read_ops = value,
                ("Write", false) => usage.write_ops = value,
                _ => {}
            }
        }
    }
    disks.into_values().collect()
}

#[cfg(test)]
mod tests;
