//! Tags: one small file per reference, holding its manifest's digest.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::Store;
use crate::error::{ImageError, Result, listing, reading};
use crate::{Digest, Reference};

/// `sha256:`, 64 digits, a newline; anything much longer is not ours.
const REF_BYTES_MAX: u64 = 256;

impl Store {
    pub(super) fn ref_path(&self, reference: &Reference) -> PathBuf {
        self.refs_dir().join(reference.key())
    }

    /// The manifest that a reference names, `None` when there is no such tag.
    /// A digest is looked for under its own name first, then behind every tag.
    pub(super) fn manifest_of(&self, reference: &Reference) -> Result<Option<Digest>> {
        if let Some(digest) = self.read_ref(reference)? {
            return Ok(Some(digest));
        }
        let Some(wanted) = reference.digest() else {
            return Ok(None);
        };
        for tag in self.references()? {
            if self.read_ref(&tag)? == Some(wanted) {
                return Ok(Some(wanted));
            }
        }
        Ok(None)
    }

    pub(super) fn read_ref(&self, reference: &Reference) -> Result<Option<Digest>> {
        let path = self.ref_path(reference);
        let text = match fs::metadata(&path).and_then(|metadata| {
            let size = metadata.len();
            if size > REF_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than a digest"));
            }
            fs::read_to_string(&path)
        }) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(&path)(error)),
        };
        text.trim_end().parse().map(Some).map_err(|error| ImageError::Document {
            place: path.display().to_string(),
            kind: "tag",
            source: Box::new(error),
        })
    }

    /// Points a tag at a manifest. The caller holds the lock on names and has
    /// put every blob in place.
    pub(super) fn write_ref(&self, reference: &Reference, manifest: &Digest) -> Result<()> {
        self.replace_file(&self.ref_path(reference), format!("{manifest}\n").as_bytes())
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
