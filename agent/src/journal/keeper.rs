//! Keeps the journal on the disk without ever making the loop wait for that disk.
//!
//! A write that outlives a power cut may take seconds where the disk is busy: with ext4 it
//! waits for what others have written, be their rates limited or not. So it is made on a
//! thread of its own, one at a time. What changes meanwhile is written by the next pass, and
//! by [`Keeper::finish`] when the agent ends.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel},
    thread,
    time::Duration,
};

use super::{Journal, load, save};
use crate::files::{self, FileError};

/// Writes the journal where it differs from what was written last.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    saved: Journal,
    saving: Option<(Journal, Receiver<Result<(), FileError>>)>,
}

impl Keeper {
    /// Reads the journal that an earlier agent kept, and keeps it from now on.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(path: PathBuf) -> Result<(Self, Journal), FileError> {
        let journal = load(&path)?;
        Ok((Self { path, saved: journal.clone(), saving: None }, journal))
    }

    /// Begins to write the journal, if it has changed and no write is under way.
    pub fn keep(&mut self, journal: &Journal) {
        let ended = self.saving.as_ref().map(|(_, ending)| match ending.try_recv() {
            Ok(result) => Some(Ok(result)),
            Err(TryRecvError::Disconnected) => Some(Err(())),
            Err(TryRecvError::Empty) => None,
        });
        match ended {
            Some(None) => return,
            Some(Some(result)) => self.ended(result),
            None => {}
        }
        if *journal != self.saved {
            self.begin(journal.clone());
        }
    }

    /// Writes what is not written yet, and waits for it so long.
    pub fn finish(&mut self, journal: &Journal, within: Duration) {
        self.wait(within);
        self.keep(journal);
        self.wait(within);
    }

    fn begin(&mut self, journal: Journal) {
        let (told, ending) = channel();
        let (path, written) = (self.path.clone(), journal.clone());
        let write = move || {
            // Nobody may be there to hear of it any more.
            let _ = told.send(save(&path, &written));
        };
        match thread::Builder::new().name("journal".to_owned()).spawn(write) {
            Ok(_) => self.saving = Some((journal, ending)),
            Err(error) => tracing::warn!(%error, "cannot start a thread to keep the journal"),
        }
    }

    fn wait(&mut self, within: Duration) {
        let Some((_, ending)) = &self.saving else { return };
        match ending.recv_timeout(within) {
            Ok(result) => self.ended(Ok(result)),
            Err(RecvTimeoutError::Disconnected) => self.ended(Err(())),
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(path = %self.path.display(), "the journal is not written yet");
            }
        }
    }

    /// Takes the result of a write, or of a thread that said nothing.
    fn ended(&mut self, result: Result<Result<(), FileError>, ()>) {
        let Some((journal, _)) = self.saving.take() else { return };
        match result {
            Ok(Ok(())) => self.saved = journal,
            Ok(Err(error)) => tracing::warn!(error = files::chain(&error).join(": "), "journal"),
            Err(()) => {}
        }
    }
}

#[cfg(test)]
mod tests;
