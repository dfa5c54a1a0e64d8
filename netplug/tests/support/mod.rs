//! A host of its own for each test: a network and a mount namespace for the test's
//! thread, and in them a real Open vSwitch with the userspace data path.
//!
//! Nothing outlives the test: the namespaces end with the thread, and the daemons are
//! killed with it even if the test process itself is killed.

#![allow(dead_code, reason = "each test file uses its own part of this")]

mod judge;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use berth_netplug::pool::PoolSet;
use berth_netplug::{
    AttachRequest, Attachment, BridgeConfig, Config, DatapathChoice, Goal, HostName, Netplug,
    Owner, PoolName, Rates,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use judge::*;

pub(crate) const BRIDGE: &str = "btbr0";
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Two small pools of VLAN 10 and 20, one of IPv6, one of two addresses.
pub(crate) const POOLS: &str = r#"{
  "ten":  {"vlan": 10, "subnet": "10.20.0.0/24", "gateway": "10.20.0.1"},
  "twenty": {"vlan": 20, "subnet": "10.30.0.0/24"},
  "six":  {"vlan": 30, "subnet": "fd00:20::/64", "gateway": "fd00:20::1"},
  "tiny": {"vlan": 40, "subnet": "10.40.0.0/30"},
  "many": {"vlan": 50, "subnet": "10.50.0.0/20"}
}"#;

/// The host of one test.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    database: Option<Child>,
    daemon: Option<Child>,
}

impl Host {
    /// Starts Open vSwitch and opens the crate on it.
    pub(crate) fn start() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root");
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .expect("this test needs to make namespaces");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .expect("mounts of this test's own");
        let dir = tempfile::Builder::new()
            .prefix("berth-test-net-")
            .tempdir()
            .expect("a temporary directory");
        let pools = dir.path().join("pools.d");
        fs::create_dir(&pools).expect("a directory for pools");
        fs::write(pools.join("10.json"), POOLS).expect("the pools");
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        let db = dir.path().join("conf.db");
        run("ovsdb-tool", &["create", text(&db), schema]);
        run("ip", &["link", "set", "lo", "up"]);
        let mut host = Self { dir, database: None, daemon: None };
        host.start_database();
        host.vsctl(&["--no-wait", "init"]);
        host.start_daemon();
        host
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config(&self) -> Config {
        config(self.dir())
    }

    pub(crate) fn plug(&self) -> Netplug {
        let plug = Netplug::open(self.config()).expect("the crate's directories");
        plug.ensure_bridge().expect("a bridge");
        plug
    }

    pub(crate) fn pools(&self) -> PoolSet {
        pools(self.dir())
    }

