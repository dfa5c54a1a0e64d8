//! Import from every form, with skopeo as the second opinion; removal.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use berth_images::{Digest, ImageError, NoProgress, Reference, Removed, Store};
use common::{Layer, Layout, Pack, assert_empty, chain, put, reference, scratch, store};
use serde_json::json;

fn layers() -> Vec<(Pack, Vec<u8>)> {
    vec![
        (Pack::Gzip, Layer::new().dir("etc").file("etc/one", b"1").finish()),
        (Pack::Zstd, Layer::new().file("etc/two", &vec![2; 300_000]).finish()),
    ]
}

fn refused(store: &Store, path: &Path) -> String {
    chain(&store.import(path, &reference(), &NoProgress).expect_err("was not refused"))
}

#[test]
fn every_form_of_a_layout_gives_the_same_image() {
    common::require_tool("tar");
    let scratch = scratch();
    let layout = Layout::write(&scratch.path().join("layout"), &layers());
    let plain = scratch.path().join("image.tar");
    layout.tar(&plain, "-cf");
    let gzip = scratch.path().join("image.tar.gz");
    layout.tar(&gzip, "-czf");
    for (number, path) in [&layout.path, &plain, &gzip].into_iter().enumerate() {
        let store = Store::open(scratch.path().join(format!("store-{number}"))).unwrap();
        let image = store.import(path, &reference(), &NoProgress).unwrap();
        assert_eq!(image.manifest_digest, layout.manifest);
        assert_eq!(image.layers.len(), 2);
        let listing = store.list().unwrap();
        assert_eq!(listing.images.len(), 1);
        assert_eq!(listing.images[0].reference, reference());
        let inspection = store.inspect(&reference()).unwrap().unwrap();
        assert_eq!((inspection.tree, inspection.manifest.layers().len()), (None, 2));
    }
}

#[test]
fn what_skopeo_saves_is_imported() {
    common::require_root();
    common::require_tool("skopeo");
    let scratch = scratch();
    // skopeo can't turn zstd layers into an archive's plain ones.
    let gzip = vec![
        (Pack::Gzip, Layer::new().dir("etc").file("etc/one", b"1").finish()),
        (Pack::Gzip, Layer::new().file("etc/two", b"2").finish()),
    ];
    let layout = Layout::write(&scratch.path().join("layout"), &gzip);
    let from = format!("oci:{}:1", layout.path.display());
    let archive = scratch.path().join("docker.tar");
    let saved = format!("docker-archive:{}:{}", archive.display(), common::NAME);
    common::run(Command::new("skopeo").args(["copy", "-q", "--insecure-policy", &from, &saved]));
    let oci = scratch.path().join("oci.tar");
    let copied = format!("oci-archive:{}:1", oci.display());
    common::run(Command::new("skopeo").args(["copy", "-q", "--insecure-policy", &from, &copied]));

    let store = store(&scratch);
    let docker = store.import(&archive, &reference(), &NoProgress).unwrap();
    let diff_ids: Vec<_> = docker.layers.iter().map(|layer| layer.diff_id).collect();
    let expected: Vec<_> = gzip.iter().map(|(_, tar)| Digest::of(tar)).collect();
    assert_eq!(diff_ids, expected);
    let tree = store.unpack(&docker, &NoProgress).unwrap();
    assert_eq!(fs::read(tree.root.join("etc/two")).unwrap(), b"2");

    let other: Reference = "berth-test/oci:1".parse().unwrap();
    let oci = store.import(&oci, &other, &NoProgress).unwrap();
    assert_eq!(oci.manifest_digest, layout.manifest);
}

