//! Recipes: what goes into an image. A directory with `recipe.toml`, and
//! `files/` laid over the root; some are built in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::BuildError;
use super::builtin::BUILTIN;
use crate::Reference;

/// Every character that a recipe may put into mmdebstrap's arguments besides
/// letters and digits; none of them means anything to a shell.
const PLAIN: &str = "-_.+:/=~@%,";
const FILE_BYTES_MAX: u64 = 16 << 20;
const FILES_MAX: usize = 1000;

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    document: Document,
    files: Vec<OverlayFile>,
}

/// A file laid over the root.
#[derive(Debug, Clone)]
pub(super) struct OverlayFile {
    pub(super) path: PathBuf,
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
}

/// `recipe.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    description: String,
    reference: Reference,
    suite: String,
    components: Vec<String>,
    packages: Vec<String>,
    keyring: PathBuf,
    mirror: Option<String>,
    #[serde(default)]
    extra_sources: Vec<String>,
    date: jiff::Timestamp,
    user: Account,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    directories: Vec<Directory>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    cmd: Vec<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The user that the image's program runs as; made in the image, with a group
/// of the same name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// A directory to make.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Directory {
    pub(super) path: String,
    /// Octal, as for chmod(1).
    pub(super) mode: String,
    /// Whether it belongs to the recipe's user; otherwise to root.
    pub(super) owned: bool,
}

impl Recipe {
    /// A recipe of this program; `None` when there is none of that name.
    ///
    /// # Errors
    /// As [`Recipe::load`]; tests see to it that there are none.
    pub fn builtin(name: &str) -> Result<Option<Self>, BuildError> {
        let Some(builtin) = BUILTIN.iter().find(|builtin| builtin.name == name) else {
            return Ok(None);
        };
        let files = builtin.files.iter().map(|(path, content)| OverlayFile {
            path: path.into(),
            executable: false,
            content: content.to_vec(),
        });
        let place = PathBuf::from(name).join("recipe.toml");
        Self::parse(&place, builtin.recipe, files.collect()).map(Some)
    }

    /// Reads a recipe's directory.
    ///
    /// # Errors
    /// When a file can't be read, or a value would not do.
    pub fn load(directory: &Path) -> Result<Self, BuildError> {
        let path = directory.join("recipe.toml");
        let text = fs::read_to_string(&path)
            .map_err(|source| BuildError::Read { path: path.clone(), source })?;
        let mut files = Vec::new();
        let overlay = directory.join("files");
        if overlay.exists() {
            collect_files(&overlay, &overlay, &mut files)?;
        }
        Self::parse(&path, &text, files)
    }

