//! Builds, with a stand-in for mmdebstrap where its failures are the subject.
//! The recipes themselves are built by the integration tests: they need the
//! mirror.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use berth_images::{
    BuildOptions, Built, Compression, ImageError, NoProgress, Progress, Recipe, Store, build,
};
use common::{assert_empty, chain, reference, scratch, store};

/// What the stand-in does after it has read its arguments: it finds the
/// overlay's and the status file's paths among them, as mmdebstrap would.
const SUCCEED: &str = r#"
for argument; do case "$argument" in
  *"download /var/lib/dpkg/status "*) status=${argument##*status } ;;
  *"tar-in "*) overlay=${argument#*tar-in } ;;
esac; done
eval "status=$status"; overlay=${overlay% /}; eval "overlay=$overlay"
printf 'Package: tool\nStatus: install ok installed\nVersion: 1.2-3\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n' > "$status"
cat "$overlay"
"#;

fn stand_in(scratch: &Path, body: &str) -> PathBuf {
    let path = scratch.join("mmdebstrap");
    fs::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn options(scratch: &Path, body: &str) -> BuildOptions {
    BuildOptions {
        mirror: Some("http://mirror.invalid/debian".into()),
        mmdebstrap: stand_in(scratch, body),
        ..BuildOptions::default()
    }
}

fn run(store: &Store, options: &BuildOptions) -> Result<Built, ImageError> {
    common::require_root();
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    build(&recipe, store, &reference(), options, &NoProgress)
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Progress for Warnings {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn warn(&self, message: &str) {
        self.0.lock().unwrap().push(message.to_owned());
    }
}

#[test]
fn a_build_makes_an_image_with_the_recipes_files_user_and_command() {
    for compression in [Compression::Zstd, Compression::Gzip, Compression::None] {
        let scratch = scratch();
        let store = store(&scratch);
        let options = BuildOptions { compression, ..options(scratch.path(), SUCCEED) };
        let built = run(&store, &options).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(!built.expired);
        assert_eq!(built.packages.get("tool").map(String::as_str), Some("1.2-3"));
        assert_eq!(built.packages.len(), 1);
        assert_eq!(built.image.annotations[berth_images::PACKAGES_ANNOTATION], "tool=1.2-3");
        let config = built.image.config.config().clone().unwrap();
        assert_eq!(config.user().as_deref(), Some("mysql"));
        assert_eq!(config.cmd().as_deref(), Some(&["/usr/sbin/mysqld".to_owned()][..]));
        let tree = store.unpack(&built.image, &NoProgress).unwrap();
        assert!(tree.root.join("etc/mysql/my.cnf").exists());
        let data = fs::metadata(tree.root.join("var/lib/mysql")).unwrap();
        assert_eq!(data.permissions().mode() & 0o7777, 0o750);
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&data), 1001);
    }
}

#[test]
fn the_same_build_gives_the_same_image() {
    let scratch = scratch();
    let store = store(&scratch);
    let options = options(scratch.path(), SUCCEED);
    let first = run(&store, &options).unwrap().image;
    let second = run(&store, &options).unwrap().image;
    assert_eq!(first.manifest_digest, second.manifest_digest);
}

#[test]
fn a_missing_mmdebstrap_is_told_with_its_package() {
    let scratch = scratch();
    let store = store(&scratch);
    let mut options = options(scratch.path(), "");
    options.mmdebstrap = "berth-test-no-such-program".into();
    let error = chain(&run(&store, &options).unwrap_err());
    assert!(error.contains("apt-get install mmdebstrap"), "{error}");
    assert_empty(&store);
}

#[test]
fn a_failure_is_told_in_the_programs_words() {
    let scratch = scratch();
    let store = store(&scratch);
    let options = options(scratch.path(), "echo 'E: no such package' >&2; exit 3");
    let error = chain(&run(&store, &options).unwrap_err());
    assert!(error.contains("exit status: 3") && error.contains("E: no such package"), "{error}");
    assert_empty(&store);
}

#[test]
fn an_expired_index_is_told_and_passed_unless_refused() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let strict = format!(
        r#"case "$*" in *'Check-Valid-Until "false"'*) ;; *)
        echo 'E: Release file for x is expired (invalid since 1d). Updates will not be applied.' >&2
        exit 1;; esac
        {SUCCEED}"#
    );
    let mut options = options(scratch.path(), &strict);
    options.refuse_expired = true;
    let error = chain(&run(&store, &options).unwrap_err());
    assert!(error.contains("past its Valid-Until date"), "{error}");
    assert_empty(&store);

    options.refuse_expired = false;
    let warnings = Warnings::default();
    let recipe = Recipe::builtin("mysql").unwrap().unwrap();
    let built = build(&recipe, &store, &reference(), &options, &warnings).unwrap();
    assert!(built.expired);
    assert_eq!(built.image.annotations[berth_images::EXPIRED_ANNOTATION], "true");
    let warnings = warnings.0.into_inner().unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("expired (invalid since"), "{warnings:?}");
}

#[test]
fn a_build_past_its_deadline_is_killed_with_all_it_started() {
    let scratch = scratch();
    let store = store(&scratch);
    let alive = scratch.path().join("alive");
    // A session of its own, as dpkg has, with both pipes open: neither a
    // process group nor an end-of-file would end this.
    let body = format!(
        "setsid sh -c 'exec 9>{}; flock 9; echo started >&2; sleep 1000' & wait",
        alive.display()
    );
    let mut options = options(scratch.path(), &body);
    options.deadline = Duration::from_secs(5);
    let error = run(&store, &options).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("killed after 5 s") && text.contains("started"), "{text}");
    // The lock was held by the innermost process: free means that it is dead.
    let file = fs::File::open(&alive).unwrap();
    nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| errno)
        .expect("a process of the build outlived it");
    assert_empty(&store);
}

#[test]
fn the_bill_of_materials_goes_with_the_image() {
    let scratch = scratch();
    let store = store(&scratch);
    for compression in [Compression::Zstd, Compression::None] {
        let options = BuildOptions { compression, ..options(scratch.path(), SUCCEED) };
        let built = run(&store, &options).unwrap();
        // Not unpacked yet, and the same once it is.
        let sbom = store.sbom(&built.image).unwrap().unwrap();
        let document: serde_json::Value = serde_json::from_slice(&sbom).unwrap();
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
        assert_eq!(document["packages"][1]["versionInfo"], "1.2-3");
        let tree = store.unpack(&built.image, &NoProgress).unwrap();
        assert_eq!(fs::read(tree.root.join("usr/share/berth/sbom.spdx.json")).unwrap(), sbom);
    }
}

#[test]
fn an_image_from_elsewhere_has_no_bill_of_materials() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layer = common::Layer::new().file("a", b"").finish();
    let layout = scratch.path().join("layout");
    let layout = common::Layout::write(&layout, &[(common::Pack::Gzip, layer)]);
    let image = common::import(&store, &layout);
    assert_eq!(store.sbom(&image).unwrap(), None);
}
