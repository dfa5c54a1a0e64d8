//! The disks of a machine.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::image;
use crate::image as containers;

/// The label of the disk with the data, by which the machine mounts it on /var/lib/berth.
pub(super) const DATA_LABEL: &str = "berth-data";
/// The label of the disk with files from here.
pub(super) const SHARE_LABEL: &str = "berth-share";
/// The size of the data disk: some servers of 200 MB each beside the image.
const DATA_SIZE: &str = "8G";
/// The size of the spare disk, on which scenarios make partitions and volumes.
const SPARE_BYTES: u64 = 3 << 30;
/// Room beside the shared files for the file system's own needs.
const SHARE_SLACK_BYTES: u64 = 32 << 20;

/// Copies a disk image; holes stay holes.
pub(super) fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to));
}

/// An empty disk.
pub(super) fn blank(path: &Path) {
    File::create(path).unwrap().set_len(SPARE_BYTES).unwrap();
}

/// The data disk: the image store of the other beds, with an initialised template if one of
/// them has made one, which saves minutes under emulation. Made anew when either changes.
pub(super) fn data() -> PathBuf {
    let store = containers::store();
    let kind = if containers::has_template() { "template" } else { "bare" };
    let name = format!("data-{kind}-{}.img", containers::template_name());
    let disk = image::place().join(name);
    if !disk.exists() {
        image::forget("data-");
        let tree = image::place().join("tree");
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("data")).unwrap();
        containers::lend_template(&tree.join("data"));
        let copied = tree.join("images");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&store).arg(&copied));
        make(&tree, &disk, DATA_LABEL, DATA_SIZE);
        fs::remove_dir_all(&tree).unwrap();
    }
    disk
}

/// A disk with these files, by the names they are to have.
pub(super) fn share(files: &[(String, PathBuf)], disk: &Path) {
    let tree = disk.with_extension("tree");
    fs::create_dir_all(&tree).unwrap();
    let mut bytes = SHARE_SLACK_BYTES;
    for (name, path) in files {
        fs::copy(path, tree.join(name))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        bytes += fs::metadata(path).unwrap().len();
    }
    make(&tree, disk, SHARE_LABEL, &format!("{}K", bytes >> 10));
    fs::remove_dir_all(&tree).unwrap();
}

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
