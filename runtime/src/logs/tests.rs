use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Chunk, Follower, Policy, Rotation, cut_length, rotate, rotated};

const POLICY: Policy = Policy { max_bytes: 16 << 10, keep: 3 };

/// A directory on the disk: tmpfs can't cut the beginning off a file.
fn bed() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::Builder::new().prefix("berth-test-").tempdir_in("/var/tmp").unwrap();
    let log = dir.path().join("log");
    (dir, log)
}

fn append(log: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(log).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn drain(follower: &mut Follower) -> String {
    let mut text = Vec::new();
    loop {
        match follower.next_chunk().unwrap() {
            Chunk::Data(data) => text.extend(data),
            Chunk::Nothing => return String::from_utf8(text).unwrap(),
            Chunk::Gap => panic!("a gap after {} bytes", text.len()),
        }
    }
}

fn numbered(from: usize, to: usize) -> String {
    (from..to).map(|number| format!("line {number:08}\n")).collect()
}

#[test]
fn whole_blocks_are_cut_but_never_all() {
    for (size, block, cut) in
        [(0, 4096, 0), (4096, 4096, 0), (4097, 4096, 4096), (8192, 4096, 4096), (9000, 0, 8999)]
    {
        assert_eq!(cut_length(size, block), cut, "{size} {block}");
    }
}

#[test]
fn a_short_or_missing_log_is_left_alone() {
    let (_dir, log) = bed();
    assert_eq!(rotate(&log, POLICY).unwrap(), Rotation::NotNeeded);
    append(&log, "short");
    assert_eq!(rotate(&log, POLICY).unwrap(), Rotation::NotNeeded);
    assert_eq!(fs::read_to_string(&log).unwrap(), "short");
}

#[test]
fn nothing_is_lost_and_old_files_move_up() {
    let (_dir, log) = bed();
    let text = numbered(0, 9000);
    for part in text.as_bytes().chunks(20_000) {
        append(&log, std::str::from_utf8(part).unwrap());
        rotate(&log, Policy { keep: 20, ..POLICY }).unwrap();
    }
    let mut all = String::new();
    for number in (1..=20).rev() {
        all += &fs::read_to_string(rotated(&log, number)).unwrap_or_default();
    }
    all += &fs::read_to_string(&log).unwrap();
    assert_eq!(all, text);
    assert!(rotated(&log, 3).exists());
}

#[test]
fn only_the_wanted_number_is_kept() {
    let (_dir, log) = bed();
    for _ in 0..6 {
        append(&log, &numbered(0, 2000));
        assert!(matches!(rotate(&log, POLICY).unwrap(), Rotation::Moved { .. }));
    }
    assert!(rotated(&log, 3).exists());
    assert!(!rotated(&log, 4).exists());
}

/// A writer that never stops, a rotator and a reader: the reader sees each line
/// once and in order.
#[test]
fn a_follower_survives_rotations_under_a_writer() {
    const LINES: usize = 20_000;
    let (_dir, log) = bed();
    append(&log, "");
    let mut follower = Follower::open(&log, None).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&log).unwrap();
            for number in 0..LINES {
                file.write_all(format!("line {number:08}\n").as_bytes()).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let rotator = scope.spawn(|| {
            let mut moved = 0;
            while !done.load(Ordering::Acquire) {
                let policy = Policy { keep: 60, ..POLICY };
                moved += u32::from(rotate(&log, policy).unwrap() != Rotation::NotNeeded);
                thread::yield_now();
            }
            moved
        });
        let mut seen = String::new();
        while !done.load(Ordering::Acquire) {
            seen += &drain(&mut follower);
        }
        assert!(rotator.join().unwrap() > 0, "nothing was rotated");
        seen += &drain(&mut follower);
        assert!(seen == numbered(0, LINES), "{} of {LINES} lines", seen.lines().count());
    });
}

#[test]
fn begins_with_the_last_lines() {
    let (_dir, log) = bed();
    append(&log, &numbered(0, 10_000));
    for (lines, from) in [(0, 10_000), (1, 9999), (7000, 3000), (20_000, 0)] {
        let mut follower = Follower::open(&log, Some(lines)).unwrap();
        assert!(drain(&mut follower) == numbered(from, 10_000), "{lines}");
    }
    append(&log, "unfinished");
    let mut follower = Follower::open(&log, Some(1)).unwrap();
    assert_eq!(drain(&mut follower), "unfinished");
}

#[test]
fn a_truncated_log_is_a_gap() {
    let (_dir, log) = bed();
    append(&log, "0123456789");
    let mut follower = Follower::open(&log, None).unwrap();
    drain(&mut follower);
    OpenOptions::new().write(true).open(&log).unwrap().set_len(0).unwrap();
    append(&log, "new");
    assert_eq!(follower.next_chunk().unwrap(), Chunk::Gap);
    assert_eq!(drain(&mut follower), "new");
}

#[test]
fn where_cutting_is_impossible_the_log_is_copied_and_truncated() {
    // /dev/shm is a tmpfs everywhere.
    let dir = tempfile::Builder::new().prefix("berth-test-").tempdir_in("/dev/shm").unwrap();
    let log = dir.path().join("log");
    let text = numbered(0, 3000);
    append(&log, &text);
    let bytes = text.len() as u64;
    assert_eq!(rotate(&log, POLICY).unwrap(), Rotation::CopiedAndTruncated { bytes });
    assert_eq!(fs::read_to_string(rotated(&log, 1)).unwrap(), text);
    assert!(!rotated(&log, 2).exists());
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
}
