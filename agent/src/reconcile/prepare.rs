//! What an agent does before its first pass: makes its directories, and removes what one left
//! that was killed while it wrote a file.
//!
//! A disk that hangs must not keep it from starting, so instances' directories are looked at
//! within a bound. Only one agent works here, and this one writes nothing yet.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::AgentError;
use crate::{bounded::within, config::Config, data, files};

/// How long instances' directories may take to be looked at, however many there are.
const LOOK: Duration = Duration::from_secs(3);

pub(super) fn make_directories(config: &Config) -> Result<(), AgentError> {
    for dir in [&config.goal_dir, &config.state_dir, &config.run_dir, &config.log_dir] {
        make(dir).map_err(|source| AgentError::Make { path: dir.clone(), source })?;
    }
    let dir = config.data_dir.clone();
    match within(LOOK, move || make(&dir)) {
        Some(made) => {
            made.map_err(|source| AgentError::Make { path: config.data_dir.clone(), source })
        }
        None => {
            tracing::warn!(path = %config.data_dir.display(), "its disk does not answer");
            Ok(())
        }
    }
}

fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

/// Removes half-written files. What can't be removed does no harm.
pub(super) fn sweep(config: &Config) {
    for path in [config.goals_in_force(), config.journal(), config.status()] {
        let _ = fs::remove_file(files::temporary(&path));
    }
    let late = Arc::new(AtomicBool::new(false));
    let (dir, given_up) = (config.data_dir.clone(), Arc::clone(&late));
    if within(LOOK, move || sweep_markers(&dir, &given_up)).is_none() {
        late.store(true, Ordering::Relaxed);
        tracing::warn!("a disk does not answer: half-written markers may be left");
    }
}

/// Up to the first that hangs: after that a lane may be writing what would be removed.
fn sweep_markers(data_dir: &Path, late: &AtomicBool) {
    let names = fs::read_dir(data_dir).into_iter().flatten().flatten();
    let markers = names.map(|name| data::marker_path(&name.path()));
    for path in markers.map(|path: PathBuf| files::temporary(&path)) {
        if late.load(Ordering::Relaxed) {
            return;
        }
        let _ = fs::remove_file(path);
    }
}