#[test]
fn the_image_of_that_name_and_platform_is_taken() {
    let scratch = scratch();
    let path = scratch.path().join("layout");
    let ours = Layout::write(&path, &layers());
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
    let mut native = index["manifests"][0].clone();
    let other = Layout::write_for(&path, &[(Pack::Plain, Layer::new().finish())], "s390x");
    let mut foreign: serde_json::Value =
        serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
    let mut foreign = foreign["manifests"][0].take();
    assert_ne!(ours.manifest, other.manifest);

    // By name, among images that do not say their platform.
    foreign["annotations"]["org.opencontainers.image.ref.name"] = json!("2");
    common::write_index(&path, &[foreign.clone(), native.clone()]);
    let store = store(&scratch);
    let image = store.import(&path, &reference(), &NoProgress).unwrap();
    assert_eq!(image.manifest_digest, ours.manifest);
    let error = store.import(&path, &"x:3".parse().unwrap(), &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::Selection { .. }), "{}", chain(&error));
    let error = store.import(&path, &"x:2".parse().unwrap(), &NoProgress).unwrap_err();
    assert!(chain(&error).contains("found an image for linux/s390x"), "{}", chain(&error));

    // By platform, in an index of its own.
    for descriptor in [&mut native, &mut foreign] {
        descriptor.as_object_mut().unwrap().remove("annotations");
    }
    native["platform"] = json!({"os": "linux", "architecture": common::architecture()});
    foreign["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let index = json!({"schemaVersion": 2, "manifests": [foreign, native]}).to_string();
    let kind = "application/vnd.oci.image.index.v1+json";
    let inner = put(&path, kind, index.as_bytes());
    common::write_index(&path, &[inner]);
    let image = store.import(&path, &"x:4".parse().unwrap(), &NoProgress).unwrap();
    assert_eq!(image.manifest_digest, ours.manifest);
}

#[test]
fn wrong_digests_sizes_and_diff_ids_are_refused() {
    let scratch = scratch();
    let store = store(&scratch);
    let fresh = |name: &str| Layout::write(&scratch.path().join(name), &layers());

    let layout = fresh("flipped");
    let blob = layout.blob(&layout.layers[1]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[5] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    let error = refused(&store, &layout.path);
    let expected = format!("expected {}", layout.layers[1]);
    assert!(error.contains(&expected) && error.contains(blob.to_str().unwrap()), "{error}");
    let archive = scratch.path().join("flipped.tar");
    layout.tar(&archive, "-cf");
    let error = refused(&store, &archive);
    assert!(error.contains(&expected) && error.contains("flipped.tar: blobs/sha256/"), "{error}");

    let layout = fresh("short");
    let blob = layout.blob(&layout.layers[0]);
    let bytes = fs::read(&blob).unwrap();
    fs::write(&blob, &bytes[1..]).unwrap();
    let error = refused(&store, &layout.path);
    assert!(error.contains(&format!("expected {}", bytes.len())), "{error}");

    let path = scratch.path().join("lying");
    let lie = Digest::of(b"something else").to_string();
    Layout::write_with(&path, &layers()[..1], common::architecture(), std::slice::from_ref(&lie));
    let error = refused(&store, &path);
    assert!(error.contains(&format!("expected diff_id {lie}")), "{error}");
    Layout::write_with(&path, &layers(), common::architecture(), &[lie]);
    let error = refused(&store, &path);
    assert!(error.contains("found 2 layers") && error.contains("has 1 diff_ids"), "{error}");

    let pinned: Reference = format!("x@{}", Digest::of(b"y")).parse().unwrap();
    let error = store.import(&fresh("pinned").path, &pinned, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{}", chain(&error));
    assert_empty(&store);
}

#[test]
fn truncated_and_foreign_files_are_refused() {
    let scratch = scratch();
    let store = store(&scratch);
    let layout = Layout::write(&scratch.path().join("layout"), &layers());
    let whole = scratch.path().join("image.tar.gz");
    layout.tar(&whole, "-czf");
    let bytes = fs::read(&whole).unwrap();
    let cut = scratch.path().join("cut.tar.gz");
    for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 4] {
        fs::write(&cut, &bytes[..length]).unwrap();
        let error = refused(&store, &cut);
        assert!(error.contains("cut.tar.gz"), "{length}: {error}");
    }
    fs::write(&cut, "not an archive at all".repeat(100)).unwrap();
    assert!(refused(&store, &cut).contains("checksum mismatch"));
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(refused(&store, &empty).contains("without an oci-layout"));
    assert!(refused(&store, &scratch.path().join("none")).contains("cannot open"));
    fs::write(layout.path.join("index.json"), "{").unwrap();
    let error = refused(&store, &layout.path);
    assert!(error.contains("index.json is not a valid image index"), "{error}");
    assert_empty(&store);
}

#[test]
fn removal_takes_what_no_other_tag_needs() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let first = Layout::write(&scratch.path().join("first"), &layers());
    let second = Layout::write(&scratch.path().join("second"), &layers()[..1]);
    let (a, b, c): (Reference, Reference, Reference) =
        ("a".parse().unwrap(), "b".parse().unwrap(), "c".parse().unwrap());
    let image = store.import(&first.path, &a, &NoProgress).unwrap();
    store.import(&first.path, &b, &NoProgress).unwrap();
    store.import(&second.path, &c, &NoProgress).unwrap();
    let tree = store.unpack(&image, &NoProgress).unwrap();

    let in_use = BTreeSet::from([image.config_digest]);
    let error = store.remove(&a, &in_use).unwrap_err();
    assert!(matches!(error, ImageError::InUse { .. }), "{}", chain(&error));
    let none = BTreeSet::new();
    assert_eq!(store.remove(&a, &none).unwrap(), Removed::default());
    assert!(tree.root.exists(), "the other tag needs it");
    assert!(matches!(store.remove(&a, &none), Err(ImageError::NoSuchImage { .. })));

    let removed = store.remove(&b, &none).unwrap();
    // Manifest, configuration and the one layer that the third tag lacks.
    assert_eq!((removed.blobs, removed.tree), (3, true));
    assert!(!tree.root.exists());
    assert_eq!(store.resolve(&b).unwrap().map(|image| image.size), None);
    let rest = store.resolve(&c).unwrap().unwrap();
    store.unpack(&rest, &NoProgress).unwrap();
    store.remove(&c, &none).unwrap();
    assert_empty(&store);
}

