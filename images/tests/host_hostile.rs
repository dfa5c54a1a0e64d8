//! Layers that mean harm: each has its error or its defined result, and nothing
//! outside the tree changes.
//!
//! The table is the specification; `outside/` beside the store is the canary:
//! its every inode, time, mode and content is compared.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use berth_images::{NoProgress, Store};
use common::{Layout, chain, reference, scratch, snapshot};
use hostile::{Case, Outcome};

/// What every case aims at: files, a directory, links and a set-uid program.
fn make_outside(outside: &Path) {
    fs::create_dir(outside).unwrap();
    fs::write(outside.join("kept"), "untouched").unwrap();
    fs::set_permissions(outside.join("kept"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(outside.join("directory")).unwrap();
    fs::write(outside.join("directory/inner"), "untouched").unwrap();
    fs::write(outside.join("program"), "untouched").unwrap();
    fs::set_permissions(outside.join("program"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("kept", outside.join("link")).unwrap();
}

/// Everything below a directory, with what even a write of the same bytes would
/// change.
fn watched(root: &Path) -> BTreeMap<PathBuf, String> {
    let nodes = snapshot(root).into_iter().map(|(path, text)| {
        let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
        let changed = format!("{}.{:09}", metadata.ctime(), metadata.ctime_nsec());
        (path, format!("{text} inode {} changed {changed}", metadata.ino()))
    });
    nodes.collect()
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

fn play(make: fn(&Path) -> Case) {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    make_outside(&outside);
    let Case { name, layers, limits, expected } = make(&outside);
    let layout = Layout::write(&scratch.path().join("layout"), &layers);
    let before = (watched(&outside), names(scratch.path()));
    let place = scratch.path().join("store");
    let store = Store::open_with(&place, limits).unwrap();
    let outcome = store
        .import(&layout.path, &reference(), &NoProgress)
        .and_then(|image| store.unpack(&image, &NoProgress));
    let after: Vec<_> = names(scratch.path()).into_iter().filter(|path| *path != place).collect();
    assert_eq!((watched(&outside), after), before, "{name}: something outside changed");
    assert!(names(&place.join("tmp")).is_empty(), "{name}: a temporary stays");
    let mode = fs::metadata(&place).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o700, "{name}: others can reach the trees");
    match (outcome, expected) {
        (Ok(tree), Outcome::Tree(check)) => check(&tree, &outside),
        (Err(error), Outcome::Refused(words)) => {
            let error = chain(&error);
            assert!(error.contains(words), "{name}: expected {words:?} in {error:?}");
            assert!(names(&place.join("trees")).is_empty(), "{name}: a tree stays");
        }
        (Ok(_), Outcome::Refused(words)) => panic!("{name}: expected {words:?}, got a tree"),
        (Err(error), Outcome::Tree(_)) => panic!("{name}: {}", chain(&error)),
    }
}

#[test]
fn names_and_links_stay_inside() {
    common::require_root();
    hostile::NAMES.iter().for_each(|case| play(*case));
}

#[test]
fn whiteouts_stay_inside_in_any_order() {
    common::require_root();
    hostile::WHITEOUTS.iter().for_each(|case| play(*case));
}

#[test]
fn nodes_and_attributes_are_as_the_layer_says_and_no_more() {
    common::require_root();
    hostile::NODES.iter().for_each(|case| play(*case));
}

#[test]
fn sizes_and_counts_are_bounded() {
    common::require_root();
    hostile::SIZES.iter().for_each(|case| play(*case));
}

#[test]
fn streams_have_one_reading() {
    common::require_root();
    hostile::STREAMS.iter().for_each(|case| play(*case));
}

#[test]
fn a_wrong_diff_id_is_refused() {
    common::require_root();
    let scratch = scratch();
    let layer = common::Layer::new().file("a", b"").finish();
    let wrong = berth_images::Digest::of(b"other").to_string();
    let path = scratch.path().join("layout");
    let pack = common::Pack::Gzip;
    let layout = Layout::write_with(&path, &[(pack, layer)], common::architecture(), &[wrong]);
    let store = common::store(&scratch);
    let error = store.import(&layout.path, &reference(), &NoProgress).unwrap_err();
    assert!(chain(&error).contains("expected diff_id"), "{}", chain(&error));
    common::assert_empty(&store);
}
