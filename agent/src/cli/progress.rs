//! Draws the progress of long work: a bar on a terminal, plain lines elsewhere.

use std::{io::IsTerminal, sync::Mutex, sync::PoisonError, time::Duration};

use berth_images::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// The progress of one command.
#[derive(Debug)]
pub(super) struct Bar {
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), bar: Mutex::new(None) }
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
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes);
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
