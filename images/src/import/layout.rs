//! An OCI layout in a directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use oci_spec::image::ImageIndex;

use super::{Source, read_document};
use crate::Digest;
use crate::error::{ImageError, Result, opening};
use crate::manifest::parse_json;
use crate::progress::Progress;
use crate::store::{Stage, Store};

/// A layout directory that says it is one.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    store: &'a Store,
    path: PathBuf,
    place: String,
}

impl<'a> Directory<'a> {
    pub(super) fn open(store: &'a Store, path: &Path) -> Result<Self> {
        let directory = Self { store, path: path.to_owned(), place: path.display().to_string() };
        let marker = path.join("oci-layout");
        match File::open(&marker) {
            Ok(file) => {
                let place = marker.display().to_string();
                let bytes = read_document(store, &place, file)?;
                check_version(&place, &bytes)?;
                Ok(directory)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ImageError::NotAnImage {
                path: path.to_owned(),
                reason: "found a directory without an oci-layout file".into(),
            }),
            Err(error) => Err(opening(&marker)(error)),
        }
    }

    pub(super) fn index(&self) -> Result<ImageIndex> {
        let path = self.path.join("index.json");
        let place = path.display().to_string();
        let bytes = read_document(self.store, &place, open(&path)?)?;
        parse_json(&place, "image index", &bytes)
    }
}

/// Refuses a layout version that this program does not know.
pub(super) fn check_version(place: &str, bytes: &[u8]) -> Result<()> {
    let layout: oci_spec::image::OciLayout = parse_json(place, "oci-layout file", bytes)?;
    if layout.image_layout_version().starts_with("1.") {
        return Ok(());
    }
    Err(ImageError::Document {
        place: place.to_owned(),
        kind: "oci-layout file",
        source: format!("found version {:?}, expected 1.x", layout.image_layout_version()).into(),
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(opening(path))
}

impl Source for Directory<'_> {
    fn place(&self) -> &str {
        &self.place
    }

    fn fetch(
        &mut self,
        stage: &mut Stage<'_>,
        digest: Digest,
        size: u64,
        progress: &dyn Progress,
    ) -> Result<()> {
        let path = self.path.join("blobs/sha256").join(digest.hex());
        let place = path.display().to_string();
        let mut file = open(&path)?;
        let found = file.metadata().map_err(opening(&path))?.len();
        if found != size {
            return Err(ImageError::WrongSize { place, found, expected: size });
        }
        stage.copy_expecting(&place, &mut file, digest, size, progress).map(drop)
    }
}
