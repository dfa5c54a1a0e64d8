//! What is accepted as fleets write it, and how everything else is refused.

use proptest::prelude::*;

use super::*;
use crate::goal::{GoalState, Role};

const FLEET: &str = r#"{
  "dbhost01-orders-orders-us1-cluster8-db4": {
    "app_id": "orders-orders-us1-cluster8-db4",
    "state": "started",
    "data": {
      "semi_sync_repl_enabled": false,
      "name": "orders-us1-cluster8-db4",
      "master_host": "dbhost30",
      "master_port": 7335,
      "disabled": false,
      "role": "minion",
      "port": 7335,
      "size": "all"
    }
  }
}"#;

/// A minion's entry whose `data` has `change` put in place of its role.
fn with(change: &str) -> String {
    FLEET.replace("\"role\": \"minion\"", change)
}

/// The same of 4 GiB with this `memory.high`.
fn high(high: &str) -> String {
    let text = with(&format!("\"role\": \"minion\", \"memory\": {{\"high\": {high:?}}}"));
    text.replace("\"all\"", "\"4GiB\"")
}

/// The same in vlan mode, with more fields of `network`.
fn vlan(more: &str) -> String {
    with(&format!("\"role\": \"minion\", \"network\": {{\"mode\": \"vlan\"{more}}}"))
}

fn only_refusal(text: &str) -> Refusal {
    let mut parsed = file("10-a.json", text);
    assert_eq!(parsed.entries, [], "{text}");
    assert_eq!(parsed.refusals.len(), 1, "{:?}", parsed.refusals);
    parsed.refusals.remove(0)
}

#[test]
fn a_fleets_own_entry_is_accepted_as_it_is() {
    let parsed = file("10-a.json", FLEET);
    assert_eq!(parsed.refusals, []);
    let [placed] = &parsed.entries[..] else { panic!("{parsed:?}") };
    assert_eq!(placed.location.to_string(), "10-a.json:2:46");
    assert_eq!(placed.entry.role, Role::Minion);
    assert_eq!(placed.entry.state, GoalState::Started);
    let source = placed.entry.source.as_ref().unwrap();
    assert_eq!((source.host.as_str(), source.port), ("dbhost30", 7335));
}

#[test]
fn the_short_form_is_accepted() {
    let text = r#"{
      "version": 1, "$schema": "goal-v1.json",
      "h-a": {"data": {"disabled": false, "role": "primary", "port": 1, "size": "1/4"}},
      "h-b": {"data": {"disabled": true, "role": "replica", "port": 2, "size": "2GiB",
                       "master_host": "h-a", "master_port": 1}}
    }"#;
    let parsed = file("a.json", text);
    assert_eq!(parsed.refusals, []);
    let roles: Vec<_> = parsed.entries.iter().map(|placed| placed.entry.role).collect();
    assert_eq!(roles, [Role::Master, Role::Minion]);
}

#[test]
fn vlan_mode_is_accepted_with_what_it_needs() {
    let text =
        vlan(", \"pool\": \"orders\", \"ip\": \"10.20.0.9\", \"rate\": {\"in\": \"1.5Gbit/s\"}");
    let parsed = file("a.json", &text);
    assert_eq!(parsed.refusals, []);
    let network = &parsed.entries[0].entry.network;
    assert!(network.is_vlan() && network.ip() == "10.20.0.9".parse().ok(), "{network:?}");
    let long = format!("dbhost01-{}", "x".repeat(115));
    let text = text.replace("dbhost01-orders-orders-us1-cluster8-db4", &long);
    let text = text.replace("\"orders-orders-us1-cluster8-db4\",", &format!("{:?},", &long[9..]));
    assert!(only_refusal(&text).problem.contains("at most 120"));
}

