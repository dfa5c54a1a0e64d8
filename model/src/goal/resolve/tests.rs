//! Last good goals, orphans, generations and conflicts.

use super::*;
use crate::goal::parse;

fn host() -> HostFacts {
    HostFacts { name: "h".parse().unwrap(), memory_bytes: Some(8 << 30) }
}

fn entry(key: &str, data: &str) -> String {
    format!("{{\"{key}\": {{\"data\": {{{data}}}}}}}")
}

fn master(key: &str, port: u16) -> String {
    entry(key, &format!("\"role\": \"master\", \"port\": {port}, \"size\": \"1GiB\""))
}

fn files(texts: &[&str]) -> Vec<ParsedFile> {
    let named = |(at, text): (usize, &&str)| parse::file(&format!("{at}.json"), text);
    texts.iter().enumerate().map(named).collect()
}

/// What is in force after these files came to a host without any goals, all accepted.
fn in_force(texts: &[&str]) -> BTreeMap<EntryKey, PlacedEntry> {
    let goals = resolve(&host(), &files(texts), &BTreeMap::new());
    assert_eq!(goals.refusals, []);
    goals.in_force()
}

fn standing(goals: &Goals, key: &str) -> Option<Standing> {
    goals.own.get(&key.parse().unwrap()).map(|goal| goal.standing)
}

fn port(goals: &Goals, key: &str) -> u16 {
    goals.own[&key.parse().unwrap()].placed.entry.port
}

#[test]
fn entries_of_other_hosts_are_peers() {
    let goals = resolve(&host(), &files(&[&master("h-a", 1), &master("i-b", 1)]), &BTreeMap::new());
    assert_eq!((goals.own.len(), goals.peers.len()), (1, 1));
    let with_dash = r#"{"h-1-a": {"app_id": "a", "data":
        {"role": "master", "port": 1, "size": "all"}}}"#;
    let goals = resolve(&host(), &files(&[with_dash]), &BTreeMap::new());
    assert_eq!((goals.own.len(), goals.peers.len()), (0, 1), "app_id tells that the host is h-1");
}

#[test]
fn the_same_key_twice_names_both_files_and_keeps_the_last_good_goal() {
    let before = in_force(&[&master("h-a", 1)]);
    let goals = resolve(&host(), &files(&[&master("h-a", 2), &master("h-a", 3)]), &before);
    assert_eq!(goals.refusals.len(), 2);
    for refusal in &goals.refusals {
        let text = refusal.to_string();
        assert!(text.contains("0.json:1:") && text.contains("1.json:1:"), "{text}");
    }
    assert_eq!(standing(&goals, "h-a"), Some(Standing::LastGood));
    assert_eq!(port(&goals, "h-a"), 1);
}

#[test]
fn a_file_that_is_no_json_keeps_its_entries() {
    let before = in_force(&[&master("h-a", 1), &master("h-b", 2), &master("i-c", 3)]);
    let goals = resolve(&host(), &files(&["{", &master("h-b", 2), "["]), &before);
    assert_eq!(standing(&goals, "h-a"), Some(Standing::LastGood));
    assert_eq!(standing(&goals, "h-b"), Some(Standing::Current));
    assert!(goals.peers.contains_key(&"i-c".parse().unwrap()));
}

#[test]
fn an_entry_that_vanishes_is_an_orphan_and_a_peer_that_vanishes_is_forgotten() {
    let before = in_force(&[&master("h-a", 1), &master("i-c", 3)]);
    let goals = resolve(&host(), &[], &before);
    assert_eq!(standing(&goals, "h-a"), Some(Standing::Orphaned));
    assert!(goals.peers.is_empty());
    assert_eq!(goals.refusals, []);
}

#[test]
fn generations_only_grow() {
    let at = |generation: u64, port: u16| {
        format!(
            "{{\"h-a\": {{\"generation\": {generation}, \"data\": \
             {{\"role\": \"master\", \"port\": {port}, \"size\": \"all\"}}}}}}"
        )
    };
    let before = in_force(&[&at(5, 1)]);
    for (generation, new_port, accepted) in
        [(5, 1, true), (6, 2, true), (4, 2, false), (4, 1, false), (5, 2, false)]
    {
        let goals = resolve(&host(), &files(&[&at(generation, new_port)]), &before);
        assert_eq!(goals.refusals.is_empty(), accepted, "{generation} {new_port}");
        assert_eq!(port(&goals, "h-a"), if accepted { new_port } else { 1 });
    }
}

#[test]
fn what_is_in_force_wins_a_conflict() {
    let before = in_force(&[&master("h-a", 1)]);
    let goals = resolve(&host(), &files(&[&master("h-a", 1), &master("h-b", 1)]), &before);
    assert_eq!(standing(&goals, "h-a"), Some(Standing::Current));
    assert_eq!(standing(&goals, "h-b"), None);
    assert!(goals.refusals[0].problem.contains("port 1 in h-a and h-b"), "{:?}", goals.refusals);
}

