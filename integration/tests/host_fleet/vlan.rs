//! Three clusters in mode vlan, each in a VLAN of its own with its servers on two of three
//! hosts: each replicates, and nothing of one reaches another. Judged by mariadb, ping(8) and
//! TCP inside of the instances' namespaces, and by tcpdump(8) between the hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use berth_integration::{
    Entry, Fleet, Options, PATIENCE, client,
    fleet::{Capture, Frames, Watch},
    namespace::{command_in, inside},
    until,
};
use berth_model::EntryKey;
use nix::sys::signal::Signal;
use serde_json::json;

const HOSTS: [&str; 3] = ["host1", "host2", "host3"];
const FILE: &str = "goals.json";
const PORT: u16 = 3306;
/// An account of the test's own, for clients over the network.
const APP: (&str, &str) = ("app", "of-the-test");

/// A pool, its VLAN, and the hosts of its cluster's master and minion.
const CLUSTERS: [(&str, u8, [&str; 2]); 3] = [
    ("red", 10, ["host1", "host2"]),
    ("green", 20, ["host2", "host3"]),
    ("blue", 30, ["host3", "host1"]),
];

/// A server with an address of its own.
#[derive(Debug, Clone)]
struct Member {
    vlan: u8,
    address: Ipv4Addr,
    entry: Entry,
}

#[test]
fn clusters_in_vlans_replicate_and_do_not_reach_each_other() {
    let mut fleet = Fleet::new(&HOSTS, &Options { switch: true, ..Options::default() });
    let clusters = clusters();
    let members: Vec<Member> = clusters.iter().flatten().cloned().collect();
    let entries: Vec<Entry> = members.iter().map(|member| member.entry.clone()).collect();
    for host in fleet.hosts() {
        host.pools("pools.json", &pools());
    }
    let watches: Vec<Watch> =
        clusters.iter().map(|pair| Watch::begin(&fleet, &entries_of(pair))).collect();
    fleet.goal(FILE, &entries);
    let begun = Instant::now();
    fleet.start_agents();
    fleet.await_converged(&entries);
    eprintln!("figure: six servers in three VLANs on three hosts after {:?}", begun.elapsed());

    let capture = Capture::begin(&fleet);
    for [master, minion] in &clusters {
        rows_arrive_within(&fleet, master, minion);
    }
    neighbours_answer_and_others_do_not(&fleet, &members);
    only_members_send(&fleet, &members, &capture.end());
    fleet.await_converged(&entries);
    an_agents_end_interrupts_nothing(&mut fleet, &clusters[0], &entries);
    a_cut_uplink_is_told_and_caught_up(&fleet, &clusters[0]);
    for (watch, pair) in watches.into_iter().zip(&clusters) {
        let seen = watch.end();
        assert_eq!(seen.together, Vec::<[EntryKey; 2]>::new());
        assert_eq!(Vec::from_iter(seen.writable), [pair[0].entry.key()]);
    }
}

fn pools() -> String {
    let pool = |(name, vlan, _): (&str, u8, _)| {
        let subnet = format!("10.77.{vlan}.0/24");
        (name.to_owned(), json!({ "vlan": vlan, "subnet": subnet }))
    };
    serde_json::Value::Object(CLUSTERS.map(pool).into_iter().collect()).to_string()
}

fn clusters() -> Vec<[Member; 2]> {
    let pair = |(pool, vlan, hosts): (&str, u8, [&str; 2])| {
        let member = |number: u8, entry: Entry| {
            let address = Ipv4Addr::new(10, 77, vlan, 10 + number);
            let network = json!({ "mode": "vlan", "pool": pool, "ip": address.to_string() });
            Member { vlan, address, entry: entry.data("network", network) }
        };
        let master = Entry::master(&format!("{pool}-db1"), PORT).on(hosts[0]);
        let minion = Entry::minion(&format!("{pool}-db2"), PORT, PORT)
            .on(hosts[1])
            .data("master_host", json!(master.key()));
        [member(1, master), member(2, minion)]
    };
    CLUSTERS.map(pair).to_vec()
}

fn entries_of(pair: &[Member; 2]) -> Vec<Entry> {
    pair.iter().map(|member| member.entry.clone()).collect()
}

