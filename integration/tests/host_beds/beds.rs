//! The beds themselves: nothing of them is left, whatever becomes of the test.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
};

use berth_integration::{
    Bed, Options, cgroup,
    namespace::Namespace,
    proc, sweep,
    switch::{Daemon, Switch},
    until,
};
use nix::mount::{MsFlags, mount};

/// Nothing has this name: no directory, group, mount or process.
fn is_gone(name: &str) {
    let dir = Path::new(sweep::PLACE).join(name);
    assert!(!dir.exists());
    assert_eq!(cgroup::dirs(name), Vec::<std::path::PathBuf>::new());
    let mounts = proc::mounts(std::process::id());
    assert!(mounts.iter().all(|mount| !mount.point.starts_with(&dir)));
    let of_it = |pid: u32| proc::command_line(pid).contains(name);
    assert!(proc::all().iter().all(|process| !of_it(process.pid)));
}

#[test]
fn nothing_is_left_after_a_panic() {
    let mut name = String::new();
    let mut server = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let bed = Bed::new();
        bed.name().clone_into(&mut name);
        let entries = bed.cluster("shop", 0, 1);
        bed.goal("shop.json", &entries);
        bed.await_converged(&entries);
        server = bed.pid(&entries[0].key());
        let point = bed.dir().join("mounted");
        fs::create_dir(&point).unwrap();
        let size = Some("size=1m");
        mount(Some("berth-test"), &point, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        assert!(!proc::lives(server), "a failure that is meant");
    }));
    assert!(panicked.is_err());
    assert!(until(berth_integration::PATIENCE, || (!proc::lives(server)).then_some(())).is_some());
    is_gone(&name);
}

#[test]
fn nothing_is_left_of_a_network() {
    let options = Options { switch: true, template: false, ..Options::default() };
    let mut bed = Bed::with(&options);
    let name = bed.name().to_owned();
    let namespaces = ["/proc/self/ns/net".as_ref(), bed.namespace().unwrap()];
    let [outside, inside] = namespaces.map(|path| fs::metadata(path).unwrap().ino());
    bed.start_agent();
    let agents = fs::metadata(format!("/proc/{}/ns/net", bed.agent().pid())).unwrap().ino();
    assert!(agents == inside && agents != outside, "{agents} {inside} {outside}");
    // The switch makes its links in the namespace, and works again after both its ends.
    let add = ["add-br", "btown0", "--", "set", "bridge", "btown0", "datapath_type=netdev"];
    bed.switch().vsctl(&add);
    for daemon in [Daemon::Database, Daemon::Switch] {
        bed.switch_mut().kill_daemon(daemon);
        bed.switch_mut().start_daemon(daemon);
    }
    assert_eq!(bed.switch().vsctl(&["list-br"]).trim(), "btown0");
    bed.run(&["ip", "link", "show", "btown0"]);
    assert!(!Path::new("/sys/class/net/btown0").exists());
    drop(bed);
    is_gone(&name);
}

#[test]
fn what_a_killed_test_leaves_is_removed_by_the_next() {
    sweep::require();
    let mut dead = Command::new("true").spawn().unwrap();
    let owner = proc::stat(dead.id()).unwrap();
    dead.wait().unwrap();
    let name = sweep::name_of(&owner, 0);
    let dir = Path::new(sweep::PLACE).join(&name);
    fs::create_dir_all(dir.join("data")).unwrap();
    // A pinned namespace with a daemon in it.
    let namespace = Namespace::make(&dir.join("netns"));
    let switch = Switch::start(&dir.join("ovs"), namespace.path());
    let mut left = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let groups = cgroup::make(&name, "bed-shop-db1");
    for group in &groups {
        fs::write(group.join("cgroup.procs"), left.id().to_string()).unwrap();
    }
    assert!(!groups.is_empty());
    // What belongs to this process, which lives, stays.
    let own = sweep::name(u32::MAX);
    let own_dir = Path::new(sweep::PLACE).join(&own);
    fs::create_dir(&own_dir).unwrap();

    sweep::leftovers();
    left.wait().unwrap();
    drop(switch);
    is_gone(&name);
    assert!(own_dir.exists());
    sweep::remove(&own);
    is_gone(&own);
}
