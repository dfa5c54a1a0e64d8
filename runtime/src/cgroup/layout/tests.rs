use std::path::Path;

use super::{Layout, Version};

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 / /mnt/elsewhere rw,relatime - cgroup2 cgroup2 rw
";

#[test]
fn a_hybrid_host_is_legacy_and_keeps_its_v2_tree() {
    let layout = Layout::parse(HYBRID).unwrap();
    assert_eq!(layout.version, Version::Legacy);
    let points: Vec<&Path> = layout.mounts.iter().map(|mount| mount.point.as_path()).collect();
    assert_eq!(
        points,
        ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"]
            .map(Path::new)
    );
    assert_eq!(layout.mount_of("cpuacct"), Some(&layout.mounts[0]));
    assert_eq!(layout.mount_of("pids"), None);
}

#[test]
fn a_unified_host_has_one_tree() {
    let text = "26 23 0:24 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    let layout = Layout::parse(text).unwrap();
    assert_eq!(layout.version, Version::Unified);
    assert_eq!(layout.mounts.len(), 1);
    assert_eq!(layout.mounts[0].top, Path::new("/"));
}

#[test]
fn nothing_mounted_is_refused() {
    for text in ["", "1 2 0:3 / / rw - ext4 /dev/vda rw\n", "nonsense"] {
        let error = Layout::parse(text).unwrap_err().to_string();
        assert!(error.contains("no cgroup hierarchy"), "{error}");
    }
}
