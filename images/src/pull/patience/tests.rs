//! When a try follows, and when not.

use super::*;

fn status(status: u16, retry_after: Option<u64>) -> PullError {
    PullError::Status {
        registry: "r".into(),
        what: "x".into(),
        status,
        detail: String::new(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[test]
fn waits_double_and_end() {
    let registries = Registries { tries: 4, ..Registries::default() };
    let mut patience = Patience::default();
    let mut wait = |error| patience.next(error, &registries, 0.0);
    assert_eq!(wait(status(500, None)).unwrap(), Duration::from_millis(200));
    assert_eq!(wait(status(503, None)).unwrap(), Duration::from_millis(400));
    assert_eq!(wait(status(429, None)).unwrap(), Duration::from_millis(800));
    wait(status(429, None)).unwrap_err();
    assert_eq!(backoff(40, 0.0), WAIT_MAX);
    assert_eq!(backoff(1, 1.0), Duration::from_millis(150));
}

#[test]
fn a_rest_is_kept_within_its_bound() {
    let registries = Registries::default();
    let mut patience = Patience::default();
    let wait = patience.next(status(429, Some(7)), &registries, 0.0).unwrap();
    assert_eq!(wait, Duration::from_secs(7));
    let error = patience.next(status(503, Some(61)), &registries, 0.0).unwrap_err();
    assert!(matches!(error, PullError::Busy { status: 503, .. }), "{error}");
}

#[test]
fn what_can_not_get_better_is_not_tried_again() {
    let registries = Registries::default();
    for code in [400, 416, 451, 302] {
        Patience::default().next(status(code, None), &registries, 0.0).unwrap_err();
    }
    Patience::default().next(status(408, None), &registries, 0.0).unwrap();
}
