//! Units, fractions and their round trips.

use proptest::prelude::*;

use super::*;

#[test]
fn units_are_binary_or_decimal() {
    let size = |text: &str| text.parse::<ByteSize>().unwrap().get();
    assert_eq!(size("16GiB"), 16 << 30);
    assert_eq!(size("1.5GiB"), 3 << 29);
    assert_eq!(size("500MB"), 500_000_000);
    assert_eq!(size("1 KiB"), 1024);
    assert_eq!("10MiB/s".parse::<ByteRate>().unwrap().get(), 10 << 20);
    assert_eq!("1Gbit/s".parse::<BitRate>().unwrap().get(), 1_000_000_000);
}

#[test]
fn what_has_no_clear_unit_is_refused() {
    for text in
        ["", "16", "GiB", "-1GiB", "1,5GiB", "0GiB", "1.GiB", "16gib", "1e3MB", "99999999999TiB"]
    {
        assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
    }
    for text in ["0/4", "5/4", "1/0", "1/", "a/b", "most", "1/4 "] {
        let error = text.parse::<HostShare>().unwrap_err().to_string();
        assert!(error.contains("\"all\", a fraction"), "{text:?}: {error}");
    }
    let error = serde_json::from_str::<ByteSize>("1024").unwrap_err().to_string();
    assert!(error.contains("the bare number 1024"), "{error}");
}

#[test]
fn a_share_is_taken_from_the_host() {
    let share = |text: &str| text.parse::<HostShare>().unwrap();
    assert_eq!(share("all").of(8 << 30), 8 << 30);
    assert_eq!(share("1/4").of(8 << 30), 2 << 30);
    assert_eq!(share("16GiB").of(8 << 30), 16 << 30);
}

proptest! {
    #[test]
    fn sizes_survive_a_round_trip(bytes in 1u64..) {
        prop_assert_eq!(ByteSize::new(bytes).to_string().parse(), Ok(ByteSize::new(bytes)));
        prop_assert_eq!(ByteRate::new(bytes).to_string().parse(), Ok(ByteRate::new(bytes)));
        prop_assert_eq!(BitRate::new(bytes).to_string().parse(), Ok(BitRate::new(bytes)));
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,24}") {
        let _ = text.parse::<HostShare>().map(|share| share.of(u64::MAX));
        let _ = text.parse::<BitRate>();
    }
}