#[test]
fn all_limits_are_accepted_and_kept_in_their_plain_form() {
    let text = with(
        "\"role\": \"minion\", \"io\": {\"weight\": 10000}, \"pids\": 64, \
         \"cpu\": {\"cpuset\": \"3,0-1,2\"}, \"memory\": {\"high\": \"3.5GiB\"}",
    );
    let parsed = file("a.json", &text.replace("\"all\"", "\"4GiB\""));
    assert_eq!(parsed.refusals, []);
    let entry = &parsed.entries[0].entry;
    assert_eq!(entry.cpu.cpuset.as_ref().map(ToString::to_string).as_deref(), Some("0-3"));
    assert_eq!(entry.memory.high.map(|high| high.get()), Some(3584 << 20));
    assert_eq!((entry.io.weight, entry.pids), (Some(10_000), Some(64)));
    assert!(!entry.io.has_rates());
}

/// So that an earlier version, after a downgrade, reads what is in force.
#[test]
fn limits_that_are_not_set_are_not_written() {
    let text = &file("a.json", FLEET).entries[0].text;
    for name in ["memory", "pids", "cpuset"] {
        assert!(!text.contains(name), "{name} in {text}");
    }
}

#[test]
fn what_is_not_an_object_refuses_the_file() {
    for (text, line) in [("", 1), ("\n\nnull", 3), ("[1]", 1), ("{\n \"h-a\": {", 2), ("{} x", 1)] {
        let refusal = only_refusal(text);
        assert_eq!(refusal.entry, None, "{text:?}");
        assert_eq!(refusal.location.line, line, "{text:?}: {refusal}");
        assert!(refusal.problem.contains("expected one JSON object"), "{refusal}");
    }
}

#[test]
fn a_refusal_names_line_column_found_and_expected() {
    let refusal = only_refusal(&with("\"role\": \"captain\""));
    assert_eq!(refusal.field.as_deref(), Some("data.role"));
    assert_eq!(refusal.location.line, 11);
    assert!(refusal.to_string().starts_with("10-a.json:11:"), "{refusal}");
    assert!(refusal.problem.contains("captain") && refusal.problem.contains("`minion`"));
}

