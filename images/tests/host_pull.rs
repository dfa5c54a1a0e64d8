//! Pulling from a real registry what skopeo pushed there: every form of image, pins,
//! mirrors, several pulls at once.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;
mod registry;

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use berth_images::{Digest, NoProgress, PullError, Registries, Store};
use common::{Pack, chain, put, scratch, store, write_index};
use registry::proxy::{Act, Proxy};
use registry::{
    Registry, assert_no_tag, blob_bytes, digest, layout, layout_of, parse, partials, plain,
};
use serde_json::{Value, json};

/// Every blob of the image is in the store as skopeo fetched it.
fn assert_same_as_skopeo(registry: &Registry, name: &str, store: &Store, to: &Path) {
    registry.fetch(name, to);
    let mut compared = 0;
    for entry in fs::read_dir(to).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name == "version" {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let hex = if name == "manifest.json" { Digest::of(&bytes).hex() } else { name };
        assert_eq!(fs::read(store.root().join("blobs/sha256").join(hex)).unwrap(), bytes);
        compared += 1;
    }
    assert!(compared >= 4, "only {compared} files compared");
}

#[test]
fn every_packing_arrives_as_it_was_pushed() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    let layout = layout(&scratch.path().join("layout"));
    registry.push(&layout.path, "team/app:1", &[]);
    let reference = parse(&registry.name("team/app:1"));
    let registries = plain(&[registry.port]);
    let pulled = store.pull(&reference, &registries, &NoProgress).unwrap();
    assert_eq!(pulled.image.manifest_digest, digest(&registry, "team/app:1"));
    assert_eq!((pulled.blobs_fetched, pulled.blobs_present), (4, 0));
    assert_eq!((pulled.bytes_fetched, pulled.bytes_resumed), (blob_bytes(&layout), 0));
    assert_same_as_skopeo(&registry, "team/app:1", &store, &scratch.path().join("skopeo"));
    let tree = store.unpack(&pulled.image, &NoProgress).unwrap();
    for name in ["a/large", "b/second", "c"] {
        assert!(tree.root.join(name).exists(), "{name}");
    }
    // What is there is not fetched again; what is damaged is.
    let again = store.pull(&reference, &registries, &NoProgress).unwrap();
    assert_eq!((again.blobs_fetched, again.blobs_present, again.bytes_fetched), (0, 4, 0));
    let damaged = store.root().join("blobs/sha256").join(layout.layers[2].hex());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let mended = store.pull(&reference, &registries, &NoProgress).unwrap();
    assert_eq!((mended.blobs_fetched, mended.blobs_present), (1, 3));
    assert_same_as_skopeo(&registry, "team/app:1", &store, &scratch.path().join("skopeo-2"));
    assert!(partials(&store).is_empty());
}

#[test]
fn docker_schema_2_arrives_as_it_was_pushed() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    // Docker knows no zstd.
    let layout = layout_of(&scratch.path().join("layout"), [Pack::Gzip, Pack::Gzip, Pack::Plain]);
    registry.push(&layout.path, "app:1", &["--format", "v2s2"]);
    let raw: Value = serde_json::from_slice(&registry.raw("app:1")).unwrap();
    assert_eq!(raw["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let reference = parse(&registry.name("app:1"));
    let pulled = store.pull(&reference, &plain(&[registry.port]), &NoProgress).unwrap();
    assert_eq!(pulled.image.manifest_digest, digest(&registry, "app:1"));
    assert_same_as_skopeo(&registry, "app:1", &store, &scratch.path().join("skopeo"));
    let tree = store.unpack(&pulled.image, &NoProgress).unwrap();
    assert!(tree.root.join("b/second").exists());
}

/// An index of these platforms in a layout: all of them the same image.
fn write_platforms(layout: &common::Layout, platforms: &[&str]) {
    let bytes = fs::read(layout.blob(&layout.manifest)).unwrap();
    let manifest = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": layout.manifest.to_string(),
        "size": bytes.len(),
    });
    let entries: Vec<Value> = platforms
        .iter()
        .map(|architecture| {
            let mut entry = manifest.clone();
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        })
        .collect();
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries});
    let mut descriptor = put(&layout.path, kind, index.to_string().as_bytes());
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    write_index(&layout.path, &[descriptor]);
}

