//! Strange things among the drop-ins.

use std::os::unix::fs::symlink;

use super::*;

const GOOD: &str = r#"{"h-a": {"data": {"role": "master", "port": 1, "size": "all"}}}"#;

#[test]
fn files_are_read_in_name_order_and_others_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["20-b.json", "10-a.json", "readme.txt", ".hidden.json", "x.json~"] {
        fs::write(dir.path().join(name), GOOD).unwrap();
    }
    let files = directory(dir.path()).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.file.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["10-a.json", "20-b.json"]);
    assert!(files.iter().all(|file| file.refusals.is_empty() && file.entries.len() == 1));
}

#[test]
fn what_is_no_plain_file_is_refused_without_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("1-dir.json")).unwrap();
    nix::unistd::mkfifo(&path("2-fifo.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    symlink("nowhere", path("3-dangling.json")).unwrap();
    fs::write(path("4-binary.json"), [b'{', 0xff]).unwrap();
    fs::write(path("5-empty.json"), "").unwrap();
    File::create(path("6-large.json")).unwrap().set_len(100 << 20).unwrap();
    fs::write(path("7-good.json"), GOOD).unwrap();
    symlink(path("7-good.json"), path("8-link.json")).unwrap();
    settle(dir.path()).unwrap();
    let files = directory(dir.path()).unwrap();
    let expected = [
        Some("a directory"),
        Some("a fifo"),
        Some("a link to nothing"),
        Some("not UTF-8 at offset 1"),
        Some("one JSON object"),
        Some("expected at most 16 MiB"),
        None,
        None,
    ];
    assert_eq!(files.len(), expected.len());
    for (file, expected) in files.iter().zip(expected) {
        let problem = file.refusals.first().map(|refusal| refusal.problem.as_str());
        assert_eq!(problem.is_some(), expected.is_some(), "{file:?}");
        assert!(problem.unwrap_or_default().contains(expected.unwrap_or_default()), "{problem:?}");
    }
}

#[test]
fn the_fingerprint_changes_with_every_change_and_only_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = vec![fingerprint(dir.path()).unwrap()];
    let mut changed = |what: &str| {
        let now = fingerprint(dir.path()).unwrap();
        assert!(!seen.contains(&now), "{what}");
        assert_eq!(fingerprint(dir.path()).unwrap(), now, "{what}");
        seen.push(now);
    };
    fs::write(dir.path().join("a.json"), GOOD).unwrap();
    changed("a new file");
    fs::write(dir.path().join("a.json"), format!("{GOOD} ")).unwrap();
    changed("other content");
    fs::rename(dir.path().join("a.json"), dir.path().join("b.json")).unwrap();
    changed("another name");
    symlink("nowhere", dir.path().join("c.json")).unwrap();
    changed("a dangling link");
    fs::remove_file(dir.path().join("b.json")).unwrap();
    changed("one file less");
}

#[test]
fn a_directory_that_is_missing_is_an_error() {
    assert!(matches!(directory(Path::new("/nonexistent")), Err(ReadError::List { .. })));
}

#[test]
fn a_disk_that_fails_is_told_and_one_that_needs_no_sync_is_not() {
    let done = |number| {
        settled(Err(io::Error::from_raw_os_error(number)), Path::new("/etc/berth/goal.d/a.json"))
    };
    done(nix::libc::EINVAL).unwrap();
    done(nix::libc::EROFS).unwrap();
    let error = done(nix::libc::EIO).unwrap_err();
    assert!(error.to_string().contains("/etc/berth/goal.d/a.json"), "{error}");
}
