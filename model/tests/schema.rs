//! The JSON Schemas in `docs/schema/` are those of the types, and say the same as the
//! parser. `BERTH_WRITE_SCHEMA=1` writes them anew (`make schema`).
//!
//! A schema can't say everything: a minion without a master, or two servers on a port, only
//! the parser refuses. What the schema accepts must be right in its fields, though.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::{fs, path::PathBuf};

use berth_model::{goal::parse, schema, status::StatusDocument};
use jsonschema::Validator;
use serde_json::{Value, json};

const FLEET: &str = include_str!("data/goal-fleet.json");
const SHORT: &str = include_str!("data/goal-short.json");
const FULL: &str = include_str!("data/goal-full.json");
/// Printed by `berth status --json` of a running host, shortened.
const STATUS: &str = include_str!("data/status.json");

fn validator(schema: &str) -> Validator {
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn check_or_write(name: &str, generated: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(name);
    if std::env::var_os("BERTH_WRITE_SCHEMA").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    // Not assert_eq, which would print both at length.
    assert!(
        kept == generated,
        "{} is not the schema of the types; write it anew with `make schema`",
        path.display()
    );
}

#[test]
fn the_schemas_in_the_documents_are_those_of_the_types() {
    check_or_write("goal-v1.json", &schema::goal());
    check_or_write("status-v1.json", &schema::status());
}

#[test]
fn schema_and_parser_accept_what_fleets_write() {
    let validator = validator(&schema::goal());
    for (text, entries) in [(FLEET, 1), (SHORT, 2), (FULL, 1)] {
        let document: Value = serde_json::from_str(text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let parsed = parse::file("goal.json", text);
        assert_eq!((parsed.entries.len(), parsed.refusals), (entries, Vec::new()));
    }
}

/// The fleet's entry with one member changed. `null` takes it away.
fn changed(pointer: &str, member: &str, value: Value) -> Value {
    let mut document: Value = serde_json::from_str(FLEET).unwrap();
    let key = "dbhost01-orders-orders-us1-cluster8-db4";
    let entry = document[key].pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        entry.remove(member);
    } else {
        entry.insert(member.to_owned(), value);
    }
    document
}

#[test]
fn schema_and_parser_refuse_the_same_mistakes() {
    let validator = validator(&schema::goal());
    let mistakes = [
        changed("", "status", json!("started")),
        changed("", "state", json!("running")),
        changed("", "data", Value::Null),
        changed("", "generation", json!(-1)),
        changed("/data", "maste_host", json!("dbhost30")),
        changed("/data", "role", Value::Null),
        changed("/data", "role", json!("slave")),
        changed("/data", "port", json!(0)),
        changed("/data", "port", json!(70_000)),
        changed("/data", "port", json!("7335")),
        changed("/data", "size", json!(16)),
        changed("/data", "size", json!("16")),
        changed("/data", "size", json!("16 gigs")),
        changed("/data", "disabled", json!("no")),
        changed("/data", "cluster", json!("a b")),
        changed("/data", "io", json!({"write_bps": 100})),
        changed("/data", "io", json!({"wbps": "100MiB/s"})),
        changed("/data", "cpu", json!({"cores": "2"})),
        changed("/data", "cpu", json!({"cpuset": "0-"})),
        changed("/data", "cpu", json!({"cpuset": 3})),
        changed("/data", "io", json!({"weight": 0})),
        changed("/data", "memory", json!({"high": 4096})),
        changed("/data", "memory", json!({"max": "1GiB"})),
        changed("/data", "pids", json!(63)),
        changed("/data", "network", json!({"mode": "bridge"})),
        changed("/data", "network", json!({"mode": "vlan"})),
        changed("/data", "network", json!({"mode": "vlan", "pool": "p", "rate": {"in": 5}})),
        changed("/data", "reseed", json!("always")),
        changed("/data", "variables", json!({"max_connections": [1]})),
    ];
    for document in mistakes {
        let text = document.to_string();
        assert!(!validator.is_valid(&document), "the schema accepts {text}");
        let parsed = parse::file("goal.json", &text);
        assert_eq!((parsed.entries.len(), parsed.refusals.len()), (0, 1), "{text}");
    }
}

#[test]
fn the_parser_accepts_what_the_schema_accepts() {
    let validator = validator(&schema::goal());
    let samples = [
        changed("", "app_id", Value::Null),
        changed("", "generation", json!(7)),
        changed("", "state", json!("removed")),
        changed("/data", "role", json!("replica")),
        changed("/data", "role", json!("primary")),
        changed("/data", "role", json!("source")),
        changed("/data", "cpu", json!({"cpuset": "0-3,8"})),
        changed("/data", "io", json!({"weight": 10_000})),
        changed("/data", "memory", json!({"high": "1.5GiB"})),
        changed("/data", "pids", json!(64)),
        changed("/data", "size", json!("1/4")),
        changed("/data", "size", json!("1.5GiB")),
        changed("/data", "size", json!("500 MB")),
        changed("/data", "cluster", json!("orders-us1-cluster8")),
        changed("/data", "io", json!({"write_bps": "100MiB", "read_iops": 10})),
        changed("/data", "cpu", json!({"cores": 2, "weight": 50})),
        changed("/data", "network", json!({"mode": "host"})),
        changed("/data", "network", json!({"mode": "vlan", "pool": "orders"})),
        changed(
            "/data",
            "network",
            json!({"mode": "vlan", "pool": "orders", "ip": "10.20.0.9", "rate": {"in": "1Gbit"}}),
        ),
        changed("/data", "reseed", json!("errant")),
        changed("/data", "variables", json!({"max_connections": 500, "slow_query_log": "ON"})),
    ];
    for document in samples {
        let text = document.to_string();
        assert!(validator.is_valid(&document), "the schema refuses {text}");
        let parsed = parse::file("goal.json", &text);
        assert_eq!((parsed.entries.len(), parsed.refusals), (1, Vec::new()), "{text}");
    }
}

#[test]
fn a_file_may_name_its_version_and_its_schema_beside_its_entries() {
    let validator = validator(&schema::goal());
    let mut document: Value = serde_json::from_str(SHORT).unwrap();
    document["version"] = json!(1);
    document["$schema"] = json!("https://example.com/goal-v1.json");
    assert!(validator.is_valid(&document));
    assert_eq!(parse::file("goal.json", &document.to_string()).refusals, Vec::new());
    document["version"] = json!(2);
    assert!(!validator.is_valid(&document));
    document["version"] = json!(1);
    // Whatever else stands at the top is an entry.
    document["comment"] = json!("the orders cluster");
    assert!(!validator.is_valid(&document));
    assert_eq!(parse::file("goal.json", &document.to_string()).refusals.len(), 1);
}

#[test]
fn a_key_that_is_no_name_is_refused() {
    let validator = validator(&schema::goal());
    let document: Value = serde_json::from_str(SHORT).unwrap();
    for key in ["db host-1", "../up", "-a-b", "a/b-c"] {
        let document = json!({ key: document["dbhost30-orders-db1"] });
        assert!(!validator.is_valid(&document), "{key}");
        let parsed = parse::file("goal.json", &document.to_string());
        assert_eq!((parsed.entries.len(), parsed.refusals.len()), (0, 1), "{key}");
    }
}

#[test]
fn a_real_status_fits_its_schema_and_is_read_without_loss() {
    let document: Value = serde_json::from_str(STATUS).unwrap();
    let validator = validator(&schema::status());
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let read: StatusDocument = serde_json::from_str(STATUS).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), document);
}

#[test]
fn a_status_with_a_state_that_does_not_exist_is_refused() {
    let validator = validator(&schema::status());
    let mut document: Value = serde_json::from_str(STATUS).unwrap();
    document["instances"]["demo-shop-db1"]["state"] = json!("primary");
    assert!(!validator.is_valid(&document));
}
