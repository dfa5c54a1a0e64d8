//! A registry of the test's own (Debian's docker-registry), skopeo as its other client, and
//! between registry and berth a proxy that does wrong on demand.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "helpers of tests; every test binary uses a part of them"
)]

pub mod proxy;
mod server;

use std::fs;
use std::path::{Path, PathBuf};

use berth_images::{Digest, Reference, Registries, Store};

use crate::common::{Layer, Layout, Pack};
pub use server::Registry;

/// What skopeo says that the image's digest is.
pub fn digest(registry: &Registry, name: &str) -> Digest {
    Digest::of(&registry.raw(name))
}

/// Speaks plain HTTP with whatever listens on these ports.
pub fn plain(ports: &[u16]) -> Registries {
    let names = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    Registries { plain_http: names.collect(), ..Registries::default() }
}

/// An image of three layers in the three packings, some MiB; nothing of it compresses well.
pub fn layout(directory: &Path) -> Layout {
    layout_of(directory, [Pack::Gzip, Pack::Zstd, Pack::Plain])
}

/// The same in other packings.
pub fn layout_of(directory: &Path, packs: [Pack; 3]) -> Layout {
    let noise = |seed: u64, count: usize| {
        let mut state = seed;
        let next = move || {
            // xorshift64 (Marsaglia 2003)
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        std::iter::repeat_with(next).take(count).flatten().collect::<Vec<u8>>()
    };
    let large = Layer::new().dir("a").file("a/large", &noise(1, 200_000)).finish();
    let second = Layer::new().dir("b").file("b/second", &noise(2, 40_000)).finish();
    let third = Layer::new().file("c", &noise(3, 20_000)).finish();
    let layers: Vec<_> = packs.into_iter().zip([large, second, third]).collect();
    Layout::write(directory, &layers)
}

/// The digest of the largest layer of [`layout`].
pub fn large(layout: &Layout) -> Digest {
    layout.layers[0]
}

pub fn size(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// All bytes of a layout's blobs without the manifest.
pub fn blob_bytes(layout: &Layout) -> u64 {
    let blobs = fs::read_dir(layout.path.join("blobs/sha256")).unwrap();
    let all: u64 = blobs.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    all - size(layout.blob(&layout.manifest))
}

pub fn parse(name: &str) -> Reference {
    name.parse().unwrap()
}

/// Nothing of an image is visible, and nothing half-done is left but what can be gone on
/// with.
pub fn assert_no_tag(store: &Store) {
    let tags: Vec<_> = fs::read_dir(store.root().join("refs")).unwrap().collect();
    assert!(tags.is_empty(), "{tags:?}");
    let temporaries: Vec<_> = fs::read_dir(store.root().join("tmp")).unwrap().collect();
    assert!(temporaries.is_empty(), "{temporaries:?}");
    for entry in fs::read_dir(store.root().join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let found = Digest::of(&fs::read(&path).unwrap()).hex();
        assert_eq!(path.file_name().unwrap().to_str(), Some(&*found), "a blob under a wrong name");
    }
}

/// The beginnings of blobs that are kept.
pub fn partials(store: &Store) -> Vec<PathBuf> {
    let directory = store.root().join("partial");
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}
