//! The tar that is laid over a recipe's root: its files and directories.

use std::fs::File;
use std::io;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::{BuildError, Recipe};

/// Writes the overlay to `path`.
pub(super) fn write(recipe: &Recipe, path: &Path) -> Result<(), BuildError> {
    let failed = |source| BuildError::Layer { path: path.to_owned(), source };
    let file = File::create_new(path).map_err(failed)?;
    append(recipe, Builder::new(file)).map_err(failed)
}

fn append(recipe: &Recipe, mut tar: Builder<File>) -> io::Result<()> {
    let epoch = u64::try_from(recipe.epoch()).unwrap_or(0);
    let header = |kind, mode, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(epoch);
        header
    };
    for directory in recipe.directories() {
        let mode = u32::from_str_radix(&directory.mode, 8).map_err(io::Error::other)?;
        let mut header = header(EntryType::Directory, mode, 0);
        if directory.owned {
            header.set_uid(recipe.account().uid.into());
            header.set_gid(recipe.account().gid.into());
        }
        let path = format!("{}/", directory.path.trim_start_matches('/'));
        tar.append_data(&mut header, path, io::empty())?;
    }
    for file in recipe.files() {
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut header = header(EntryType::Regular, mode, file.content.len() as u64);
        tar.append_data(&mut header, &file.path, file.content.as_slice())?;
    }
    tar.into_inner()?.sync_all()
}