/// Where an instance is in the network, as its host's agent pinned it.
fn namespace_of(fleet: &Fleet, member: &Member) -> PathBuf {
    fleet.host_of(&member.entry).instance_namespace(&member.entry.key())
}

/// Written from the minion's place in the network, and read from the master's.
fn rows_arrive_within(fleet: &Fleet, master: &Member, minion: &Member) {
    fleet.sql(
        &master.entry,
        "CREATE USER app@'%' IDENTIFIED BY 'of-the-test'; GRANT ALL ON app.* TO app@'%'; \
         CREATE DATABASE app; CREATE TABLE app.t (v TEXT)",
    );
    let ask = |from: &Member, to: &Member, sql: &str| {
        let server = SocketAddr::new(to.address.into(), PORT);
        client::ask_at(Some(&namespace_of(fleet, from)), server, APP, sql)
    };
    let text = format!("of VLAN {}", master.vlan);
    ask(minion, master, &format!("INSERT INTO app.t VALUES ('{text}')")).unwrap();
    let mut last = Ok(String::new());
    let found = until(PATIENCE, || {
        last = ask(master, minion, "SELECT v FROM app.t");
        (last.as_ref() == Ok(&text)).then_some(())
    });
    assert!(found.is_some(), "{}: {last:?}", minion.entry.key());
}

/// Every server reaches the other of its VLAN and none of another, although it is given an
/// address in each of the others' subnets, as a tenant of ill will would.
fn neighbours_answer_and_others_do_not(fleet: &Fleet, members: &[Member]) {
    // Meanwhile no agent may take the wrong addresses away.
    fleet.hosts().for_each(|host| host.agent().signal(Signal::SIGSTOP));
    for member in members {
        for (_, vlan, _) in CLUSTERS.iter().filter(|(_, vlan, _)| *vlan != member.vlan) {
            let wrong =
                format!("10.77.{vlan}.{}/24", 100 + member.vlan + member.address.octets()[3]);
            ip_in(fleet, member, &["address", "add", &wrong, "dev", "eth0"]);
        }
    }
    let pairs = members.iter().flat_map(|from| members.iter().map(move |to| (from, to)));
    let tries: Vec<_> = pairs
        .filter(|(from, to)| from.address != to.address)
        .map(|(from, to)| {
            let (there, target, same) =
                (namespace_of(fleet, from), to.address, from.vlan == to.vlan);
            thread::spawn(move || {
                let found = (pings(&there, target), connects(&there, target));
                assert_eq!(found, (same, same), "{} to {target}", there.display());
            })
        })
        .collect();
    assert_eq!(tries.len(), 30);
    for one in tries {
        one.join().expect("who is reached is as it should be");
    }
    fleet.hosts().for_each(|host| host.agent().signal(Signal::SIGCONT));
}

/// Runs ip(8) where an instance is, and tells what it prints.
fn ip_in(fleet: &Fleet, member: &Member, arguments: &[&str]) -> String {
    let mut command = command_in(Some(&namespace_of(fleet, member)), "ip");
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether one of a few pings is answered.
fn pings(from: &Path, to: Ipv4Addr) -> bool {
    let mut command = command_in(Some(from), "ping");
    command.args(["-n", "-q", "-c", "3", "-i", "0.3", "-W", "2", &to.to_string()]);
    // 1: no answer; anything else says that nothing was asked.
    match command.stdout(Stdio::null()).status().unwrap().code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("ping ends with {other:?}"),
    }
}

fn connects(from: &Path, to: Ipv4Addr) -> bool {
    let server = SocketAddr::new(to.into(), PORT);
    inside(from, move || TcpStream::connect_timeout(&server, Duration::from_secs(2)).is_ok())
}

