use super::*;

#[test]
fn a_held_lock_is_refused_after_the_wait_and_granted_after_the_drop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
    let error = FileLock::acquire(&path, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error, ImageError::Locked { .. }), "{error}");
    drop(held);
    FileLock::acquire(&path, Duration::ZERO).unwrap();
}

#[test]
fn a_lock_on_a_deleted_file_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let old = FileLock::acquire(&path, Duration::ZERO).unwrap();
    std::fs::remove_file(&path).unwrap();
    // A new file of the same name is another lock, and the name decides.
    let new = FileLock::acquire(&path, Duration::ZERO).unwrap();
    drop(old);
    FileLock::acquire(&path, Duration::ZERO).unwrap_err();
    drop(new);
}

#[test]
fn a_directory_is_locked_once_and_may_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let held = FileLock::try_dir(dir.path()).unwrap();
    assert!(held.is_some());
    assert!(FileLock::try_dir(dir.path()).unwrap().is_none());
    assert!(FileLock::try_dir(&dir.path().join("none")).unwrap().is_none());
}
