//! The beds themselves: nothing of them is left, whatever becomes of the test.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    process::{Command, Stdio},
};

use berth_integration::{Bed, cgroup, proc, sweep, until};
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
fn what_a_killed_test_leaves_is_removed_by_the_next() {
    sweep::require();
    let mut dead = Command::new("true").spawn().unwrap();
    let owner = proc::stat(dead.id()).unwrap();
    dead.wait().unwrap();
    let name = sweep::name_of(&owner, 0);
    let dir = Path::new(sweep::PLACE).join(&name);
    fs::create_dir_all(dir.join("data")).unwrap();
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
    is_gone(&name);
    assert!(own_dir.exists());
    sweep::remove(&own);
    is_gone(&own);
}
