//! JSON Schemas of the documents, made from the types (`docs/schema/`).

use schemars::schema_for;

use crate::{goal::raw::RawFile, status::StatusDocument};

/// The schema of a goal file, as indented JSON.
#[must_use]
pub fn goal() -> String {
    text(&schema_for!(RawFile))
}

/// The schema of a status document, as indented JSON.
#[must_use]
pub fn status() -> String {
    text(&schema_for!(StatusDocument))
}

fn text(schema: &schemars::Schema) -> String {
    let mut text = serde_json::to_string_pretty(schema).expect("a schema is JSON");
    text.push('\n');
    text
}
