//! An image in a tar: read once, front to back, whatever order it is in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use oci_spec::image::ImageIndex;

use super::{Source, layout, read_document, select};
use crate::decode::decoder;
use crate::error::{ImageError, Result, opening, reading};
use crate::manifest::parse_json;
use crate::progress::Progress;
use crate::store::{Stage, Store};
use crate::tarstream::{Kind, TarStream};
use crate::{Digest, Reference};

/// An archive of one image has tens of members.
const MEMBERS_MAX: usize = 10_000;
const BUFFER_BYTES: usize = 256 << 10;

/// What an archive held: documents, staged blobs by member name, and links
/// from one name to another.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) place: String,
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    pub(super) blobs: BTreeMap<String, (Digest, u64)>,
    pub(super) links: BTreeMap<String, String>,
}

/// Stages every file of the archive at `path`, checking blobs that are named
/// by their digest.
pub(super) fn read(
    store: &Store,
    path: &Path,
    size: u64,
    stage: &mut Stage<'_>,
    progress: &dyn Progress,
) -> Result<Archive> {
    let file = File::open(path).map_err(opening(path))?;
    let file = BufReader::with_capacity(BUFFER_BYTES, file);
    let plain = decoder(file).map_err(reading(path))?;
    let plain = BufReader::with_capacity(BUFFER_BYTES, plain);
    let mut archive = Archive {
        place: path.display().to_string(),
        documents: BTreeMap::new(),
        blobs: BTreeMap::new(),
        links: BTreeMap::new(),
    };
    progress.begin("reading archive", Some(size));
    let mut tar = TarStream::new(plain);
    let mut left = store.limits().unpacked_bytes;
    for count in 0.. {
        let next = tar.next_member().map_err(|error| ImageError::NotAnImage {
            path: path.to_owned(),
            reason: crate::error::chain(&error),
        })?;
        let Some(member) = next else { break };
        if count == MEMBERS_MAX {
            let limit = MEMBERS_MAX as u64;
            return Err(ImageError::Limit { place: archive.place, what: "members", limit });
        }
        let name = normal(&member.path);
        match member.kind {
            Kind::File => archive.take(store, stage, &name, &mut tar, &mut left, progress)?,
            Kind::Symlink => {
                let target = beside(&name, &member.link);
                archive.links.insert(name, target);
            }
            Kind::HardLink => {
                archive.links.insert(name, normal(&member.link));
            }
            _ => {}
        }
    }
    // Reads on to the end, where a compressed archive has its checksum.
    let mut rest = tar.into_inner().take(left.saturating_add(1));
    if io::copy(&mut rest, &mut io::sink()).map_err(reading(path))? > left {
        let limit = store.limits().unpacked_bytes;
        return Err(ImageError::TooLarge { place: archive.place, limit });
    }
    progress.finish();
    Ok(archive)
}

impl Archive {
    fn take<R: io::BufRead>(
        &mut self,
        store: &Store,
        stage: &mut Stage<'_>,
        name: &str,
        tar: &mut TarStream<R>,
        left: &mut u64,
        progress: &dyn Progress,
    ) -> Result<()> {
        let place = format!("{}: {name}", self.place);
        let mut content = Content(tar);
        if matches!(name, "oci-layout" | "index.json" | "manifest.json") {
            let bytes = read_document(store, &place, &mut content)?;
            self.documents.insert(name.to_owned(), bytes);
            return Ok(());
        }
        let (found, size) = match name.strip_prefix("blobs/sha256/").map(Digest::from_hex) {
            Some(Ok(expected)) => {
                let size = stage.copy_expecting(&place, &mut content, expected, *left, progress)?;
                (expected, size)
            }
            _ => stage.copy(&place, &mut content, *left, progress)?,
        };
        *left = left.saturating_sub(size);
        self.blobs.insert(name.to_owned(), (found, size));
        Ok(())
    }

    /// Completes the image that is meant, and gives its manifest's digest.
    pub(super) fn manifest(
        mut self,
        store: &Store,
        stage: &mut Stage<'_>,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<Digest> {
        // Newer `docker save` writes both forms; the OCI one says more.
        if let Some(layout) = self.documents.get("oci-layout") {
            layout::check_version(&format!("{}: oci-layout", self.place), layout)?;
            let index = self.document("index.json")?;
            let place = format!("{}: index.json", self.place);
            let index: ImageIndex = parse_json(&place, "image index", index)?;
            return select::from_index(store, &mut self, stage, &index, reference, progress);
        }
        if self.documents.contains_key("manifest.json") {
            return self.docker_manifest(store, stage, reference);
        }
        Err(ImageError::NotAnImage {
            path: self.place.into(),
            reason: "found an archive with neither oci-layout nor manifest.json".into(),
        })
    }

    pub(super) fn document(&self, name: &str) -> Result<&[u8]> {
        self.documents.get(name).map(Vec::as_slice).ok_or_else(|| ImageError::MissingMember {
            place: self.place.clone(),
            member: name.to_owned(),
        })
    }
}

impl Source for Archive {
    fn place(&self) -> &str {
        &self.place
    }

    /// All is staged already; what is not, is not there.
    fn fetch(
        &mut self,
        _stage: &mut Stage<'_>,
        digest: Digest,
        size: u64,
        _progress: &dyn Progress,
    ) -> Result<()> {
        let name = format!("blobs/sha256/{}", digest.hex());
        let Some((_, found)) = self.blobs.get(&name) else {
            return Err(ImageError::MissingMember { place: self.place.clone(), member: name });
        };
        if *found != size {
            let place = format!("{}: {name}", self.place);
            return Err(ImageError::WrongSize { place, found: *found, expected: size });
        }
        Ok(())
    }
}

/// The current member's content.
struct Content<'a, R>(&'a mut TarStream<R>);

impl<R: io::BufRead> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.0.fill_content()?;
        let bytes = available.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&available[..bytes]);
        self.0.consume_content(bytes);
        Ok(bytes)
    }
}

/// A member's name without `./`, doubled slashes and such. Names only serve as
/// keys here: nothing is written under them.
fn normal(path: &[u8]) -> String {
    resolve(&String::from_utf8_lossy(path))
}

/// What a symbolic link at `name` points to.
fn beside(name: &str, target: &[u8]) -> String {
    let target = String::from_utf8_lossy(target);
    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
    resolve(&format!("{directory}/{target}"))
}

fn resolve(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