/// In every VLAN, only its servers speak and are spoken to.
fn only_members_send(fleet: &Fleet, members: &[Member], seen: &BTreeMap<Option<u16>, Frames>) {
    let mac = |member: &Member| {
        let link = ip_in(fleet, member, &["-br", "link", "show", "eth0"]);
        link.split_ascii_whitespace().nth(2).expect("name, state, address").to_owned()
    };
    for (name, vlan, _) in CLUSTERS {
        let own: BTreeSet<String> =
            members.iter().filter(|member| member.vlan == vlan).map(mac).collect();
        let frames = &seen[&Some(u16::from(vlan))];
        eprintln!("figure: {} frames of VLAN {vlan} ({name}) between hosts", frames.count);
        assert_eq!(own.len(), 2);
        assert_eq!(frames.from, own, "who sends in VLAN {vlan}");
        assert_eq!(frames.to, own, "who is sent to in VLAN {vlan}");
        let untagged = seen.get(&None).cloned().unwrap_or_default();
        assert!(untagged.from.is_disjoint(&own) && untagged.to.is_disjoint(&own), "{untagged:?}");
    }
    let vlans = CLUSTERS.map(|(_, vlan, _)| Some(u16::from(vlan)));
    assert!(seen.keys().flatten().all(|vlan| vlans.contains(&Some(*vlan))), "{seen:?}");
}

/// A steady ping, connections of replication and the servers themselves outlive an agent.
fn an_agents_end_interrupts_nothing(fleet: &mut Fleet, pair: &[Member; 2], entries: &[Entry]) {
    const DUMPS: &str = "SELECT GROUP_CONCAT(ID) FROM performance_schema.processlist \
                         WHERE COMMAND = 'Binlog Dump GTID'";
    let [master, minion] = pair;
    let servers = fleet.pids(entries);
    let connection = fleet.sql(&master.entry, DUMPS);
    let ping = SteadyPing::begin(&namespace_of(fleet, minion), master.address);
    for host in [master, minion].map(|member| member.entry.host().to_owned()) {
        fleet.host_mut(&host).end_agent(Signal::SIGKILL);
        fleet.host_mut(&host).start_agent();
    }
    fleet.await_converged(entries);
    let (sent, received) = ping.end();
    eprintln!("figure: {received} of {sent} pings answered while agents were killed and started");
    assert!(sent > 20, "it must have gone on for some time: {sent}");
    assert_eq!(received, sent);
    assert_eq!(fleet.sql(&master.entry, DUMPS), connection, "replication went on");
    assert_eq!(fleet.pids(entries), servers, "no server was restarted");
}

/// The minion's agent asks the master from the minion's place in the network, so it is the
/// first to notice.
fn a_cut_uplink_is_told_and_caught_up(fleet: &Fleet, [master, minion]: &[Member; 2]) {
    let cut = [master.entry.host(), minion.entry.host()];
    fleet.fabric().part(&cut);
    let note = format!("its source {}:{PORT} does not answer this agent", master.address);
    fleet.host_of(&minion.entry).await_instance(&minion.entry.key(), &note, |instance| {
        instance.notes.iter().any(|found| found.contains(&note))
    });
    fleet.sql(&master.entry, "INSERT INTO app.t VALUES ('written while cut off')");
    fleet.fabric().heal(&cut);
    let rows = "SELECT COUNT(*) FROM app.t";
    fleet.host_of(&minion.entry).await_answer(&minion.entry.key(), rows, "2");
}

/// 20 pings a second until it is ended, none of which is given up before 10 seconds.
struct SteadyPing {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl SteadyPing {
    fn begin(from: &Path, to: Ipv4Addr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, from, to) = (Arc::clone(&stop), from.to_owned(), to.to_string());
        let thread = thread::spawn(move || {
            let (mut sent, mut received) = (0, 0);
            while !end.load(Ordering::Relaxed) {
                let mut command = command_in(Some(&from), "ping");
                command.args(["-n", "-q", "-c", "20", "-i", "0.05", "-W", "10", &to]);
                let output = command.output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let (these, answered) = counts(&text).unwrap_or_else(|| panic!("ping: {text}"));
                (sent, received) = (sent + these, received + answered);
            }
            (sent, received)
        });
        Self { stop, thread }
    }

    /// How many were sent, and how many answered.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("pings that can be counted")
    }
}

/// `20 packets transmitted, 20 received, 0% packet loss, time 950ms`
fn counts(text: &str) -> Option<(usize, usize)> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let (sent, rest) = line.split_once(" packets transmitted, ")?;
    let (received, _) = rest.split_once(" received")?;
    Some((sent.parse().ok()?, received.parse().ok()?))
}
