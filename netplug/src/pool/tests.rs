use super::*;

fn load(files: &[(&str, &str)]) -> PoolSet {
    let files: Vec<_> =
        files.iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec())).collect();
    PoolSet::from_files(&files)
}

fn refusals(text: &str) -> Vec<String> {
    load(&[("p.json", text)]).refused().iter().map(ToString::to_string).collect()
}

#[test]
fn a_full_pool_is_read() {
    let set = load(&[(
        "p.json",
        r#"{"orders": {"vlan": 120, "subnet": "10.20.0.0/22", "gateway": "10.20.0.1",
            "ranges": ["10.20.2.0-10.20.2.9", "10.20.0.16-10.20.1.250"],
            "reserved": ["10.20.1.7", "10.20.0.20-10.20.0.29"],
            "rate": {"in": "1Gbit"}, "mtu": 9000}}"#,
    )]);
    assert_eq!(set.refused(), []);
    let pool = set.iter().next().expect("the pool");
    assert_eq!(pool.vlan.get(), 120);
    assert_eq!(pool.ranges[0].to_string(), "10.20.0.16-10.20.1.250");
    assert_eq!(pool.rate.inbound.map(|r| r.bits_per_second()), Some(1_000_000_000));
    assert_eq!(pool.mtu, 9000);
    let offers = |text: &str| pool.offers(text.parse().expect("an address"));
    assert!(offers("10.20.0.16") && offers("10.20.2.9"));
    assert!(!offers("10.20.1.7") && !offers("10.20.0.25") && !offers("10.20.0.1"));
    assert!(!offers("10.20.3.1") && !offers("fd00::1"));
}

