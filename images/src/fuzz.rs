//! What the fuzz targets call: one function per kind of hostile input, each
//! with the properties that must hold whatever the bytes are.
//!
//! Flow: `images/fuzz` (cargo-fuzz, nightly) calls these for minutes or hours;
//! the unit tests here call the same ones over the kept seeds and mutations of
//! them. Built for those two only. A property that fails is a panic.

use std::fs;
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use oci_spec::image::ImageIndex;

use crate::error::ImageError;
use crate::manifest::{self, LayerBlob};
use crate::store::Limits;
use crate::tarstream::{Kind, TarStream};
use crate::unpack::change::{Change, Node, Place, change};
use crate::{Digest, Reference, import};

/// A file name of the store must fit ext4, xfs and btrfs.
const FILE_NAME_BYTES_MAX: usize = 255;
/// Bounds of a layer that is applied: enough to get anywhere, little enough to
/// be quick.
const LAYER_LIMITS: (u64, u64) = (200, 1 << 20);

/// A reference: what is taken comes back the same, from its text and from the
/// store's name for it.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reference) = text.parse::<Reference>() else { return };
    let again: Reference = reference.to_string().parse().expect("its own text is a reference");
    assert_eq!(again, reference, "{text:?}");
    let key = reference.key();
    assert!(key.len() <= FILE_NAME_BYTES_MAX && !key.contains(['/', '\0']), "{key:?}");
    assert!(key != "." && key != "..", "{key:?}");
    match Reference::from_key(&key) {
        // A digest outranks the tag, which the key then leaves out.
        Ok(found) => assert_eq!(found.key(), key),
        Err(error) => panic!("{text:?} became {key:?}: {error}"),
    }
}

/// A manifest or an index: what is taken has only digests and media types that
/// this crate knows.
pub fn manifest(data: &[u8]) {
    if let Ok(parsed) = manifest::parse_manifest("fuzz", data) {
        assert_eq!(parsed.layers.len(), parsed.manifest.layers().len());
        for (ours, theirs) in parsed.layers.iter().zip(parsed.manifest.layers()) {
            assert_eq!(ours.digest.to_string(), theirs.digest().to_string());
        }
    }
    let Ok(index) = manifest::parse_json::<ImageIndex>("fuzz", "image index", data) else {
        return;
    };
    let reference: Reference = "fuzz:1".parse().expect("a valid reference");
    if let Ok(chosen) = import::choose("fuzz", index.manifests(), &reference) {
        assert!(manifest::is_index(chosen) || manifest::is_manifest(chosen));
        let _ = manifest::digest_of("fuzz", chosen);
    }
}

/// A configuration: a layer for each diff_id, or an error.
pub fn config(data: &[u8]) {
    let Ok(config) = manifest::parse_config("fuzz", data) else { return };
    let _ = manifest::check_platform("fuzz", &config);
    let diff_ids = config.rootfs().diff_ids();
    let blob = |_: &String| LayerBlob {
        digest: Digest::of(b"layer"),
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
    };
    let blobs: Vec<_> = diff_ids.iter().map(blob).collect();
    if let Ok(layers) = manifest::join_layers("fuzz", blobs, &config) {
        let found = layers.iter().map(|layer| layer.diff_id.to_string());
        assert!(found.eq(diff_ids.iter().cloned()));
    }
    let mut short: Vec<_> = diff_ids.iter().map(blob).collect();
    if short.pop().is_some() {
        let joined = manifest::join_layers("fuzz", short, &config);
        assert!(matches!(joined, Err(ImageError::LayerCount { .. })));
    }
}

/// A tar stream: never more content than there are bytes, and no member means
/// a place outside the root.
pub fn tar(data: &[u8]) {
    let mut tar = TarStream::new(data);
    let mut content = 0;
    while let Ok(Some(member)) = tar.next_member() {
        if let Ok(change) = change(&member) {
            check_change(&change);
        }
        match read_content(&mut tar) {
            Some(bytes) => {
                let expected = if member.kind == Kind::File { member.size } else { 0 };
                assert_eq!(bytes as u64, expected);
                content += bytes;
            }
            None => break,
        }
        assert!(content <= data.len());
    }
}

fn read_content<R: BufRead>(tar: &mut TarStream<R>) -> Option<usize> {
    let mut bytes = 0;
    loop {
        let chunk = tar.fill_content().ok()?.len();
        if chunk == 0 {
            return Some(bytes);
        }
        tar.consume_content(chunk);
        bytes += chunk;
    }
}

fn check_change(change: &Change) {
    match change {
        Change::Ignore | Change::Root(_) => {}
        Change::Opaque(directory) => check_path(directory),
        Change::Whiteout(place) => check_place(place),
        Change::Put(place, node, metadata) => {
            check_place(place);
            assert!(metadata.mode <= 0o7777);
            if let Node::HardLink(target) = node {
                check_place(target);
            }
        }
    }
}

fn check_place(place: &Place) {
    check_path(&place.parent);
    check_name(&place.name);
}

fn check_path(path: &[u8]) {
    if !path.is_empty() {
        path.split(|byte| *byte == b'/').for_each(check_name);
    }
}

fn check_name(name: &[u8]) {
    assert!(!name.is_empty() && name != b"." && name != b"..", "{name:?}");
    assert!(!name.contains(&b'/') && !name.contains(&0), "{name:?}");
}

/// A layer, applied to a directory: whatever it does, it does it inside. Needs
/// root.
pub fn layer(data: &[u8]) {
    let outer = tempfile::Builder::new().prefix("berth-test-fuzz-").tempdir().expect("a scratch");
    let (root, canary) = (outer.path().join("root"), outer.path().join("canary"));
    fs::create_dir(&root).expect("the scratch is writable");
    fs::write(&canary, "untouched").expect("the scratch is writable");
    let before = attributes(&canary);
    let limits =
        Limits { entries: LAYER_LIMITS.0, unpacked_bytes: LAYER_LIMITS.1, ..Limits::default() };
    // What becomes of it is for other tests; what it must not do is below.
    let _ = crate::unpack::apply_to(&root, data, &limits);
    assert_eq!(attributes(&canary), before, "a file outside was changed");
    let names = fs::read_dir(outer.path()).expect("the scratch can be read").count();
    assert_eq!(names, 2, "something was made outside");
}

/// All but the time of reading.
fn attributes(path: &Path) -> impl PartialEq + std::fmt::Debug + use<> {
    let found = fs::symlink_metadata(path).expect("the canary is there");
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    (found.ino(), found.mode(), times, fs::read(path).expect("the canary can be read"))
}

#[cfg(test)]
mod tests;
