//! Writes limits into a leaf and reads them back.
//!
//! What to write is decided in `limits`; here each setting is written, and its
//! file is read again, because the kernel rounds, clamps and sometimes ignores.
//! A limit that is not in force afterwards is reported, never passed over.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout::Version;
use super::leaf::Leaf;
use super::limits::{Content, Expect, Limits, Setting, Unapplied};
use crate::device::DeviceNumber;
use crate::error::{Result, RuntimeError};
use crate::files;

/// v1 shows "no limit" as the largest page count in bytes; anything near is it.
const V1_UNLIMITED: u64 = i64::MAX as u64 / 4096 * 4096;

/// Files that hold limits per disk, by version.
const IO_FILES: [(Version, &str, &[&str]); 2] = [
    (Version::Unified, "io", &["io.max"]),
    (
        Version::Legacy,
        "blkio",
        &[
            "blkio.throttle.read_bps_device",
            "blkio.throttle.write_bps_device",
            "blkio.throttle.read_iops_device",
            "blkio.throttle.write_iops_device",
        ],
    ),
];

/// Puts `limits` in force for a leaf that exists, and says which are not.
pub(crate) fn apply(leaf: &Leaf, limits: &Limits) -> Result<Vec<Unapplied>> {
    let limited = limited_devices(leaf)?;
    let mut unapplied: Vec<Unapplied> = Vec::new();
    for setting in limits.settings(leaf.version(), &limited) {
        if let Err(reason) = apply_one(leaf, &setting) {
            let limit = setting.limit.to_owned();
            unapplied.push(Unapplied { limit, reason });
        }
    }
    Ok(unapplied)
}

/// The disks that have a limit in the leaf now.
fn limited_devices(leaf: &Leaf) -> Result<Vec<DeviceNumber>> {
    let mut devices = BTreeSet::new();
    for (_, controller, names) in IO_FILES.iter().filter(|(v, ..)| *v == leaf.version()) {
        let Some(dir) = leaf.dir_of(controller) else {
            continue;
        };
        for name in *names {
            let text = files::read_optional(&dir.join(name))?.unwrap_or_default();
            let first = text.lines().filter_map(|line| line.split(' ').next());
            devices.extend(first.filter_map(|word| word.parse::<DeviceNumber>().ok()));
        }
    }
    Ok(devices.into_iter().collect())
}

/// Writes and verifies one setting; the error is the reason for an operator.
fn apply_one(leaf: &Leaf, setting: &Setting) -> Result<(), String> {
    if setting.files.is_empty() {
        return Err("this host's control groups (v1) have no such limit".to_owned());
    }
    let dir = leaf.dir_of(setting.controller);
    let files = dir.iter().flat_map(|dir| setting.files.iter().map(move |file| (dir, file)));
    let there = files.filter(|(dir, (name, ..))| dir.join(name).exists());
    let chosen: Vec<_> = there.take(if setting.each { usize::MAX } else { 1 }).collect();
    if chosen.is_empty() && !setting.clears {
        return Err(format!(
            "the host has no {} controller with {}",
            setting.controller,
            setting.files.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(" or ")
        ));
    }
    chosen.into_iter().try_for_each(|(dir, (name, content, expect))| {
        write_one(dir, name, content, expect).map_err(|why| match (expect, parent_cpus(dir)) {
            (Expect::Cpus(_), Some(cpus)) => format!("{why}; the CPUs to be had are {cpus}"),
            _ => why,
        })
    })
}

fn write_one(dir: &Path, name: &str, content: &Content, expect: &Expect) -> Result<(), String> {
    let path = dir.join(name);
    let wanted = match content {
        Content::Text(text) => text.clone(),
        Content::Parent => read(&dir.parent().unwrap_or(dir).join(name))?,
        Content::AllCpus if read(&path)?.trim().is_empty() => return Ok(()),
        Content::AllCpus => parent_cpus(dir).ok_or("the parent group has no CPUs")?,
    };
    files::write_kernel(&path, &wanted)
        .map_err(|error| format!("writing {:?} to {}: {error}", wanted.trim(), path.display()))?;
    // v2 takes CPUs that are not there, or not this group's, and leaves them out.
    let shown = match expect {
        Expect::Cpus(_) => effective_cpus(dir).unwrap_or(path),
        _ => path,
    };
    let actual = read(&shown)?;
    if matches(expect, &actual) {
        return Ok(());
    }
    Err(format!("{} holds {:?} after writing {:?}", shown.display(), actual.trim(), wanted.trim()))
}

/// The file that shows on which CPUs a group's processes run (v2, and v1 where it has one).
fn effective_cpus(dir: &Path) -> Option<PathBuf> {
    let names = ["cpuset.cpus.effective", "cpuset.effective_cpus"];
    names.iter().map(|name| dir.join(name)).find(|path| path.exists())
}

/// The CPUs that a group can choose from.
fn parent_cpus(dir: &Path) -> Option<String> {
    let cpus = read(&effective_cpus(dir.parent()?)?).ok()?;
    Some(cpus.trim().to_owned()).filter(|cpus| !cpus.is_empty())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

/// Whether the text of a file says what was wanted.
fn matches(expect: &Expect, actual: &str) -> bool {
    match expect {
        Expect::Anything => true,
        Expect::Text(text) => actual.trim() == text.trim(),
        Expect::Bytes(None) => {
            let actual = actual.trim();
            actual == "max" || actual.parse::<u64>().is_ok_and(|bytes| bytes >= V1_UNLIMITED)
        }
        Expect::Bytes(Some(bytes)) => actual.trim().parse::<u64>().is_ok_and(|is| is == *bytes),
        Expect::Cpus(list) => cpu_list(list).is_some_and(|want| cpu_list(actual) == Some(want)),
        Expect::Device { device, words } => {
            let line = actual.lines().find_map(|line| {
                let (first, rest) = line.split_once(' ')?;
                (first.parse() == Ok(*device)).then_some(rest)
            });
            match line {
                None => words.is_empty(),
                Some(rest) if words.is_empty() => {
                    rest.split(' ').all(|word| word.ends_with("=max"))
                }
                Some(rest) => words.iter().all(|word| rest.split(' ').any(|actual| actual == word)),
            }
        }
    }
}

/// The CPUs of a list such as `0-3,8` (cpuset(7), List format). Bounded by the
/// largest CPU number that Linux supports.
fn cpu_list(text: &str) -> Option<BTreeSet<u32>> {
    const MAX_CPU: u32 = 8191;
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<u32>().ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Whether a text is a CPU list that names at least one CPU.
pub(crate) fn check_cpu_list(text: &str) -> Result<()> {
    if cpu_list(text).is_some_and(|cpus| !cpus.is_empty()) {
        return Ok(());
    }
    Err(RuntimeError::InvalidSpec {
        field: "limits.cpuset",
        reason: format!("{text:?} is not a list of CPUs such as 0-3,8"),
    })
}

#[cfg(test)]
mod tests;
