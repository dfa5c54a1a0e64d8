//! Values as the database writes them (RFC 7047 section 5.1).

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// `["map", [[key, value], …]]` of strings.
pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let pairs: Vec<_> = entries.into_iter().map(|(key, value)| json!([key, value])).collect();
    json!(["map", pairs])
}

/// A map column of strings; what is not one is empty.
pub(super) fn strings(row: &Value, column: &str) -> BTreeMap<String, String> {
    let pairs = row[column][1].as_array().filter(|_| row[column][0] == "map");
    pairs
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned())))
        .collect()
}

/// A column that holds one value or none: `None` for the empty set.
pub(super) fn optional<'a>(row: &'a Value, column: &str) -> Option<&'a Value> {
    match &row[column] {
        Value::Null => None,
        Value::Array(set) if set.first().is_some_and(|kind| kind == "set") => set[1].get(0),
        value => Some(value),
    }
}

/// The members of a set of integers, of which the database writes a single one bare.
pub(super) fn integers(row: &Value, column: &str) -> Vec<i64> {
    match &row[column] {
        Value::Array(set) if set.first().is_some_and(|kind| kind == "set") => {
            set[1].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
        }
        value => value.as_i64().into_iter().collect(),
    }
}

/// A column of text, empty if it isn't.
pub(super) fn text(row: &Value, column: &str) -> String {
    optional(row, column).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The row's own identifier.
pub(super) fn uuid(row: &Value) -> Option<String> {
    row["_uuid"][1].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests;
