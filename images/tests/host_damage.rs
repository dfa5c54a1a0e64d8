//! Blobs and configurations that are not what they are said to be, found while
//! a tree is made.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::fs;

use berth_images::{ImageError, NoProgress};
use common::{Layer, Layout, Pack, chain, import, scratch, store};

#[test]
fn a_blob_damaged_in_the_store_is_found_while_it_streams() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layer = Layer::new().file("a", &vec![1; 100_000]).finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.clone())]);
    let image = import(&store, &layout);
    let blob = store.root().join("blobs/sha256").join(layout.layers[0].hex());
    let mut damaged = layer.clone();
    damaged[50_000] ^= 1;
    for bytes in [&damaged[..], &layer[..60_000]] {
        fs::write(&blob, bytes).unwrap();
        let error = store.unpack(&image, &NoProgress).unwrap_err();
        let named = chain(&error).contains(&layout.layers[0].hex());
        assert!(named, "{}", chain(&error));
        assert_eq!(store.tree(&image).unwrap(), None);
    }
    // Other bytes that unpack to the same: a gzip header's time.
    let mut dated = Pack::Gzip.pack(&layer);
    dated[4] ^= 1;
    fs::write(&blob, &dated).unwrap();
    let error = store.unpack(&image, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{}", chain(&error));
    // A new import puts it right.
    import(&store, &layout);
    assert!(store.unpack(&image, &NoProgress).unwrap().root.join("a").exists());
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_no_tree() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layer = Layer::new().file("a", b"").finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Gzip, layer)]);
    let mut image = import(&store, &layout);
    // An import would have refused it; a store may be older than its checks.
    image.layers[0].diff_id = layout.manifest;
    let error = store.unpack(&image, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::WrongDiffId { .. }), "{}", chain(&error));
    assert_eq!(store.tree(&image).unwrap(), None);
}
