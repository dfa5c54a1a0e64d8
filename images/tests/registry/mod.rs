//! A registry of the test's own (Debian's docker-registry), skopeo as its other client, and
//! between registry and berth a proxy that does wrong on demand.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "helpers of tests; every test binary uses a part of them"
)]

pub mod proxy;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use berth_images::{Digest, Reference, Registries, Store};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::common::{self, Layer, Layout, Pack, run};

const STARTS: usize = 5;
const START_WAIT: Duration = Duration::from_secs(20);

/// A registry on loopback, ended with this value.
pub struct Registry {
    child: Child,
    pub port: u16,
}

impl Registry {
    /// Starts one that keeps its files below `directory`.
    pub fn start(directory: &Path) -> Self {
        common::require_tool("docker-registry");
        common::require_tool("skopeo");
        let root = directory.join("registry");
        fs::create_dir_all(&root).unwrap();
        // Another process may take the port between the look and the start.
        for _ in 0..STARTS {
            if let Some(registry) = Self::try_start(&root) {
                return registry;
            }
        }
        let log = fs::read_to_string(root.join("log")).unwrap_or_default();
        panic!("docker-registry does not start: {log}");
    }

    fn try_start(root: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = root.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            root.join("data").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(root.join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: prctl(2) is async-signal-safe. A test that is killed leaves no registry.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut registry = Self { child: command.spawn().unwrap(), port };
        let deadline = Instant::now() + START_WAIT;
        while Instant::now() < deadline && registry.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// A name in this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// Copies the image of a layout in, by skopeo; as it is, unless an argument says in
    /// which format.
    pub fn push(&self, layout: &Path, name: &str, arguments: &[&str]) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        if !arguments.contains(&"--format") {
            command.arg("--preserve-digests");
        }
        command.args(arguments).arg(format!("oci:{}:1", layout.display()));
        run(command.arg(format!("docker://{}", self.name(name))));
    }

    /// What skopeo says that the image's digest is.
    pub fn digest(&self, name: &str) -> Digest {
        let raw = self.raw(name);
        Digest::of(&raw)
    }

    /// The manifest or index, by skopeo.
    pub fn raw(&self, name: &str) -> Vec<u8> {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "inspect", "--raw", "--tls-verify=false"]);
        let output = command.arg(format!("docker://{}", self.name(name))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    /// Fetches the image by skopeo into a flat directory: blobs by their hex digits.
    pub fn fetch(&self, name: &str, to: &Path) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        command.arg(format!("docker://{}", self.name(name)));
        run(command.arg(format!("dir:{}", to.display())));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
