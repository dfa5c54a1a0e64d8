//! kill -9 in the middle of an import or unpack, at every step that is told to
//! the progress: nothing half-done is visible, the leftovers go, and the next
//! try succeeds.
//!
//! The victim is this test binary, started again for the one ignored test.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use berth_images::{NoProgress, Progress, Store};
use common::{Layer, Layout, Pack, reference, scratch};
use nix::sys::signal::{Signal, raise};

const STORE: &str = "BERTH_TEST_CRASH_STORE";
const LAYOUT: &str = "BERTH_TEST_CRASH_LAYOUT";
const STEP: &str = "BERTH_TEST_CRASH_STEP";

/// Dies at the n-th report.
struct Fuse(AtomicU64);

impl Fuse {
    fn burn(&self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            raise(Signal::SIGKILL).unwrap();
        }
    }
}

impl Progress for Fuse {
    fn begin(&self, _what: &str, _total: Option<u64>) {
        self.burn();
    }
    fn advance(&self, _bytes: u64) {
        self.burn();
    }
    fn finish(&self) {
        self.burn();
    }
    fn warn(&self, _message: &str) {}
}

#[test]
#[ignore = "the victim of the other tests, started by them"]
fn victim() {
    let step = std::env::var(STEP).unwrap().parse().unwrap();
    let fuse = Fuse(AtomicU64::new(step));
    let store = Store::open(std::env::var(STORE).unwrap()).unwrap();
    let image = match std::env::var(LAYOUT) {
        Ok(layout) => store.import(Path::new(&layout), &reference(), &fuse).unwrap(),
        Err(_) => store.resolve(&reference()).unwrap().unwrap(),
    };
    if std::env::var(LAYOUT).is_err() {
        store.unpack(&image, &fuse).unwrap();
    }
}

/// Runs the victim; false when it got through.
fn dies(store: &Path, layout: Option<&Path>, step: u64) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "victim"])
        .env(STORE, store)
        .env(STEP, step.to_string())
        .env_remove(LAYOUT)
        .stdout(Stdio::null());
    if let Some(layout) = layout {
        command.env(LAYOUT, layout);
    }
    let status = command.status().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

fn layout(scratch: &tempfile::TempDir) -> Layout {
    let noise: Vec<u8> =
        (0..600_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let first = Layer::new().dir("a").file("a/noise", &noise).finish();
    let second = Layer::new().whiteout("", "a").file("b", &noise).finish();
    Layout::write(&scratch.path().join("layout"), &[(Pack::Gzip, first), (Pack::Plain, second)])
}

fn count(directory: std::path::PathBuf) -> usize {
    fs::read_dir(directory).unwrap().count()
}

#[test]
fn an_import_killed_at_any_step_leaves_nothing_visible() {
    common::require_root();
    let scratch = scratch();
    let layout = layout(&scratch);
    let root = scratch.path().join("store");
    let store = Store::open(&root).unwrap();
    let mut step = 1;
    while dies(&root, Some(&layout.path), step) {
        assert!(store.resolve(&reference()).unwrap().is_none(), "visible after step {step}");
        assert_eq!(count(root.join("blobs/sha256")), 0, "blobs after step {step}");
        assert_eq!(count(root.join("tmp")), 1, "leftovers after step {step}");
        step += 1;
    }
    assert!(step > 10, "only {step} steps: the test tells nothing");
    assert_eq!(count(root.join("tmp")), 0, "leftovers were not swept");
    store.resolve(&reference()).unwrap().unwrap();
}

#[test]
fn an_unpack_killed_at_any_step_leaves_no_tree() {
    common::require_root();
    let scratch = scratch();
    let layout = layout(&scratch);
    let root = scratch.path().join("store");
    let store = Store::open(&root).unwrap();
    let image = store.import(&layout.path, &reference(), &NoProgress).unwrap();
    let mut step = 1;
    while dies(&root, None, step) {
        assert_eq!(store.tree(&image).unwrap(), None, "visible after step {step}");
        assert_eq!(count(root.join("tmp")), 1, "leftovers after step {step}");
        step += 1;
    }
    assert!(step > 10, "only {step} steps: the test tells nothing");
    let tree = store.tree(&image).unwrap().unwrap();
    assert!(tree.root.join("b").exists() && !tree.root.join("a").exists());
    assert_eq!(count(root.join("tmp")), 0, "leftovers were not swept");
}

#[test]
fn a_tree_without_its_marker_is_made_again() {
    common::require_root();
    let scratch = scratch();
    let layout = layout(&scratch);
    let store = common::store(&scratch);
    let image = store.import(&layout.path, &reference(), &NoProgress).unwrap();
    let tree = store.unpack(&image, &NoProgress).unwrap();
    // As a process leaves it that dies between the rename and the marker.
    fs::remove_file(tree.root.with_file_name("complete")).unwrap();
    fs::remove_file(tree.root.join("b")).unwrap();
    assert_eq!(store.tree(&image).unwrap(), None);
    let again = store.unpack(&image, &NoProgress).unwrap();
    assert!(again.root.join("b").exists());
}

#[test]
fn the_sweep_leaves_the_work_of_the_living() {
    common::require_root();
    let scratch = scratch();
    let layout = layout(&scratch);
    let store = common::store(&scratch);
    /// Sweeps with another handle whenever something is reported.
    struct Sweeper(Store);
    impl Progress for Sweeper {
        fn begin(&self, _what: &str, _total: Option<u64>) {
            assert_eq!(self.0.sweep().unwrap(), 0);
        }
        fn advance(&self, _bytes: u64) {
            assert_eq!(self.0.sweep().unwrap(), 0);
        }
        fn finish(&self) {}
        fn warn(&self, _message: &str) {}
    }
    fs::create_dir(store.root().join("tmp/leftover")).unwrap();
    assert_eq!(store.sweep().unwrap(), 1);
    let sweeper = Sweeper(Store::open(store.root()).unwrap());
    let image = store.import(&layout.path, &reference(), &sweeper).unwrap();
    store.unpack(&image, &sweeper).unwrap();
}
