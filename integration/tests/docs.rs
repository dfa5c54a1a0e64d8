//! The documents say what the program does: commands, options, fields, states and messages
//! are read from the program, its schemas and its sources, and looked for in the documents.
//!
//! Needs no root. Whether a sentence is true, no test can tell.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "docs/tree.rs"]
mod tree;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use berth_model::{goal::variables, schema};
use serde_json::Value;
use tree::{code_blocks, read, rust_files, section, table_rows};

const OPERATIONS: &str = "docs/operations.md";

/// Runs the program that was built with this test: this package's own, which cargo builds
/// for its tests, or that of the workspace.
fn berth(arguments: &[&str]) -> std::process::Output {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(Path::parent).unwrap();
    let program = ["berth-under-test", "berth"].map(|name| built.join(name));
    let program = program.iter().find(|program| program.exists());
    let program = program.expect("the program is not built; cargo build -p berth-agent");
    Command::new(program).args(arguments).output().unwrap()
}

fn help(path: &[String]) -> String {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    String::from_utf8(berth(&arguments).stdout).unwrap()
}

/// What stands first on the lines of a section of a help text.
fn listed<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1);
    lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// Every command without subcommands, such as `goal check`.
fn commands() -> Vec<Vec<String>> {
    let mut open = vec![Vec::new()];
    let mut leaves = Vec::new();
    while let Some(path) = open.pop() {
        let help = help(&path);
        let below = listed(&help, "Commands:");
        if below.is_empty() {
            leaves.push(path);
            continue;
        }
        for name in below.into_iter().filter(|name| *name != "help") {
            open.push([path.clone(), vec![name.to_owned()]].concat());
        }
    }
    leaves
}

/// The options of a help text, each with its spellings.
fn options(help: &str) -> Vec<Vec<String>> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let spellings = |line: &str| {
        let words = line.split([' ', ',']).filter(|word| word.starts_with('-'));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    lines.map(spellings).collect()
}

fn none_missing(what: &str, missing: &[String]) {
    assert!(missing.is_empty(), "{what}: {}", missing.join(", "));
}

#[test]
fn every_command_and_option_is_explained() {
    let text = read(OPERATIONS);
    let commands_text = section(&text, "## Commands");
    let known = commands();
    assert!(known.len() > 10, "{known:?}");
    let mut missing = Vec::new();
    for path in known {
        let command = format!("| `berth {}", path.join(" "));
        let Some(row) = commands_text.lines().find(|line| line.starts_with(&command)) else {
            missing.push(command);
            continue;
        };
        for spellings in options(&help(&path)) {
            let general = ["--config", "--help"];
            let explained = spellings
                .iter()
                .any(|name| general.contains(&name.as_str()) || row.contains(name.as_str()));
            if !explained {
                missing.push(format!("{command} {}`", spellings.join(" ")));
            }
        }
    }
    none_missing("docs/operations.md does not explain", &missing);
}

/// All words that an enumeration of a schema may be.
fn words(schema: &str, name: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let definition = &schema["$defs"][name];
    let list = |member: &str| definition[member].as_array().cloned().unwrap_or_default();
    let described = list("oneOf").into_iter().map(|variant| variant["const"].clone());
    let words = described.chain(list("enum"));
    let words: BTreeSet<String> =
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    assert!(!words.is_empty(), "{name} is no enumeration: {definition}");
    words
}

#[test]
fn every_state_and_phase_has_its_row_and_no_other_has() {
    let text = read(OPERATIONS);
    let status = section(&text, "## Status");
    for (heading, name) in [("| phase |", "Phase"), ("| state |", "InstanceState")] {
        let rows: BTreeSet<String> = table_rows(&status, heading).into_iter().collect();
        assert_eq!(rows, words(&schema::status(), name), "{name}");
    }
    let mut missing = Vec::new();
    for name in ["AgentState", "GoalStanding"] {
        let all = words(&schema::status(), name);
        missing.extend(all.into_iter().filter(|word| !status.contains(&format!("`{word}`"))));
    }
    none_missing("docs/operations.md does not explain", &missing);
}