#[test]
fn new_entries_in_conflict_are_all_refused() {
    let goals = resolve(&host(), &files(&[&master("h-a", 1), &master("h-b", 1)]), &BTreeMap::new());
    assert_eq!((goals.own.len(), goals.refusals.len()), (0, 2));
}

#[test]
fn falling_back_settles_the_conflict_it_makes() {
    let before = in_force(&[&master("h-a", 1), &master("h-b", 2)]);
    let swapped = files(&[&master("h-a", 2), &master("h-b", 1)]);
    assert_eq!(resolve(&host(), &swapped, &before).refusals, []);
    // h-b is refused for its size, so h-a can't have the port that h-b keeps.
    let greedy = master("h-b", 1).replace("1GiB", "9GiB").replace("master", "primary");
    let goals = resolve(&host(), &files(&[&master("h-a", 2), &greedy]), &before);
    assert_eq!((port(&goals, "h-a"), port(&goals, "h-b")), (1, 2));
}

#[test]
fn two_masters_of_a_cluster_need_one_disabled() {
    let member = |n: u8, disabled: bool| {
        entry(
            &format!("h-x-db{n}"),
            &format!(
                "\"role\": \"master\", \"name\": \"x-db{n}\", \"port\": {n}, \"size\": \"1GiB\", \
                 \"disabled\": {disabled}"
            ),
        )
    };
    let both = files(&[&member(1, false), &member(2, false)]);
    let goals = resolve(&host(), &both, &BTreeMap::new());
    assert!(goals.refusals[0].problem.contains("masters of cluster x"), "{:?}", goals.refusals);
    let one = files(&[&member(1, true), &member(2, false)]);
    assert_eq!(resolve(&host(), &one, &BTreeMap::new()).refusals, []);
}

#[test]
fn sizes_beyond_the_host_name_the_entries() {
    let sized = |key: &str, port: u16, size: &str| master(key, port).replace("1GiB", size);
    let texts = [sized("h-a", 1, "1/2"), sized("h-b", 2, "5GiB")];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let goals = resolve(&host(), &files(&texts), &BTreeMap::new());
    assert!(goals.refusals[0].problem.contains("h-a (1/2), h-b (5GiB)"), "{:?}", goals.refusals);
    assert!(goals.refusals[0].problem.contains("8192 MiB"));
    let away = HostFacts { memory_bytes: None, ..host() };
    assert_eq!(resolve(&away, &files(&texts), &BTreeMap::new()).refusals, []);
    let two = [sized("h-a", 1, "all"), sized("h-b", 2, "1/8")];
    let two: Vec<&str> = two.iter().map(String::as_str).collect();
    assert_eq!(resolve(&away, &files(&two), &BTreeMap::new()).refusals.len(), 2);
}

