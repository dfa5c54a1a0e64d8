use super::*;

const OURS: MacAddress = MacAddress([2, 0xbe, 10, 0, 0, 5]);
const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn an_arp_probe_has_no_sender_address() {
    let frame = probe(ip("10.0.0.5"), OURS);
    assert_eq!(frame.len(), 42);
    assert_eq!(frame[..6], [0xff; 6]);
    assert_eq!(frame[28..32], [0; 4], "RFC 5227: a probe must not fill any cache");
    assert_eq!(frame[38..], [10, 0, 0, 5]);
}

#[test]
fn an_announcement_claims_its_address_only() {
    for (address, another) in [("10.0.0.5", "10.0.0.6"), ("fd00::5", "fd00::6")] {
        let frame = announcement(ip(address), OTHER);
        assert_eq!(claims(&frame, ip(address), OURS), Some(OTHER));
        assert_eq!(claims(&frame, ip(another), OURS), None);
    }
}

#[test]
fn somebody_with_our_hardware_address_who_has_the_address_is_heard() {
    for address in ["10.0.0.5", "fd00::5"] {
        assert_eq!(claims(&announcement(ip(address), OURS), ip(address), OURS), Some(OURS));
    }
}

#[test]
fn another_probe_is_a_claim_and_our_own_is_not() {
    for address in ["10.0.0.5", "fd00::5"] {
        let address = ip(address);
        assert_eq!(claims(&probe(address, OTHER), address, OURS), Some(OTHER));
        assert_eq!(claims(&probe(address, OURS), address, OURS), None);
    }
}

#[test]
fn an_ordinary_question_is_no_claim() {
    let question = arp_request(OTHER, Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(10, 0, 0, 5));
    assert_eq!(claims(&question, ip("10.0.0.5"), OURS), None);
}

#[test]
fn short_and_strange_frames_are_no_claims() {
    for address in [ip("10.0.0.5"), ip("fd00::5")] {
        let whole = announcement(address, OTHER);
        for length in 0..whole.len().min(38) {
            assert_eq!(claims(&whole[..length], address, OURS), None, "{length}");
        }
        let mut strange = whole;
        strange[12] ^= 0x40;
        assert_eq!(claims(&strange, address, OURS), None);
    }
}

#[test]
fn the_checksum_of_a_whole_message_is_zero() {
    let frame = announcement(ip("fd00::5"), OTHER);
    let (source, group) = (Ipv6Addr::from_bits(0xfd00 << 112 | 5), ALL_NODES);
    assert_eq!(checksum(source, group, &frame[54..]), 0);
}

#[test]
fn a_solicitation_goes_to_the_group_of_its_target() {
    let frame = probe(ip("fd00::12:3456"), OURS);
    assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
    assert_eq!(frame[22..38], [0; 16], "the sender has no address yet");
}
