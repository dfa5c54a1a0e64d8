//! Pulling from a registry that does wrong: broken off, wrong bytes, wrong lengths, stalls,
//! refusals, overload, a full disk, kill -9. Each has its recovery or its clear error, and
//! nothing wrong ever gets a name.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;
mod registry;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_images::{NoProgress, Pulled, Registries, Result, Store};
use common::{Layout, chain, scratch};
use registry::proxy::{Act, Proxy, Request};
use registry::{Registry, assert_no_tag, blob_bytes, large, layout, parse, partials, plain, size};

/// A registry with the image `app:1`, and a directory for stores.
struct Bed {
    scratch: tempfile::TempDir,
    registry: Registry,
    layout: Layout,
    stores: AtomicUsize,
}

impl Bed {
    fn new() -> Self {
        common::require_root();
        let scratch = scratch();
        let registry = Registry::start(scratch.path());
        let layout = layout(&scratch.path().join("layout"));
        registry.push(&layout.path, "app:1", &[]);
        Self { scratch, registry, layout, stores: AtomicUsize::new(0) }
    }

    fn proxy(&self, rule: impl Fn(&Request) -> Act + Send + Sync + 'static) -> Proxy {
        Proxy::start(self.registry.port, rule)
    }

    /// A proxy that does `act` to requests for the largest layer, `times` times.
    fn for_large(&self, times: usize, act: Act) -> Proxy {
        let (hex, done) = (large(&self.layout).hex(), AtomicUsize::new(0));
        self.proxy(move |request| {
            if request.path.contains(&hex) && done.fetch_add(1, Ordering::SeqCst) < times {
                return act.clone();
            }
            Act::Pass
        })
    }

    fn store(&self) -> Store {
        let number = self.stores.fetch_add(1, Ordering::SeqCst);
        Store::open(self.scratch.path().join(format!("store-{number}"))).unwrap()
    }

    fn large_size(&self) -> usize {
        size(self.layout.blob(&large(&self.layout))).try_into().unwrap()
    }
}

fn quick(proxy: &Proxy) -> Registries {
    Registries { stall_wait: Duration::from_millis(1500), tries: 3, ..plain(&[proxy.port]) }
}

fn pull(store: &Store, proxy: &Proxy) -> Result<Pulled> {
    store.pull(&parse(&proxy.name("app:1")), &quick(proxy), &NoProgress)
}

fn fails(store: &Store, proxy: &Proxy) -> String {
    let text = chain(&pull(store, proxy).map(drop).unwrap_err());
    assert_no_tag(store);
    text
}

#[test]
fn broken_off_at_every_tenth_goes_on_where_it_ended() {
    let bed = Bed::new();
    for tenth in 1..10 {
        let proxy = bed.for_large(1, Act::Cut(bed.large_size() * tenth / 10));
        let pulled = pull(&bed.store(), &proxy).unwrap();
        assert_eq!(pulled.bytes_fetched, blob_bytes(&bed.layout), "at {tenth}");
        let requests = proxy.requests(&large(&bed.layout).hex());
        let from = format!("bytes={}-", bed.large_size() * tenth / 10);
        assert_eq!(requests[1].range.as_deref(), Some(&*from), "at {tenth}");
    }
    // Every answer breaks off after a tenth: more often than a pull tries in vain.
    let proxy = bed.for_large(usize::MAX, Act::Cut(bed.large_size() / 10));
    let pulled = pull(&bed.store(), &proxy).unwrap();
    assert_eq!(pulled.bytes_fetched, blob_bytes(&bed.layout));
    assert!(proxy.requests(&large(&bed.layout).hex()).len() >= 10);
}

#[test]
fn a_registry_without_ranges_is_asked_for_all_again() {
    let bed = Bed::new();
    let (hex, done) = (large(&bed.layout).hex(), AtomicUsize::new(0));
    let proxy = bed.proxy(move |request| match request.path.contains(&hex) {
        true if done.fetch_add(1, Ordering::SeqCst) == 0 => Act::Cut(100_000),
        _ => Act::Whole,
    });
    let pulled = pull(&bed.store(), &proxy).unwrap();
    assert_eq!(pulled.bytes_fetched, blob_bytes(&bed.layout) + 100_000);
}

