//! From the text of a pool file to pools, each error with its place.
//!
//! Values are kept as raw slices of the text until they are checked, so that a wrong
//! value is reported where it stands and not where its object ends.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{DEFAULT_MTU, Pool, Refusal};
use crate::addr::{AddressRange, Subnet, number};
use crate::name::{PoolName, VlanId};
use crate::rate::Rates;

/// A pool and where its name stands, for clashes with others.
pub(super) struct Found {
    pub(super) pool: Pool,
    refusal_at: Refusal,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPool<'a> {
    #[serde(borrow)]
    vlan: &'a RawValue,
    #[serde(borrow)]
    subnet: &'a RawValue,
    #[serde(borrow, default)]
    ranges: Option<&'a RawValue>,
    #[serde(borrow, default)]
    gateway: Option<&'a RawValue>,
    #[serde(borrow, default)]
    reserved: Option<&'a RawValue>,
    #[serde(borrow, default)]
    rate: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mtu: Option<&'a RawValue>,
}

/// The entries of an object in their order, doubles included.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of pools by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Walk)
    }
}

/// The pools of one file. A file that is not JSON gives one refusal and no pool.
pub(super) fn file(path: &Path, bytes: &[u8]) -> (Vec<Found>, Vec<Refusal>) {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let source = Source { path, text: "", pool: None };
            let found = format!("a byte that is not UTF-8 at offset {}", error.valid_up_to());
            return (Vec::new(), vec![*source.refusal(0, None, found, "UTF-8 text")]);
        }
    };
    let source = Source { path, text, pool: None };
    let entries: Entries<'_> = match source.parse(text, None) {
        Ok(entries) => entries,
        Err(refusal) => return (Vec::new(), vec![*refusal]),
    };
    let (mut pools, mut refused) = (Vec::new(), Vec::new());
    for (name, raw) in entries.0 {
        match (Source { pool: Some(&name), ..source }).pool(raw) {
            Ok(found) => pools.push(found),
            Err(refusal) => refused.push(*refusal),
        }
    }
    (pools, refused)
}

/// Why this pool can't stand beside those already taken, if it can't.
pub(super) fn clash(
    new: &Found,
    taken: &BTreeMap<PoolName, Pool>,
    places: &BTreeMap<PoolName, PathBuf>,
) -> Option<Refusal> {
    let place =
        |name: &PoolName| places.get(name).map_or_else(String::new, |p| p.display().to_string());
    let refuse = |field, found: String, expected: String| {
        Some(Refusal { field, found, expected, ..new.refusal_at.clone() })
    };
    if taken.contains_key(&new.pool.name) {
        let found = format!("the name a second time (first in {})", place(&new.pool.name));
        return refuse(None, found, "each pool once".to_owned());
    }
    for other in taken.values() {
        let other_at = format!("pool {} in {}", other.name, place(&other.name));
        let same_net = other.subnet == new.pool.subnet && other.vlan == new.pool.vlan;
        if other.subnet.overlaps(new.pool.subnet) && !same_net {
            let found = format!("{} in VLAN {}", new.pool.subnet, new.pool.vlan);
            let expected = format!(
                "a subnet apart from {} of {other_at}, or the same one in VLAN {}",
                other.subnet, other.vlan
            );
            return refuse(Some("subnet"), found, expected);
        }
        for range in &new.pool.ranges {
            if let Some(theirs) = other.ranges.iter().find(|theirs| theirs.overlaps(*range)) {
                let expected = format!("a range apart from {theirs} of {other_at}");
                return refuse(Some("ranges"), range.to_string(), expected);
            }
        }
    }
    None
}

