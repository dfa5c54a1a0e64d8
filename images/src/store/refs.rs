//! Tags: one small file per reference, holding its manifest's digest, and that of the index
//! through which a registry gave it.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Store;
use crate::error::{ImageError, Result, listing, reading};
use crate::{Digest, Reference};

/// Twice `sha256:`, 64 digits, a newline; anything much longer is not ours.
const REF_BYTES_MAX: u64 = 256;

/// What a tag names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag {
    /// The manifest for this machine.
    pub(crate) manifest: Digest,
    /// The index that names it, where there was one.
    pub(crate) index: Option<Digest>,
}

impl Store {
    pub(super) fn ref_path(&self, reference: &Reference) -> PathBuf {
        self.refs_dir().join(reference.key())
    }

    /// What a reference names, `None` when there is no such tag. A digest, of a manifest or
    /// an index, is looked for under its own name first, then behind every tag.
    pub(super) fn tag_of(&self, reference: &Reference) -> Result<Option<Tag>> {
        if let Some(tag) = self.read_ref(reference)? {
            return Ok(Some(tag));
        }
        let Some(wanted) = reference.digest() else {
            return Ok(None);
        };
        for other in self.references()? {
            let tag = self.read_ref(&other)?;
            if let Some(tag) = tag
                && (tag.manifest == wanted || tag.index == Some(wanted))
            {
                return Ok(Some(tag));
            }
        }
        Ok(None)
    }

    pub(super) fn read_ref(&self, reference: &Reference) -> Result<Option<Tag>> {
        let path = self.ref_path(reference);
        let text = match fs::metadata(&path).and_then(|metadata| {
            let size = metadata.len();
            if size > REF_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than two digests"));
            }
            fs::read_to_string(&path)
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(&path)(error)),
        };
        let mut lines = text.lines();
        let manifest = lines.next().unwrap_or_default().parse();
        let index = lines.next().map(str::parse).transpose();
        match (manifest, index) {
            (Ok(manifest), Ok(index)) => Ok(Some(Tag { manifest, index })),
            (Err(error), _) | (_, Err(error)) => Err(ImageError::Document {
                place: path.display().to_string(),
                kind: "tag",
                source: Box::<crate::DigestError>::new(error),
            }),
        }
    }

    /// Points a tag at a manifest. The caller holds the lock on names and has
    /// put every blob in place.
    pub(super) fn write_ref(&self, reference: &Reference, tag: &Tag) -> Result<()> {
        let index = tag.index.map(|index| format!("{index}\n")).unwrap_or_default();
        let text = format!("{}\n{index}", tag.manifest);
        self.replace_file(&self.ref_path(reference), text.as_bytes())
    }

    /// Every tag, in order.
    pub(super) fn references(&self) -> Result<Vec<Reference>> {
        let directory = self.refs_dir();
        let mut references = Vec::new();
        for entry in fs::read_dir(&directory).map_err(listing(&directory))? {
            let entry = entry.map_err(listing(&directory))?;
            let name = entry.file_name();
            let reference = name.to_str().map(Reference::from_key).transpose();
            match reference {
                Ok(Some(reference)) => references.push(reference),
                // Not a name this store writes, so not ours to judge.
                Ok(None) | Err(_) => {
                    tracing::warn!(path = %entry.path().display(), "not a tag; ignored");
                }
            }
        }
        references.sort();
        Ok(references)
    }
}
