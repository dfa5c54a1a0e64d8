//! Draws the progress of long work: a bar on a terminal, elsewhere a line when a step
//! begins and one for each fifth of it.

use std::{io::IsTerminal, sync::Mutex, sync::PoisonError, time::Duration};

use berth_images::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use super::output;

/// The progress of one command.
#[derive(Debug)]
pub(super) struct Bar {
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
    plain: Mutex<Plain>,
}

/// A step that is told in plain lines.
#[derive(Debug, Default)]
struct Plain {
    what: String,
    total: Option<u64>,
    done: u64,
    told: u64,
}

/// A line for each fifth of a step.
const PARTS: u64 = 5;
/// What is done at once needs no lines.
const PLAIN_BYTES_MIN: u64 = 32 << 20;

impl Plain {
    /// The line that is due.
    fn advance(&mut self, bytes: u64) -> Option<String> {
        self.done += bytes;
        let total = self.total.filter(|total| *total >= PLAIN_BYTES_MIN)?;
        let part = u64::try_from(u128::from(self.done) * u128::from(PARTS) / u128::from(total));
        let part = part.ok().filter(|part| *part > self.told && *part <= PARTS)?;
        self.told = part;
        let (done, all) = (output::bytes(self.done), output::bytes(total));
        Some(format!("{}: {done} of {all}", self.what))
    }
}

impl Bar {
    pub(super) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            bar: Mutex::new(None),
            plain: Mutex::default(),
        }
    }

    fn draw(what: &str, total: Option<u64>) -> ProgressBar {
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {elapsed}"),
        };
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: Option<u64>) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal {
            *bar = Some(Self::draw(what, total));
        } else {
            eprintln!("{what}");
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            *plain = Plain { what: what.to_owned(), total, ..Plain::default() };
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes);
        }
        if !self.terminal {
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = plain.advance(bytes) {
                eprintln!("{line}");
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish();
        }
    }

    fn warn(&self, message: &str) {
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.println(format!("warning: {message}")),
            None => eprintln!("warning: {message}"),
        }
    }
}

#[cfg(test)]
mod tests;
