//! What a container may not do, as seen from inside it.

use std::fs;
use std::path::PathBuf;

use berth_runtime::{Bind, ExecSpec, Network, User};

use crate::Test;
use crate::bed::{Bed, LONG, id};

pub(crate) const TESTS: &[Test] = &[
    ("privilege::no_capability_no_new_privileges_and_a_filter", no_capability),
    ("privilege::the_root_is_read_only", the_root_is_read_only),
    ("privilege::namespaces_are_its_own", namespaces_are_its_own),
    ("privilege::ways_out_are_refused", ways_out_are_refused),
    ("privilege::a_given_network_namespace_is_joined", network_namespace_is_joined),
    ("privilege::nothing_of_the_agent_is_inherited", nothing_is_inherited),
];

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_once(':').unwrap().1.trim()
}

fn assert_unprivileged(status: &str, caps: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(status, set), caps, "{set}");
    }
    assert_eq!(field(status, "NoNewPrivs"), "1");
    assert_eq!(field(status, "Seccomp"), "2");
}

fn no_capability() {
    const NONE: &str = "0000000000000000";
    const SYS_NICE: &str = "0000000000800000";
    let bed = Bed::new();
    for (name, uid, sys_nice, caps) in
        [("root", 0, false, NONE), ("user", 1001, false, NONE), ("nice", 1001, true, SYS_NICE)]
    {
        let mut spec = bed.spec(name, "cat /proc/self/status; echo end; while :; do sleep 1; done");
        spec.user = User { uid, gid: 1002, additional_gids: vec![7] };
        spec.sys_nice = sys_nice;
        bed.start(&spec);
        let status = bed.logged(name, "end");
        assert_unprivileged(&status, caps);
        assert_eq!(field(&status, "Uid").split_whitespace().next(), Some(&*uid.to_string()));
        assert_eq!(field(&status, "Groups"), "7");
        // A process that joins later gets no more than init.
        let exec = ExecSpec {
            args: vec!["cat".into(), "/proc/self/status".into()],
            ..ExecSpec::default()
        };
        let output = bed.runtime.exec_output(&id(name), &exec, LONG).unwrap();
        let joined = String::from_utf8(output.stdout).unwrap();
        assert_unprivileged(&joined, caps);
        assert_eq!(field(&joined, "Uid"), field(&status, "Uid"));
        assert_eq!(field(&joined, "Groups"), "7");
    }
}

fn the_root_is_read_only() {
    let bed = Bed::new();
    let data = bed.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let mut spec = bed.spec(
        "a",
        "for d in / /etc /bin /data /shown /tmp /run; do touch $d/x 2>/dev/null && echo $d; done; echo end",
    );
    let bind = |destination: &str, read_only| Bind {
        source: data.clone(),
        destination: PathBuf::from(destination),
        read_only,
    };
    spec.mounts = vec![bind("/data", false), bind("/shown", true)];
    bed.start(&spec);
    assert_eq!(bed.logged("a", "end"), "/data\n/tmp\n/run\nend\n");
    assert!(data.join("x").exists());
    assert!(!bed.dir.path().join("root/etc/x").exists());
}

fn namespaces_are_its_own() {
    let bed = Bed::new();
    let mut spec = bed.spec("a", "hostname; echo $$; for n in pid mnt ipc uts cgroup net; do ls -l /proc/self/ns/$n; done; cat /proc/self/cgroup; echo end");
    spec.hostname = "db1.example".to_owned();
    bed.start(&spec);
    let log = bed.logged("a", "end");
    assert!(log.starts_with("db1.example\n1\n"), "{log}");
    for (name, own) in [
        ("pid", true),
        ("mnt", true),
        ("ipc", true),
        ("uts", true),
        ("cgroup", true),
        ("net", false),
    ] {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(!log.contains(ours.to_str().unwrap()), own, "{name}: {log}");
    }
    assert!(!log.contains("berth-test-"), "its control group is the top one it sees: {log}");
}

fn ways_out_are_refused() {
    let bed = Bed::new();
    let mut spec = bed.spec(
        "a",
        "mount -t tmpfs x /tmp && echo mounted; \
         unshare -U true && echo user namespace; \
         cat /proc/kcore >/dev/null && cat /proc/kcore | tail -c 1 | grep . && echo kcore; \
         (echo 1 > /proc/sys/vm/overcommit_memory) && echo sysctl; \
         (echo b > /proc/sysrq-trigger) && echo sysrq; \
         ls /dev; echo end",
    );
    spec.user = User { uid: 0, gid: 0, additional_gids: Vec::new() };
    bed.start(&spec);
    let log = bed.logged("a", "end");
    for refused in ["mounted", "user namespace", "kcore\n", "sysctl\n", "sysrq\n"] {
        let hit = log.lines().any(|line| format!("{line}\n").starts_with(refused));
        assert!(!hit, "{refused}: {log}");
    }
    let devices: Vec<&str> = log
        .lines()
        .skip_while(|line| *line != "console" && *line != "core" && *line != "fd")
        .collect();
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(devices.contains(&device), "{device}: {log}");
    }
    for device in ["vda", "sda", "kmsg", "mem", "kvm", "fuse"] {
        assert!(!devices.contains(&device), "{device}: {log}");
    }
}

/// A network namespace pinned as `ip netns` does it; gone with the test.
struct Netns(String);

impl Netns {
    fn new() -> Self {
        let name = format!("bt-rt-{}", std::process::id());
        let made = std::process::Command::new("ip").args(["netns", "add", &name]).status();
        assert!(made.unwrap().success(), "ip netns add failed");
        Self(name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn network_namespace_is_joined() {
    use std::os::unix::fs::MetadataExt;
    let bed = Bed::new();
    let netns = Netns::new();
    let path = PathBuf::from("/run/netns").join(&netns.0);
    let mut spec = bed.spec("a", "ls -l /proc/self/ns/net; ls /sys/class/net; echo end");
    spec.network = Network::Namespace(path.clone());
    bed.start(&spec);
    let log = bed.logged("a", "end");
    let inode = fs::metadata(path).unwrap().ino();
    assert!(log.contains(&format!("net:[{inode}]")), "{log}");
    assert!(log.ends_with("\nlo\nend\n"), "{log}");
}

fn nothing_is_inherited() {
    let bed = Bed::new();
    let _open = fs::File::open("/etc/passwd").unwrap();
    bed.start(&bed.spec("a", "ls -l /proc/1/fd; cat /proc/1/environ; echo end"));
    let log = bed.logged("a", "end");
    let fds: Vec<&str> = log.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(fds.len(), 3, "{log}");
    assert!(fds[0].ends_with("/dev/null"), "{log}");
    assert!(fds[1..].iter().all(|line| line.ends_with("a.log")), "{log}");
    assert!(!log.contains("CARGO"), "{log}");

    // SIGPIPE is ignored in every Rust program; a container must not notice. (Not
    // through a shell, which ignores signals of its own.)
    let mut spec = bed.spec("b", "");
    spec.args = vec!["/bin/cat".to_owned(), "/proc/self/status".to_owned()];
    bed.start(&spec);
    bed.wait("b");
    let status = bed.logged("b", "SigCgt");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
}