    fn parse(path: &Path, text: &str, files: Vec<OverlayFile>) -> Result<Self, BuildError> {
        let document: Document = toml::from_str(text).map_err(|source| BuildError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        document.check()?;
        Ok(Self { document, files })
    }

    /// The recipe's name.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// What the image is, in a sentence or two.
    pub fn description(&self) -> &str {
        &self.document.description
    }

    /// The reference that its image has by default.
    pub fn reference(&self) -> &Reference {
        &self.document.reference
    }

    pub(super) fn suite(&self) -> &str {
        &self.document.suite
    }

    pub(super) fn components(&self) -> &[String] {
        &self.document.components
    }

    pub(super) fn packages(&self) -> &[String] {
        &self.document.packages
    }

    pub(super) fn keyring(&self) -> &Path {
        &self.document.keyring
    }

    pub(super) fn mirror(&self) -> Option<&str> {
        self.document.mirror.as_deref()
    }

    /// One-line apt sources beside the mirror's.
    pub(super) fn extra_sources(&self) -> &[String] {
        &self.document.extra_sources
    }

    /// Seconds since 1970: no file in the image is newer.
    pub(super) fn epoch(&self) -> i64 {
        self.document.date.as_second()
    }

    pub(super) fn created(&self) -> String {
        self.document.date.to_string()
    }

    pub(super) fn account(&self) -> &Account {
        &self.document.user
    }

    pub(super) fn user_and_group(&self) -> String {
        self.document.user.name.clone()
    }

    /// Absolute paths that installation leaves behind and the image must not
    /// have.
    pub(super) fn remove(&self) -> &[String] {
        &self.document.remove
    }

    pub(super) fn directories(&self) -> &[Directory] {
        &self.document.directories
    }

    pub(super) fn volumes(&self) -> &[String] {
        &self.document.volumes
    }

    pub(super) fn env(&self) -> Vec<String> {
        self.document.env.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    pub(super) fn cmd(&self) -> &[String] {
        &self.document.cmd
    }

    pub(super) fn annotations(&self) -> &BTreeMap<String, String> {
        &self.document.annotations
    }

    pub(super) fn files(&self) -> &[OverlayFile] {
        &self.files
    }
}

impl Document {
    /// Everything that reaches a command line, a shell or a file of fields.
    fn check(&self) -> Result<(), BuildError> {
        let name = |text: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        expect("name", &self.name, "lower-case letters, digits and -", name(&self.name))?;
        let account = &self.user;
        expect(
            "user.name",
            &account.name,
            "lower-case letters, digits and -",
            name(&account.name),
        )?;
        absolute("user.home", &account.home)?;
        plain("suite", [&self.suite])?;
        plain("components", &self.components)?;
        plain("packages", &self.packages)?;
        plain("mirror", &self.mirror)?;
        let keyring = self.keyring.to_string_lossy().into_owned();
        absolute("keyring", &keyring)?;
        for directory in &self.directories {
            absolute("directories.path", &directory.path)?;
            let octal =
                directory.mode.len() <= 4 && u32::from_str_radix(&directory.mode, 8).is_ok();
            expect("directories.mode", &directory.mode, "up to four octal digits", octal)?;
        }
        for path in &self.remove {
            absolute("remove", path)?;
            // mmdebstrap's own apt configuration is there while hooks run.
            let fits = !Path::new(path).starts_with("/tmp");
            expect("remove", path, "a path outside /tmp", fits)?;
        }
        self.volumes.iter().try_for_each(|path| absolute("volumes", path))?;
        for source in &self.extra_sources {
            let fits = source.starts_with("deb ") && !source.contains(['\n', '\r', '\0']);
            expect("extra_sources", source, "a one-line apt source", fits)?;
        }
        let programs = self.packages.first().zip(self.cmd.first());
        expect("packages, cmd", "", "at least one of each", programs.is_some())
    }
}

fn expect(
    field: &'static str,
    found: &str,
    expected: &'static str,
    fits: bool,
) -> Result<(), BuildError> {
    if fits {
        return Ok(());
    }
    Err(BuildError::Value { field, found: found.to_owned(), expected })
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
}

fn plain<'a>(
    field: &'static str,
    values: impl IntoIterator<Item = &'a String>,
) -> Result<(), BuildError> {
    values.into_iter().try_for_each(|value| {
        expect(field, value, "letters, digits and - _ . + : / = ~ @ % ,", is_plain(value))
    })
}

fn absolute(field: &'static str, value: &str) -> Result<(), BuildError> {
    let fits = value.starts_with('/')
        && value.len() > 1
        && is_plain(value)
        && !value.contains(':')
        && !value.split('/').any(|part| part == "..");
    expect(field, value, "an absolute path of letters, digits and - _ . + = ~ @ %", fits)
}

fn collect_files(
    base: &Path,
    directory: &Path,
    files: &mut Vec<OverlayFile>,
) -> Result<(), BuildError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::Read { path, source }
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(failed(&path))?;
        let shown = path.display().to_string();
        if metadata.is_dir() {
            collect_files(base, &path, files)?;
            continue;
        }
        let fits = metadata.is_file() && metadata.len() <= FILE_BYTES_MAX;
        expect("files", &shown, "regular files of at most 16 MiB", fits)?;
        expect("files", &shown, "at most 1000 files", files.len() < FILES_MAX)?;
        files.push(OverlayFile {
            path: path.strip_prefix(base).unwrap_or(&path).to_owned(),
            executable: metadata.permissions().mode() & 0o111 != 0,
            content: fs::read(&path).map_err(failed(&path))?,
        });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}

#[cfg(test)]
mod tests;
