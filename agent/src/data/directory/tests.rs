//! Copies, and what is never touched. Needs no root: owners stay the caller's.

use berth_model::goal::Role;
use jiff::Timestamp;

use super::*;
use crate::data::{Origin, marker::MARKER_VERSION};

fn marker(state: DataState) -> Marker {
    Marker {
        version: MARKER_VERSION,
        instance: "h-a".parse().unwrap(),
        state,
        origin: Origin::Initialised,
        role: Some(Role::Master),
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn read_marker(dir: &Path) -> Marker {
    files::read_json(&marker_path(dir)).unwrap().unwrap()
}

struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let template = dir.path().join("template");
        fs::create_dir_all(template.join("mysql")).unwrap();
        for name in ["ibdata1", "auto.cnf", "server-key.pem", "mysql/a.sdi"] {
            fs::write(template.join(name), name).unwrap();
        }
        fs::set_permissions(template.join("ibdata1"), fs::Permissions::from_mode(0o640)).unwrap();
        Self { dir }
    }
    fn template(&self) -> PathBuf {
        self.dir.path().join("template")
    }
    fn instance(&self) -> PathBuf {
        self.dir.path().join("data/h-a")
    }
}

#[test]
fn a_copy_has_the_data_but_not_the_identity() {
    let bed = Bed::new();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    let data = mysql_dir(&bed.instance());
    assert_eq!(fs::read_to_string(data.join("mysql/a.sdi")).unwrap(), "mysql/a.sdi");
    assert_eq!(fs::metadata(data.join("ibdata1")).unwrap().mode() & 0o777, 0o640);
    assert!(!data.join("auto.cnf").exists() && !data.join("server-key.pem").exists());
    assert_eq!(read_marker(&bed.instance()), marker(DataState::Ready));
}

#[test]
fn a_half_made_copy_is_made_anew() {
    let bed = Bed::new();
    let data = mysql_dir(&bed.instance());
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("leftover"), "x").unwrap();
    mark(&bed.instance(), &marker(DataState::Initialising)).unwrap();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    assert!(!data.join("leftover").exists() && data.join("ibdata1").exists());
}

#[test]
fn a_half_written_first_marker_is_no_hindrance() {
    let bed = Bed::new();
    fs::create_dir_all(bed.instance()).unwrap();
    fs::write(files::temporary(&marker_path(&bed.instance())), "{").unwrap();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    assert_eq!(read_marker(&bed.instance()), marker(DataState::Ready));
}

#[test]
fn what_is_ready_is_not_removed() {
    let bed = Bed::new();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    assert!(matches!(discard(&bed.instance()), Err(DirectoryError::Ready { .. })));
    let again = create(&bed.template(), &bed.instance(), &marker(DataState::Ready));
    assert!(matches!(again, Err(DirectoryError::Ready { .. })));
    assert!(mysql_dir(&bed.instance()).join("ibdata1").exists());
}

#[test]
fn a_stranger_s_data_is_not_removed() {
    let bed = Bed::new();
    let data = mysql_dir(&bed.instance());
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("ibdata1"), "theirs").unwrap();
    for _ in 0..2 {
        let error = create(&bed.template(), &bed.instance(), &marker(DataState::Ready));
        assert!(matches!(error, Err(DirectoryError::Foreign { .. })));
        assert_eq!(fs::read_to_string(data.join("ibdata1")).unwrap(), "theirs");
    }
}

#[test]
fn a_failed_copy_is_never_ready() {
    let bed = Bed::new();
    create(Path::new("/nonexistent"), &bed.instance(), &marker(DataState::Ready)).unwrap_err();
    assert_eq!(read_marker(&bed.instance()).state, DataState::Initialising);
}

/// /dev/full, full(4), in place of the file that is to become the marker.
#[test]
fn a_marker_that_finds_no_room_fails_with_its_path_and_leaves_the_old_one() {
    let bed = Bed::new();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    let new = files::temporary(&marker_path(&bed.instance()));
    std::os::unix::fs::symlink("/dev/full", new).unwrap();
    let changed = Marker { role: None, ..marker(DataState::Ready) };
    let error = files::chain(&mark(&bed.instance(), &changed).unwrap_err()).join(": ");
    let path = marker_path(&bed.instance()).display().to_string();
    assert!(error.contains(&path) && error.contains("No space left"), "{error}");
    assert_eq!(read_marker(&bed.instance()), marker(DataState::Ready));
}

#[test]
fn a_directory_on_another_file_system_is_not_moved() {
    let bed = Bed::new();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    // Its parent is there, and takes nothing from another file system.
    let error = move_aside(&bed.instance(), Path::new("/proc/self/aside")).unwrap_err();
    assert!(matches!(error, DirectoryError::Mounted { .. }), "{error:?}");
    assert!(error.to_string().contains("unmount it"), "{error}");
    assert_eq!(read_marker(&bed.instance()), marker(DataState::Ready));
}

#[test]
fn moving_aside_keeps_everything_and_can_be_repeated() {
    let bed = Bed::new();
    create(&bed.template(), &bed.instance(), &marker(DataState::Ready)).unwrap();
    let aside = bed.dir.path().join("data/.trash/h-a.1");
    move_aside(&bed.instance(), &aside).unwrap();
    move_aside(&bed.instance(), &aside).unwrap();
    assert!(!bed.instance().exists() && mysql_dir(&aside).join("ibdata1").exists());
}