#[test]
fn wrong_bytes_never_get_a_name() {
    let bed = Bed::new();
    let hex = large(&bed.layout).hex();
    let store = bed.store();
    let proxy = bed.for_large(usize::MAX, Act::Flip(70_000));
    let text = fails(&store, &proxy);
    assert!(text.contains("sent other bytes than blob") && text.contains(&hex), "{text}");
    assert_eq!(proxy.requests(&hex).len(), 2, "wrong bytes are fetched twice, not more");
    assert!(!partials(&store).iter().any(|path| path.ends_with(&hex)), "wrong bytes are kept");
    // Wrong once is wrong no more.
    pull(&store, &bed.for_large(1, Act::Flip(70_000))).unwrap();
    // What a process left is not believed either.
    let store = bed.store();
    fs::create_dir(store.root().join("partial")).unwrap();
    fs::write(store.root().join("partial").join(&hex), vec![7; 500_000]).unwrap();
    let pulled = pull(&store, &bed.proxy(|_| Act::Pass)).unwrap();
    assert_eq!(pulled.bytes_resumed, 500_000);
    let manifest = bed.proxy(|request| match request.path.contains("/manifests/") {
        true => Act::Flip(30),
        false => Act::Pass,
    });
    let text = fails(&bed.store(), &manifest);
    assert!(text.contains("sent other bytes than manifest app:1"), "{text}");
}

#[test]
fn wrong_lengths_are_refused_or_completed() {
    let bed = Bed::new();
    let right = bed.large_size();
    for wrong in [right - 1000, right + 1000] {
        let text = fails(&bed.store(), &bed.for_large(usize::MAX, Act::Length(wrong)));
        assert!(text.contains(&format!("has {wrong} bytes as blob")), "{text}");
    }
    let text = fails(&bed.store(), &bed.for_large(usize::MAX, Act::Unsized(1000)));
    assert!(text.contains(&format!("expected {right}")), "{text}");
    let pulled = pull(&bed.store(), &bed.for_large(1, Act::Unsized(-1000))).unwrap();
    assert_eq!(pulled.bytes_fetched, blob_bytes(&bed.layout));
}

#[test]
fn a_stall_ends_at_its_deadline() {
    let bed = Bed::new();
    let store = bed.store();
    // One stall is gone on from; one without an answer too.
    let proxy = bed.for_large(1, Act::Stall(200_000));
    assert_eq!(pull(&store, &proxy).unwrap().bytes_fetched, blob_bytes(&bed.layout));
    let proxy = bed.proxy(|request| match request.path.contains("/manifests/") {
        true => Act::Stall(0),
        false => Act::Pass,
    });
    let text = fails(&bed.store(), &proxy);
    assert!(text.contains("sent nothing for 1.5 s"), "{text}");
    assert_eq!(proxy.requests("/manifests/").len(), 3);
}

#[test]
fn refusals_fail_at_once_and_say_what_to_do() {
    let bed = Bed::new();
    let body = r#"{"errors":[{"code":"DENIED","message":"not for you"}]}"#;
    for (status, place, remedy) in [
        (401, "/manifests/", "put a login for 127.0.0.1"),
        (403, "/manifests/", "use a login that may pull it"),
        (404, "/manifests/", "check the image's name and tag"),
        (403, "/blobs/", "DENIED not for you"),
        (404, "/blobs/", "has no blob sha256:"),
        (418, "/blobs/", "answered 418"),
    ] {
        let proxy = bed.proxy(move |request| match request.path.contains(place) {
            true => Act::Answer(status, String::new(), body.to_owned()),
            false => Act::Pass,
        });
        let text = fails(&bed.store(), &proxy);
        assert!(text.contains(remedy) && text.contains("not for you"), "{status}: {text}");
        // 401 is tried once more with whatever login there is.
        let expected = if status == 401 { 2 } else { 1 };
        assert_eq!(proxy.requests(place).len(), expected, "{status} {place}");
    }
}

