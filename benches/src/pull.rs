//! One image, pulled from a registry on loopback and unpacked, by berth and by podman,
//! taking turns.
//!
//! Each begins with nothing. The registry is Debian's docker-registry; the image is that of
//! the unpack bench.

use std::{fs, path::Path, process::Command};

use berth_integration::program;

use crate::{
    figures::ratio,
    unpack::{Contender, ROUNDS, layouts, podman_command},
};

#[path = "../../images/tests/registry/server.rs"]
mod registry;
use registry::Registry;

pub(crate) fn run() {
    let dir = tempfile::Builder::new().prefix("berth-bench-").tempdir_in("/var/tmp").unwrap();
    let registry = Registry::start(dir.path());
    let (gzip, zstd) = layouts(dir.path());
    registry.push(&gzip, "bench:gzip", &[]);
    registry.push(&zstd, "bench:zstd", &[]);
    let mut contenders = [
        berth(dir.path(), "berth, gzip", &registry, "bench:gzip"),
        berth(dir.path(), "berth, zstd", &registry, "bench:zstd"),
        podman(dir.path(), "podman, gzip", &registry, "bench:gzip"),
        podman(dir.path(), "podman, zstd", &registry, "bench:zstd"),
    ];
    for _ in 0..ROUNDS {
        contenders.iter_mut().for_each(Contender::take_turn);
    }
    contenders.iter().for_each(|contender| contender.print("pull"));
    let [gzip, zstd, podman_gzip, podman_zstd] = &contenders;
    ratio(&gzip.figures, &podman_gzip.figures, "podman (gzip)");
    ratio(&zstd.figures, &podman_zstd.figures, "podman (zstd)");
}

fn berth(dir: &Path, name: &'static str, registry: &Registry, image: &str) -> Contender {
    let store = dir.join(name);
    let config = store.with_extension("toml");
    let host = registry.name("");
    let text = format!(
        "images_dir = \"{}\"\n[registries]\nplain_http = [\"{}\"]\n",
        store.display(),
        host.trim_end_matches('/')
    );
    fs::write(&config, text).unwrap();
    let image = registry.name(image);
    Contender::new(name, move || {
        let mut command = Command::new(program::berth());
        command.arg("--config").arg(&config).args(["image", "pull", &image]);
        (vec![command], vec![store.clone()])
    })
}

fn podman(dir: &Path, name: &'static str, registry: &Registry, image: &str) -> Contender {
    let (root, run) = (dir.join(name), dir.join(format!("{name} run")));
    let image = format!("docker://{}", registry.name(image));
    Contender::new(name, move || {
        let mut command = podman_command(&root, &run);
        command.args(["--tls-verify=false", &image]);
        (vec![command], vec![root.clone(), run.clone()])
    })
}
