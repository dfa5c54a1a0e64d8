//! What the making of all disks needs: file systems, links, and programs that must succeed.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

/// Makes an ext4 file system with the files of a directory: under another name first, so that
/// what is half made is never taken for a disk.
pub(super) fn make(tree: &Path, disk: &Path, label: &str, size: &str) {
    let half = disk.with_extension("half");
    let _ = fs::remove_file(&half);
    let mut command = Command::new("mke2fs");
    command.args(["-q", "-t", "ext4", "-L", label, "-E", "lazy_itable_init=0", "-d"]);
    run(command.arg(tree).arg(&half).arg(size));
    fs::rename(half, disk).unwrap();
}

/// Makes a symbolic link in a tree, with the directories above it.
pub(super) fn link(tree: &Path, path: &str, target: &str) {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().unwrap_or(tree)).unwrap();
    let _ = fs::remove_file(&path);
    symlink(target, path).unwrap();
}

pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {error}", output.status);
}
