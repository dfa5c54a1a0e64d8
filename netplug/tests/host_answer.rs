//! The switch's answers for addresses, on real Open vSwitch: judged by what neighbours
//! learn while the container's end is down, by what bystanders hear, by `ovs-ofctl` and
//! by the bridge's own trace of a packet.

mod support;

use std::net::IpAddr;
use std::path::Path;

use berth_netplug::{Attachment, BridgeConfig, Config, HostName, Netplug, Uplink, VlanId};
use support::{BRIDGE, Host, goal, output, owner, pings, request, run, run_in, text, wait};

fn flows(host: &Host, bridge: &str) -> String {
    let socket = format!("unix:{}", host.dir().join(format!("{bridge}.mgmt")).display());
    run("ovs-ofctl", &["-O", "OpenFlow13", "--timeout=10", "dump-flows", &socket])
}

/// How many flows of ours there are.
fn ours(host: &Host) -> usize {
    flows(host, BRIDGE).matches("cookie=0xbe47").count()
}

/// What the bridge would do with a packet.
fn trace(host: &Host, packet: &str) -> String {
    let daemon = host.dir().join("vswitchd.ctl");
    run("ovs-appctl", &["--timeout=10", "-t", text(&daemon), "ofproto/trace", BRIDGE, packet])
}

fn port_number(host: &Host, link: &str) -> String {
    host.vsctl(&["get", "interface", link, "ofport"]).trim().to_owned()
}

/// The hardware address that a neighbour finds for an address, if it finds one.
fn resolved(namespace: &Path, address: IpAddr) -> Option<String> {
    let (net, address) = (format!("--net={}", text(namespace)), address.to_string());
    run_in(namespace, &["ip", "neigh", "flush", "dev", "eth0"]);
    // Whether a ping itself is answered is no matter.
    (0..3).find_map(|_| {
        output("nsenter", &[&net, "ping", "-n", "-c", "1", "-W", "0.5", &address]);
        let seen = run_in(namespace, &["ip", "neigh", "show", &address]);
        let found = seen.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
        found.map(str::to_owned)
    })
}

/// Packets that came to a container.
fn heard(namespace: &Path) -> u64 {
    let shown = run_in(namespace, &["ip", "-s", "link", "show", "eth0"]);
    let rx = shown.lines().skip_while(|line| !line.contains("RX:")).nth(1);
    let packets = rx.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    packets.unwrap_or_else(|| panic!("no counter in {shown}"))
}

fn down(made: &Attachment) {
    run_in(&made.namespace, &["ip", "link", "set", "eth0", "down"]);
}

#[test]
fn requests_are_answered_within_the_vlan_and_nobody_else_hears_them() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner, pool| plug.attach(&pools, &request(owner, pool)).expect("an attach");
    let (asker, asked) = (attach("db1", "ten"), attach("db2", "ten"));
    let (bystander, other) = (attach("db3", "ten"), attach("db4", "twenty"));
    assert!(pings(&asker.namespace, asked.address), "as plain as before");
    run_in(&other.namespace, &["ip", "addr", "add", "10.20.0.200/24", "dev", "eth0"]);

    let before = heard(&bystander.namespace);
    down(&asked);
    assert_eq!(resolved(&asker.namespace, asked.address), Some(asked.mac.to_string()));
    assert_eq!(heard(&bystander.namespace), before, "it was not flooded");
    assert_eq!(resolved(&other.namespace, asked.address), None, "another VLAN");
    // What nobody has is flooded, so that whoever has it can answer.
    let nobody = "10.20.0.99".parse().expect("an address");
    assert_eq!(resolved(&asker.namespace, nobody), None);
    wait("the bystander to hear", || heard(&bystander.namespace) > before);

    plug.detach(&owner("db2")).expect("a detach");
    assert_eq!(resolved(&asker.namespace, asked.address), None, "it is removed");
    assert!(!flows(&host, BRIDGE).contains("arp_tpa=10.20.0.3,"));
}

