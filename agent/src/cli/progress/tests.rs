//! Plain lines: few, and at the right places.

use super::*;

#[test]
fn plain_lines_come_by_fifths() {
    let mut plain = Plain { what: "pulling".into(), total: Some(100 << 20), ..Plain::default() };
    let lines: Vec<String> = (0..100).filter_map(|_| plain.advance(1 << 20)).collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert_eq!(lines[0], "pulling: 20.0MiB of 100MiB");
    assert_eq!(lines[4], "pulling: 100MiB of 100MiB");
}

#[test]
fn small_and_unknown_totals_have_none() {
    for total in [None, Some(1 << 20)] {
        let mut plain = Plain { total, ..Plain::default() };
        assert_eq!((0..100).find_map(|_| plain.advance(1 << 20)), None);
    }
}
