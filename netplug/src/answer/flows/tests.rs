use super::*;
use crate::lease::{Generation, LeaseStore, Leases, Wanted as Asked};
use crate::name::HostName;
use crate::pool::PoolSet;
use crate::tag::Tag;

/// Two leases, of which the second is not confirmed.
fn leases() -> Leases {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LeaseStore::new(dir.path().to_owned(), std::time::Duration::from_secs(5));
    store.set_up().expect("a store");
    let text = r#"{"p": {"vlan": 10, "subnet": "10.0.0.0/24"}}"#;
    let pools = PoolSet::from_files(&[("p.json".into(), text.into())]);
    let pool = pools.iter().next().expect("a pool");
    let exclude = BTreeSet::new();
    for name in ["db1", "db2"] {
        let owner = &Owner::new(name).expect("a name");
        let asked = Asked { owner, pool, address: None, exclude: &exclude, in_use: None };
        let lease = store.acquire(asked).expect("a lease");
        if name == "db1" {
            store.confirm(&lease).expect("the lease");
        }
    }
    store.list().expect("the leases")
}

fn port(owner: &str, address: &str, generation: u64) -> PortRow {
    let tag = Tag {
        host: HostName::new("h1").expect("a name"),
        owner: Owner::new(owner).expect("a name"),
        address: address.parse().expect("an address"),
        generation: Generation(generation),
    };
    PortRow {
        uuid: owner.to_owned(),
        name: owner.to_owned(),
        bridge: "br".to_owned(),
        access: Some(10),
        tag: Some(tag),
        number: Some(3),
        error: None,
    }
}

fn flows(ports: &[PortRow], uplink: Option<&UplinkRow>) -> Vec<Flow> {
    let leases = leases();
    let leases = leases.iter().map(|lease| (&lease.owner, lease)).collect();
    Wanted { bridge: "br", ports, leases: &leases, uplink }.flows()
}

#[test]
fn only_what_is_in_service_is_answered_for() {
    let good = port("db1", "10.0.0.1", 1);
    let flows_of = |port: PortRow| flows(&[port], None).len();
    assert_eq!(flows_of(good.clone()), 1 + 3 + 1);
    let others = [
        port("db2", "10.0.0.2", 2),
        port("db3", "10.0.0.3", 3),
        port("db1", "10.0.0.1", 9),
        port("db1", "10.0.0.9", 1),
        PortRow { bridge: "other".to_owned(), ..good.clone() },
        PortRow { number: None, ..good.clone() },
        PortRow { access: None, ..good.clone() },
        PortRow { error: Some("gone".to_owned()), ..good.clone() },
        PortRow { tag: None, ..good },
    ];
    for port in others {
        assert_eq!(flows_of(port.clone()), 1, "{port:?}");
    }
}

#[test]
fn what_leads_to_a_table_comes_after_what_is_in_it() {
    let uplink = UplinkRow {
        uuid: "u".to_owned(),
        bridge: "br".to_owned(),
        ours: true,
        trunks: vec![10, 20],
        number: Some(1),
    };
    let flows = flows(&[port("db1", "10.0.0.1", 1)], Some(&uplink));
    let (answering, sorting) = flows.split_at(4);
    assert!(answering.iter().all(|flow| flow.table == ANSWERING));
    assert_eq!((answering[0].priority, &answering[0].matches), (0, &Match::default()));
    assert!(sorting.iter().all(|flow| flow.table == SORTING && flow.priority == SORT));
    // One of the port; of each VLAN of the uplink one for ARP and one for IPv6.
    assert_eq!(sorting.len(), 1 + 2 * 2);
    let cookies: BTreeSet<u64> = flows.iter().map(|flow| flow.cookie).collect();
    assert_eq!(cookies.len(), flows.len());
    let within = |cookies: Cookies, cookie: u64| cookie & cookies.mask == cookies.value;
    assert!(flows.iter().all(|flow| within(ours(), flow.cookie)));
    let db1 = of_owner(&Owner::new("db1").expect("a name"));
    assert_eq!(flows.iter().filter(|flow| within(db1, flow.cookie)).count(), 4);
}

#[test]
fn a_difference_names_what_to_add_and_what_to_remove() {
    let before = flows(&[port("db1", "10.0.0.1", 1)], None);
    let present: BTreeSet<u64> = before.iter().map(|flow| flow.cookie).collect();
    assert!(Difference::between(&present, before.clone()).is_empty());
    let moved = PortRow { access: Some(11), ..port("db1", "10.0.0.1", 1) };
    let difference = Difference::between(&present, flows(&[moved], None));
    assert_eq!((difference.add.len(), difference.remove.len()), (4, 4));
    let none = Difference::between(&present, flows(&[], None));
    assert_eq!((none.add.len(), none.remove.len()), (0, 4));
    let all = Difference::between(&BTreeSet::new(), before.clone());
    assert_eq!(all.add, before);
    assert_eq!(
        all.words().expect("words"),
        "answer for addresses: 5 flows are missing, 0 are too many"
    );
}
