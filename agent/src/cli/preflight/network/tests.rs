//! What is said of hosts that lack something.

use berth_netplug::{BridgeStanding, UplinkStanding};

use super::*;
use crate::testing;

fn facts() -> Preflight {
    Preflight {
        kernel: Ok(()),
        kernel_datapath: Ok(true),
        tun: true,
        database: Ok("3.1.0".to_owned()),
        daemon: Ok(7),
        bridge: Ok(Some(BridgeStanding { ours: true, of: None, userspace: false })),
        uplink: Some(UplinkStanding {
            interface: "eth1".to_owned(),
            link: Ok(true),
            port_of: Some("br-berth".to_owned()),
        }),
        vlan_mode: Ok(()),
    }
}

fn said(facts: &Preflight, lacking: Verdict) -> Vec<Line> {
    Host { config: &testing::config(), facts, lacking }.lines()
}

#[test]
fn a_host_with_everything_is_good() {
    let lines = said(&facts(), Verdict::Missing);
    assert!(lines.iter().all(|line| line.verdict == Verdict::Good), "{lines:?}");
    assert_eq!(lines.len(), 6);
}

#[test]
fn what_is_lacking_has_a_consequence_and_a_remedy() {
    let standing = |ours, userspace| Ok(Some(BridgeStanding { ours, of: None, userspace }));
    let uplink = |link, port_of: Option<&str>| {
        let port_of = port_of.map(str::to_owned);
        Some(UplinkStanding { interface: "eth1".to_owned(), link, port_of })
    };
    let no = || "no".to_owned();
    let cases = [
        ("token buckets: no", Preflight { kernel: Err(no()), ..facts() }),
        ("Open vSwitch", Preflight { database: Err(no()), ..facts() }),
        ("applies no changes: no", Preflight { daemon: Err(no()), ..facts() }),
        ("no kernel datapath", Preflight { kernel_datapath: Ok(false), ..facts() }),
        ("/dev/net/tun", Preflight { bridge: standing(true, true), tun: false, ..facts() }),
        ("belongs to nobody known", Preflight { bridge: standing(false, false), ..facts() }),
        ("is a port of bridge br0", Preflight { uplink: uplink(Ok(true), Some("br0")), ..facts() }),
        ("eth1 is down", Preflight { uplink: uplink(Ok(false), None), ..facts() }),
        ("eth1: no", Preflight { uplink: uplink(Err(no()), None), ..facts() }),
    ];
    for (part, facts) in cases {
        for lacking in [Verdict::Missing, Verdict::Limited] {
            let lines = said(&facts, lacking);
            let bad: Vec<_> = lines.iter().filter(|line| line.verdict != Verdict::Good).collect();
            assert_eq!(bad.len(), 1, "{part}: {lines:?}");
            assert!(bad[0].what.contains(part), "{part}: {bad:?}");
            assert_eq!(bad[0].verdict, lacking, "{part}");
            assert!(!bad[0].consequence.is_empty() && !bad[0].remedy.is_empty(), "{part}");
        }
    }
}

#[test]
fn the_userspace_datapath_and_no_uplink_are_limits() {
    let bridge = Ok(Some(BridgeStanding { ours: true, of: None, userspace: true }));
    let lines = said(&Preflight { bridge, uplink: None, ..facts() }, Verdict::Missing);
    let limits: Vec<_> = lines.iter().filter(|line| line.verdict == Verdict::Limited).collect();
    assert_eq!(limits.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.verdict != Verdict::Missing), "{lines:?}");
}
