//! Waits grow, end, and are forgotten.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

#[test]
fn waits_double_up_to_a_bound_and_jitter_only_shortens_them() {
    for (failures, millis) in [(1, 500), (2, 1000), (3, 2000), (8, 60_000), (u32::MAX, 60_000)] {
        assert_eq!(wait_after(failures, 0.0), Duration::from_millis(millis));
        assert_eq!(wait_after(failures, 1.0), Duration::from_millis(millis * 3 / 4));
    }
}

#[test]
fn the_first_crash_is_mended_at_once_the_next_wait() {
    let mut remembered = Remembered::default();
    remembered.crashed(at(0), "signal 9", 0.0);
    assert!(!remembered.waits(at(0)));
    remembered.crashed(at(1), "signal 9", 0.0);
    assert!(remembered.waits(at(1)) && !remembered.waits(at(2)));
    remembered.crashed(at(3), "signal 9", 0.0);
    assert!(remembered.waits(at(4)) && !remembered.waits(at(5)));
    assert_eq!((remembered.crashes, remembered.failures), (3, 3));
}

#[test]
fn failures_far_apart_are_no_row() {
    let mut remembered = Remembered::default();
    remembered.crashed(at(0), "signal 9", 0.0);
    remembered.crashed(at(1), "signal 9", 0.0);
    remembered.settle(at(300));
    assert_eq!(remembered.failures, 2);
    remembered.settle(at(602));
    assert_eq!((remembered.failures, remembered.crashes), (0, 2));
    remembered.crashed(at(10_000), "signal 9", 0.0);
    assert!(!remembered.waits(at(10_000)));
}

#[test]
fn since_stays_while_the_state_does() {
    let mut remembered = Remembered::default();
    assert_eq!(remembered.enter(InstanceState::Starting, at(0)), at(0));
    assert_eq!(remembered.enter(InstanceState::Starting, at(5)), at(0));
    assert_eq!(remembered.enter(InstanceState::Master, at(6)), at(6));
}
