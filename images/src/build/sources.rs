//! The machine's own Debian mirror, read from apt's sources.
//!
//! Formats: sources.list(5), both the one-line and the deb822 style.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BuildError, BuildOptions, Recipe};

/// Where to take packages from: what the options say, else the recipe, else
/// the machine.
pub(super) fn mirror(recipe: &Recipe, options: &BuildOptions) -> Result<String, BuildError> {
    match options.mirror.as_deref().or(recipe.mirror()) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => machine_mirror(&options.apt_directory),
    }
}

/// The Debian archive that this machine takes its packages from.
///
/// # Errors
/// apt's sources, below `apt_directory` (`/etc/apt`), can't be read or name none.
pub fn machine_mirror(apt_directory: &Path) -> Result<String, BuildError> {
    for path in source_files(apt_directory)? {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(BuildError::Read { path, source }),
        };
        let entries = match path.extension() {
            Some(extension) if extension == "sources" => deb822(&text),
            _ => one_line(&text),
        };
        if let Some(entry) = entries.into_iter().find(Entry::is_archive) {
            return Ok(entry.uri);
        }
    }
    Err(BuildError::NoMirror { looked_in: apt_directory.to_path_buf() })
}

/// apt's own order: sources.list, then sources.list.d by name.
fn source_files(directory: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let drop_ins = directory.join("sources.list.d");
    let failed = |source| BuildError::Read { path: drop_ins.clone(), source };
    let mut files = Vec::new();
    match fs::read_dir(&drop_ins) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                let extension = path.extension().and_then(|extension| extension.to_str());
                if matches!(extension, Some("list" | "sources")) {
                    files.push(path);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    files.sort();
    files.insert(0, directory.join("sources.list"));
    Ok(files)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    uri: String,
    suite: String,
    components: Vec<String>,
}

impl Entry {
    /// Debian's main archive, as opposed to security updates, backports and
    /// other vendors' repositories. Its mirrors all end in `/debian`.
    fn is_archive(&self) -> bool {
        let uri = self.uri.trim_end_matches('/');
        let fetched = ["http://", "https://", "file:"].iter().any(|it| uri.starts_with(it));
        let part = ["-security", "-updates", "-backports"];
        fetched
            && uri.ends_with("/debian")
            && self.components.iter().any(|component| component == "main")
            && !part.iter().any(|it| self.suite.ends_with(it))
            && !self.suite.ends_with('/')
    }
}

fn one_line(text: &str) -> Vec<Entry> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or(""));
    lines
        .filter_map(|line| {
            let rest = line.trim().strip_prefix("deb")?;
            let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']')?.1,
                None => rest,
            };
            let mut words = rest.split_whitespace().map(str::to_owned);
            Some(Entry { uri: words.next()?, suite: words.next()?, components: words.collect() })
        })
        .collect()
}

fn deb822(text: &str) -> Vec<Entry> {
    let without_comments: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::trim_end).collect();
    without_comments.split(|line| line.is_empty()).flat_map(stanza).collect()
}

/// A stanza stands for every combination of its URIs and suites.
fn stanza(lines: &[&str]) -> Vec<Entry> {
    let words = |name: &str| field(lines, name);
    let enabled = !matches!(
        words("enabled").first().map(String::as_str),
        Some("no" | "false" | "off" | "0" | "without" | "disable")
    );
    if !enabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    let (suites, components) = (words("suites"), words("components"));
    let pairs = words("uris")
        .into_iter()
        .flat_map(|uri| suites.iter().map(move |suite| (uri.clone(), suite.clone())));
    pairs.map(|(uri, suite)| Entry { uri, suite, components: components.clone() }).collect()
}

/// The words of a field, of its continuation lines too.
fn field(lines: &[&str], wanted: &str) -> Vec<String> {
    let mut inside = false;
    let mut words = Vec::new();
    for line in lines {
        let value = if line.starts_with([' ', '\t']) {
            if inside { line } else { "" }
        } else if let Some((name, value)) = line.split_once(':') {
            inside = name.eq_ignore_ascii_case(wanted);
            if inside { value } else { "" }
        } else {
            ""
        };
        words.extend(value.split_whitespace().map(str::to_owned));
    }
    words
}

#[cfg(test)]
mod tests;
