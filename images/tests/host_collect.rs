//! Garbage goes and nothing else does, also beside a pull; and damage is found.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;
mod registry;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use berth_images::{Digest, Image, NoProgress, Remedy, Store, UsageMeter};
use common::{Layer, Layout, Pack, chain, reference, run, scratch, store};
use registry::proxy::{Act, Proxy};
use registry::{Registry, large, layout, parse, plain};

fn layer(name: &str, bytes: u8) -> (Pack, Vec<u8>) {
    (Pack::Gzip, Layer::new().dir("d").file(format!("d/{name}"), &[bytes; 100_000]).finish())
}

/// Imports an image of these layers under the name that all tests use, and unpacks it.
fn import(store: &Store, directory: &Path, layers: &[(Pack, Vec<u8>)]) -> Image {
    let layout = Layout::write(directory, layers);
    let image = store.import(&layout.path, &reference(), &NoProgress).unwrap();
    store.unpack(&image, &NoProgress).unwrap();
    image
}

fn blobs(store: &Store) -> BTreeSet<String> {
    let entries = fs::read_dir(store.root().join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn only(digests: &[Digest]) -> BTreeSet<Digest> {
    digests.iter().copied().collect()
}

#[test]
fn what_nothing_needs_goes_and_nothing_else() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let old = import(&store, &scratch.path().join("old"), &[layer("shared", 1), layer("old", 2)]);
    let new = import(&store, &scratch.path().join("new"), &[layer("shared", 1), layer("new", 3)]);
    let all = blobs(&store);
    let mut meter = UsageMeter::default();
    let before = meter.measure(&store).unwrap();
    assert_eq!((before.blobs, before.trees), (7, 2));
    // A container stands on the old tree, or it ran last.
    let kept = store.collect(&only(&[old.config_digest]), false).unwrap();
    assert_eq!((kept.blobs.len(), kept.trees.len(), kept.bytes()), (0, 0, 0));
    let told = store.collect(&BTreeSet::new(), true).unwrap();
    assert_eq!(blobs(&store), all);
    let gone = store.collect(&BTreeSet::new(), false).unwrap();
    assert_eq!(told, gone);
    let expected = only(&[old.manifest_digest, old.config_digest, old.layers[1].digest]);
    assert_eq!(gone.blobs.iter().map(|(digest, _)| *digest).collect::<BTreeSet<_>>(), expected);
    assert_eq!(gone.trees.len(), 1);
    assert_eq!(gone.trees[0].0, old.config_digest);
    let after = meter.measure(&store).unwrap();
    assert_eq!((after.blobs, after.trees), (4, 1));
    assert!(before.tree_bytes - after.tree_bytes >= 100_000, "{before:?} {after:?}");
    assert!(store.tree(&new).unwrap().unwrap().root.join("d/new").exists());
    assert!(store.verify(&NoProgress).unwrap().damages.is_empty());
    assert_eq!(store.collect(&BTreeSet::new(), false).unwrap().bytes(), 0);
}

#[test]
fn nothing_goes_while_it_is_not_known_what_is_needed() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    import(&store, &scratch.path().join("old"), &[layer("old", 2)]);
    let image = import(&store, &scratch.path().join("new"), &[layer("new", 3)]);
    let manifest = store.root().join("blobs/sha256").join(image.manifest_digest.hex());
    let content = fs::read(&manifest).unwrap();
    fs::remove_file(&manifest).unwrap();
    let all = blobs(&store);
    let error = store.collect(&BTreeSet::new(), false).unwrap_err();
    assert!(chain(&error).contains("is not known, so nothing was removed"), "{}", chain(&error));
    assert_eq!(blobs(&store), all);
    fs::write(&manifest, content).unwrap();
    assert_eq!(store.collect(&BTreeSet::new(), false).unwrap().trees.len(), 1);
}

