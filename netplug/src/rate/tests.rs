use super::*;

#[test]
fn rates_are_numbers_with_units() {
    for (text, bits) in [
        ("8kbit", 8_000),
        ("200Mbit", 200_000_000),
        ("200mbit", 200_000_000),
        ("25Gbit", 25_000_000_000),
    ] {
        assert_eq!(text.parse::<BitRate>().map(BitRate::bits_per_second), Ok(bits), "{text}");
    }
}

#[test]
fn anything_else_is_refused() {
    for text in
        ["", "1000", "Mbit", "1.5Gbit", "-1Mbit", "10 Mbit", "10MB", "99999999999999999999kbit"]
    {
        assert!(matches!(text.parse::<BitRate>(), Err(BitRateError::Form(_))), "{text:?}");
    }
    for text in ["7kbit", "0Gbit", "1001Gbit", "99999999999999999Gbit"] {
        assert!(matches!(text.parse::<BitRate>(), Err(BitRateError::Range(_))), "{text:?}");
    }
}

#[test]
fn a_rate_prints_as_it_is_read() {
    for text in ["8kbit", "1500kbit", "200Mbit", "1Gbit"] {
        assert_eq!(text.parse::<BitRate>().map(|rate| rate.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn a_missing_limit_comes_from_the_default() {
    let rates = |inbound: &str, outbound: &str| Rates {
        inbound: inbound.parse().ok(),
        outbound: outbound.parse().ok(),
    };
    assert_eq!(rates("1Mbit", "").or(rates("5Mbit", "6Mbit")), rates("1Mbit", "6Mbit"));
}
