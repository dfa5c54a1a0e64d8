use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

#[test]
fn canonical_form_joins_sorts_and_lowers() {
    let text =
        format!("{}:7:1-3:4-5,\n{A}:Beta:9:alpha:2-4 , ,{A}:alpha:5", B.to_ascii_uppercase());
    let expected = format!("{A}:alpha:2-5:beta:9,{B}:1-5:7");
    assert_eq!(set(&text).to_string(), expected);
}

#[test]
fn empty_texts_and_empty_intervals_hold_nothing() {
    for text in ["", " ", ",,", "\n", &format!("{A}:5-4")] {
        assert!(set(text).is_empty(), "{text:?}");
        assert_eq!(set(text), GtidSet::default(), "{text:?}");
    }
}

#[test]
fn refuses_what_is_no_set() {
    for text in [
        "x",
        A,
        &format!("{A}:"),
        &format!("{A}:tag"),
        &format!("{A}:one:two:1"),
        &format!("{A}:0"),
        &format!("{A}:0-4"),
        &format!("{A}:-4"),
        &format!("{A}:1-2-3"),
        &format!("{A}:9223372036854775807"),
        &format!("{A}:18446744073709551616"),
        &format!("{A}:1:a-b:2"),
        &format!("{A}:{}:1", "t".repeat(33)),
        &format!("{}:1", &A[1..]),
    ] {
        assert!(text.parse::<GtidSet>().is_err(), "{text:?}");
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let all = set(&format!("{A}:1-9223372036854775806"));
    let most = set(&format!("{A}:1-9223372036854775805"));
    assert_eq!(all.subtract(&most).to_string(), format!("{A}:9223372036854775806"));
    assert_eq!(all.union(&most), all);
    assert_eq!(all.count(), 9_223_372_036_854_775_806);
}

#[test]
fn errant_tolerates_what_the_source_itself_wrote() {
    let replica = set(&format!("{A}:1-12,{B}:1-3"));
    let source = set(&format!("{A}:1-10,{B}:1"));
    assert_eq!(errant(&replica, &source, A).to_string(), format!("{B}:2-3"));
    assert_eq!(
        errant(&replica, &source, &B.to_ascii_uppercase()).to_string(),
        format!("{A}:11-12")
    );
}

#[test]
fn a_tag_is_another_origin_of_the_same_server() {
    let tagged = set(&format!("{A}:t:1-3"));
    assert!(!tagged.is_subset_of(&set(&format!("{A}:1-3"))));
    assert!(tagged.without_server(A).is_empty());
}

/// The naive model: every transaction by itself.
type Model = BTreeSet<(usize, usize, u64)>;

const UUIDS: [&str; 2] = [A, B];
const TAGS: [&str; 3] = ["", "a", "b_2"];

/// Intervals over few origins and small numbers, so that they meet often.
fn intervals() -> impl Strategy<Value = Vec<(usize, usize, u64, u64)>> {
    prop::collection::vec((0..2_usize, 0..3_usize, 1..40_u64, 0..6_u64), 0..12)
}

fn model(intervals: &[(usize, usize, u64, u64)]) -> Model {
    let each = intervals.iter().copied();
    each.flat_map(|(u, t, first, more)| (first..=first + more).map(move |n| (u, t, n))).collect()
}

fn text(intervals: &[(usize, usize, u64, u64)]) -> String {
    let each = intervals.iter().map(|&(u, t, first, more)| {
        let tag = if TAGS[t].is_empty() { String::new() } else { format!(":{}", TAGS[t]) };
        format!("{}{tag}:{first}-{}", UUIDS[u], first + more)
    });
    each.collect::<Vec<_>>().join(",")
}

fn of_model(model: &Model) -> GtidSet {
    let each = model.iter().map(|&(u, t, n)| (u, t, n, 0)).collect::<Vec<_>>();
    set(&text(&each))
}

proptest! {
    #[test]
    fn agrees_with_the_model(left in intervals(), right in intervals()) {
        let (a, b) = (set(&text(&left)), set(&text(&right)));
        let (ma, mb) = (model(&left), model(&right));
        prop_assert_eq!(a.count(), ma.len() as u128);
        prop_assert_eq!(a.union(&b), of_model(&(&ma | &mb)));
        prop_assert_eq!(a.subtract(&b), of_model(&(&ma - &mb)));
        prop_assert_eq!(a.is_subset_of(&b), ma.is_subset(&mb));
        prop_assert_eq!(a.is_empty(), ma.is_empty());
    }

    #[test]
    fn display_is_read_back_and_unique(left in intervals()) {
        let parsed = set(&text(&left));
        prop_assert_eq!(set(&parsed.to_string()), parsed.clone());
        let mut reversed = left.clone();
        reversed.reverse();
        prop_assert_eq!(set(&text(&reversed)).to_string(), parsed.to_string());
    }

    #[test]
    fn no_text_panics(text in "[-0-9a-f:, \n]{0,80}") {
        let _ = text.parse::<GtidSet>();
    }
}
