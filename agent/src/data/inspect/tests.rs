//! What is ours, what is a stranger's, what is nothing.

use jiff::Timestamp;

use super::*;
use crate::data::{DataState, Origin};

fn key() -> EntryKey {
    "h-a".parse().unwrap()
}

fn marker(instance: &str) -> Marker {
    Marker {
        version: MARKER_VERSION,
        instance: instance.parse().unwrap(),
        state: DataState::Ready,
        origin: Origin::Initialised,
        role: None,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn foreign(dir: &Path) -> String {
    match inspect(dir, &key()).unwrap() {
        Some(DataFacts::Foreign { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_and_an_empty_directory_are_absent() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(inspect(dir.path(), &key()).unwrap(), None);
    assert_eq!(inspect(&dir.path().join("missing"), &key()).unwrap(), None);
}

#[test]
fn a_first_marker_that_was_half_written_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(files::temporary(&marker_path(dir.path())), "{\"half").unwrap();
    assert_eq!(inspect(dir.path(), &key()).unwrap(), None);
    fs::write(dir.path().join("ibdata1"), "theirs").unwrap();
    assert!(foreign(dir.path()).contains("ibdata1"));
}

#[test]
fn our_marker_makes_it_ours() {
    let dir = tempfile::tempdir().unwrap();
    marker("h-a").write(&marker_path(dir.path())).unwrap();
    let facts = DataFacts::Own { marker: marker("h-a"), owner: None };
    assert_eq!(inspect(dir.path(), &key()).unwrap(), Some(facts));
}

#[test]
fn what_has_no_marker_of_this_instance_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(mysql_dir(dir.path())).unwrap();
    assert!(foreign(dir.path()).contains("no marker"));
    marker("h-other").write(&marker_path(dir.path())).unwrap();
    assert!(foreign(dir.path()).contains("the data of h-other"));
    Marker { version: 9, ..marker("h-a") }.write(&marker_path(dir.path())).unwrap();
    assert!(foreign(dir.path()).contains("version 9"));
    fs::write(marker_path(dir.path()), "{\"half").unwrap();
    assert!(foreign(dir.path()).contains("damaged"));
    assert!(foreign(&marker_path(dir.path())).contains("not a directory"));
}

/// Only where a file system is mounted has mkfs made it.
#[test]
fn lost_and_found_in_a_plain_directory_is_foreign() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("lost+found")).unwrap();
    assert!(foreign(dir.path()).contains("lost+found is there"));
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(marker_path(dir.path())).unwrap();
    assert!(matches!(inspect(dir.path(), &key()), Err(InspectError::Marker(_))));
}
