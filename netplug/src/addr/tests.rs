use proptest::prelude::*;

use super::*;

fn subnet(text: &str) -> Subnet {
    text.parse().expect("a good subnet")
}

#[test]
fn hosts_leave_out_what_no_host_may_have() {
    for (text, hosts) in [
        ("10.0.0.0/24", "10.0.0.1-10.0.0.254"),
        ("10.0.0.0/31", "10.0.0.0-10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7"),
        ("fd00::/64", "fd00::1-fd00::ffff:ffff:ffff:ffff"),
        ("fd00::/127", "fd00::-fd00::1"),
        ("8000::/1", "8000::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        assert_eq!(subnet(text).hosts().to_string(), hosts, "{text}");
    }
}

#[test]
fn bad_subnets_say_what_was_expected() {
    for (text, expected) in [
        ("10.0.0.0", "prefix length"),
        ("10.0.0.0/33", "from 1 to 32"),
        ("10.0.0.0/0", "from 1 to 32"),
        ("10.0.0.5/24", "10.0.0.0/24"),
        ("fd00::1/64", "fd00::/64"),
        ("fd00::/129", "from 1 to 128"),
    ] {
        let error = text.parse::<Subnet>().expect_err("a bad subnet");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}

#[test]
fn bad_ranges_say_what_was_expected() {
    for (text, expected) in [
        ("10.0.0.9-10.0.0.1", "lower address first"),
        ("10.0.0.9-fd00::1", "one family"),
        ("10.0.0.9-", "first-last"),
        ("ten", "first-last"),
    ] {
        let error = text.parse::<AddressRange>().expect_err("a bad range");
        assert!(error.expected.contains(expected), "{text}: {error}");
    }
}

#[test]
fn families_never_mix() {
    assert!(!subnet("::/96").contains("10.0.0.1".parse().expect("an address")));
    let v4: AddressRange = "0.0.0.1-0.0.0.9".parse().expect("a range");
    assert!(!v4.contains("::5".parse().expect("an address")));
}

#[test]
fn hardware_addresses_are_local_unicast() {
    let v4 = MacAddress::of("10.20.0.5".parse().expect("an address"));
    assert_eq!(v4.to_string(), "02:be:0a:14:00:05");
    let v6 = MacAddress::of("fd00::5".parse().expect("an address"));
    assert_eq!(v6.0[0], 0x06);
    assert_ne!(v6, MacAddress::of("fd00::6".parse().expect("an address")));
}

proptest! {
    #[test]
    fn overlap_is_symmetric_and_agrees_with_contains(a in any::<u32>(), b in any::<u32>(), p in 1u8..=32, q in 1u8..=32) {
        let cut = |bits: u32, prefix: u8| {
            let mask = u32::MAX << (32 - u32::from(prefix));
            subnet(&format!("{}/{prefix}", Ipv4Addr::from_bits(bits & mask)))
        };
        let (x, y) = (cut(a, p), cut(b, q));
        prop_assert_eq!(x.overlaps(y), y.overlaps(x));
        let shares = x.contains(y.hosts().first()) || y.contains(x.hosts().first());
        prop_assert_eq!(x.overlaps(y), shares);
    }
}
