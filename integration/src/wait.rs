//! Waiting for a condition, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Time for anything that has to happen, on a busy machine; only a failing test waits so
/// long.
pub const PATIENCE: Duration = Duration::from_secs(180);

const LOOK: Duration = Duration::from_millis(20);

/// Asks until there is an answer; `None` if there is none `within` this time.
pub fn until<T>(within: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(LOOK);
    }
}