#[derive(Clone, Copy)]
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    pool: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn pool(self, raw: &'a RawValue) -> Result<Found, Box<Refusal>> {
        let name = self.pool.unwrap_or_default();
        let at = self.offset(raw.get());
        let name = PoolName::new(name)
            .map_err(|error| self.refusal(at, None, error.found, error.expected))?;
        let fields: RawPool<'_> = self.parse(raw.get(), None)?;
        let subnet: Subnet = self.text_field("subnet", fields.subnet)?;
        let vlan: u64 = self.parse(fields.vlan.get(), Some("vlan"))?;
        let vlan = VlanId::new(vlan).map_err(|error| {
            self.refusal(self.offset(fields.vlan.get()), Some("vlan"), error.found, error.expected)
        })?;
        let gateway = fields.gateway.map(|raw| self.gateway(raw, subnet)).transpose()?;
        let mut ranges = match fields.ranges {
            Some(raw) => self.ranges("ranges", raw, subnet)?,
            None => vec![subnet.hosts()],
        };
        if ranges.is_empty() {
            return Err(self.refusal(at, Some("ranges"), "an empty list", "at least one range"));
        }
        ranges.sort_by_key(|range| number(range.first()));
        if let Some([one, two]) = ranges.array_windows().find(|[one, two]| one.overlaps(*two)) {
            let at = fields.ranges.map_or(at, |raw| self.offset(raw.get()));
            let found = format!("{one} and {two}");
            return Err(self.refusal(at, Some("ranges"), found, "ranges that don't overlap"));
        }
        let reserved =
            fields.reserved.map(|raw| self.ranges("reserved", raw, subnet)).transpose()?;
        let rate = fields.rate.map(|raw| self.parse(raw.get(), Some("rate"))).transpose()?;
        let mtu = fields.mtu.map(|raw| self.mtu(raw, subnet)).transpose()?;
        let pool = Pool {
            name,
            vlan,
            subnet,
            ranges,
            gateway,
            reserved: merged(reserved.unwrap_or_default()),
            rate: rate.unwrap_or_else(Rates::default),
            mtu: mtu.unwrap_or(DEFAULT_MTU),
        };
        Ok(Found { pool, refusal_at: *self.refusal(at, None, "", "") })
    }

    fn gateway(self, raw: &'a RawValue, subnet: Subnet) -> Result<IpAddr, Box<Refusal>> {
        let gateway: IpAddr = self.text_field("gateway", raw)?;
        if subnet.hosts().contains(gateway) {
            return Ok(gateway);
        }
        let expected = format!("a host's address inside {subnet}");
        Err(self.refusal(self.offset(raw.get()), Some("gateway"), gateway, expected))
    }

    fn ranges(
        self,
        field: &'static str,
        raw: &'a RawValue,
        subnet: Subnet,
    ) -> Result<Vec<AddressRange>, Box<Refusal>> {
        let items: ItemsOf<'_> = self.parse(raw.get(), Some(field))?;
        let hosts = subnet.hosts();
        let mut ranges = Vec::new();
        for item in items.0 {
            let range: AddressRange = self.text_field(field, item)?;
            if !hosts.contains(range.first()) || !hosts.contains(range.last()) {
                let expected = format!("addresses inside {subnet} ({hosts})");
                return Err(self.refusal(self.offset(item.get()), Some(field), range, expected));
            }
            ranges.push(range);
        }
        Ok(ranges)
    }

    fn mtu(self, raw: &'a RawValue, subnet: Subnet) -> Result<u16, Box<Refusal>> {
        // RFC 791 and RFC 8200 set the least a link must carry.
        let least = if subnet.network().is_ipv4() { 576 } else { 1280 };
        let mtu: u64 = self.parse(raw.get(), Some("mtu"))?;
        u16::try_from(mtu).ok().filter(|mtu| (least..=9216).contains(mtu)).ok_or_else(|| {
            let expected = format!("bytes from {least} to 9216");
            self.refusal(self.offset(raw.get()), Some("mtu"), mtu, expected)
        })
    }

    /// A JSON string that holds a `T`.
    fn text_field<T: FromStr<Err: Display>>(
        self,
        field: &'static str,
        raw: &'a RawValue,
    ) -> Result<T, Box<Refusal>> {
        let text: String = self.parse_owned(raw.get(), Some(field))?;
        text.parse().map_err(|error: T::Err| {
            let message = error.to_string();
            let expected = match message.rsplit_once("expected ") {
                Some((_, expected)) => expected.to_owned(),
                None => "an IP address".to_owned(),
            };
            self.refusal(self.offset(raw.get()), Some(field), format!("{text:?}"), expected)
        })
    }

    fn parse_owned<T: DeserializeOwned>(
        self,
        slice: &'a str,
        field: Option<&'static str>,
    ) -> Result<T, Box<Refusal>> {
        self.parse(slice, field)
    }

    /// Parses a slice of the text; the error's place is that within the whole text.
    fn parse<T: Deserialize<'a>>(
        self,
        slice: &'a str,
        field: Option<&'static str>,
    ) -> Result<T, Box<Refusal>> {
        serde_json::from_str(slice).map_err(|error| {
            let within = line_start(slice, error.line()) + error.column().saturating_sub(1);
            let at = match error.classify() {
                // A wrong type is reported behind the value; its start helps more.
                serde_json::error::Category::Data if field.is_some() => self.offset(slice),
                _ => self.offset(slice) + within.min(slice.len()),
            };
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(&*message, |(text, _)| text);
            let (found, expected) = split_message(message);
            self.refusal(at, field, found, expected)
        })
    }

    fn offset(self, slice: &str) -> usize {
        (slice.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    fn refusal(
        self,
        offset: usize,
        field: Option<&'static str>,
        found: impl Display,
        expected: impl Into<String>,
    ) -> Box<Refusal> {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Box::new(Refusal {
            file: self.path.to_owned(),
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            pool: self.pool.map(str::to_owned),
            field,
            found: found.to_string(),
            expected: expected.into(),
        })
    }
}

/// The same addresses in ascending ranges without overlap.
fn merged(mut ranges: Vec<AddressRange>) -> Vec<AddressRange> {
    ranges.sort_by_key(|range| number(range.first()));
    ranges.into_iter().fold(Vec::new(), |mut apart: Vec<AddressRange>, range| {
        match apart.last_mut().and_then(|last| last.join(range).map(|joined| (last, joined))) {
            Some((last, joined)) => *last = joined,
            None => apart.push(range),
        }
        apart
    })
}

/// A list whose items are kept as text.
#[derive(Deserialize)]
struct ItemsOf<'a>(#[serde(borrow)] Vec<&'a RawValue>);

/// The offset at which the line with this number (from 1) starts.
fn line_start(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum()
}

/// Splits what serde says into what was found and what was expected.
fn split_message(message: &str) -> (String, String) {
    if let Some(field) = message.strip_prefix("missing field ") {
        return ("no such field".to_owned(), format!("the field {field}"));
    }
    match message.split_once(", expected ") {
        Some((found, expected)) => (found.to_owned(), expected.to_owned()),
        None => (message.to_owned(), "valid JSON of the documented form".to_owned()),
    }
}
