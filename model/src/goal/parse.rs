//! One goal file: text to entries and refusals.
//!
//! A text that is not a JSON object refuses the file. Whatever else is wrong refuses
//! the one entry it stands in, and the others go on.

use std::fmt;

use serde::{
    Deserializer as _,
    de::{self, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{GOAL_VERSION, Location, PlacedEntry, Refusal, check, raw::RawEntry};
use crate::names::EntryKey;

/// The largest goal file that is read, in bytes: room for some 20,000 entries.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// What one file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedFile {
    /// The file as it was named.
    pub file: String,
    /// Entries that are valid by themselves, in the file's order.
    pub entries: Vec<PlacedEntry>,
    /// What was refused.
    pub refusals: Vec<Refusal>,
}

impl ParsedFile {
    /// A file that could not be read or is not a goal file at all.
    #[must_use]
    pub fn refused(file: &str, problem: String, remedy: &str) -> Self {
        let refusal = Refusal {
            location: Location::whole(file),
            entry: None,
            field: None,
            problem,
            remedy: remedy.to_owned(),
        };
        Self { file: file.to_owned(), entries: Vec::new(), refusals: vec![refusal] }
    }
}

/// Parses the text of the file called `file`.
#[must_use]
pub fn file(file: &str, text: &str) -> ParsedFile {
    let mut parsed = ParsedFile { file: file.to_owned(), ..ParsedFile::default() };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer
        .deserialize_map(Members)
        .and_then(|members| deserializer.end().map(|()| members));
    let members = match members {
        Ok(members) => members,
        Err(error) => {
            parsed.refusals.push(not_an_object(file, &error));
            return parsed;
        }
    };
    for (key, value) in members {
        match member(file, text, &key, value) {
            Ok(None) => {}
            Ok(Some(entry)) => parsed.entries.push(entry),
            Err(refusal) => parsed.refusals.push(*refusal),
        }
    }
    parsed
}

fn not_an_object(file: &str, error: &serde_json::Error) -> Refusal {
    Refusal {
        location: Location { file: file.to_owned(), line: error.line(), column: error.column() },
        entry: None,
        field: None,
        problem: format!(
            "not a goal file: {}; expected one JSON object of entries",
            without_place(error)
        ),
        remedy: "correct the file; until then its entries keep their last good goals".to_owned(),
    }
}

/// serde_json's message without its own line and column, which are relative to the entry.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

fn member(
    file: &str,
    text: &str,
    key: &str,
    value: &RawValue,
) -> Result<Option<PlacedEntry>, Box<Refusal>> {
    // The raw value borrows from the text, so their addresses give its offset.
    let offset = value.get().as_ptr().addr() - text.as_ptr().addr();
    let location = Location::at(file, text, offset);
    let refuse = |location: Location, field: Option<String>, problem: String, remedy: &str| {
        let entry = Some(key.to_owned());
        Box::new(Refusal { location, entry, field, problem, remedy: remedy.to_owned() })
    };
    match key {
        "$schema" => return Ok(None),
        "version" => {
            return match value.get().parse::<u32>() {
                Ok(GOAL_VERSION) => Ok(None),
                _ => {
                    let problem = format!("found {value}, expected {GOAL_VERSION}");
                    Err(refuse(location, None, problem, "use a berth that knows this version"))
                }
            };
        }
        _ => {}
    }
    let name = key.parse::<EntryKey>().map_err(|error| {
        refuse(location.clone(), None, error.to_string(), "rename the entry to <host>-<app_id>")
    })?;
    if !key.trim_matches('-').contains('-') {
        let problem = format!("found the key {key:?}, expected <host>-<app_id>");
        return Err(refuse(location, None, problem, "rename the entry"));
    }
    let raw = deserialize(value).map_err(|(field, error)| {
        let place = inner_location(&location, &error);
        let remedy = "see the list of fields in docs/operations.md";
        let problem = problem(value, field.as_deref(), &error);
        refuse(place, field, problem, remedy)
    })?;
    let compact = serde_json::to_string(&raw).unwrap_or_else(|_| value.get().to_owned());
    let entry = check::entry(&name, raw).map_err(|broken| {
        let field = Some(broken.field.to_owned());
        refuse(location.clone(), field, broken.problem, &broken.remedy)
    })?;
    Ok(Some(PlacedEntry { key: name, location, text: compact, entry }))
}

fn deserialize(value: &RawValue) -> Result<RawEntry, (Option<String>, serde_json::Error)> {
    let mut deserializer = serde_json::Deserializer::from_str(value.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        (Some(path).filter(|path| path != "."), error.into_inner())
    })
}

/// serde_json's message; of an enum that is not a string it says only "expected value".
fn problem(value: &RawValue, field: Option<&str>, error: &serde_json::Error) -> String {
    let message = without_place(error);
    if message != "expected value" {
        return message;
    }
    let whole: serde_json::Value = serde_json::from_str(value.get()).unwrap_or_default();
    let mut steps = field.into_iter().flat_map(|path| path.split('.'));
    let found = steps.try_fold(&whole, |at, step| at.get(step));
    match found {
        Some(found) => format!("found {found}, expected a word in quotes"),
        None => message,
    }
}

/// From a place within the entry's text to the place within the file.
fn inner_location(entry: &Location, error: &serde_json::Error) -> Location {
    let first_line = error.line() <= 1;
    Location {
        file: entry.file.clone(),
        line: entry.line + error.line().saturating_sub(1),
        column: if first_line {
            entry.column + error.column().saturating_sub(1)
        } else {
            error.column()
        },
    }
}

/// The members of an object in their order, a key that stands twice included.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object of entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(de::Error::invalid_type(de::Unexpected::Seq, &self))
    }
}

#[cfg(test)]
mod tests;
