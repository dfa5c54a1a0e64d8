//! Sizes and rates with their units: `16GiB`, `1/4`, `200MiB/s`, `1Gbit/s`.
//!
//! A bare number is refused, because nobody can tell bytes from megabytes in it.
//! Binary units are powers of 1024, decimal ones of 1000 (IEC 80000-13).

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Why a text is not a size or a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct SizeError {
    found: String,
    expected: &'static str,
}

const BYTES: &str = "a size with its unit, such as \"16GiB\" or \"500MB\"";
const SHARE: &str =
    "\"all\", a fraction such as \"1/4\", or a size with its unit such as \"16GiB\"";
const BYTE_RATE: &str = "bytes per second with their unit, such as \"200MiB/s\"";
const BIT_RATE: &str = "bits per second with their unit, such as \"1Gbit/s\"";

const BYTE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
const BIT_UNITS: &[(&str, u64)] =
    &[("bit", 1), ("kbit", 1_000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000)];

/// A number (a decimal fraction is allowed) and a unit, as a whole number of the base unit.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 6 || number.ends_with('.') {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let base = digits.checked_mul(u128::from(factor))?;
    u64::try_from(base / scale).ok().filter(|value| *value > 0)
}

fn wrong(text: &str, expected: &'static str) -> SizeError {
    SizeError { found: format!("{text:?}"), expected }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    const BINARY: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match BINARY.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", bytes / factor),
        None => write!(f, "{bytes}B"),
    }
}

/// Accepts a JSON string that parses; a number gets the same message as a bad text.
pub(crate) fn from_text<'de, D, T>(deserializer: D, expected: &'static str) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct Text<T>(&'static str, std::marker::PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
            Err(E::custom(format!("found the bare number {number}, expected {}", self.0)))
        }
    }
    deserializer.deserialize_any(Text(expected, std::marker::PhantomData))
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal, $expected:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
        #[serde(into = "String")]
        #[schemars(with = "String", extend("pattern" = $pattern))]
        pub struct $name(u64);

        impl $name {
            #[doc = concat!("From a count of ", $unit, ".")]
            #[must_use]
            pub const fn new(count: u64) -> Self {
                Self(count)
            }
            #[doc = concat!("As a count of ", $unit, ".")]
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer, $expected)
            }
        }
    };
}

quantity!(
    /// A number of bytes, written with its unit.
    ByteSize, "bytes", BYTES, r"^[0-9]+(\.[0-9]{1,6})? ?([KMGT]iB|[kKMGT]?B)$"
);
quantity!(
    /// Bytes per second, written with its unit; `/s` may be left out.
    ByteRate, "bytes per second", BYTE_RATE, r"^[0-9]+(\.[0-9]{1,6})? ?([KMGT]iB|[kKMGT]?B)(/s)?$"
);
quantity!(
    /// Bits per second, written with its unit; `/s` may be left out.
    BitRate, "bits per second", BIT_RATE, r"^[0-9]+(\.[0-9]{1,6})? ?[kMG]?bit(/s)?$"
);

impl FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        quantity(text, BYTE_UNITS).map(Self).ok_or_else(|| wrong(text, BYTES))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, self.0)
    }
}

impl FromStr for ByteRate {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let amount = text.strip_suffix("/s").unwrap_or(text);
        quantity(amount, BYTE_UNITS).map(Self).ok_or_else(|| wrong(text, BYTE_RATE))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, self.0)?;
        f.write_str("/s")
    }
}

impl FromStr for BitRate {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let amount = text.strip_suffix("/s").unwrap_or(text);
        quantity(amount, BIT_UNITS).map(Self).ok_or_else(|| wrong(text, BIT_RATE))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BIT_UNITS
            .iter()
            .rev()
            .find(|(_, factor)| self.0.is_multiple_of(*factor))
            .unwrap_or(&BIT_UNITS[0]);
        write!(f, "{}{unit}/s", self.0 / factor)
    }
}

/// The least memory that a server runs in, in bytes.
pub const SERVER_BYTES_MIN: u64 = 384 << 20;

/// How much of the host's memory an instance gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "String")]
#[schemars(
    with = "String",
    extend("pattern" = r"^(all|[1-9][0-9]*/[1-9][0-9]*|[0-9]+(\.[0-9]{1,6})? ?([KMGT]iB|[kKMGT]?B))$")
)]
pub enum HostShare {
    /// Everything that the host gives to instances.
    All,
    /// A part of it, at most the whole.
    Fraction {
        /// Above the line, from 1 to the denominator.
        numerator: u32,
        /// Below the line.
        denominator: u32,
    },
    /// A fixed amount.
    Bytes(ByteSize),
}

impl HostShare {
    /// This share of `host_bytes`, in bytes. A fixed amount is itself, even beyond the host.
    #[must_use]
    pub fn of(self, host_bytes: u64) -> u64 {
        match self {
            Self::All => host_bytes,
            Self::Fraction { numerator, denominator } => {
                let share =
                    u128::from(host_bytes) * u128::from(numerator) / u128::from(denominator);
                u64::try_from(share).unwrap_or(host_bytes)
            }
            Self::Bytes(size) => size.get(),
        }
    }
}

impl FromStr for HostShare {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, SizeError> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some((above, below)) = text.split_once('/') {
            let part = |digits: &str| digits.parse::<u32>().ok().filter(|number| *number > 0);
            return match (part(above), part(below)) {
                (Some(numerator), Some(denominator)) if numerator <= denominator => {
                    Ok(Self::Fraction { numerator, denominator })
                }
                _ => Err(wrong(text, SHARE)),
            };
        }
        quantity(text, BYTE_UNITS)
            .map(|bytes| Self::Bytes(ByteSize(bytes)))
            .ok_or_else(|| wrong(text, SHARE))
    }
}

impl fmt::Display for HostShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Fraction { numerator, denominator } => write!(f, "{numerator}/{denominator}"),
            Self::Bytes(size) => size.fmt(f),
        }
    }
}

impl From<HostShare> for String {
    fn from(share: HostShare) -> Self {
        share.to_string()
    }
}

impl<'de> Deserialize<'de> for HostShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer, SHARE)
    }
}

#[cfg(test)]
mod tests;
