//! Medians and their printing.

use std::time::Duration;

/// Measurements of one thing.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
        self.0.sort();
    }

    /// The middle one, in milliseconds.
    pub(crate) fn median_ms(&self) -> f64 {
        self.0.get(self.0.len() / 2).map_or(f64::NAN, |middle| middle.as_secs_f64() * 1000.0)
    }

    pub(crate) fn print(&self, what: &str) {
        let ms = |at: Option<&Duration>| at.map_or(f64::NAN, |took| took.as_secs_f64() * 1000.0);
        println!(
            "{what:<44} median {:>9.1} ms   least {:>9.1}   most {:>9.1}   of {}",
            self.median_ms(),
            ms(self.0.first()),
            ms(self.0.last()),
            self.0.len()
        );
    }
}

/// Prints how much of the peer's time ours is.
pub(crate) fn ratio(ours: &Figures, peer: &Figures, peer_name: &str) {
    println!(
        "{:<44} {:.2}",
        format!("  ratio to {peer_name}"),
        ours.median_ms() / peer.median_ms()
    );
}
