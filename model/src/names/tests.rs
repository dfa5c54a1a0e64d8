//! Which texts are names.

use super::*;

#[test]
fn ordinary_names_are_accepted() {
    for text in ["dbhost01", "dbhost01-orders-orders-us1-cluster8-db4", "a", "0.a_b-c"] {
        assert_eq!(text.parse::<EntryKey>().unwrap().as_str(), text);
    }
}

#[test]
fn what_would_escape_a_directory_is_refused() {
    for text in ["", ".", "..", "../x", "a/b", "-rf", "a b", "a\0", "ä", "_x"] {
        let error = text.parse::<EntryKey>().unwrap_err().to_string();
        assert!(error.contains("expected"), "{text:?}: {error}");
    }
    assert!(matches!(
        "x".repeat(NAME_BYTES_MAX + 1).parse::<HostName>(),
        Err(NameError::TooLong { bytes: 181, .. })
    ));
}

#[test]
fn an_entry_belongs_to_the_host_before_the_dash() {
    let key: EntryKey = "db1-orders-a".parse().unwrap();
    let host = |text: &str| text.parse::<HostName>().unwrap();
    assert_eq!(key.app_id_on(&host("db1")), Some("orders-a"));
    assert_eq!(key.app_id_on(&host("db")), None);
    assert_eq!(key.app_id_on(&host("db1-orders-a")), None);
    assert_eq!("db1-".parse::<EntryKey>().unwrap().app_id_on(&host("db1")), None);
}