#[test]
fn the_rules_of_replication_name_every_state() {
    let text = read("docs/replication.md");
    let states = words(&schema::status(), "InstanceState");
    // What is removed has no server.
    let ruled = states.into_iter().filter(|state| state != "removed");
    let missing: Vec<String> =
        ruled.filter(|state| !text.contains(&format!("`{state}`"))).collect();
    none_missing("docs/replication.md has no rule for", &missing);
}

/// The names of all fields below the definitions of a goal entry.
fn fields(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| fields(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

#[test]
fn every_field_of_a_goal_is_explained() {
    let text = read(OPERATIONS);
    let goals = section(&text, "## Goal files");
    let mut names = BTreeSet::new();
    fields(&serde_json::from_str(&schema::goal()).unwrap(), &mut names);
    for kind in ["GoalState", "Role", "Reseed"] {
        names.extend(words(&schema::goal(), kind));
    }
    names.extend(variables::ALLOWED.iter().map(|(name, _)| (*name).to_owned()));
    assert!(names.contains("master_host") && names.contains("write_bps"));
    let missing: Vec<String> = names
        .into_iter()
        .filter(|name| {
            !goals.contains(&format!("`{name}`")) && !goals.contains(&format!("\"{name}\""))
        })
        .collect();
    none_missing("docs/operations.md does not explain", &missing);
}

#[test]
fn every_field_of_the_configuration_has_its_row_and_no_other_has() {
    let dir = tempdir();
    let path = dir.join("unknown.toml");
    let text = section(&read(OPERATIONS), "## Configuration");
    for (table, heading) in [("", "| field |"), ("[network]", "| field of `network` |")] {
        fs::write(&path, format!("{table}\nno_such_field = 1\n")).unwrap();
        let output = berth(&["--config", path.to_str().unwrap(), "status"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        let expected = complaint.split("expected one of").nth(1).unwrap();
        let known: BTreeSet<String> =
            expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let rows: BTreeSet<String> = table_rows(&text, heading).into_iter().collect();
        assert_eq!(rows, known, "{table}");
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_examples_of_configuration_and_goals_are_accepted() {
    let dir = tempdir();
    let mut goals = 0;
    for document in ["README.md", OPERATIONS] {
        let text = read(document);
        for (number, block) in code_blocks(&text, "toml").into_iter().enumerate() {
            let path = dir.join(format!("{number}.toml"));
            fs::write(&path, block).unwrap();
            let output = berth(&["--config", path.to_str().unwrap(), "preflight", "--json"]);
            // It may find that something is missing here; that is no matter of the example.
            serde_json::from_slice::<Value>(&output.stdout)
                .unwrap_or_else(|_| panic!("{document}: {output:?}"));
        }
        for (number, block) in code_blocks(&text, "json").into_iter().enumerate() {
            let path = dir.join(format!("{number}.json"));
            fs::write(&path, block).unwrap();
            let output = berth(&["goal", "check", path.to_str().unwrap()]);
            assert!(output.status.success(), "{document}: {output:?}");
            goals += 1;
        }
    }
    assert!(goals >= 2);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_texts_to_look_up_are_those_of_the_program() {
    let mut sources = String::new();
    for file in rust_files().into_iter().filter(|file| file.contains("/src/")) {
        sources.push_str(&read(&file));
    }
    // A literal that goes on in the next line.
    let joined: Vec<&str> = sources.split("\\\n").collect();
    let sources: String = joined.iter().map(|part| part.trim_start()).collect();
    let text = read(OPERATIONS);
    let mut texts = table_rows(&section(&text, "## Troubleshooting"), "| text |");
    texts.extend(table_rows(&section(&text, "## Preflight"), "| line |"));
    assert!(texts.len() > 30);
    let said = |text: &str| {
        // Three dots stand for what differs.
        text.split("...").map(str::trim).all(|part| sources.contains(part) || is_server_error(part))
    };
    let missing: Vec<String> = texts.into_iter().filter(|text| !said(text)).collect();
    none_missing("the program never says", &missing);
}

/// The number is the server's; the words before it are the program's.
fn is_server_error(text: &str) -> bool {
    text.strip_prefix("server error ").is_some_and(|number| number.parse::<u16>().is_ok())
}

/// A directory of this test's own.
fn tempdir() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("berth-test-docs-{}-{number}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    fs::create_dir(&dir).unwrap();
    dir
}