#[test]
fn what_a_pull_counts_on_stays_while_it_lives() {
    common::require_root();
    let scratch = scratch();
    let (registry, store) = (Registry::start(scratch.path()), store(&scratch));
    let layout = layout(&scratch.path().join("layout"));
    registry.push(&layout.path, "app:1", &[]);
    let hex = large(&layout).hex();
    let stall = hex.clone();
    let proxy = Proxy::start(registry.port, move |request| match request.path.contains(&stall) {
        true => Act::Stall(300_000),
        false => Act::Pass,
    });
    let name = parse(&proxy.name("app:1"));
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| store.pull(&name, &plain(&[proxy.port]), &NoProgress));
        let deadline = Instant::now() + Duration::from_secs(30);
        while blobs(&store).len() < 3 || proxy.sent() < 300_000 {
            assert!(Instant::now() < deadline, "the other blobs don't come");
            std::thread::sleep(Duration::from_millis(5));
        }
        let other = Store::open(store.root()).unwrap();
        assert_eq!(other.collect(&BTreeSet::new(), false).unwrap().bytes(), 0);
        // Nor does the removal of an image that shares layers with it take them.
        other.import(&layout.path, &reference(), &NoProgress).unwrap();
        other.remove(&reference(), &BTreeSet::new()).unwrap();
        assert!(blobs(&store).contains(&layout.layers[1].hex()));
        proxy.lift();
        pulling.join().unwrap().unwrap();
    });
    // Without its tag, and with a beginning that was given up long ago.
    store.remove(&name, &BTreeSet::new()).unwrap();
    let begun = store.root().join("partial").join(&hex);
    fs::write(&begun, [1; 1000]).unwrap();
    assert_eq!(store.collect(&BTreeSet::new(), false).unwrap().partials, []);
    run(Command::new("touch").args(["-d", "2 days ago"]).arg(&begun));
    assert_eq!(store.collect(&BTreeSet::new(), false).unwrap().partials, [(begun, 1000)]);
    assert!(blobs(&store).is_empty());
}

/// Does something to a file, and sets its old times again, as a bad disk would leave them.
fn damage(path: &Path, how: impl FnOnce(&Path)) {
    // Elsewhere: a name beside it would change the directory.
    let stamp = scratch();
    let stamp = stamp.path().join("stamp");
    run(Command::new("touch").arg("-r").arg(path).arg(&stamp));
    how(path);
    run(Command::new("touch").arg("-r").arg(&stamp).arg(path));
}

#[test]
fn damage_is_found_and_named() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let image = import(&store, &scratch.path().join("layout"), &[layer("a", 1), layer("b", 2)]);
    let tree = store.tree(&image).unwrap().unwrap().root;
    let clean = store.verify(&NoProgress).unwrap();
    assert_eq!((clean.blobs, clean.trees, clean.damages, clean.unchecked), (4, 1, vec![], vec![]));
    let problems = || {
        let found = store.verify(&NoProgress).unwrap().damages;
        found.into_iter().map(|damage| (damage.problem, damage.remedy)).collect::<Vec<_>>()
    };
    let (file, directory) = (tree.join("d/a"), tree.join("d"));
    let original = fs::read(&file).unwrap();
    let wrong_tree = |what: &str| vec![(what.to_owned(), Remedy::RemoveAndBringAgain)];
    damage(&file, |path| {
        let mut bytes = original.clone();
        bytes[50_000] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert_eq!(problems(), wrong_tree("/d/a has another content"));
    damage(&file, |path| fs::write(path, &original).unwrap());
    assert_eq!(problems(), []);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(problems(), wrong_tree("/d/a has another mode"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    damage(&directory, |path| fs::rename(path.join("b"), path.join("c")).unwrap());
    assert_eq!(problems(), wrong_tree("/d/c should not be there, /d/b is missing"));
    damage(&directory, |path| fs::rename(path.join("c"), path.join("b")).unwrap());
    // Blobs: wrong, missing, and a tree that can't be compared then.
    let blob = store.root().join("blobs/sha256").join(image.layers[0].digest.hex());
    let content = fs::read(&blob).unwrap();
    fs::write(&blob, b"wrong").unwrap();
    let found = store.verify(&NoProgress).unwrap();
    assert_eq!((found.damages.len(), found.unchecked.len()), (1, 1));
    assert_eq!((&found.damages[0].path, found.damages[0].remedy), (&blob, Remedy::BringAgain));
    assert_eq!(found.damages[0].images, [reference()]);
    fs::remove_file(&blob).unwrap();
    assert_eq!(problems(), [("it is missing".to_owned(), Remedy::BringAgain)]);
    fs::write(&blob, content).unwrap();
    assert_eq!(problems(), []);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
}