#[test]
fn solicitations_are_answered_as_requests_are() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner, pool| plug.attach(&pools, &request(owner, pool)).expect("an attach");
    let (asker, asked) = (attach("db1", "six"), attach("db2", "six"));
    let other = attach("db3", "ten");
    run_in(&other.namespace, &["sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6"]);
    run_in(&other.namespace, &["ip", "addr", "add", "fd00:20::99/64", "dev", "eth0", "nodad"]);
    assert!(pings(&asker.namespace, asked.address));
    down(&asked);
    assert_eq!(resolved(&asker.namespace, asked.address), Some(asked.mac.to_string()));
    assert_eq!(resolved(&other.namespace, asked.address), None, "another VLAN");
    plug.detach(&owner("db2")).expect("a detach");
    assert_eq!(resolved(&asker.namespace, asked.address), None, "it is removed");
}

#[test]
fn what_is_news_for_everybody_is_forwarded_as_always() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner, pool| plug.attach(&pools, &request(owner, pool)).expect("an attach");
    let (asker, asked, other) =
        (attach("db1", "ten"), attach("db2", "ten"), attach("db3", "twenty"));
    let six = [attach("db4", "six"), attach("db5", "six")];
    let number = |made: &Attachment| port_number(&host, &made.link);
    let arp = |port: &str, vlan: &str, from: &str, to: &str| {
        trace(
            &host,
            &format!(
                "in_port={port},arp,{vlan}dl_src=02:00:00:00:00:09,dl_dst={to},arp_op=1,\
             arp_spa={from},arp_tpa={},arp_sha=02:00:00:00:00:09",
                asked.address
            ),
        )
    };
    let all = "ff:ff:ff:ff:ff:ff";
    let answered = |traced: &str| traced.contains("IN_PORT") && !traced.contains("NORMAL");
    assert!(answered(&arp(&number(&asker), "", "10.20.0.2", all)), "a request");
    assert!(answered(&arp(&number(&asker), "", "0.0.0.0", all)), "a probe of RFC 5227");
    let forwarded = [
        ("unicast", arp(&number(&asker), "", "10.20.0.2", &asked.mac.to_string())),
        ("an announcement", arp(&number(&asker), "", &asked.address.to_string(), all)),
        ("from its own port", arp(&number(&asked), "", "0.0.0.0", all)),
        ("from another VLAN", arp(&number(&other), "", "10.20.0.2", all)),
        ("with a tag from another VLAN", arp(&number(&other), "dl_vlan=10,", "10.20.0.2", all)),
        ("from the host itself", arp("LOCAL", "", "10.20.0.2", all)),
    ];
    for (what, traced) in forwarded {
        assert!(!answered(&traced), "{what}: {traced}");
    }
    let solicitation = |made: &Attachment, from: &str, sll: &str| {
        trace(
            &host,
            &format!(
                "in_port={},icmp6,nw_ttl=255,dl_src=02:00:00:00:00:09,dl_dst=33:33:ff:00:00:03,ipv6_src={from},\
             ipv6_dst=ff02::1:ff00:3,icmpv6_type=135,icmpv6_code=0,nd_target={},nd_sll={sll}",
                number(made),
                six[1].address
            ),
        )
    };
    let sll = "02:00:00:00:00:09";
    assert!(answered(&solicitation(&six[0], "fd00:20::2", sll)), "a solicitation");
    assert!(!answered(&solicitation(&six[0], "::", "00:00:00:00:00:00")), "a probe");
    assert!(!answered(&solicitation(&six[1], "fd00:20::3", sll)), "from its own port");
}

#[test]
fn a_pass_brings_back_what_is_lost_and_leaves_what_is_not_ours() {
    let mut host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let wishes = [request("db1", "ten"), request("db2", "six")];
    for wish in &wishes {
        plug.attach(&pools, wish).expect("an attach");
    }
    let all = ours(&host);
    assert_eq!(all, 1 + 4 + 5);
    assert_eq!(plug.check(&pools).expect("the leases"), []);
    let socket = format!("unix:{}", host.dir().join("btbr0.mgmt").display());
    let add = |flow: &str| run("ovs-ofctl", &["-O", "OpenFlow13", "add-flow", &socket, flow]);
    add("cookie=0x77,table=100,priority=5,in_port=9,actions=drop");
    add("cookie=0xbe47000000000001,table=100,priority=5,in_port=8,actions=drop");
    let pass = |plug: &Netplug| {
        let report = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
        assert_eq!(report.problems, Vec::<String>::new());
    };
    assert_eq!(plug.inspect_bridge().expect("the bridge").len(), 1);
    pass(&plug);
    assert_eq!(ours(&host), all);
    assert!(flows(&host, BRIDGE).contains("cookie=0x77,"), "another's flow stays");
    assert_eq!(plug.inspect_bridge().expect("the bridge"), Vec::<String>::new());

    host.stop_daemon();
    host.start_daemon();
    wait("the bridge", || {
        host.dir().join("btbr0.mgmt").exists() && plug.preflight().is_ok_and(|f| f.daemon.is_ok())
    });
    assert_eq!(ours(&host), 0, "a new ovs-vswitchd knows of no flows");
    assert_eq!(plug.check(&pools).expect("the leases").len(), 1);
    assert_eq!(plug.ensure_bridge().expect("the bridge").len(), 1);
    assert_eq!(ours(&host), all);
    assert_eq!(plug.ensure_bridge().expect("the bridge"), Vec::<String>::new());
}

