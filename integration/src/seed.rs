//! Chance that can be had again: `BERTH_SOAK_SEED`, and how long to go on:
//! `BERTH_SOAK_COUNT`.

/// A source of chance. Its seed is printed, so that a failure can be run again.
///
/// # Panics
/// `BERTH_SOAK_SEED` is no number.
#[must_use]
pub fn chance() -> fastrand::Rng {
    let seed = match std::env::var("BERTH_SOAK_SEED") {
        Ok(text) if !text.is_empty() => text.parse().expect("BERTH_SOAK_SEED must be a number"),
        _ => fastrand::u64(..),
    };
    eprintln!("to run this again: BERTH_SOAK_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// How often to repeat: `BERTH_SOAK_COUNT`, or else `usual`.
///
/// # Panics
/// `BERTH_SOAK_COUNT` is no number.
#[must_use]
pub fn count(usual: usize) -> usize {
    match std::env::var("BERTH_SOAK_COUNT") {
        Ok(text) if !text.is_empty() => text.parse().expect("BERTH_SOAK_COUNT must be a number"),
        _ => usual,
    }
}
