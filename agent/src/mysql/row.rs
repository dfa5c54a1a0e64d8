//! Rows of an answer, read by column name.

use std::{collections::BTreeMap, str::FromStr};

use super::Cause;

/// One row: column names in lower case, values as the text protocol sends them.
#[derive(Debug, Clone, Default)]
pub(super) struct Row(BTreeMap<String, Option<String>>);

impl Row {
    pub(super) fn from_driver(row: mysql::Row) -> Self {
        let names: Vec<String> =
            row.columns_ref().iter().map(|column| column.name_str().to_ascii_lowercase()).collect();
        let values = row.unwrap_raw().into_iter().map(|value| value.and_then(text_of));
        Self(names.into_iter().zip(values).collect())
    }

    /// The value, `None` when it is NULL.
    pub(super) fn optional(&self, column: &str) -> Result<Option<&str>, Cause> {
        let value = self.0.get(column);
        value.map(Option::as_deref).ok_or_else(|| Cause::Answer(format!("no column {column}")))
    }

    /// The value, which must not be NULL.
    pub(super) fn text(&self, column: &str) -> Result<&str, Cause> {
        self.optional(column)?.ok_or_else(|| Cause::Answer(format!("column {column} is NULL")))
    }

    /// The value as a number, or whatever else it says it is.
    pub(super) fn parse<T: FromStr>(&self, column: &str) -> Result<T, Cause> {
        let text = self.text(column)?;
        text.parse().map_err(|_| Cause::Answer(format!("column {column} holds {text:?}")))
    }

    /// The value as a number, `None` when it is NULL.
    pub(super) fn parse_optional<T: FromStr>(&self, column: &str) -> Result<Option<T>, Cause> {
        self.optional(column)?.map(|_| self.parse(column)).transpose()
    }

    /// A flag, which the server says as 1, ON, Yes or Y.
    pub(super) fn flag(&self, column: &str) -> Result<bool, Cause> {
        match self.text(column)? {
            "1" | "ON" | "Yes" | "YES" | "Y" => Ok(true),
            "0" | "OFF" | "No" | "NO" | "N" => Ok(false),
            other => Err(Cause::Answer(format!("column {column} holds {other:?}"))),
        }
    }
}

/// The text protocol has only bytes and NULL.
fn text_of(value: mysql::Value) -> Option<String> {
    match value {
        mysql::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}
