//! The same packages give the same image: a small recipe, built twice from the
//! machine's mirror in two places, with dpkg-query as the judge of what is in it.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use berth_images::{BuildOptions, Built, NoProgress, Recipe, Store, Tree, build};
use common::{chain, reference, scratch, snapshot};

/// Shorter than the built-in ones, and as they are in all that matters here.
const RECIPE: &str = r#"
name = "small"
description = "a base system for a test"
reference = "berth-test/small:1"
suite = "sid"
components = ["main"]
keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
packages = ["netbase"]
date = "2026-01-02T03:04:05Z"
user = { name = "mysql", uid = 1001, gid = 1001, home = "/var/lib/mysql" }
directories = [{ path = "/var/lib/mysql", mode = "0750", owned = true }]
volumes = ["/var/lib/mysql"]
cmd = ["/bin/true"]
"#;
/// The recipe's date.
const EPOCH: i64 = 1_767_323_045;

fn build_in(place: &Path) -> (Store, Built, Tree) {
    fs::create_dir(place).unwrap();
    fs::write(place.join("recipe.toml"), RECIPE).unwrap();
    let recipe = Recipe::load(place).unwrap();
    let store = Store::open(place.join("store")).unwrap();
    let built = build(&recipe, &store, &reference(), &BuildOptions::default(), &NoProgress)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let tree = store.unpack(&built.image, &NoProgress).unwrap();
    (store, built, tree)
}

#[test]
fn two_builds_of_the_same_packages_are_the_same_image() {
    common::require_root();
    common::require_tool("mmdebstrap");
    let scratch = scratch();
    let (store, first, tree) = build_in(&scratch.path().join("first"));
    let (_, second, other) = build_in(&scratch.path().join("in another place"));
    // The trees first: what differs says why the digests do.
    assert_eq!(snapshot(&tree.root), snapshot(&other.root));
    assert_eq!(first.image.manifest_digest, second.image.manifest_digest);
    nothing_of_the_build_is_left(&tree.root);
    the_packages_are_told(&store, &first, &tree.root);
}

fn nothing_of_the_build_is_left(root: &Path) {
    for path in snapshot(root).into_keys() {
        let metadata = fs::symlink_metadata(root.join(&path)).unwrap();
        let time = (metadata.mtime(), metadata.mtime_nsec());
        assert!(time <= (EPOCH, 0), "{} is of {time:?}", path.display());
    }
    // apt and dpkg leave empty files to lock.
    for empty in ["var/log", "var/cache", "var/lib/apt/lists", "run", "tmp"] {
        for path in snapshot(&root.join(empty)).into_keys() {
            let metadata = fs::symlink_metadata(root.join(empty).join(&path)).unwrap();
            let content = metadata.is_file() && metadata.len() > 0;
            assert!(!content, "{empty}/{} has content", path.display());
        }
    }
    for file in ["etc/machine-id", "etc/resolv.conf", "etc/hostname", "etc/hosts"] {
        assert_eq!(fs::metadata(root.join(file)).unwrap().len(), 0, "{file}");
    }
    for gone in ["var/cache/ldconfig/aux-cache", "var/cache/debconf/config.dat"] {
        assert!(!root.join(gone).exists(), "{gone}");
    }
}

fn the_packages_are_told(store: &Store, built: &Built, root: &Path) {
    let query = ["--show", "--showformat=${Package}=${Version}\n"];
    let listed = common::run(Command::new("dpkg-query").arg("--root").arg(root).args(query));
    let listed: BTreeSet<&str> = listed.lines().collect();
    let annotation = &built.image.annotations[berth_images::PACKAGES_ANNOTATION];
    assert_eq!(annotation.split(' ').collect::<BTreeSet<_>>(), listed);
    let sbom = store.sbom(&built.image).unwrap().unwrap();
    let sbom: serde_json::Value = serde_json::from_slice(&sbom).unwrap();
    let text =
        |package: &serde_json::Value, field: &str| package[field].as_str().unwrap().to_owned();
    let told: BTreeSet<String> = sbom["packages"].as_array().unwrap()[1..]
        .iter()
        .map(|package| format!("{}={}", text(package, "name"), text(package, "versionInfo")))
        .collect();
    assert_eq!(told.iter().map(String::as_str).collect::<BTreeSet<_>>(), listed);
}
