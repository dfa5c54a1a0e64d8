use super::*;
use crate::config::Uplink;

fn host() -> HostName {
    HostName::new("h1").expect("a good name")
}

fn vlan(id: u64) -> VlanId {
    VlanId::new(id).expect("a good VLAN")
}

fn config() -> BridgeConfig {
    let uplink = Uplink { interface: "up0".to_owned(), trunks: vec![vlan(20), vlan(10)] };
    BridgeConfig { name: "br".to_owned(), datapath: DatapathChoice::Auto, uplink: Some(uplink) }
}

fn bridge(host: Option<&str>) -> BridgeRow {
    BridgeRow { name: "br".to_owned(), host: host.map(str::to_owned), userspace: true }
}

fn uplink(bridge: &str, ours: bool, trunks: &[u16]) -> UplinkRow {
    let (uuid, bridge) = ("u".to_owned(), bridge.to_owned());
    UplinkRow { uuid, bridge, ours, trunks: trunks.to_vec(), number: Some(1) }
}

#[test]
fn what_is_missing_is_made() {
    let steps = plan(&config(), &host(), None, None).expect("a plan");
    assert!(matches!(steps[..], [BridgeStep::Create, BridgeStep::AddUplink { .. }]), "{steps:?}");
}

#[test]
fn what_is_right_is_left_alone() {
    let up = uplink("br", true, &[10, 20]);
    let steps = plan(&config(), &host(), Some(&bridge(Some("h1"))), Some(&up)).expect("a plan");
    assert_eq!(steps, []);
}

#[test]
fn changed_trunks_are_set_on_our_uplink_only() {
    let bridge = bridge(Some("h1"));
    let ours = uplink("br", true, &[10]);
    let steps = plan(&config(), &host(), Some(&bridge), Some(&ours)).expect("a plan");
    assert!(matches!(steps[..], [BridgeStep::SetTrunks { .. }]), "{steps:?}");
    let theirs = uplink("br", false, &[10]);
    assert_eq!(plan(&config(), &host(), Some(&bridge), Some(&theirs)).expect("a plan"), []);
}

#[test]
fn others_bridges_and_uplinks_are_refused() {
    for of in [None, Some("h2")] {
        let refused = plan(&config(), &host(), Some(&bridge(of)), None);
        assert!(matches!(refused, Err(BridgeError::Foreign { .. })), "{refused:?}");
    }
    let elsewhere = uplink("other", true, &[10, 20]);
    let refused = plan(&config(), &host(), Some(&bridge(Some("h1"))), Some(&elsewhere));
    assert!(matches!(refused, Err(BridgeError::UplinkElsewhere { .. })), "{refused:?}");
}