#[test]
fn an_index_leads_to_this_machine_and_pins_hold() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    let registries = plain(&[registry.port]);
    let layout = layout(&scratch.path().join("layout"));
    write_platforms(&layout, &["s390x", common::architecture()]);
    registry.push(&layout.path, "app:1", &["--all"]);
    let index = digest(&registry, "app:1");
    assert_ne!(index, layout.manifest);
    let pull = |name: &str| store.pull(&parse(&registry.name(name)), &registries, &NoProgress);
    let pulled = pull("app:1").unwrap();
    assert_eq!(pulled.image.manifest_digest, layout.manifest);
    assert_eq!(pulled.image.index_digest, Some(index));
    // By the index's digest, the manifest's, with a tag and without, before and after.
    let wrong = Digest::of(b"another");
    for pinned in [
        format!("app@{index}"),
        format!("app:1@{index}"),
        format!("app:7@{index}"),
        format!("app@{}", layout.manifest),
    ] {
        let reference = parse(&registry.name(&pinned));
        let known = store.resolve(&reference).unwrap().unwrap();
        assert_eq!(known.manifest_digest, layout.manifest, "{pinned}");
        let pulled = pull(&pinned).unwrap();
        assert_eq!((pulled.image.manifest_digest, pulled.blobs_fetched), (layout.manifest, 0));
    }
    for pinned in [format!("app@{wrong}"), format!("app:1@{wrong}")] {
        let error = pull(&pinned).unwrap_err();
        assert!(chain(&error).contains("has no manifest app@sha256:"), "{}", chain(&error));
        assert_eq!(store.resolve(&parse(&registry.name(&pinned))).unwrap().map(drop), None);
    }
    write_platforms(&layout, &["s390x", "riscv64"]);
    registry.push(&layout.path, "other:1", &["--all"]);
    let error = pull("other:1").unwrap_err();
    assert!(chain(&error).contains("linux/s390x"), "{}", chain(&error));
}

#[test]
fn a_registry_that_sends_another_manifest_than_the_pin_is_refused() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    let layout = layout(&scratch.path().join("layout"));
    registry.push(&layout.path, "app:1", &[]);
    let raw = String::from_utf8(registry.raw("app:1")).unwrap();
    let proxy = Proxy::start(registry.port, move |request| match &*request.path {
        path if path.contains("/manifests/") => Act::Answer(200, String::new(), raw.clone()),
        _ => Act::Pass,
    });
    let wrong = Digest::of(b"another");
    let reference = parse(&proxy.name(&format!("app:1@{wrong}")));
    let error = store.pull(&reference, &plain(&[proxy.port]), &NoProgress).unwrap_err();
    let text = chain(&error);
    assert!(text.contains(&format!("found {}, expected {wrong}", layout.manifest)), "{text}");
    assert_no_tag(&store);
}

#[test]
fn mirrors_are_asked_in_order_and_the_origin_last() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    let layout = layout(&scratch.path().join("layout"));
    registry.push(&layout.path, "cache/app:1", &[]);
    registry.push(&layout.path, "app:1", &[]);
    let broken = Proxy::start(registry.port, |_| Act::Answer(404, String::new(), String::new()));
    let origin = Proxy::start(registry.port, |_| Act::Pass);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let with = |mirrors: &[String]| Registries {
        mirrors: [(format!("127.0.0.1:{}", origin.port), mirrors.to_vec())].into(),
        tries: 2,
        ..plain(&[registry.port, broken.port, origin.port, closed])
    };
    let reference = parse(&origin.name("app:1"));
    let (dead, none) = (format!("127.0.0.1:{closed}"), format!("127.0.0.1:{}", broken.port));
    let registries = with(&[dead.clone(), none.clone(), registry.name("cache")]);
    let pulled = store.pull(&reference, &registries, &NoProgress).unwrap();
    assert_eq!(pulled.registry, format!("127.0.0.1:{}", registry.port));
    assert_eq!(pulled.image.reference, reference);
    assert_eq!(broken.requests("/v2/app/manifests/1").len(), 1);
    assert!(origin.requests("").is_empty(), "the origin was asked though a mirror had it");
    let pulled = store.pull(&reference, &with(&[dead, none.clone()]), &NoProgress).unwrap();
    assert_eq!(pulled.registry, format!("127.0.0.1:{}", origin.port));
    let missing = parse(&origin.name("none:1"));
    let error = store.pull(&missing, &with(&[none]), &NoProgress).unwrap_err();
    let text = chain(&error);
    assert_eq!(text.matches("has no manifest none:1").count(), 2, "{text}");
}

#[test]
fn pulls_at_the_same_time_fetch_each_blob_once() {
    common::require_root();
    let scratch = scratch();
    let registry = Registry::start(scratch.path());
    let layout = layout(&scratch.path().join("layout"));
    for name in ["one:1", "two:1"] {
        registry.push(&layout.path, name, &[]);
    }
    let proxy = Proxy::start(registry.port, |_| Act::Pass);
    let (registries, barrier) = (plain(&[proxy.port]), Barrier::new(4));
    std::thread::scope(|scope| {
        for user in 0..4 {
            let (scratch, proxy, registries, barrier) = (&scratch, &proxy, &registries, &barrier);
            scope.spawn(move || {
                let store = store(scratch);
                let name = ["one:1", "two:1"][user / 2];
                barrier.wait();
                store.pull(&parse(&proxy.name(name)), registries, &NoProgress).unwrap();
            });
        }
    });
    assert_eq!(proxy.sent(), blob_bytes(&layout));
    assert_eq!(store(&scratch).list().unwrap().images.len(), 2);
    assert!(partials(&store(&scratch)).is_empty());
}

#[test]
fn names_kept_for_images_built_here_are_never_pulled() {
    let scratch = scratch();
    let store = store(&scratch);
    let error =
        store.pull(&parse("berth/mysql:9.7"), &Registries::default(), &NoProgress).unwrap_err();
    let berth_images::ImageError::Pull { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, PullError::LocalName), "{error}");
}
