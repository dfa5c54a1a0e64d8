//! The bytes against those that `ovs-ofctl -O OpenFlow13` 3.1 sends for the same flows,
//! without the header. It writes the older headers (NXM) where fields are copied; the
//! bridge takes either.

use super::*;

fn flow(table: u8, priority: u16, matches: Match, instructions: Instructions) -> Flow {
    Flow { cookie: 0, table, priority, matches, instructions }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const MAC: [u8; 6] = [2, 0xbe, 10, 0, 0, 2];
const EVERYBODY: [u8; 6] = [0xff; 6];

fn asks() -> Match {
    Match::default()
        .with(field::ETH_TYPE, &[8, 6])
        .with(field::ARP_OP, &[0, 1])
        .with(field::ARP_TPA, &[10, 0, 0, 2])
        .with(field::METADATA, &10_u64.to_be_bytes())
}

#[test]
fn a_plain_flow() {
    let normal = Instructions::default().apply(Actions::default().output(port::NORMAL));
    let flow = Flow { cookie: 0xbe47_0000_0000_0001, ..flow(100, 0, Match::default(), normal) };
    assert_eq!(
        hex(&flow.addition()),
        "be4700000000000100000000000000006400000000000000ffffffffffffffffffffffff00000000\
         0001000400000000000400180000000000000010fffffffa0000000000000000"
    );
}

#[test]
fn a_mask_a_copy_and_another_table() {
    let matches = Match::default()
        .with(field::IN_PORT, &4_u32.to_be_bytes())
        .with(field::ETH_DST, &EVERYBODY)
        .with(field::ETH_TYPE, &[8, 6])
        .masked(field::VLAN_VID, &[0x10, 0], &[0x10, 0])
        .with(field::ARP_OP, &[0, 1]);
    let actions = Actions::default().copy(field::VLAN_VID, field::METADATA, 12);
    let instructions = Instructions::default().apply(actions).goto(100);
    assert_eq!(
        hex(&flow(0, 100, matches, instructions).addition()),
        "000000000000000000000000000000000000000000000064ffffffffffffffffffffffff00000000\
         0001002a800000040000000480000606ffffffffffff80000a02080680000d041000100080002a02\
         00010000000000000004002000000000ffff0018000023200006000c0000000080000c0280000408\
         0001000864000000"
    );
}

#[test]
fn a_note() {
    let matches = Match::default()
        .with(field::IN_PORT, &4_u32.to_be_bytes())
        .with(field::ETH_DST, &EVERYBODY)
        .with(field::ETH_TYPE, &[8, 6])
        .with(field::VLAN_VID, &[0x10, 10])
        .with(field::ARP_OP, &[0, 1]);
    let instructions = Instructions::default().note(10).goto(100);
    assert_eq!(
        hex(&flow(0, 100, matches, instructions).addition()),
        "000000000000000000000000000000000000000000000064ffffffffffffffffffffffff00000000\
         00010028800000040000000480000606ffffffffffff80000a02080680000c02100a80002a020001\
         0002001800000000000000000000000affffffffffffffff0001000864000000"
    );
}

#[test]
fn an_answer() {
    let actions = Actions::default()
        .copy(field::ETH_SRC, field::ETH_DST, 48)
        .set(field::ETH_SRC, &MAC)
        .set(field::ARP_OP, &[0, 2])
        .copy(field::ARP_SHA, field::ARP_THA, 48)
        .copy(field::ARP_SPA, field::ARP_TPA, 32)
        .set(field::ARP_SHA, &MAC)
        .set(field::ARP_SPA, &[10, 0, 0, 2])
        .output(port::IN_PORT);
    let theirs = "000000000000000000000000000000006400000000000064ffffffffffffffffffffffff00000000\
         0001002480000a02080680002a02000180002e040a00000280000408000000000000000a00000000\
         000400a000000000ffff001800002320000600300000000000000406000002060019001080000806\
         02be0a00000200000019001080002a020002000000000000ffff0018000023200006003000000000\
         0001220600012406ffff001800002320000600200000000000002004000022040019001080003006\
         02be0a00000200000019001080002c040a0000020000000000000010fffffff80000000000000000";
    let pairs = [
        ("0000040600000206", "8000080680000606"),
        ("0001220600012406", "8000300680003206"),
        ("0000200400002204", "80002c0480002e04"),
    ];
    let ours = pairs.iter().fold(theirs.to_owned(), |text, (nxm, oxm)| text.replace(nxm, oxm));
    let answer = flow(100, 100, asks(), Instructions::default().apply(actions));
    assert_eq!(hex(&answer.addition()), ours);
}

#[test]
fn fields_of_open_vswitch_s_own() {
    let target = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    let actions = Actions::default()
        .copy(field::ETH_SRC, field::ETH_DST, 48)
        .set(field::ETH_SRC, &MAC)
        .copy(field::IPV6_SRC, field::IPV6_DST, 128)
        .set(field::IPV6_SRC, &target)
        .set(field::ND_OPTIONS_TYPE, &[2])
        .set(field::ND_RESERVED, &0x6000_0000_u32.to_be_bytes())
        .set(field::ICMPV6_TYPE, &[136]);
    let matches = Match::default()
        .with(field::ETH_TYPE, &[0x86, 0xdd])
        .with(field::IP_PROTO, &[58])
        .with(field::ICMPV6_TYPE, &[135])
        .with(field::ICMPV6_CODE, &[0])
        .with(field::ND_TARGET, &target)
        .with(field::METADATA, &10_u64.to_be_bytes());
    let theirs = "000000000000000000000000000000006400000000000064ffffffffffffffffffffffff00000000\
         0001003980000a0286dd800014013a80003a018780003c010080003e10fd00000000000000000000\
         000000000280000408000000000000000a000000000000000004009000000000ffff001800002320\
         00060030000000000000040600000206001900108000080602be0a0000020000ffff001800002320\
         000600800000000000012610000128100019001880003410fd000000000000000000000000000002\
         00190010100004010200000000000000001900101000020460000000000000000019001080003a01\
         88000000000000000001000865000000";
    let pairs =
        [("0000040600000206", "8000080680000606"), ("0001261000012810", "8000341080003610")];
    let ours = pairs.iter().fold(theirs.to_owned(), |text, (nxm, oxm)| text.replace(nxm, oxm));
    let instructions = Instructions::default().apply(actions).goto(101);
    assert_eq!(hex(&flow(100, 100, matches, instructions).addition()), ours);
}

#[test]
fn a_listing() {
    let ours = Cookies { value: 0xbe47 << 48, mask: 0xffff << 48 };
    assert_eq!(
        hex(&listing(ours)),
        "0001000000000000ff000000ffffffffffffffff00000000be47000000000000ffff000000000000\
         0001000400000000"
    );
}

#[test]
fn what_is_listed() {
    let mut part = vec![0; 104];
    part[..2].copy_from_slice(&[0, 64]);
    part[24..32].copy_from_slice(&7_u64.to_be_bytes());
    part[64..66].copy_from_slice(&[0, 40]);
    part[88..96].copy_from_slice(&9_u64.to_be_bytes());
    assert_eq!(listed(&part), Some(vec![7, 9]));
    assert_eq!(listed(&[]), Some(vec![]));
    for length in 1..64 {
        assert_eq!(listed(&part[..length]), None, "{length}");
    }
}