#[test]
fn the_capacity_is_what_is_offered() {
    let set = load(&[(
        "p.json",
        r#"{"a": {"vlan": 1, "subnet": "10.0.0.0/24", "gateway": "10.0.0.20",
                  "ranges": ["10.0.0.10-10.0.0.30", "10.0.0.40-10.0.0.50"],
                  "reserved": ["10.0.0.45-10.0.0.60", "10.0.0.12-10.0.0.16", "10.0.0.1",
                               "10.0.0.14-10.0.0.18", "10.0.0.15"]},
            "b": {"vlan": 2, "subnet": "10.0.1.0/24", "gateway": "10.0.1.9", "reserved": ["10.0.1.9"]}}"#,
    )]);
    assert_eq!(set.refused(), []);
    for pool in set.iter() {
        let hosts =
            |last: u8| pool.offers(IpAddr::from([10, 0, u8::from(pool.vlan.get() == 2), last]));
        let offered = (0..=255).filter(|last| hosts(*last)).count();
        assert_eq!(pool.capacity(), offered as u128, "{}", pool.name);
    }
    let six = load(&[("p.json", r#"{"six": {"vlan": 1, "subnet": "fd00:20::/64"}}"#)]);
    assert_eq!(six.iter().map(Pool::capacity).sum::<u128>(), (1 << 64) - 1);
}

#[test]
fn a_pool_without_ranges_offers_its_hosts() {
    let set = load(&[("p.json", r#"{"six": {"vlan": 1, "subnet": "fd00:20::/64"}}"#)]);
    let pool = set.iter().next().expect("the pool");
    assert!(pool.offers("fd00:20::1".parse().expect("an address")));
    assert!(!pool.offers("fd00:20::".parse().expect("an address")), "the routers' anycast address");
    assert_eq!(pool.mtu, DEFAULT_MTU);
}

#[test]
fn refusals_tell_the_place_and_what_was_expected() {
    for (text, expected) in [
        (
            "{\"a\":\n  {\"vlan\": 4095, \"subnet\": \"10.0.0.0/24\"}}",
            "p.json:2:12: pool a: vlan: found 4095, expected a VLAN id from 1 to 4094",
        ),
        (
            "{\"a\": {\"vlan\": 0, \"subnet\": \"10.0.0.0/24\"}}",
            "p.json:1:16: pool a: vlan: found 0, expected a VLAN id from 1 to 4094",
        ),
        (
            "{\"a\":\n {\"vlan\": \"5\",\n \"subnet\": \"10.0.0.0/24\"}}",
            "p.json:2:11: pool a: vlan: found invalid type: string \"5\", expected u64",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.7/24\"}}",
            "p.json:1:29: pool a: subnet: found \"10.0.0.7/24\", expected the network's own \
             address, 10.0.0.0/24",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\", \"gateway\": \"10.0.1.1\"}}",
            "p.json:1:55: pool a: gateway: found 10.0.1.1, expected a host's address inside \
             10.0.0.0/24",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\", \"gateway\": \"ten\"}}",
            "p.json:1:55: pool a: gateway: found \"ten\", expected an IP address",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\",\n\"ranges\": [\"10.0.0.5\",\n\"10.0.0.9-10.0.1.2\"]}}",
            "p.json:3:1: pool a: ranges: found 10.0.0.9-10.0.1.2, expected addresses inside \
             10.0.0.0/24 (10.0.0.1-10.0.0.254)",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\", \"ranges\": [\"10.0.0.5-10.0.0.9\", \"10.0.0.9\"]}}",
            "p.json:1:54: pool a: ranges: found 10.0.0.5-10.0.0.9 and 10.0.0.9, expected ranges \
             that don't overlap",
        ),
        (
            "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\", \"mtu\": 100}}",
            "p.json:1:51: pool a: mtu: found 100, expected bytes from 576 to 9216",
        ),
        (
            "{\"a\": {\"subnet\": \"10.0.0.0/24\"}}",
            "p.json:1:31: pool a: found no such field, expected the field `vlan`",
        ),
        ("[1]", "p.json:1:1: found invalid type: sequence, expected an object of pools by name"),
        (
            "{\"a b\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\"}}",
            "p.json:1:9: pool a b: found \"a b\", expected letters, digits, dots, dashes or \
             underscores, not beginning with a dot or a dash",
        ),
    ] {
        assert_eq!(refusals(text), [expected], "{text}");
    }
}

#[test]
fn unknown_fields_and_bare_rates_are_refused() {
    let unknown = refusals("{\"a\": {\"vlna\": 5, \"subnet\": \"10.0.0.0/24\"}}");
    assert!(unknown[0].contains("unknown field `vlna`"), "{unknown:?}");
    let bare = refusals(
        "{\"a\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\", \"rate\": {\"in\": \"1000\"}}}",
    );
    assert!(bare[0].contains("pool a: rate") && bare[0].contains("kbit, Mbit or Gbit"), "{bare:?}");
}

#[test]
fn a_file_that_is_not_json_is_refused_as_a_whole_and_others_go_on() {
    let set = load(&[
        ("1.json", "{\"a\": {\"vlan\": 5,\n oops"),
        ("2.json", "{\"b\": {\"vlan\": 5, \"subnet\": \"10.0.0.0/24\"}}"),
        ("3.json", "\u{0}"),
    ]);
    assert_eq!(set.refused().len(), 2, "{:?}", set.refused());
    assert_eq!((set.refused()[0].line, set.refused()[0].column), (2, 2));
    assert_eq!(set.iter().count(), 1);
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let set = PoolSet::from_files(&[(PathBuf::from("p.json"), vec![b'{', 0xff])]);
    assert_eq!(set.refused()[0].expected, "UTF-8 text");
}

#[test]
fn pools_never_share_an_address() {
    let pool = |name: &str, rest: &str| format!("{{\"{name}\": {{{rest}}}}}");
    let base = pool("a", r#""vlan": 5, "subnet": "10.0.0.0/24", "ranges": ["10.0.0.5-10.0.0.9"]"#);
    for (other, part) in [
        (r#""vlan": 5, "subnet": "10.0.0.0/23""#, "a subnet apart from 10.0.0.0/24 of pool a in 1"),
        (
            r#""vlan": 6, "subnet": "10.0.0.0/24", "ranges": ["10.0.0.20"]"#,
            "the same one in VLAN 5",
        ),
        (
            r#""vlan": 5, "subnet": "10.0.0.0/24", "ranges": ["10.0.0.9-10.0.0.20"]"#,
            "a range apart from 10.0.0.5-10.0.0.9 of pool a in 1",
        ),
    ] {
        let set = load(&[("1.json", &base), ("2.json", &pool("b", other))]);
        assert_eq!(set.iter().count(), 1, "{other}");
        let refusal = set.refused()[0].to_string();
        assert!(refusal.starts_with("2.json:1:7: pool b: "), "{refusal}");
        assert!(refusal.contains(part), "{refusal}");
    }
    let split = pool("b", r#""vlan": 5, "subnet": "10.0.0.0/24", "ranges": ["10.0.0.10"]"#);
    assert_eq!(load(&[("1.json", &base), ("2.json", &split)]).iter().count(), 2);
}

#[test]
fn a_name_may_stand_once() {
    let text = r#"{"a": {"vlan": 5, "subnet": "10.0.0.0/24"}}"#;
    let again = r#"{"a": {"vlan": 6, "subnet": "10.0.9.0/24"}}"#;
    let set = load(&[("1.json", text), ("2.json", again)]);
    let refusal = set.refused()[0].to_string();
    assert!(refusal.contains("first in 1.json") && refusal.starts_with("2.json:"), "{refusal}");
    assert_eq!(set.iter().next().map(|pool| pool.vlan.get()), Some(5));
    let twice =
        r#"{"a": {"vlan": 5, "subnet": "10.0.0.0/24"}, "a": {"vlan": 6, "subnet": "10.0.9.0/24"}}"#;
    assert_eq!(load(&[("1.json", twice)]).refused().len(), 1);
}

#[test]
fn a_directory_is_read_in_name_order_and_may_be_absent() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).expect("a file");
    };
    write("20.json", r#"{"a": {"vlan": 6, "subnet": "10.0.9.0/24"}}"#);
    write("10.json", r#"{"a": {"vlan": 5, "subnet": "10.0.0.0/24"}}"#);
    write("notes.txt", "not a pool");
    let set = PoolSet::load(dir.path()).expect("a readable directory");
    assert_eq!(set.iter().next().map(|pool| pool.vlan.get()), Some(5));
    assert_eq!(set.refused().len(), 1);
    let none = PoolSet::load(&dir.path().join("none")).expect("no directory, no pools");
    assert_eq!(none, PoolSet::default());
}