#[test]
fn overload_is_waited_out_within_bounds() {
    let bed = Bed::new();
    let answer = |status, headers: &str| Act::Answer(status, headers.to_owned(), "busy".into());
    let proxy = bed.for_large(1, answer(429, "Retry-After: 1\r\n"));
    pull(&bed.store(), &proxy).unwrap();
    let requests = proxy.requests(&large(&bed.layout).hex());
    assert!(requests[1].at - requests[0].at >= Duration::from_secs(1), "it was not waited");
    pull(&bed.store(), &bed.for_large(2, answer(503, ""))).unwrap();
    let proxy = bed.for_large(usize::MAX, answer(500, ""));
    let text = fails(&bed.store(), &proxy);
    assert!(text.contains("answered 500") && text.contains(": busy"), "{text}");
    assert_eq!(proxy.requests(&large(&bed.layout).hex()).len(), 3);
    let proxy = bed.for_large(usize::MAX, answer(429, "Retry-After: 3600\r\n"));
    let text = fails(&bed.store(), &proxy);
    assert!(text.contains("a rest of 3600 s, which is longer than 60 s"), "{text}");
    assert_eq!(proxy.requests(&large(&bed.layout).hex()).len(), 1);
}

#[test]
fn a_full_disk_leaves_nothing_half_done() {
    let bed = Bed::new();
    let mount = Tmpfs::new(&bed.scratch.path().join("small"), "8m");
    let store = Store::open(mount.0.join("store")).unwrap();
    let proxy = bed.for_large(1, Act::Stall(300_000));
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| {
            let patient = plain(&[proxy.port]);
            store.pull(&parse(&proxy.name("app:1")), &patient, &NoProgress).map(drop)
        });
        wait_until(|| proxy.sent() >= 300_000 && !partials(&store).is_empty());
        // Something else fills the disk while the pull is under way.
        let _full = fs::write(mount.0.join("hog"), vec![0; 16 << 20]);
        proxy.lift();
        let text = chain(&pulling.join().unwrap().unwrap_err());
        assert!(text.contains("cannot store it") && text.contains("No space left"), "{text}");
    });
    assert_no_tag(&store);
    assert_eq!(partials(&store), Vec::<std::path::PathBuf>::new());
    // Seen before the first byte.
    let text = fails(&store, &proxy);
    assert!(text.contains("bytes free, expected at least"), "{text}");
    fs::remove_file(mount.0.join("hog")).unwrap();
    pull(&store, &proxy).unwrap();
}

/// A small file system, unmounted with this value.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn new(path: &std::path::Path, size: &str) -> Self {
        fs::create_dir(path).unwrap();
        let size = format!("size={size}");
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("berth-test"), path, Some("tmpfs"), flags, Some(&*size)).unwrap();
        Self(path.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come about");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const STORE: &str = "BERTH_TEST_PULL_STORE";
const NAME: &str = "BERTH_TEST_PULL_NAME";

#[test]
#[ignore = "the victim of the test below, started by it"]
fn victim() {
    let store = Store::open(std::env::var(STORE).unwrap()).unwrap();
    let reference = parse(&std::env::var(NAME).unwrap());
    let port = reference.host().rsplit(':').next().unwrap().parse().unwrap();
    store.pull(&reference, &plain(&[port]), &NoProgress).unwrap();
}

#[test]
fn a_killed_pull_is_gone_on_with() {
    let bed = Bed::new();
    let store = bed.store();
    let hex = large(&bed.layout).hex();
    let proxy = bed.for_large(1, Act::Stall(900_000));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "victim"]).stdout(Stdio::null());
    command.env(STORE, store.root()).env(NAME, proxy.name("app:1"));
    let mut child = command.spawn().unwrap();
    let begun = store.root().join("partial").join(&hex);
    let others = bed.layout.layers[1..].to_vec();
    let others_done =
        || others.iter().all(|it| store.root().join("blobs/sha256").join(it.hex()).exists());
    let length = || fs::metadata(&begun).map_or(0, |metadata| metadata.len());
    wait_until(|| length() == 900_000 && others_done());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.resolve(&parse(&proxy.name("app:1"))).unwrap().map(drop), None);
    let before = proxy.sent();
    let pulled = pull(&store, &proxy).unwrap();
    let left = bed.large_size() as u64 - 900_000;
    assert_eq!((pulled.bytes_resumed, pulled.bytes_fetched), (900_000, left));
    assert_eq!(proxy.sent() - before, left, "bytes were fetched twice");
    assert_eq!((pulled.blobs_present, pulled.blobs_fetched), (3, 1));
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    store.unpack(&pulled.image, &NoProgress).unwrap();
}
