//! Sets of global transaction identifiers, as in `gtid_executed`.
//!
//! Text in, text out, union, difference and inclusion, by the grammar of the manual's "GTID
//! Sets" section, with the tags of 8.3 and later. Pure; the server's own `GTID_SUBTRACT` and
//! `GTID_SUBSET` are the judge in the host tests.

use std::{cmp::Ordering, collections::BTreeMap, fmt, str::FromStr};

/// The largest transaction number MySQL gives out (2^63 - 2).
const MAX_NUMBER: u64 = i64::MAX as u64 - 1;
/// The longest tag (MySQL manual, "GTID Format").
const MAX_TAG: usize = 32;

/// Who numbers transactions: a server UUID and a tag, which is empty when there is none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    /// In lower case, so that text order is byte order.
    uuid: String,
    tag: String,
}

/// Transaction numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A set of transactions. Equal sets are equal values, however they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// No list is empty; each is sorted and neither overlaps nor touches itself.
    origins: BTreeMap<Origin, Vec<Interval>>,
}

/// Text that is no GTID set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a GTID set: {reason} in {part:?}")]
pub struct ParseGtidError {
    part: String,
    reason: &'static str,
}

impl GtidSet {
    /// Whether it holds no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// How many transactions it holds.
    #[must_use]
    pub fn count(&self) -> u128 {
        let intervals = self.origins.values().flatten();
        intervals.map(|interval| u128::from(interval.last - interval.first) + 1).sum()
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut joined = self.origins.clone();
        for (origin, intervals) in &other.origins {
            joined.entry(origin.clone()).or_default().extend(intervals);
        }
        Self { origins: joined.into_iter().map(|(o, list)| (o, normalise(list))).collect() }
    }

    /// What is in `self` and not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut origins = BTreeMap::new();
        for (origin, intervals) in &self.origins {
            let left = match other.origins.get(origin) {
                Some(taken) => difference(intervals, taken),
                None => intervals.clone(),
            };
            if !left.is_empty() {
                origins.insert(origin.clone(), left);
            }
        }
        Self { origins }
    }

    /// Whether `other` holds all that `self` holds.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.subtract(other).is_empty()
    }

    /// The set without the transactions, tagged or not, of the server `uuid`.
    #[must_use]
    pub fn without_server(&self, uuid: &str) -> Self {
        let kept = self.origins.iter().filter(|(o, _)| !o.uuid.eq_ignore_ascii_case(uuid));
        Self { origins: kept.map(|(o, list)| (o.clone(), list.clone())).collect() }
    }

    fn insert(&mut self, origin: Origin, interval: Interval) {
        self.origins.entry(origin).or_default().push(interval);
    }
}

/// The transactions of a replica that its source lacks.
///
/// `replica` must have been read before `source`: the other way round, what the source
/// commits in between would look errant. The source's own transactions never count: with
/// semi-sync's `AFTER_SYNC` a replica has them before the source does.
#[must_use]
pub fn errant(replica: &GtidSet, source: &GtidSet, source_uuid: &str) -> GtidSet {
    replica.subtract(source).without_server(source_uuid)
}

/// Sorts, and joins what overlaps or touches.
fn normalise(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable_by_key(|interval| interval.first);
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    for next in intervals {
        match joined.last_mut() {
            Some(last) if next.first <= last.last + 1 => last.last = last.last.max(next.last),
            _ => joined.push(next),
        }
    }
    joined
}

/// Both lists normal; so is the answer.
fn difference(from: &[Interval], taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    let mut taken = taken.iter().copied().peekable();
    for &Interval { mut first, last } in from {
        while let Some(hole) = taken.peek().copied() {
            if hole.last < first {
                taken.next();
                continue;
            }
            if hole.first > last {
                break;
            }
            if first < hole.first {
                left.push(Interval { first, last: hole.first - 1 });
            }
            first = hole.last + 1;
            if hole.last > last {
                break;
            }
            taken.next();
        }
        if first <= last {
            left.push(Interval { first, last });
        }
    }
    left
}

impl FromStr for GtidSet {
    type Err = ParseGtidError;

    /// Takes what the server prints, with its line breaks, and any order of parts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            parse_part(part, &mut set)
                .map_err(|reason| ParseGtidError { part: part.to_owned(), reason })?;
        }
        for intervals in set.origins.values_mut() {
            *intervals = normalise(std::mem::take(intervals));
        }
        Ok(set)
    }
}

/// One `uuid[:tag]:interval[:interval]…[:tag:interval…]`.
fn parse_part(part: &str, set: &mut GtidSet) -> Result<(), &'static str> {
    let mut fields = part.split(':').map(str::trim);
    let uuid = fields.next().filter(|uuid| is_uuid(uuid)).ok_or("no UUID")?.to_ascii_lowercase();
    let mut tag = String::new();
    let mut wants_interval = true;
    for field in fields {
        if field.starts_with(|c: char| c.is_ascii_digit()) {
            if let Some(interval) = parse_interval(field)? {
                set.insert(Origin { uuid: uuid.clone(), tag: tag.clone() }, interval);
            }
            wants_interval = false;
        } else if is_tag(field) && (tag.is_empty() || !wants_interval) {
            tag = field.to_ascii_lowercase();
            wants_interval = true;
        } else {
            return Err("neither an interval nor a tag");
        }
    }
    if wants_interval { Err("no interval") } else { Ok(()) }
}

/// `n` or `n-m`; like the server, one that ends before it begins holds nothing.
fn parse_interval(field: &str) -> Result<Option<Interval>, &'static str> {
    let (first, last) = field.split_once('-').unwrap_or((field, field));
    let number = |text: &str| -> Result<u64, &'static str> {
        let number = text.trim().parse().map_err(|_| "not a number")?;
        if number > MAX_NUMBER { Err("number too large") } else { Ok(number) }
    };
    let (first, last) = (number(first)?, number(last)?);
    match (first, first.cmp(&last)) {
        (0, _) => Err("transaction number 0"),
        (_, Ordering::Greater) => Ok(None),
        _ => Ok(Some(Interval { first, last })),
    }
}

fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq(GROUPS)
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

fn is_tag(text: &str) -> bool {
    text.len() <= MAX_TAG
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for GtidSet {
    /// The server's canonical form on one line: origins in order, the UUID once, its
    /// untagged intervals before the tagged ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uuid = "";
        for (origin, intervals) in &self.origins {
            if origin.uuid != uuid {
                let comma = if uuid.is_empty() { "" } else { "," };
                write!(f, "{comma}{}", origin.uuid)?;
                uuid = &origin.uuid;
            }
            if !origin.tag.is_empty() {
                write!(f, ":{}", origin.tag)?;
            }
            for Interval { first, last } in intervals {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
