//! What every test needs: a tiny root file system, a runtime of its own, and the
//! certainty that nothing is left afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use berth_runtime::{
    Container, ContainerId, ContainerSpec, ExitInfo, Helper, Runtime, RuntimeConfig, State,
};

/// Where Debian's busybox-static puts its program.
const BUSYBOX: &str = "/bin/busybox";
/// Programs that tests use inside containers.
const APPLETS: [&str; 17] = [
    "sh", "cat", "sleep", "true", "dd", "id", "ls", "mount", "touch", "unshare", "hostname",
    "kill", "stty", "tail", "sed", "grep", "ip",
];
/// Long enough for anything that is not hung, on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Fails, with the reason, where the tests can't run.
pub(crate) fn require() {
    assert!(nix::unistd::geteuid().is_root(), "these tests need root");
    assert!(Path::new(BUSYBOX).exists(), "{BUSYBOX} is missing: install busybox-static");
    let runc = std::process::Command::new("runc").arg("--version").output();
    assert!(runc.is_ok_and(|out| out.status.success()), "runc is missing: install runc");
    sweep();
}

/// Removes control groups of killed runs: those named after a process that is gone.
fn sweep() {
    for hierarchy in hierarchies() {
        for entry in fs::read_dir(&hierarchy).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some(rest) = name.strip_prefix("berth-test-") else {
                continue;
            };
            let pid = rest.split('-').next().unwrap_or_default();
            if Path::new("/proc").join(pid).exists() || pid.parse::<u32>().is_err() {
                continue;
            }
            for leaf in fs::read_dir(entry.path()).unwrap().flatten().filter(|e| e.path().is_dir())
            {
                let procs =
                    fs::read_to_string(leaf.path().join("cgroup.procs")).unwrap_or_default();
                for pid in procs.lines().filter_map(|line| line.parse().ok()) {
                    let _ = nix::sys::signal::kill(
                        nix::unistd::Pid::from_raw(pid),
                        nix::sys::signal::Signal::SIGKILL,
                    );
                }
                let _ = until(Duration::from_secs(5), || fs::remove_dir(leaf.path()).ok());
            }
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The mount points of all hierarchies.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    berth_runtime::Layout::detect().unwrap().mounts.into_iter().map(|mount| mount.point).collect()
}

/// The sealed copy is made once for all tests.
pub(crate) fn helper() -> Helper {
    static HELPER: OnceLock<Helper> = OnceLock::new();
    HELPER.get_or_init(Helper::current).clone()
}

/// Asks again and again until there is an answer; `None` after `within`.
pub(crate) fn until<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// One test's directories, control groups and runtime. Dropping it removes all
/// of them, running containers included.
pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cgroup: PathBuf,
    pub(crate) runtime: Runtime,
}

impl Bed {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("berth-test-").tempdir().unwrap();
        let cgroup = PathBuf::from(format!("berth-test-{}-{number}", std::process::id()));
        let root = dir.path().join("root");
        for name in ["bin", "proc", "sys", "dev", "run", "tmp", "data", "etc"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let runtime = open(dir.path(), &cgroup);
        Self { dir, cgroup, runtime }
    }

    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.dir.path().join(format!("{id}.log"))
    }

    /// A container that runs a shell script.
    pub(crate) fn spec(&self, id: &str, script: &str) -> ContainerSpec {
        spec(self.dir.path(), id, script)
    }

    pub(crate) fn start(&self, spec: &ContainerSpec) {
        self.runtime.start(spec, LONG).unwrap();
    }

    pub(crate) fn inspect(&self, id: &str) -> Container {
        self.runtime.inspect(&self::id(id)).unwrap().expect("the container should exist")
    }

    /// Waits for a container's end as the agent does, and collects its status.
    pub(crate) fn wait(&self, id: &str) -> ExitInfo {
        let id = self::id(id);
        match self.runtime.watch(&id).unwrap() {
            Some(watch) => {
                assert!(watch.wait(LONG).unwrap(), "{id} does not end");
                self.runtime.collect(&watch).unwrap().unwrap()
            }
            None => match self.runtime.inspect(&id).unwrap().unwrap().state {
                State::Exited(info) => info,
                other => panic!("{id} is {other:?}"),
            },
        }
    }

    /// Waits until the log holds `text`, and returns all of it.
    pub(crate) fn logged(&self, id: &str, text: &str) -> String {
        let path = self.log(id);
        until(LONG, || fs::read_to_string(&path).ok().filter(|log| log.contains(text)))
            .unwrap_or_else(|| {
                panic!("{text:?} is not in the log: {:?}", fs::read_to_string(&path))
            })
    }

    /// The groups of this bed that exist, in all hierarchies.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        hierarchies()
            .into_iter()
            .filter_map(|point| fs::read_dir(point.join(&self.cgroup)).ok())
            .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
            .filter(|path| path.is_dir())
            .collect()
    }

    /// The records of this bed that exist.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let dir = self.dir.path().join("run/containers");
        fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).collect()
    }

    /// Asserts that no container of this bed has left anything.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.records(), Vec::<PathBuf>::new());
        assert_eq!(self.groups(), Vec::<PathBuf>::new());
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for (id, _) in self.runtime.list().unwrap_or_default() {
            let _ = self.runtime.stop(&id, Duration::ZERO, LONG);
            if let Err(error) = self.runtime.remove(&id, LONG) {
                eprintln!("cannot remove {id}: {error}");
            }
        }
        for point in hierarchies() {
            let _ = fs::remove_dir(point.join(&self.cgroup));
        }
    }
}

/// A runtime over the directories of a bed.
pub(crate) fn open(dir: &Path, cgroup: &Path) -> Runtime {
    Runtime::new(RuntimeConfig {
        run_dir: dir.join("run"),
        cgroup: cgroup.to_path_buf(),
        helper: helper(),
    })
    .unwrap()
}

/// A container that runs a shell script, over the directories of a bed.
pub(crate) fn spec(dir: &Path, id: &str, script: &str) -> ContainerSpec {
    ContainerSpec::new(
        self::id(id),
        dir.join("root"),
        ["/bin/sh", "-c", script].map(str::to_owned).into(),
        dir.join(format!("{id}.log")),
    )
}

pub(crate) fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

/// What this process has: open files, mounts, and children that nobody collected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Possessions {
    fds: usize,
    mounts: usize,
    pub(crate) zombies: BTreeSet<i32>,
}

impl Possessions {
    pub(crate) fn now() -> Self {
        let me = std::process::id().cast_signed();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let zombies = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| is_zombie_of(*pid, me))
            .collect();
        Self {
            fds: fs::read_dir("/proc/self/fd").unwrap().count(),
            mounts: mounts.lines().count(),
            zombies,
        }
    }
}

fn is_zombie_of(pid: i32, parent: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return false;
    };
    let mut fields = rest.split(' ');
    fields.next() == Some("Z") && fields.next() == Some(parent.to_string().as_str())
}
