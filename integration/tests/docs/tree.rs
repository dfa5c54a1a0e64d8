//! The checkout as these tests read it, and the form that its files have.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Directories that are not part of the sources.
const NOT_OURS: [&str; 4] = ["target", ".git", ".demo", ".demo-fleet"];
/// What a Rust file has at most. Nobody reads a longer one to its end.
const LINES_MAX: usize = 420;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The text of a file of the checkout.
pub(crate) fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of the checkout, relative to its root, in order.
fn files() -> Vec<String> {
    let mut open = vec![root()];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let ours = !NOT_OURS.iter().any(|name| entry.file_name() == *name);
            if entry.file_type().unwrap().is_dir() && ours {
                open.push(path);
            } else if entry.file_type().unwrap().is_file() {
                let relative = path.strip_prefix(root()).unwrap();
                found.push(relative.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn files_named(endings: &[&str]) -> Vec<String> {
    files().into_iter().filter(|file| endings.iter().any(|ending| file.ends_with(ending))).collect()
}

/// All Rust files.
pub(crate) fn rust_files() -> Vec<String> {
    files_named(&[".rs"])
}

/// A section of a document, its heading left out, up to the next heading of its level.
pub(crate) fn section(text: &str, heading: &str) -> String {
    let (marks, _) = heading.split_once(' ').unwrap();
    let next = format!("{marks} ");
    let mut lines = text.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no {heading:?}");
    lines.take_while(|line| !line.starts_with(&next)).map(|line| format!("{line}\n")).collect()
}

/// All `quoted` words in the first column of the tables that begin with `heading`.
pub(crate) fn table_rows(text: &str, heading: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if !line.starts_with('|') {
            inside = false;
        } else if line.starts_with(heading) {
            inside = true;
        } else if inside && !line.starts_with("|-") {
            let first = line.split('|').nth(1).unwrap_or_default();
            rows.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    rows
}

/// The code blocks of a language.
pub(crate) fn code_blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// The anchor that a heading gets on GitHub.
fn anchor(heading: &str) -> String {
    let kept =
        heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Why a link of a document leads nowhere.
fn broken(document: &str, link: &str) -> Option<String> {
    let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => PathBuf::from(document),
        file => Path::new(document).parent().unwrap().join(file),
    };
    let path = root().join(&target);
    if !path.exists() {
        return Some(format!("{document}: {link}: no such file"));
    }
    if fragment.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&path).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let found = headings.map(|line| anchor(line.trim_start_matches('#'))).any(|a| a == fragment);
    (!found).then(|| format!("{document}: {link}: no such heading"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in files_named(&[".md"]) {
        let text = read(&document);
        for rest in text.split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if !link.contains("://") {
                seen += 1;
                wrong.extend(broken(&document, link));
            }
        }
    }
    assert!(seen > 20, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What follows `make` where a document tells to run it.
fn make_targets(text: &str) -> Vec<&str> {
    let told = ["`make ", "sudo make ", "\nmake "];
    let after = told.iter().flat_map(|told| text.split(told).skip(1));
    after.filter_map(|rest| rest.split([' ', '`', '\n']).next()).collect()
}

#[test]
fn every_make_target_that_a_document_names_is_there() {
    let makefile = read("Makefile");
    let mut seen = 0;
    for document in files_named(&[".md", ".rs"]) {
        for target in make_targets(&read(&document)) {
            let letters = target.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if !letters || target.is_empty() {
                continue;
            }
            seen += 1;
            let found = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            assert!(found, "{document}: make {target}");
        }
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn decisions_are_numbered_and_have_their_headings() {
    let decisions: Vec<String> =
        files_named(&[".md"]).into_iter().filter(|file| file.starts_with("docs/adr/")).collect();
    assert!(!decisions.is_empty());
    // Work side by side sets numbers aside, so that one may be left out; none is given twice.
    let mut last = 0;
    for file in &decisions {
        let name = file.trim_start_matches("docs/adr/");
        let number: u32 = name.split('-').next().unwrap().parse().unwrap();
        assert!(number > last && name.starts_with(&format!("{number:04}-")), "{file}");
        last = number;
        let text = read(file);
        assert!(text.starts_with(&format!("# {number}. ")), "{file}: its title");
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        let expected = ["## Context", "## Decision", "## Alternatives", "## Consequences"];
        assert_eq!(headings, expected, "{file}");
    }
}

#[test]
fn the_changelog_has_the_form_of_keep_a_changelog() {
    let text = read("CHANGELOG.md");
    assert!(text.starts_with("# Changelog\n"));
    let versions: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
    assert_eq!(versions.first(), Some(&"## [Unreleased]"));
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            assert!(kinds.contains(&kind), "{kind}");
        }
    }
}

#[test]
fn rust_files_are_short_and_say_what_they_are_for() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{file} has {lines} lines, at most {LINES_MAX} are wanted"));
        }
        if !file.ends_with("/tests.rs") && !text.starts_with("//!") {
            wrong.push(format!("{file} does not open with what it is for (//!)"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Top directories that every host may have (hier(7)), and `data`, which examples use.
const ORDINARY: [&str; 18] = [
    "bin", "boot", "data", "dev", "etc", "home", "lib", "mnt", "opt", "proc", "root", "run",
    "sbin", "srv", "sys", "tmp", "usr", "var",
];

/// Whether a path begins in a directory that this machine has and others need not have.
fn is_of_this_machine(first: &str) -> bool {
    !ORDINARY.contains(&first) && Path::new("/").join(first).is_dir()
}

/// The first part of each absolute path of two parts at least, after a quote or a blank.
fn path_roots(line: &str) -> Vec<&str> {
    let starts = line.match_indices('/').filter(|(at, _)| {
        line[..*at].chars().next_back().is_none_or(|c| matches!(c, '"' | '\'' | '`' | ' ' | '='))
    });
    starts
        .filter_map(|(at, _)| line[at + 1..].split_once('/'))
        .map(|(first, _)| first)
        .filter(|first| !first.is_empty() && first.chars().all(|c| c.is_ascii_lowercase()))
        .collect()
}

/// Words for what is not finished. Put together here, so that this file has none.
fn unfinished() -> Vec<String> {
    [("FIX", "ME"), ("XX", "X:"), ("to", "do!("), ("unimple", "mented!("), ("db", "g!(")]
        .map(|(a, b)| format!("{a}{b}"))
        .into()
}

#[test]
fn nothing_is_unfinished_and_no_path_is_of_one_machine() {
    let unfinished = unfinished();
    let mut wrong = Vec::new();
    for file in files_named(&[".rs", ".md", ".toml", ".cnf", "Makefile", "scripts/demo"]) {
        for (number, line) in (1..).zip(read(&file).lines()) {
            let place = || format!("{file}:{number}: {}", line.trim());
            let strange = path_roots(line).into_iter().any(is_of_this_machine);
            let scratch = line.contains(concat!("/var/", "tmp/scratch"));
            if strange || scratch || unfinished.iter().any(|word| line.contains(word.as_str())) {
                wrong.push(place());
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