#[test]
fn a_damaged_tag_hides_no_other_and_keeps_its_neighbours_blobs() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layout = Layout::write(&scratch.path().join("layout"), &layers());
    let other = Layout::write(&scratch.path().join("other"), &layers()[..1]);
    let (good, bad): (Reference, Reference) = ("good".parse().unwrap(), "bad".parse().unwrap());
    store.import(&layout.path, &good, &NoProgress).unwrap();
    store.import(&other.path, &bad, &NoProgress).unwrap();
    fs::remove_file(store.root().join("blobs/sha256").join(other.manifest.hex())).unwrap();
    let listing = store.list().unwrap();
    assert_eq!((listing.images.len(), listing.broken.len()), (1, 1));
    assert_eq!(listing.broken[0].0, bad);
    let error = store.resolve(&bad).unwrap_err();
    assert!(matches!(error, ImageError::MissingBlob { .. }), "{}", chain(&error));
    // What the damaged one needs is unknown, so nothing but the tag goes.
    assert_eq!(store.remove(&good, &BTreeSet::new()).unwrap(), Removed::default());
    store.remove(&bad, &BTreeSet::new()).unwrap();
    assert!(store.list().unwrap().broken.is_empty());
}

#[test]
fn a_digest_finds_its_image_under_any_name() {
    let scratch = scratch();
    let store = store(&scratch);
    let layout = Layout::write(&scratch.path().join("layout"), &layers());
    store.import(&layout.path, &reference(), &NoProgress).unwrap();
    let pinned: Reference = format!("elsewhere@{}", layout.manifest).parse().unwrap();
    let image = store.resolve(&pinned).unwrap().unwrap();
    assert_eq!((image.manifest_digest, image.reference), (layout.manifest, pinned));
    let unknown: Reference = format!("x@{}", Digest::of(b"")).parse().unwrap();
    assert!(store.resolve(&unknown).unwrap().is_none());
}

#[test]
fn a_store_of_another_format_is_left_alone() {
    let scratch = scratch();
    let store = store(&scratch);
    fs::write(store.root().join("format"), "berth-images 2\n").unwrap();
    let error = Store::open(store.root()).unwrap_err();
    assert!(matches!(error, ImageError::Format { .. }), "{}", chain(&error));
}
