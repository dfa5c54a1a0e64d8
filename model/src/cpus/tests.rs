//! Lists of CPUs as texts.

use proptest::prelude::*;

use super::*;

#[test]
fn the_same_cpus_are_the_same_list() {
    for (text, shown) in [
        ("0", "0"),
        ("0-3,8", "0-3,8"),
        ("8,0-1,2-3", "0-3,8"),
        ("1,1,0-4,2", "0-4"),
        ("8191", "8191"),
        ("003", "3"),
    ] {
        let list: CpuList = text.parse().unwrap();
        assert_eq!(list.to_string(), shown, "{text}");
    }
}

#[test]
fn what_is_no_list_is_refused_with_what_was_found() {
    for (text, found) in [
        ("", "found \"\" in"),
        ("a", "\"a\""),
        ("0-", "found \"\" in"),
        ("3-1", "the range \"3-1\""),
        ("0,,1", "found \"\" in"),
        ("0-3 ,8", "\"3 \""),
        ("+1", "\"+1\""),
        ("8192", "\"8192\""),
        ("0-3:1/2", "\"3:1/2\""),
    ] {
        let error = text.parse::<CpuList>().unwrap_err().to_string();
        assert!(error.contains(found) && error.contains("such as \"0-3,8\""), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn a_list_survives_being_written(ranges in prop::collection::vec((0u16..8192, 0u16..9), 1..9)) {
        let parts = ranges.iter().map(|(first, more)| format!("{first}-{}", (first + more).min(8191)));
        let list: CpuList = parts.collect::<Vec<_>>().join(",").parse().unwrap();
        prop_assert_eq!(list.to_string().parse::<CpuList>().unwrap(), list);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,12}") {
        let _ = text.parse::<CpuList>();
    }
}