#[test]
fn a_cluster_is_named_by_its_master() {
    let minion = |key: &str, host: &str| {
        entry(
            key,
            &format!(
                "\"role\": \"minion\", \"port\": 9, \"size\": \"1GiB\", \
                 \"master_host\": \"{host}\", \"master_port\": 7"
            ),
        )
    };
    let texts = [
        entry("i-m-db1", "\"role\":\"master\",\"name\":\"shop-db1\",\"port\":7,\"size\":\"all\""),
        minion("h-by-key", "i-m-db1"),
        minion("i-by-host", "i"),
        minion("k-stranger-db12", "elsewhere"),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let goals = resolve(&host(), &files(&texts), &BTreeMap::new());
    assert_eq!(goals.refusals, []);
    let cluster =
        |key: &str| goals.cluster_of(goals.entry(&key.parse().unwrap()).unwrap()).to_string();
    assert_eq!(cluster("i-m-db1"), "shop");
    assert_eq!(cluster("h-by-key"), "shop");
    assert_eq!(cluster("i-by-host"), "shop");
    assert_eq!(cluster("k-stranger-db12"), "k-stranger");
}

/// A master in vlan mode on a port that all have.
fn vlan(key: &str, network: &str) -> String {
    let network = format!("{{\"mode\": \"vlan\", \"pool\": \"p\"{network}}}");
    master(key, 7).replace("}}}", &format!(", \"network\": {network}}}}}}}"))
}

fn follower(key: &str, network: &str, host: &str) -> String {
    let source = format!("\"minion\", \"master_host\": \"{host}\", \"master_port\": 7");
    vlan(key, network).replace("\"master\"", &source)
}

fn resolved(texts: &[String], before: &BTreeMap<EntryKey, PlacedEntry>) -> Goals {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    resolve(&host(), &files(&texts), before)
}

#[test]
fn in_vlan_mode_a_port_is_no_conflict_and_an_address_is() {
    let none = BTreeMap::new();
    let goals = resolved(&[vlan("h-a", ""), vlan("h-b", ""), master("h-c", 7)], &none);
    assert_eq!((goals.own.len(), goals.refusals), (3, Vec::new()));

    let same = |key: &str| vlan(key, ", \"ip\": \"10.1.0.5\"");
    let goals = resolved(&[same("h-a"), same("h-b")], &none);
    assert!(goals.refusals[0].problem.contains("10.1.0.5 in h-a and h-b"), "{:?}", goals.refusals);
    let before = resolved(&[same("h-a")], &none).in_force();
    let goals = resolved(&[same("h-a"), same("i-b")], &before);
    assert_eq!(goals.refusals.len(), 1, "another host's address counts too");
    assert!(goals.own.contains_key(&"h-a".parse().unwrap()));
    let goals = resolved(&[same("i-a"), same("i-b")], &none);
    assert_eq!(goals.refusals, [], "what other hosts have among themselves is theirs");

    let state = |key: &str, state: &str| {
        same(key).replacen("{\"data\"", &format!("{{\"state\": \"{state}\", \"data\""), 1)
    };
    assert_eq!(resolved(&[state("h-a", "stopped"), same("h-b")], &none).refusals.len(), 2);
    assert_eq!(resolved(&[state("h-a", "removed"), same("h-b")], &none).refusals, []);
}

#[test]
fn a_minion_and_its_master_have_addresses_of_one_family() {
    let at = |ip: &str| format!(", \"ip\": \"{ip}\"");
    let pair = |ip: &str| [vlan("h-a", &at("10.1.0.5")), follower("h-b", &at(ip), "h-a")];
    assert_eq!(resolved(&pair("10.1.0.6"), &BTreeMap::new()).refusals, []);
    let goals = resolved(&pair("fd00::6"), &BTreeMap::new());
    assert_eq!(goals.refusals.len(), 2);
    assert!(goals.refusals[0].problem.contains("both IPv4 or both IPv6"), "{:?}", goals.refusals);
}

#[test]
fn a_source_in_vlan_mode_is_named_by_key_by_name_or_by_host_where_that_is_clear() {
    let named = |key: &str, name: &str| {
        vlan(key, "").replace("\"port\"", &format!("\"name\": \"{name}\", \"port\""))
    };
    let source = |goals: &Goals| {
        let minion = &goals.own[&"h-m".parse().unwrap()].placed.entry;
        goals.source_of(minion).map(|placed| placed.key.to_string())
    };
    let two = [named("i-a", "shop-db1"), named("i-b", "bank-db1")];
    for (host, found) in [("i-b", "i-b"), ("shop-db1", "i-a")] {
        let texts = [two.to_vec(), vec![follower("h-m", "", host)]].concat();
        let goals = resolved(&texts, &BTreeMap::new());
        assert_eq!((goals.refusals.len(), source(&goals).as_deref()), (0, Some(found)), "{host}");
    }
    let texts = [two.to_vec(), vec![follower("h-m", "", "i")]].concat();
    let goals = resolved(&texts, &BTreeMap::new());
    assert!(goals.refusals[0].problem.contains("i:7, which i-a and i-b"), "{:?}", goals.refusals);
    assert_eq!(goals.refusals[0].field.as_deref(), Some("data.master_host"));
    // One master among several, or one of host mode, is clear enough.
    let texts = [two[0].clone(), follower("i-b", "", "i-a"), follower("h-m", "", "i")];
    assert_eq!(source(&resolved(&texts, &BTreeMap::new())).as_deref(), Some("i-a"));
    let texts = [two.to_vec(), vec![master("i-c", 7), follower("h-m", "", "i")]].concat();
    let goals = resolved(&texts, &BTreeMap::new());
    assert_eq!(source(&goals).as_deref(), Some("i-c"));
    let minion = &goals.own[&"h-m".parse().unwrap()].placed.entry;
    assert_eq!(goals.ambiguous_source(minion), []);
}

/// A quarter of this host's 8 GiB are 2 GiB, of which the server takes 1664 MiB.
#[test]
fn memory_high_of_a_share_is_checked_on_its_host() {
    let with = |high: &str| {
        let data = format!(
            "\"role\": \"master\", \"port\": 1, \"size\": \"1/4\", \"memory\": {{\"high\": \"{high}\"}}"
        );
        entry("h-a", &data)
    };
    for (high, good) in [("1664MiB", true), ("2047MiB", true), ("1663MiB", false), ("2GiB", false)]
    {
        let goals = resolve(&host(), &files(&[&with(high)]), &BTreeMap::new());
        assert_eq!(goals.refusals.is_empty(), good, "{high}: {:?}", goals.refusals);
        if let [refusal] = &goals.refusals[..] {
            assert_eq!(refusal.field.as_deref(), Some("data.memory.high"));
            assert!(refusal.problem.contains("expected at least 1664MiB"), "{refusal}");
        }
        let away = HostFacts { memory_bytes: None, ..host() };
        assert_eq!(resolve(&away, &files(&[&with(high)]), &BTreeMap::new()).refusals, []);
    }
}
