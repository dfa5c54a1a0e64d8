//! The same program in the same root file system: berth's runtime against `runc run`, taking
//! turns, so that what else the machine does falls on both.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use berth_runtime::{ContainerId, ContainerSpec, Helper, Runtime, RuntimeConfig, become_subreaper};
use serde_json::{Value, json};

use crate::figures::{Figures, ratio};

const ROUNDS: usize = 50;
const WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn run() {
    become_subreaper().unwrap();
    let dir = tempfile::Builder::new().prefix("berth-bench-").tempdir_in("/var/tmp").unwrap();
    let root = dir.path().join("rootfs");
    for part in ["bin", "proc", "dev", "sys", "run", "tmp", "etc"] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/true")).unwrap();
    let cgroup = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let helper = Helper::current();
    let config = RuntimeConfig { run_dir: dir.path().join("run"), cgroup: cgroup.into(), helper };
    let runtime = Runtime::new(config).unwrap();
    let bundle = runc_bundle(dir.path(), &root);
    let (mut ours, mut peer) = (Figures::default(), Figures::default());
    for round in 0..ROUNDS {
        ours.add(timed(|| berth(&runtime, &root, dir.path(), round)));
        peer.add(timed(|| runc(&bundle, round)));
    }
    ours.print("container of /bin/true: berth-runtime");
    peer.print("container of /bin/true: runc run");
    ratio(&ours, &peer, "runc");
}

fn timed(what: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    what();
    begun.elapsed()
}

fn berth(runtime: &Runtime, root: &Path, dir: &Path, round: usize) {
    let id = ContainerId::new(format!("bench-{round}")).unwrap();
    let args = vec!["/bin/true".to_owned()];
    let spec = ContainerSpec::new(id.clone(), root.to_owned(), args, dir.join("log"));
    runtime.start(&spec, WITHIN).unwrap();
    if let Some(watch) = runtime.watch(&id).unwrap() {
        assert!(watch.wait(WITHIN).unwrap(), "/bin/true must end");
    }
    runtime.stop(&id, Duration::ZERO, WITHIN).unwrap();
    runtime.remove(&id, WITHIN).unwrap();
}

/// A bundle as `runc spec` makes it, without a terminal, for the same program.
fn runc_bundle(dir: &Path, root: &Path) -> std::path::PathBuf {
    let bundle = dir.join("bundle");
    fs::create_dir(&bundle).unwrap();
    let made = Command::new("runc").arg("spec").current_dir(&bundle).status().unwrap();
    assert!(made.success(), "runc spec");
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/true"]);
    spec["root"]["path"] = json!(root);
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    fs::write(&path, spec.to_string()).unwrap();
    bundle
}

fn runc(bundle: &Path, round: usize) {
    let id = format!("berth-bench-{}-{round}", std::process::id());
    let done = Command::new("runc").args(["run", "--bundle"]).arg(bundle).arg(id).status().unwrap();
    assert!(done.success(), "runc run");
}