#[test]
fn a_bridge_that_refuses_flows_is_used_without_them() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let limit = ["--id=@full", "create", "Flow_Table", "flow_limit=1", "--"];
    host.vsctl(&[&limit[..], &["set", "bridge", BRIDGE, "flow_tables:100=@full"]].concat());
    let wish = request("db1", "ten");
    let made = plug.attach(&pools, &wish).expect("an attach");
    let other = plug.attach(&pools, &request("db2", "ten")).expect("an attach");
    assert!(pings(&made.namespace, other.address), "requests are flooded");
    assert_eq!(plug.inspect_bridge().expect("the bridge").len(), 1, "it is tried once");
    plug.ensure_bridge().expect("it fails for want of nothing");
    assert_eq!(plug.inspect_bridge().expect("the bridge"), Vec::<String>::new());
    assert_eq!(plug.check(&pools).expect("the leases").len(), 1, "who asks is told");
    host.vsctl(&["clear", "bridge", BRIDGE, "flow_tables"]);
    assert_eq!(plug.ensure_bridge().expect("the bridge").len(), 1);
    assert_eq!(plug.check(&pools).expect("the leases"), []);
}

#[test]
fn another_host_s_question_is_answered_over_the_uplink() {
    let host = Host::start();
    let pools = host.pools();
    run("ip", &["link", "add", "btup0", "type", "veth", "peer", "name", "btup1"]);
    let plugs = ["btup0", "btup1"].map(|up| {
        run("ip", &["link", "set", up, "up"]);
        // One carries all VLANs, one those that it names: both forms of flows.
        let named = vec![VlanId::new(10).expect("a VLAN"), VlanId::new(30).expect("a VLAN")];
        let trunks = if up == "btup0" { Vec::new() } else { named };
        let uplink = Some(Uplink { interface: up.to_owned(), trunks });
        let bridge = BridgeConfig { name: format!("br-{up}"), uplink, ..host.config().bridge };
        let config = Config {
            host: HostName::new(format!("host-{up}")).expect("a name"),
            state_dir: host.dir().join(up).join("state"),
            run_dir: host.dir().join(up).join("run"),
            bridge,
            ..host.config()
        };
        let plug = Netplug::open(config).expect("the crate's directories");
        plug.ensure_bridge().expect("a bridge with an uplink");
        plug
    });
    for pool in ["ten", "six"] {
        let near = plugs[0].attach(&pools, &request(pool, pool)).expect("an attach");
        if pool == "ten" {
            // Nobody but the switch can answer the other host's probe now.
            down(&near);
        }
        let far = plugs[1].attach(&pools, &request(pool, pool)).expect("an attach");
        assert_ne!(far.address, near.address, "{pool}");
        if pool == "six" {
            down(&near);
        }
        assert_eq!(resolved(&far.namespace, near.address), Some(near.mac.to_string()), "{pool}");
        down(&far);
        run_in(&near.namespace, &["ip", "link", "set", "eth0", "up"]);
        let set = format!("{}/{}", near.address, near.prefix);
        let args = ["ip", "addr", "replace", &set, "dev", "eth0", "nodad"];
        run_in(&near.namespace, if pool == "six" { &args } else { &args[..6] });
        assert_eq!(resolved(&near.namespace, far.address), Some(far.mac.to_string()), "{pool}");
    }
}
