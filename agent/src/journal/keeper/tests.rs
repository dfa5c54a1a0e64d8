use std::{fs, time::Duration};

use super::{super::Remembered, Journal, Keeper};

/// Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn journal(failures: u32) -> Journal {
    [("h1-db1".to_owned(), Remembered { failures, ..Remembered::default() })].into()
}

#[test]
fn what_changes_while_a_write_is_under_way_is_written_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let (mut keeper, empty) = Keeper::open(path.clone()).unwrap();
    assert_eq!(empty, Journal::new());
    for failures in 1..=50 {
        keeper.keep(&journal(failures));
    }
    keeper.finish(&journal(51), PATIENCE);
    let (_, kept) = Keeper::open(path).unwrap();
    assert_eq!(kept, journal(51));
}

#[test]
fn a_write_that_failed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let path = state.join("journal.json");
    let (mut keeper, _) = Keeper::open(path.clone()).unwrap();
    keeper.finish(&journal(1), PATIENCE);
    assert!(!path.exists());
    fs::create_dir(&state).unwrap();
    keeper.finish(&journal(1), PATIENCE);
    assert_eq!(Keeper::open(path).unwrap().1, journal(1));
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.json");
    let (mut keeper, _) = Keeper::open(path.clone()).unwrap();
    keeper.finish(&journal(1), PATIENCE);
    fs::remove_file(&path).unwrap();
    keeper.finish(&journal(1), PATIENCE);
    assert!(!path.exists());
}
