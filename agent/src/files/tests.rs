//! Old or new, never half.

use super::*;

#[test]
fn what_was_written_is_read_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), None);
    for value in [vec![1u8, 2], vec![3]] {
        write_json(&path, &value, Durability::PowerCut).unwrap();
        assert_eq!(read_json::<Vec<u8>>(&path).unwrap(), Some(value));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_writer_left_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    fs::write(temporary(&path), "half of something that was longer").unwrap();
    write_json(&path, &1u8, Durability::PowerCut).unwrap();
    assert_eq!(read_json::<u8>(&path).unwrap(), Some(1));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/a.json");
    assert!(matches!(write_json(&path, &1, Durability::Process), Err(FileError::Write { .. })));
    fs::write(dir.path().join("b.json"), "{").unwrap();
    let error = read_json::<u8>(&dir.path().join("b.json")).unwrap_err();
    assert!(matches!(error, FileError::Parse { .. }));
    assert_eq!(chain(&error).len(), 2);
}
