//! Where the programs of this build are.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The program under test. Cargo builds it before it builds this package's tests.
///
/// # Panics
/// It is not there.
pub fn berth() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = profile_dir().join("berth-under-test");
        assert!(
            path.exists(),
            "{} is missing; build it: cargo build -p berth-integration --bins",
            path.display()
        );
        path
    })
}

/// The directory of this checkout's build that outlives a build: images are kept there.
#[must_use]
pub fn target_dir() -> PathBuf {
    let profile = profile_dir();
    profile.parent().expect("the profile's directory is below the target directory").to_owned()
}

/// `target/debug`, found from this program's own path: a binary is there, a test program one
/// level below in `deps`.
fn profile_dir() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows its own path on Linux");
    let dir = own.parent().expect("a program is in a directory");
    match dir.file_name() {
        Some(name) if name == "deps" => dir.parent().unwrap_or(dir).to_owned(),
        _ => dir.to_owned(),
    }
}
