//! Finds out whether the disk of an instance's directory answers, and takes writes.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::marker_path;

/// The unit of direct I/O that every disk takes.
const BLOCK_BYTES: usize = 4096;

/// Reads the beginning of the marker from the disk itself. What is read otherwise comes from
/// the page cache for as long as that has it, and would say nothing of a disk that hangs.
/// Blocks for as long as the disk does.
///
/// # Errors
/// What the disk says. That there is no marker is none, nor that the file system can't read
/// past its cache (O_DIRECT, open(2)).
pub fn reach_disk(instance_dir: &Path) -> io::Result<()> {
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_DIRECT | nix::libc::O_CLOEXEC)
        .open(marker_path(instance_dir));
    let mut marker = match opened {
        Ok(marker) => marker,
        Err(error) if is_no_answer(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut room = vec![0; 2 * BLOCK_BYTES];
    let aligned = room.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
    match marker.read(&mut room[aligned..aligned + BLOCK_BYTES]) {
        Err(error) if !is_no_answer(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the file system of an instance's directory takes no writes any more, though its mount
/// may not say so: ext4 of Linux 6.1 stops after an error, and shows it in no option. One that
/// has errors on record is asked for a file without a name (O_TMPFILE, open(2)), of which
/// nothing stays; one that is out of use refuses that (EROFS, or EIO). Blocks for as long as
/// the disk does.
#[must_use]
pub fn refuses_writes(instance_dir: &Path) -> bool {
    if !berth_runtime::file_system_of(instance_dir).is_ok_and(|on| on.errors_recorded) {
        return false;
    }
    let made = File::options()
        .write(true)
        .custom_flags(nix::libc::O_TMPFILE | nix::libc::O_CLOEXEC)
        .mode(0o600)
        .open(instance_dir);
    let refusals = [nix::libc::EROFS, nix::libc::EIO].map(Some);
    made.is_err_and(|error| refusals.contains(&error.raw_os_error()))
}

/// Errors that say nothing of the disk.
fn is_no_answer(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(nix::libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        reach_disk(dir.path()).unwrap();
        reach_disk(&dir.path().join("missing")).unwrap();
        for length in [0, 17, 3 * BLOCK_BYTES] {
            std::fs::write(marker_path(dir.path()), vec![b' '; length]).unwrap();
            reach_disk(dir.path()).unwrap();
            reach_disk(&marker_path(dir.path())).unwrap();
        }
    }

    #[test]
    fn a_sound_file_system_and_a_missing_directory_refuse_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!refuses_writes(dir.path()));
        assert!(!refuses_writes(&dir.path().join("missing")));
    }
}
