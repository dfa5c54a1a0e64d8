//! CPUs of a host, by their numbers.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::size::from_text;

/// The largest number that a CPU can have (NR_CPUS of Linux is at most 8192).
const CPU_MAX: u16 = 8191;
const EXPECTED: &str = "a list of CPUs by number, such as \"0-3,8\"";

/// Why a text is not a list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {EXPECTED}")]
pub struct CpuListError {
    found: String,
}

/// CPUs as cpuset(7) writes them in its list format: `0-3,8`. Kept in order and without
/// overlaps, so that two lists of the same CPUs are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(
    with = "String",
    extend("pattern" = r"^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$")
)]
pub struct CpuList(Vec<(u16, u16)>);

impl FromStr for CpuList {
    type Err = CpuListError;

    fn from_str(text: &str) -> Result<Self, CpuListError> {
        let wrong = |found: String| CpuListError { found };
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            let number = digits.parse().ok().filter(|number| plain && *number <= CPU_MAX);
            number.ok_or_else(|| wrong(format!("{digits:?} in {text:?}")))
        };
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range = (number(first)?, number(last)?);
            if range.0 > range.1 {
                return Err(wrong(format!("the range {part:?} in {text:?}")));
            }
            ranges.push(range);
        }
        Ok(Self(merged(ranges)))
    }
}

/// In order, ranges that touch or overlap made one.
fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.0.iter().enumerate() {
            let comma = if number > 0 { "," } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl From<CpuList> for String {
    fn from(list: CpuList) -> Self {
        list.to_string()
    }
}

impl<'de> Deserialize<'de> for CpuList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, EXPECTED)
    }
}

#[cfg(test)]
mod tests;