    pub(crate) fn start_database(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let socket = path("db.sock");
        let args = [
            text(&path("conf.db")).to_owned(),
            format!("--remote=punix:{}", socket.display()),
            format!("--unixctl={}", path("db.ctl").display()),
            "--no-chdir".to_owned(),
        ];
        self.database = Some(self.spawn("ovsdb-server", &args));
        wait("ovsdb-server to listen", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    }

    pub(crate) fn start_daemon(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let args = [
            format!("unix:{}", path("db.sock").display()),
            format!("--unixctl={}", path("vswitchd.ctl").display()),
            "--no-chdir".to_owned(),
        ];
        self.daemon = Some(self.spawn("ovs-vswitchd", &args));
    }

    fn spawn(&self, program: &str, args: &[String]) -> Child {
        let log = self.dir.path().join(format!("{program}.log"));
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, self.dir.path());
        }
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from)
            });
        }
        command.spawn().unwrap_or_else(|error| {
            panic!("can't start {program} (Debian: openvswitch-switch): {error}")
        })
    }

    pub(crate) fn stop_database(&mut self) {
        stop(self.database.take());
    }

    pub(crate) fn stop_daemon(&mut self) {
        stop(self.daemon.take());
    }

    pub(crate) fn signal_daemon(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("a running daemon");
        kill(pid(daemon), signal).expect("a signal to the daemon");
    }

    pub(crate) fn signal_database(&self, signal: Signal) {
        let database = self.database.as_ref().expect("a running database");
        kill(pid(database), signal).expect("a signal to the database");
    }

    /// The judge of what is in the switch.
    pub(crate) fn vsctl(&self, args: &[&str]) -> String {
        let db = format!("--db=unix:{}", self.dir().join("db.sock").display());
        let mut all = vec!["--timeout=20", &db];
        all.extend(args);
        run("ovs-vsctl", &all)
    }

    /// The ports of the bridge.
    pub(crate) fn ports(&self) -> Vec<String> {
        self.vsctl(&["list-ports", BRIDGE]).split_whitespace().map(str::to_owned).collect()
    }

    /// Everything of ours that is there: links, ports, namespaces, mounts, leases.
    pub(crate) fn census(&self) -> Census {
        let listed = |dir: &str| -> Vec<String> {
            let entries = fs::read_dir(self.dir().join(dir)).into_iter().flatten();
            let mut names: Vec<_> = entries
                .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        let mut links: Vec<_> = run("ip", &["-o", "link", "show", "type", "veth"])
            .lines()
            .filter_map(|line| line.split([':', '@']).nth(1))
            .map(|name| name.trim().to_owned())
            .filter(|name| name.starts_with("be"))
            .collect();
        links.sort();
        let mut ports: Vec<_> =
            self.ports().into_iter().filter(|name| name.starts_with("be")).collect();
        ports.sort();
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mounts");
        let pins = text(self.dir()).to_owned();
        Census {
            links,
            ports,
            namespaces: listed("run/netns"),
            mounts: mounts.lines().filter(|l| l.contains(&pins) && l.contains("nsfs")).count(),
            leases: listed("state/leases").into_iter().filter(|n| n.ends_with(".json")).collect(),
        }
    }

    /// Runs an operation of the crate in a process of its own that dies at a failpoint.
    pub(crate) fn die_at(&self, failpoint: &str, operation: &str, owner: &str) {
        let output = self.child(operation, owner).env("BERTH_FAILPOINT", failpoint).output();
        let output = output.expect("a child process");
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(
            output.status.signal(),
            Some(9),
            "{operation} did not reach {failpoint}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }

    /// This test program once more, running its test `child`.
    pub(crate) fn child(&self, operation: &str, owner: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program's path"));
        command
            .args(["--exact", "child", "--include-ignored", "--nocapture"])
            .env("BERTH_TEST_DIR", self.dir())
            .env("BERTH_TEST_OPERATION", operation)
            .env("BERTH_TEST_OWNER", owner);
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        stop(self.daemon.take());
        stop(self.database.take());
        // A file that is mounted on can't be removed with its directory.
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let mounted = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for path in mounted.filter(|path| path.starts_with(text(self.dir()))) {
            nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH).ok();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir().join("ovs-vswitchd.log")).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("ovs-vswitchd's last words:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// What a child process does: see [`Host::child`].
pub(crate) fn child_main() {
    let variable = |name: &str| {
        std::env::var(name).unwrap_or_else(|_| panic!("only other tests run this one ({name})"))
    };
    let dir = PathBuf::from(variable("BERTH_TEST_DIR"));
    let owner = variable("BERTH_TEST_OWNER");
    let plug = Netplug::open(config(&dir)).expect("the crate's directories");
    match variable("BERTH_TEST_OPERATION").as_str() {
        "detach" => drop(plug.detach(&self::owner(&owner)).expect("a detach")),
        pool => drop(plug.attach(&pools(&dir), &request(&owner, pool)).expect("an attach")),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Census {
    pub(crate) links: Vec<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) namespaces: Vec<String>,
    pub(crate) mounts: usize,
    pub(crate) leases: Vec<String>,
}

impl Census {
    /// What these attachments should amount to.
    pub(crate) fn of(attachments: &[&Attachment]) -> Self {
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let links = sorted(attachments.iter().map(|a| a.link.clone()).collect());
        Self {
            ports: links.clone(),
            links,
            namespaces: sorted(attachments.iter().map(|a| a.owner.to_string()).collect()),
            mounts: attachments.len(),
            leases: sorted(attachments.iter().map(|a| format!("{}.json", a.address)).collect()),
        }
    }
}

fn config(dir: &Path) -> Config {
    let bridge =
        BridgeConfig { name: BRIDGE.to_owned(), datapath: DatapathChoice::Auto, uplink: None };
    Config {
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        ovsdb_socket: dir.join("db.sock"),
        ..Config::new(HostName::new("bthost").expect("a good name"), bridge)
    }
}

fn pools(dir: &Path) -> PoolSet {
    let pools = PoolSet::load(&dir.join("pools.d")).expect("the pools");
    assert_eq!(pools.refused(), []);
    pools
}

pub(crate) fn owner(name: &str) -> Owner {
    Owner::new(name).expect("a good name")
}

pub(crate) fn request(owner: &str, pool: &str) -> AttachRequest {
    AttachRequest {
        owner: self::owner(owner),
        pool: PoolName::new(pool).expect("a good name"),
        address: None,
        rates: Rates { inbound: "400Mbit".parse().ok(), outbound: "200Mbit".parse().ok() },
        live_namespace: None,
    }
}

pub(crate) fn goal(attached: &[AttachRequest], removed: &[&str]) -> Goal {
    Goal { attached: attached.to_vec(), removed: removed.iter().map(|name| owner(name)).collect() }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn stop(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may be stopped, or gone already.
        child.kill().and_then(|()| child.wait().map(drop)).ok();
    }
}
