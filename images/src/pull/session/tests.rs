//! What answers say.

use super::*;

#[test]
fn a_rest_is_asked_for_in_seconds_or_by_date() {
    let now: Timestamp = "2015-10-21T07:27:30Z".parse().unwrap();
    let asked = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
        retry_after(&headers, now)
    };
    assert_eq!(asked("7"), Some(Duration::from_secs(7)));
    assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(30)));
    assert_eq!(asked("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
    assert_eq!(asked("soon"), None);
    assert_eq!(asked("-1"), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}

#[test]
fn errors_are_told_in_one_line_of_plain_text() {
    let envelope = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"},{"code":"X"}]}"#;
    assert_eq!(words(envelope), "DENIED no[31m, X");
    assert_eq!(words(b"too many\nrequests"), "too many");
    assert_eq!(words(b"<html>\n<p>"), "");
    assert_eq!(words(&[b'x'; 1000]).len(), DETAIL_CHARS_MAX);
    assert_eq!(words(b""), "");
}
