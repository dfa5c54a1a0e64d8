//! Work that may hang in the kernel, on a thread of its own and waited for within a bound.

use std::{sync::mpsc, thread, time::Duration};

/// What `work` returns, if it does so within `wait`. Otherwise it is left to itself: a thread
/// that waits for a disk can't be ended.
pub(crate) fn within<T: Send + 'static>(
    wait: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (send, receive) = mpsc::sync_channel(1);
    let begun = thread::Builder::new().spawn(move || {
        // Nobody listens any more if it is late.
        let _ = send.send(work());
    });
    begun.ok()?;
    receive.recv_timeout(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_not_waited_for() {
        assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
        let (release, hang) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(1), move || hang.recv().is_ok()), None);
        drop(release);
    }

    #[test]
    fn a_panic_is_no_answer() {
        assert_eq!(within::<()>(Duration::from_secs(60), || panic!("on purpose")), None);
    }
}
