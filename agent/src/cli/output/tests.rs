//! Short forms of numbers, and a table's shape.

use super::*;

#[test]
fn numbers_are_short() {
    for (count, text) in
        [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (512 << 20, "512MiB"), (3 << 40, "3.0TiB")]
    {
        assert_eq!(bytes(count), text);
    }
    for (seconds, text) in
        [(-1, "0s"), (59, "59s"), (200, "3m20s"), (7500, "2h5m"), (356_400, "4d3h")]
    {
        assert_eq!(age(seconds), text);
    }
}

#[test]
fn a_table_is_plain_columns() {
    let text = table(&["NAME", "STATE"], vec![vec!["a".into(), "ready".into()]]);
    assert_eq!(text, "NAME  STATE\na     ready\n");
}

#[test]
fn colours_only_when_asked() {
    assert_eq!(paint("x", AnsiColor::Red, false), "x");
    assert!(paint("x", AnsiColor::Red, true).contains('\u{1b}'));
}
