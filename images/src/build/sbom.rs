//! The bill of materials of a built image: an SPDX document, in a layer of its
//! own on top, so that it goes wherever the image goes.
//!
//! Flow: packages → document → tar of one file → layer; and back: an image's
//! annotated layer → the document, without unpacking the image.
//!
//! Sources: [SPDX 2.3](https://spdx.github.io/spdx-spec/v2.3/), its JSON form;
//! package URLs of type
//! [deb](https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md).
//! Says nothing of licences: Debian's copyright files, which are in the image,
//! do.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Read};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::Recipe;
use super::packages::Package;
use crate::Digest;
use crate::decode::decoder;
use crate::error::{ImageError, Result, opening, reading};
use crate::store::{Image, Store};
use crate::tarstream::TarStream;

/// Where the document is in a tree.
pub(super) const PATH: &str = "usr/share/berth/sbom.spdx.json";
/// Annotation on the layer that holds the document, with its path.
pub(super) const ANNOTATION: &str = "io.github.berth-db.sbom";
/// For what a document does not say.
const UNKNOWN: &str = "NOASSERTION";
/// Members of a layer that are looked at. One built here has a handful.
const MEMBERS_MAX: usize = 1000;

impl Store {
    /// The SPDX document of an image that was built here; `None` when it has
    /// none. The image need not be unpacked.
    ///
    /// # Errors
    /// When the manifest or the layer can't be read.
    pub fn sbom(&self, image: &Image) -> Result<Option<Vec<u8>>> {
        let Some(found) = self.inspect(&image.reference)? else {
            return Ok(None);
        };
        let annotated = found.manifest.layers().iter().zip(&found.image.layers).find_map(
            |(descriptor, layer)| {
                let path = descriptor.annotations().as_ref()?.get(ANNOTATION)?;
                Some((path.clone(), layer.digest))
            },
        );
        annotated.map(|(path, layer)| self.read_member(&path, &layer)).transpose()
    }

    fn read_member(&self, path: &str, layer: &Digest) -> Result<Vec<u8>> {
        let blob = self.blob_path(layer);
        let file = File::open(&blob).map_err(opening(&blob))?;
        let plain = decoder(BufReader::new(file)).map_err(reading(&blob))?;
        let mut tar = TarStream::new(BufReader::new(plain));
        let place = blob.display().to_string();
        let invalid = |error| ImageError::Document {
            place: place.clone(),
            kind: "layer",
            source: Box::<crate::tarstream::TarError>::new(error),
        };
        for _ in 0..MEMBERS_MAX {
            let Some(member) = tar.next_member().map_err(invalid)? else { break };
            if member.path == path.as_bytes() {
                return self.read_content(&mut tar, &place, member.size);
            }
        }
        Err(ImageError::MissingMember { place, member: path.to_owned() })
    }

    fn read_content<R: io::BufRead>(
        &self,
        tar: &mut TarStream<R>,
        place: &str,
        size: u64,
    ) -> Result<Vec<u8>> {
        let limit = self.limits().document_bytes;
        if size > limit {
            return Err(ImageError::TooLarge { place: place.to_owned(), limit });
        }
        let mut content = Vec::new();
        loop {
            let chunk =
                tar.fill_content().map_err(|error| reading(std::path::Path::new(place))(error))?;
            if chunk.is_empty() {
                return Ok(content);
            }
            content.extend_from_slice(chunk);
            let read = chunk.len();
            tar.consume_content(read);
        }
    }
}

/// The document. Equal images have equal ones: the only time in it is the
/// recipe's.
pub(super) fn document(recipe: &Recipe, diff_id: &Digest, packages: &[Package]) -> Vec<u8> {
    let image = json!({
        "SPDXID": "SPDXRef-Image",
        "name": recipe.name(),
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": diff_id.hex()}],
        "comment": "The checksum is that of the layer that holds the packages, uncompressed.",
    });
    let mut all = vec![image];
    all.extend(packages.iter().map(|package| describe(package, recipe.suite())));
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")];
    relationships.extend(
        packages.iter().map(|package| relationship("SPDXRef-Image", "CONTAINS", &id(package))),
    );
    let document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": recipe.reference().to_string(),
        // Unique, and nothing need be there (SPDX 2.3, 6.5).
        "documentNamespace": format!("urn:berth:sbom:{}:{}", recipe.name(), diff_id.hex()),
        "creationInfo": {"created": recipe.created(), "creators": ["Tool: berth"]},
        "packages": all,
        "relationships": relationships,
    });
    serde_json::to_vec_pretty(&document).expect("JSON values serialise")
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to})
}

fn describe(package: &Package, suite: &str) -> Value {
    let mut described = json!({
        "SPDXID": id(package),
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl(package, suite),
        }],
    });
    if let Some(source) = &package.source {
        described["sourceInfo"] = json!(format!("built from Debian source package {source}"));
    }
    described
}

/// An identifier may hold letters, digits, `.` and `-` (SPDX 2.3, 7.2). What
/// else Debian's names have, a plus, is spelled out so that none collide.
fn id(package: &Package) -> String {
    let name = package.name.replace('+', "-plus-");
    format!("SPDXRef-Package-{name}-{}", package.architecture)
}

fn purl(package: &Package, suite: &str) -> String {
    let (name, version) = (escape(&package.name), escape(&package.version));
    let (arch, suite) = (escape(&package.architecture), escape(suite));
    format!("pkg:deb/debian/{name}@{version}?arch={arch}&distro={suite}")
}

/// Percent-encoding as package URLs have it.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The tar that holds the document.
pub(super) fn layer(recipe: &Recipe, document: &[u8]) -> impl Read + use<> {
    let epoch = u64::try_from(recipe.epoch()).unwrap_or(0);
    let mut tar = Builder::new(Vec::new());
    let mut append = |kind, mode, path: &str, content: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(epoch);
        tar.append_data(&mut header, path, content).expect("a short name and a buffer");
    };
    // The directories above are in the layer below, as Debian has them.
    append(EntryType::Directory, 0o755, "usr/share/berth/", b"");
    append(EntryType::Regular, 0o644, PATH, document);
    io::Cursor::new(tar.into_inner().expect("a buffer takes all"))
}

#[cfg(test)]
mod tests;
