//! Wanted limits, and the pure translation into interface files of v1 and v2.
//!
//! One value in, a list of [`Setting`]s out: file name, content, and how to tell
//! from the file's text whether the kernel took it. No I/O here.
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst.

use serde::{Deserialize, Serialize};

use super::layout::Version;
use crate::device::DeviceNumber;

/// Memory limits are kept in pages; 4 KiB on the machines berth runs on.
const PAGE: u64 = 4096;
/// The kernel's default period of the CPU controller.
const PERIOD_US: u64 = 100_000;

/// CPU time per period: `quota_us` of every `period_us`, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuMax {
    /// Microseconds of CPU time per period, over all CPUs; at least 1000.
    pub quota_us: u64,
    /// Length of the period, 1000 to 1 000 000 microseconds.
    pub period_us: u64,
}

impl CpuMax {
    /// A limit in thousandths of a CPU, over periods of 100 ms.
    #[must_use]
    pub fn from_millicores(millicores: u64) -> Self {
        let quota_us = (millicores.saturating_mul(PERIOD_US) / 1000).max(1000);
        Self { quota_us, period_us: PERIOD_US }
    }
}

/// Limits of one whole disk. `None` does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimit {
    /// The disk, as [`crate::device_of`] gives it.
    pub device: DeviceNumber,
    /// Bytes read per second.
    pub read_bps: Option<u64>,
    /// Bytes written per second.
    pub write_bps: Option<u64>,
    /// Read requests per second.
    pub read_iops: Option<u64>,
    /// Write requests per second.
    pub write_iops: Option<u64>,
}

/// What a container may use. `None` (or an empty list) means no limit, and
/// clears one that was set before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes: beyond it the kernel kills. Rounded down to pages.
    pub memory_max_bytes: Option<u64>,
    /// Memory, in bytes, beyond which the container is slowed and reclaimed
    /// from (v2 only).
    pub memory_high_bytes: Option<u64>,
    /// CPU time per period.
    pub cpu_max: Option<CpuMax>,
    /// Share of the CPU among siblings when it is short, 1 to 10000; 100 is usual.
    pub cpu_weight: Option<u64>,
    /// Number of processes and threads.
    pub pids_max: Option<u64>,
    /// CPUs to run on, as a list such as `0-3,8`.
    pub cpuset: Option<String>,
    /// Rates per disk.
    pub io: Vec<IoLimit>,
    /// Share of the disks among siblings, 1 to 10000; 100 is usual. Needs the
    /// BFQ scheduler or iocost. BFQ takes at most 1000.
    pub io_weight: Option<u64>,
}

/// A limit that is wanted but not in force, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unapplied {
    /// The name of the field of [`Limits`].
    pub limit: String,
    /// Why, in words for an operator.
    pub reason: String,
}

/// How the file's text must look for the limit to be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    /// This very text, blanks at the ends aside.
    Text(String),
    /// A number of bytes, or no limit: `max`, or v1's largest page count.
    Bytes(Option<u64>),
    /// A CPU list that names the same CPUs, in whatever notation.
    Cpus(String),
    /// A line that begins with `device` and has all these words after it; with
    /// no words, either no such line or one that says `max` throughout.
    Device { device: DeviceNumber, words: Vec<String> },
    /// What was copied from the parent; nothing to compare.
    Anything,
}

/// What goes into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// This text.
    Text(String),
    /// What the parent group's file of the same name holds.
    Parent,
    /// Nothing, if the file is empty; otherwise all CPUs of the parent. A v2 group with
    /// processes that had CPUs of its own can't give them up (ENOSPC), only take all.
    AllCpus,
}

/// One limit to write: to the first of `files` that exists, or to each that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// The field of [`Limits`].
    pub(super) limit: &'static str,
    /// Whose directory the file is in.
    pub(super) controller: &'static str,
    /// Candidates: file name, content, expectation.
    pub(super) files: Vec<(&'static str, Content, Expect)>,
    /// Whether all files that exist are meant, not only the first.
    pub(super) each: bool,
    /// Whether this only clears: then a missing file is as good as cleared.
    pub(super) clears: bool,
}

impl Setting {
    fn text(
        limit: &'static str,
        controller: &'static str,
        file: &'static str,
        value: Option<String>,
        none: &str,
    ) -> Self {
        let clears = value.is_none();
        let text = value.unwrap_or_else(|| none.to_owned());
        let files = vec![(file, Content::Text(text.clone()), Expect::Text(text))];
        Self { limit, controller, files, each: false, clears }
    }

    fn bytes(limit: &'static str, file: &'static str, value: Option<u64>, none: &str) -> Self {
        let pages = value.map(|bytes| bytes / PAGE * PAGE);
        let text = pages.map_or_else(|| none.to_owned(), |bytes| bytes.to_string());
        let files = vec![(file, Content::Text(text), Expect::Bytes(pages))];
        Self { limit, controller: "memory", files, each: false, clears: value.is_none() }
    }
}

impl Limits {
    /// Takes away the limit of this name, as [`Unapplied`] names it.
    pub(crate) fn clear(&mut self, limit: &str) {
        match limit {
            "memory_max_bytes" => self.memory_max_bytes = None,
            "memory_high_bytes" => self.memory_high_bytes = None,
            "cpu_max" => self.cpu_max = None,
            "cpu_weight" => self.cpu_weight = None,
            "pids_max" => self.pids_max = None,
            "cpuset" => self.cpuset = None,
            "io" => self.io.clear(),
            "io_weight" => self.io_weight = None,
            _ => {}
        }
    }

