//! The disks of a machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    image,
    tools::{make, run},
};
use crate::{Bed, image as containers};

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

/// The data disk: the image store of the other beds, with an initialised template, which saves
/// each machine minutes under emulation. Made anew when the image changes.
pub(super) fn data() -> PathBuf {
    let store = containers::store();
    let name = format!("data-{}.img", containers::template_name());
    let disk = image::place().join(name);
    if !disk.exists() {
        image::forget("data-");
        let tree = image::place().join("tree");
        let _ = fs::remove_dir_all(&tree);
        fs::create_dir_all(tree.join("data")).unwrap();
        make_template();
        containers::lend_template(&tree.join("data"));
        let copied = tree.join("images");
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(&store).arg(&copied));
        make(&tree, &disk, DATA_LABEL, DATA_SIZE);
        fs::remove_dir_all(&tree).unwrap();
    }
    disk
}

/// Has a bed here use a template, and keep it if it had to make it.
fn make_template() {
    eprintln!("initialising a data directory (half a minute at most)");
    let bed = Bed::new();
    let entries = bed.cluster("template", 1, 1);
    bed.goal("all.json", &entries);
    let _ = bed.await_converged(&entries);
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
