use std::path::{Path, PathBuf};

use super::super::layout::{Layout, Mount, Version};
use super::{Leaf, group_of};

fn mount(controllers: &[&str], v2: bool) -> Mount {
    Mount {
        point: PathBuf::from("/sys/fs/cgroup/x"),
        top: PathBuf::from("/"),
        controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        v2,
    }
}

#[test]
fn finds_the_group_of_each_hierarchy() {
    let text = "9:name=systemd:/s\n4:cpu,cpuacct:/a:b\n3:memory:/m\n0::/unified\n";
    let table = [
        (mount(&["cpuacct"], false), Some("/a:b")),
        (mount(&["memory"], false), Some("/m")),
        (mount(&["pids"], false), None),
        (mount(&["memory"], true), Some("/unified")),
    ];
    for (mount, expected) in table {
        assert_eq!(group_of(text, &mount), expected.map(Path::new), "{mount:?}");
    }
}

#[test]
fn refuses_a_path_that_could_leave_its_parent() {
    let layout = Layout { version: Version::Unified, mounts: vec![mount(&[], true)] };
    for path in ["", "/abs", "a/../b", ".."] {
        assert!(Leaf::new(layout.clone(), PathBuf::from(path)).is_err(), "{path:?}");
    }
    let leaf = Leaf::new(layout, PathBuf::from("berth/db1")).unwrap();
    assert_eq!(leaf.spec_path(), Path::new("/berth/db1"));
    assert_eq!(leaf.dirs(), [PathBuf::from("/sys/fs/cgroup/x/berth/db1")]);
}
