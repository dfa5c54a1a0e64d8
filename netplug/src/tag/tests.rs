use super::*;

#[test]
fn an_alias_is_read_as_it_is_written_and_fits() {
    let tag = Tag {
        host: HostName::new("h".repeat(64)).expect("a good name"),
        owner: Owner::new("o".repeat(120)).expect("a good name"),
        address: "fd00:1111:2222:3333:4444:5555:6666:7777".parse().expect("an address"),
        generation: Generation(u64::MAX),
    };
    assert!(tag.to_string().len() < 256, "IFALIASZ");
    assert_eq!(Tag::from_alias(&tag.to_string()), Some(tag));
}

#[test]
fn other_aliases_are_not_ours() {
    for alias in [
        "",
        "berth",
        "uplink to rack 7",
        "berth h o 10.0.0.1",
        "berth h o x/1",
        "Berth h o 10.0.0.1/1",
        "berth h o 10.0.0.1/1 x",
    ] {
        assert_eq!(Tag::from_alias(alias), None, "{alias:?}");
    }
}
