//! Bit rates, as goal and pool documents write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A rate in bits per second, at least 8 kbit/s and at most 1 Tbit/s.
///
/// Written as a number and a unit of tc(8): `kbit`, `Mbit` or `Gbit`, powers of
/// 1000, letter case free. A number without a unit is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

/// Why a rate was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BitRateError {
    /// Not a number and a unit.
    #[error(
        "{0:?} is not a rate: expected a whole number and kbit, Mbit or Gbit, such as \"200Mbit\""
    )]
    Form(String),
    /// Out of range.
    #[error("the rate {0:?} is out of range: expected 8kbit to 1000Gbit")]
    Range(String),
}

impl BitRate {
    const MIN: u64 = 8_000;
    const MAX: u64 = 1_000_000_000_000;

    /// A rate of `bits` per second.
    ///
    /// # Errors
    /// [`BitRateError::Range`] outside 8 kbit/s to 1 Tbit/s.
    pub fn from_bits_per_second(bits: u64) -> Result<Self, BitRateError> {
        if (Self::MIN..=Self::MAX).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(BitRateError::Range(bits.to_string()))
        }
    }

    /// Bits per second.
    #[must_use]
    pub fn bits_per_second(self) -> u64 {
        self.0
    }

    /// Whole bytes per second, as the kernel's shapers count.
    #[must_use]
    pub fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl FromStr for BitRate {
    type Err = BitRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || BitRateError::Form(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(form)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| form())?;
        let factor = match unit.to_ascii_lowercase().as_str() {
            "kbit" => 1_000,
            "mbit" => 1_000_000,
            "gbit" => 1_000_000_000,
            _ => return Err(form()),
        };
        number
            .checked_mul(factor)
            .and_then(|bits| Self::from_bits_per_second(bits).ok())
            .ok_or_else(|| BitRateError::Range(text.to_owned()))
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bits if bits.is_multiple_of(1_000_000_000) => write!(f, "{}Gbit", bits / 1_000_000_000),
            bits if bits.is_multiple_of(1_000_000) => write!(f, "{}Mbit", bits / 1_000_000),
            bits if bits.is_multiple_of(1_000) => write!(f, "{}kbit", bits / 1_000),
            bits => write!(f, "{bits}bit"),
        }
    }
}

impl Serialize for BitRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BitRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The limits of one instance; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Towards the container.
    #[serde(rename = "in", default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<BitRate>,
    /// From the container.
    #[serde(rename = "out", default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<BitRate>,
}

impl Rates {
    /// These limits, with those of `default` where there is none.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        Self {
            inbound: self.inbound.or(default.inbound),
            outbound: self.outbound.or(default.outbound),
        }
    }
}

#[cfg(test)]
mod tests;
