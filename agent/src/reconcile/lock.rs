//! The lock by which there is one agent on a host.
//!
//! A lock ends with its process, but a process that was killed does not end while one of its
//! threads waits for a disk that does not answer (state D, proc_pid_stat(5)): its first thread
//! is a zombie, its files stay open, and so does the lock. No such process comes back to its
//! own code, so the next agent takes the lock away from it, by another file of the same name.
//! What its system call may still do to that disk, it does before the disk answers anyone.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::AgentError;
use crate::{config::Config, status::live::is_zombie};

/// Takes the lock. It holds for as long as the value lives.
///
/// # Errors
/// [`AgentError::Locked`] if an agent that lives has it.
pub(super) fn take(config: &Config) -> Result<Flock<File>, AgentError> {
    let path = config.agent_lock();
    let wrong = |source| AgentError::Lock { path: path.clone(), source };
    // One at a time, so that none takes away what another has just taken. Its holder touches
    // nothing but the run directory.
    let guard = open(&path.with_extension("guard")).map_err(wrong)?;
    let _guard = Flock::lock(guard, FlockArg::LockExclusive).map_err(|(_, e)| wrong(e.into()))?;
    if let Some(lock) = try_lock(&path).map_err(wrong)? {
        return Ok(lock);
    }
    if !holder_was_killed(&path) {
        return Err(AgentError::Locked { path });
    }
    tracing::warn!("an agent that was killed waits for a disk and can't end; going on without it");
    fs::remove_file(&path).map_err(wrong)?;
    try_lock(&path).map_err(wrong)?.ok_or(AgentError::Locked { path: path.clone() })
}

/// Takes the lock and writes down whose it is; `None` if someone has it.
fn try_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)?;
            lock.write_all(std::process::id().to_string().as_bytes())?;
            Ok(Some(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path)
}

/// Not being able to tell is no.
fn holder_was_killed(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim().parse().is_ok_and(is_zombie)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing;

    fn config(dir: &Path) -> Config {
        Config { run_dir: dir.to_owned(), ..testing::config() }
    }

    #[test]
    fn there_is_one_agent_and_then_another() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let first = take(&config).unwrap();
        assert!(matches!(take(&config), Err(AgentError::Locked { .. })));
        drop(first);
        take(&config).unwrap();
    }

    #[test]
    fn the_lock_of_an_agent_that_was_killed_and_cannot_end_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let held = take(&config).unwrap();
        // A zombie until it is waited for.
        let mut child = Command::new("true").spawn().unwrap();
        while !is_zombie(child.id()) {
            std::thread::yield_now();
        }
        fs::write(config.agent_lock(), child.id().to_string()).unwrap();
        let taken = take(&config).unwrap();
        assert!(matches!(take(&config), Err(AgentError::Locked { .. })), "it is a lock again");
        drop(held);
        assert!(matches!(take(&config), Err(AgentError::Locked { .. })), "the old one is nobody's");
        drop(taken);
        child.wait().unwrap();
    }

    #[test]
    fn a_lock_that_does_not_say_whose_it_is_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let _held = take(&config).unwrap();
        fs::write(config.agent_lock(), "").unwrap();
        assert!(matches!(take(&config), Err(AgentError::Locked { .. })));
    }
}