#[test]
fn each_kind_of_mistake_refuses_its_entry() {
    let cases = [
        (with("\"role\": \"minion\", \"colour\": 1"), "data.colour", "unknown field"),
        (with("\"role\": 7"), "data.role", "found 7, expected a word"),
        (FLEET.replace("\"all\"", "\"most\""), "data.size", "\"most\""),
        (FLEET.replace("\"all\"", "\"100MiB\""), "data.size", "at least 384 MiB"),
        (FLEET.replace("\"all\"", "4096"), "data.size", "bare number 4096"),
        (FLEET.replace("\"started\"", "\"paused\""), "state", "paused"),
        (FLEET.replace("\"master_host\": \"dbhost30\",", ""), "data.master_host", "without"),
        (FLEET.replace("\"master_port\": 7335,", ""), "data.master_port", "without"),
        (
            FLEET.replace("\"port\": 7335,\n      \"size\"", "\"port\": 0, \"size\""),
            "data.port",
            "0",
        ),
        (FLEET.replace("7335,\n      \"size\"", "70000, \"size\""), "data.port", "70000"),
        (FLEET.replace("\"orders-orders-us1-cluster8-db4\",", "\"x\","), "app_id", "\"x\""),
        (
            with("\"role\": \"minion\", \"variables\": {\"datadir\": \"/\"}"),
            "data.variables",
            "datadir",
        ),
        (
            with("\"role\": \"minion\", \"variables\": {\"max_connections\": \"many\"}"),
            "data.variables",
            "whole number",
        ),
        (with("\"role\": \"minion\", \"io\": {\"read_iops\": 0}"), "data.io.read_iops", "found 0"),
        (
            with("\"role\": \"minion\", \"io\": {\"read_bps\": 10}"),
            "data.io.read_bps",
            "bare number",
        ),
        (with("\"role\": \"minion\", \"cpu\": {\"cores\": 0}"), "data.cpu.cores", "found 0"),
        (
            with("\"role\": \"minion\", \"cpu\": {\"cpuset\": \"0-x\"}"),
            "data.cpu.cpuset",
            "found \"x\" in \"0-x\", expected a list of CPUs",
        ),
        (
            with("\"role\": \"minion\", \"cpu\": {\"cpuset\": 3}"),
            "data.cpu.cpuset",
            "bare number 3",
        ),
        (
            with("\"role\": \"minion\", \"io\": {\"weight\": 0}"),
            "data.io.weight",
            "from 1 to 10000",
        ),
        (
            with("\"role\": \"minion\", \"pids\": 63"),
            "data.pids",
            "found 63, expected 64 to 4194304 processes and threads",
        ),
        (with("\"role\": \"minion\", \"pids\": \"many\""), "data.pids", "\"many\""),
        (
            with("\"role\": \"minion\", \"memory\": {\"low\": \"1GiB\"}"),
            "data.memory.low",
            "unknown",
        ),
        (
            with("\"role\": \"minion\", \"memory\": {\"high\": 5}"),
            "data.memory.high",
            "bare number 5",
        ),
        (high("3GiB"), "data.memory.high", "found 3GiB, expected at least 3200MiB"),
        (
            high("4GiB"),
            "data.memory.high",
            "found 4GiB, expected at least 3200MiB, which the server takes, and less than 4GiB, its size",
        ),
        (with("\"role\": \"minion\", \"network\": {\"mode\": \"tun\"}"), "data.network", "tun"),
        (with("\"role\": \"minion\", \"sidecars\": [\"x\"]"), "data.sidecars", "\"x\""),
        (vlan(""), "data.network", "missing field `pool`"),
        (vlan(", \"pool\": \"a b\""), "data.network.pool", "\"a b\""),
        (vlan(", \"pool\": \"p\", \"ip\": \"10.0.0\""), "data.network", "IP address"),
        (vlan(", \"pool\": \"p\", \"ip\": \"127.0.0.1\""), "data.network.ip", "127.0.0.1"),
        (vlan(", \"pool\": \"p\", \"rate\": {\"in\": 9}"), "data.network", "bare number 9"),
        (
            vlan(", \"pool\": \"p\", \"rate\": {\"out\": \"1kbit\"}"),
            "data.network.rate.out",
            "8kbit",
        ),
        (vlan(", \"pool\": \"p\", \"tag\": 9"), "data.network", "unknown field `tag`"),
    ];
    for (text, field, problem) in cases {
        assert_ne!(text, FLEET, "{field}");
        let refusal = only_refusal(&text);
        assert_eq!(refusal.entry.as_deref(), Some("dbhost01-orders-orders-us1-cluster8-db4"));
        let named = refusal.field.as_deref().unwrap_or_default();
        assert!(named.starts_with(field) || field.starts_with(named), "{field}: {refusal}");
        assert!(refusal.problem.contains(problem), "{field}: {refusal}");
        assert!(refusal.location.line > 1, "{refusal}");
    }
}

#[test]
fn one_bad_entry_leaves_the_others() {
    let text = r#"{
      "h-a": {"data": {"role": "master", "port": 1, "size": "all"}},
      "h b": {"data": {"role": "master", "port": 2, "size": "all"}},
      "nodash": {"data": {"role": "master", "port": 2, "size": "all"}},
      "h-c": []
    }"#;
    let parsed = file("a.json", text);
    assert_eq!(parsed.entries.len(), 1);
    let lines: Vec<_> = parsed.refusals.iter().map(|refusal| refusal.location.line).collect();
    assert_eq!(lines, [3, 4, 5]);
}

#[test]
fn a_version_to_come_is_refused() {
    let refusal = only_refusal("{\"version\": 2}");
    assert!(refusal.problem.contains("expected 1"), "{refusal}");
}

proptest! {
    #[test]
    fn a_text_is_refused_as_a_whole_if_it_is_no_object(text in "\\PC{0,80}") {
        let parsed = file("x", &text);
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
        prop_assert_eq!(parsed.refusals.iter().any(|r| r.entry.is_none()), object.is_err());
    }

    #[test]
    fn a_cut_document_is_refused_as_a_whole(cut in 1usize..FLEET.len() - 1) {
        let parsed = file("x", &FLEET[..cut]);
        prop_assert!(parsed.entries.is_empty());
        prop_assert_eq!(parsed.refusals.len(), 1);
    }
}