    /// The files to write for these limits. `limited` are the disks that have a
    /// limit now; those not in `self.io` are cleared.
    pub(super) fn settings(&self, version: Version, limited: &[DeviceNumber]) -> Vec<Setting> {
        let mut io = self.io.clone();
        for &device in limited {
            if !io.iter().any(|limit| limit.device == device) {
                let none = None;
                io.push(IoLimit {
                    device,
                    read_bps: none,
                    write_bps: none,
                    read_iops: none,
                    write_iops: none,
                });
            }
        }
        match version {
            Version::Unified => self.unified(&io),
            Version::Legacy => self.legacy(&io),
        }
    }

    fn unified(&self, io: &[IoLimit]) -> Vec<Setting> {
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let cpu_max = self.cpu_max.map(|cpu| format!("{} {}", cpu.quota_us, cpu.period_us));
        let mut settings = vec![
            Setting::bytes("memory_high_bytes", "memory.high", self.memory_high_bytes, "max"),
            Setting::bytes("memory_max_bytes", "memory.max", self.memory_max_bytes, "max"),
            Setting::text("cpu_max", "cpu", "cpu.max", cpu_max, "max 100000"),
            Setting::text("cpu_weight", "cpu", "cpu.weight", text(self.cpu_weight), "100"),
            Setting::text("pids_max", "pids", "pids.max", text(self.pids_max), "max"),
            self.cpuset_setting(Content::AllCpus),
            self.io_weight_setting("io", &["io.weight", "io.bfq.weight"], true),
        ];
        settings.extend(io.iter().map(unified_io));
        settings
    }

    fn legacy(&self, io: &[IoLimit]) -> Vec<Setting> {
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let period = self.cpu_max.map(|cpu| cpu.period_us.to_string());
        let quota = self.cpu_max.map(|cpu| cpu.quota_us.to_string());
        // 100 of v2 is the default, as 1024 is of v1: siblings keep their proportions.
        let shares =
            self.cpu_weight.map(|weight| (weight * 1024 / 100).clamp(2, 262_144).to_string());
        let mut settings = vec![
            Setting::bytes(
                "memory_max_bytes",
                "memory.limit_in_bytes",
                self.memory_max_bytes,
                "-1",
            ),
            Setting::text("cpu_max", "cpu", "cpu.cfs_period_us", period, "100000"),
            Setting::text("cpu_max", "cpu", "cpu.cfs_quota_us", quota, "-1"),
            Setting::text("cpu_weight", "cpu", "cpu.shares", shares, "1024"),
            Setting::text("pids_max", "pids", "pids.max", text(self.pids_max), "max"),
            self.cpuset_setting(Content::Parent),
            self.io_weight_setting("blkio", &["blkio.bfq.weight"], false),
        ];
        if self.memory_high_bytes.is_some() {
            // No file of v1 slows a group down; the soft limit is a hint for global reclaim.
            settings.push(Setting {
                limit: "memory_high_bytes",
                controller: "memory",
                files: Vec::new(),
                each: false,
                clears: false,
            });
        }
        settings.extend(io.iter().flat_map(legacy_io));
        settings
    }

    fn cpuset_setting(&self, cleared: Content) -> Setting {
        let file = match &self.cpuset {
            Some(list) => ("cpuset.cpus", Content::Text(list.clone()), Expect::Cpus(list.clone())),
            None => ("cpuset.cpus", cleared, Expect::Anything),
        };
        Setting {
            limit: "cpuset",
            controller: "cpuset",
            files: vec![file],
            each: false,
            clears: self.cpuset.is_none(),
        }
    }

    fn io_weight_setting(
        &self,
        controller: &'static str,
        names: &[&'static str],
        prefixed: bool,
    ) -> Setting {
        let weight = self.io_weight.unwrap_or(100);
        let file = |&name: &&'static str| {
            let weight = if name.contains("bfq") { weight.min(1000) } else { weight };
            let shown = if prefixed { format!("default {weight}") } else { weight.to_string() };
            (name, Content::Text(weight.to_string()), Expect::Text(shown))
        };
        Setting {
            limit: "io_weight",
            controller,
            files: names.iter().map(file).collect(),
            // Which of them counts is the disk's affair: BFQ reads its own, iocost the other.
            each: true,
            clears: self.io_weight.is_none(),
        }
    }
}

fn unified_io(io: &IoLimit) -> Setting {
    let rates = [
        ("rbps", io.read_bps),
        ("wbps", io.write_bps),
        ("riops", io.read_iops),
        ("wiops", io.write_iops),
    ];
    let clears = rates.iter().all(|(_, rate)| rate.is_none());
    let words: Vec<String> = rates
        .iter()
        .map(|(key, rate)| {
            format!("{key}={}", rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string()))
        })
        .collect();
    let content = Content::Text(format!("{} {}", io.device, words.join(" ")));
    let expect =
        Expect::Device { device: io.device, words: if clears { Vec::new() } else { words } };
    let files = vec![("io.max", content, expect)];
    Setting { limit: "io", controller: "io", files, each: false, clears }
}

fn legacy_io(io: &IoLimit) -> [Setting; 4] {
    [
        ("blkio.throttle.read_bps_device", io.read_bps),
        ("blkio.throttle.write_bps_device", io.write_bps),
        ("blkio.throttle.read_iops_device", io.read_iops),
        ("blkio.throttle.write_iops_device", io.write_iops),
    ]
    .map(|(file, rate)| {
        let content = Content::Text(format!("{} {}", io.device, rate.unwrap_or(0)));
        let words = rate.map(|rate| rate.to_string()).into_iter().collect();
        let expect = Expect::Device { device: io.device, words };
        Setting {
            limit: "io",
            controller: "blkio",
            files: vec![(file, content, expect)],
            each: false,
            clears: rate.is_none(),
        }
    })
}

#[cfg(test)]
mod tests;
