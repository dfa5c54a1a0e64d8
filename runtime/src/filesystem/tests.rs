use super::*;

const MOUNTS: &str = "\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
43 21 7:0 / /data/a\\040b rw,relatime - ext4 /dev/loop0 rw
44 21 253:1 / /data/c ro,relatime - ext4 /dev/dm-1 rw
45 21 253:2 / /data/d rw,relatime master:7 propagate_from:2 - ext4 /dev/dm-2 ro,errors=remount-ro
46 21 253:3 / /data/e rw,relatime - ext4 /dev/dm-3 rw,emergency_ro
47 21 253:4 / /data/f rw - xfs /dev/dm-4 rw,prjquota,error
";

fn mount(id: &str) -> Option<Mount> {
    MOUNTS.lines().find_map(|line| parse(line, id))
}

#[test]
fn a_mount_is_found_by_its_number_alone() {
    for (id, point, kind, read_only) in [
        ("21", "/", "ext4", false),
        ("43", "/data/a b", "ext4", false),
        ("44", "/data/c", "ext4", true),
        ("45", "/data/d", "ext4", true),
        ("46", "/data/e", "ext4", true),
        ("47", "/data/f", "xfs", false),
    ] {
        let found = mount(id).unwrap();
        assert_eq!(
            (found.point, found.kind.as_str(), found.read_only),
            (point.into(), kind, read_only)
        );
    }
    assert_eq!(mount("4"), None);
    assert_eq!(parse("nonsense", "4"), None);
}

#[test]
fn only_octal_digits_are_escapes() {
    for (text, path) in [("/a\\134b\\011", "/a\\b\t"), ("/a\\09", "/a\\09"), ("/a\\", "/a\\")] {
        assert_eq!(unescape(text), Path::new(path));
    }
}

#[test]
fn proc_is_a_file_system_without_a_disk() {
    let found = file_system_of(Path::new("/proc/self")).unwrap();
    assert_eq!((found.mount_point.as_path(), found.kind.as_str()), (Path::new("/proc"), "proc"));
    assert_eq!(found.device.unwrap_err(), "it is on proc, which has no disk of its own");
    assert!(!found.suspended && !found.is_root);
    assert!(file_system_of(Path::new("/proc")).unwrap().is_root);
}

#[test]
fn what_is_not_there_has_none() {
    let error = file_system_of(Path::new("/proc/self/nothing")).unwrap_err();
    assert!(error.is_missing() && error.to_string().contains("/proc/self/nothing"), "{error}");
}
