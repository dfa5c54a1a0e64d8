//! One image, unpacked by berth, umoci, podman and tar, taking turns.
//!
//! The image is the test image (MySQL from Debian), converted by skopeo into an
//! OCI layout of gzip layers and one of zstd layers; or the layout's directory
//! in `BERTH_BENCH_LAYOUT`, tagged `1`. berth starts from its own store, as the
//! others start from the layout; it checks both digests of every layer and ends
//! with the tree on the disk (syncfs), which the others leave out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use berth_integration::{image, program};

use crate::figures::{Figures, ratio};

pub(crate) const ROUNDS: usize = 5;
/// ext4 gives no inode again within five seconds of its deletion, and searches
/// for others: whoever came next would pay for it.
const SETTLE: Duration = Duration::from_secs(6);
const MEMORY_POLL: Duration = Duration::from_millis(2);

/// Something that unpacks into a directory of its own.
pub(crate) struct Contender {
    name: &'static str,
    /// The command, and the directories that it fills.
    command: Box<dyn Fn() -> (Vec<Command>, Vec<PathBuf>)>,
    pub(crate) figures: Figures,
    peak_kib: u64,
}

pub(crate) fn run() {
    // podman makes an image's name of the path, and that must be in lower case.
    let prefix = format!("berth-bench-{}", std::process::id());
    let dir =
        tempfile::Builder::new().prefix(&prefix).rand_bytes(0).tempdir_in("/var/tmp").unwrap();
    let (gzip, zstd) = layouts(dir.path());
    let mut contenders = [
        berth(dir.path(), "berth, gzip", &gzip),
        berth(dir.path(), "berth, zstd", &zstd),
        umoci(dir.path(), &gzip),
        podman(dir.path(), &gzip),
        tar(dir.path(), &gzip),
    ];
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            contender.take_turn();
        }
    }
    contenders.iter().for_each(|contender| contender.print("unpack"));
    let [gzip, zstd, umoci, podman, tar] = &contenders;
    for peer in [umoci, podman, tar] {
        ratio(&gzip.figures, &peer.figures, &format!("{} (ours: gzip)", peer.name));
    }
    ratio(&zstd.figures, &umoci.figures, &format!("{} (ours: zstd)", umoci.name));
}

impl Contender {
    pub(crate) fn new(
        name: &'static str,
        command: impl Fn() -> (Vec<Command>, Vec<PathBuf>) + 'static,
    ) -> Self {
        Self { name, command: Box::new(command), figures: Figures::default(), peak_kib: 0 }
    }

    pub(crate) fn take_turn(&mut self) {
        let (commands, fills) = (self.command)();
        fills.iter().for_each(|directory| clear(directory));
        nix::unistd::sync();
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        for mut command in commands {
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            self.peak_kib = self.peak_kib.max(watch(child, self.name));
        }
        self.figures.add(begun.elapsed());
        fills.iter().for_each(|directory| clear(directory));
    }

    /// Its figures, as those of `what`.
    pub(crate) fn print(&self, what: &str) {
        self.figures.print(&format!("{what}: {}", self.name));
        println!("  peak memory {} MiB", self.peak_kib / 1024);
    }
}

/// Podman's pull into directories of its own, without the image.
pub(crate) fn podman_command(root: &Path, run: &Path) -> Command {
    let mut command = Command::new("podman");
    command.arg("--root").arg(root).arg("--runroot").arg(run);
    command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]);
    command.args(["--runtime", "runc", "pull", "--quiet"]);
    command
}

/// Waits for the end, and gives the most memory that was seen in use, in KiB.
fn watch(mut child: Child, name: &str) -> u64 {
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        // The kernel keeps the maximum; it is gone with the process.
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let seen = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(seen.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{name}: {status}");
            return peak;
        }
        std::thread::sleep(MEMORY_POLL);
    }
}

fn clear(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
}

fn run_command(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}

/// The image in gzip and in zstd.
pub(crate) fn layouts(dir: &Path) -> (PathBuf, PathBuf) {
    let given = std::env::var_os("BERTH_BENCH_LAYOUT").map(PathBuf::from);
    let base = given.unwrap_or_else(|| {
        let base = dir.join("base");
        image::layout(&base);
        base
    });
    let plain = dir.join("plain");
    let copy = |arguments: &[&str]| {
        run_command(Command::new("skopeo").arg("copy").args(arguments));
    };
    // skopeo compresses only what is not compressed.
    let from = format!("oci:{}:1", base.display());
    copy(&["--dest-decompress", &from, &format!("dir:{}", plain.display())]);
    let [gzip, zstd] = ["gzip", "zstd"].map(|format| {
        let layout = dir.join(format);
        let arguments = ["--dest-compress", "--dest-compress-format", format];
        let from = format!("dir:{}", plain.display());
        copy(&[&arguments[..], &[&from, &format!("oci:{}:1", layout.display())]].concat());
        layout
    });
    fs::remove_dir_all(plain).unwrap();
    (gzip, zstd)
}

fn berth(dir: &Path, name: &'static str, layout: &Path) -> Contender {
    const REFERENCE: &str = "berth-bench/image:1";
    let store = layout.with_extension("store");
    let config = dir.join(name).with_extension("toml");
    fs::write(&config, format!("images_dir = \"{}\"\n", store.display())).unwrap();
    let berth = move |arguments: &[&str]| {
        let mut command = Command::new(program::berth());
        command.arg("--config").arg(&config).arg("image").args(arguments);
        command
    };
    run_command(&mut berth(&["import", layout.to_str().unwrap(), "--tag", REFERENCE]));
    let trees = store.join("trees");
    Contender::new(name, move || {
        // The directory itself belongs to the store.
        let of_images = fs::read_dir(&trees).unwrap().map(|entry| entry.unwrap().path());
        (vec![berth(&["unpack", REFERENCE])], of_images.collect())
    })
}

fn umoci(dir: &Path, layout: &Path) -> Contender {
    let (bundle, image) = (dir.join("umoci"), format!("{}:1", layout.display()));
    Contender::new("umoci unpack", move || {
        let mut command = Command::new("umoci");
        command.args(["unpack", "--image", &image]).arg(&bundle);
        (vec![command], vec![bundle.clone()])
    })
}

fn podman(dir: &Path, layout: &Path) -> Contender {
    let (root, run) = (dir.join("podman"), dir.join("podman-run"));
    let image = format!("oci:{}:1", layout.display());
    Contender::new("podman pull", move || {
        let mut command = podman_command(&root, &run);
        command.arg(&image);
        (vec![command], vec![root.clone(), run.clone()])
    })
}

/// The layers, one after the other; whiteouts would be files.
fn tar(dir: &Path, layout: &Path) -> Contender {
    let read = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |digest: &serde_json::Value| {
        layout.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
    };
    let index = read(layout.join("index.json"));
    let manifest = read(blob(&index["manifests"][0]["digest"]));
    let layers = manifest["layers"].as_array().unwrap();
    let layers: Vec<PathBuf> = layers.iter().map(|layer| blob(&layer["digest"])).collect();
    let root = dir.join("tar");
    Contender::new("tar -xzf", move || {
        let commands = layers.iter().map(|layer| {
            let mut command = Command::new("tar");
            command.arg("-xzf").arg(layer).arg("-C").arg(&root);
            command
        });
        let mut make = Command::new("mkdir");
        make.arg("-p").arg(&root);
        (std::iter::once(make).chain(commands).collect(), vec![root.clone()])
    })
}
