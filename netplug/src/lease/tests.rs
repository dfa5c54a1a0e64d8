use proptest::prelude::*;

use super::*;
use crate::pool::PoolSet;

const PATIENCE: Duration = Duration::from_secs(20);

fn pool(fields: &str) -> Pool {
    let text = format!(r#"{{"p": {{"vlan": 7, {fields}}}}}"#);
    let set = PoolSet::from_files(&[(PathBuf::from("p.json"), text.into_bytes())]);
    assert_eq!(set.refused(), []);
    set.iter().next().expect("the pool").clone()
}

fn owner(name: &str) -> Owner {
    Owner::new(name).expect("a good name")
}

fn store(dir: &Path) -> LeaseStore {
    let store = LeaseStore::new(dir.join("leases"), PATIENCE);
    store.set_up().expect("a fresh store");
    store
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const NONE: &BTreeSet<IpAddr> = &BTreeSet::new();

fn wanted<'a>(owner: &'a Owner, pool: &'a Pool, address: Option<&str>) -> Wanted<'a> {
    Wanted { owner, pool, address: address.map(ip), exclude: NONE, in_use: None }
}

#[test]
fn an_owner_keeps_its_address() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    let first = store.acquire(wanted(&owner("a"), &pool, None)).expect("a lease");
    assert_eq!(first.address, ip("10.0.0.1"));
    assert!(!first.confirmed);
    let again = store.acquire(wanted(&owner("a"), &pool, None)).expect("the same");
    assert_eq!(again, first);
    let other = store.acquire(wanted(&owner("b"), &pool, None)).expect("another");
    assert_eq!(other.address, ip("10.0.0.2"));
    assert!(other.generation > first.generation);
}

#[test]
fn a_released_address_comes_back_in_a_new_generation() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    let first = store.acquire(wanted(&owner("a"), &pool, None)).expect("a lease");
    store.confirm(&first).expect("its confirmation");
    store.release(&first).expect("its release");
    let second = store.acquire(wanted(&owner("a"), &pool, None)).expect("a second lease");
    assert_eq!(second.address, first.address);
    assert!(second.generation > first.generation && !second.confirmed);
    let stale = store.release(&first);
    assert!(matches!(stale, Err(LeaseError::Stale { .. })), "{stale:?}");
    let stale = store.confirm(&first);
    assert!(matches!(stale, Err(LeaseError::Stale { .. })), "{stale:?}");
    let host = HostName::new("h").expect("a good name");
    assert_ne!(first.link_name(&host), second.link_name(&host));
    assert!(first.link_name(&host).len() <= 15);
}

#[test]
fn a_wanted_address_is_given_or_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = store(dir.path());
    let pool = pool(r#""subnet": "10.0.0.0/24", "gateway": "10.0.0.1", "reserved": ["10.0.0.9"]"#);
    let (a, b) = (owner("a"), owner("b"));
    let lease = store.acquire(wanted(&a, &pool, Some("10.0.0.77"))).expect("the wanted one");
    assert_eq!(lease.address, ip("10.0.0.77"));
    let refused = |address: &str| match store.acquire(wanted(&b, &pool, Some(address))) {
        Err(LeaseError::Choose { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused("10.0.0.77"), ChooseError::Taken { .. }));
    assert!(matches!(refused("10.0.0.1"), ChooseError::NotOffered { .. }));
    assert!(matches!(refused("10.0.0.9"), ChooseError::NotOffered { .. }));
    assert!(matches!(refused("10.0.1.9"), ChooseError::NotOffered { .. }));
    let moved = store.acquire(wanted(&a, &pool, Some("10.0.0.78")));
    assert!(matches!(moved, Err(LeaseError::HoldsAnother { .. })), "{moved:?}");
}

#[test]
fn an_exhausted_pool_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = store(dir.path());
    let pool = pool(
        r#""subnet": "10.0.0.0/29", "gateway": "10.0.0.1", "reserved": ["10.0.0.3-10.0.0.5"]"#,
    );
    for (name, address) in [("a", "10.0.0.2"), ("b", "10.0.0.6")] {
        let lease = store.acquire(wanted(&owner(name), &pool, None)).expect("a lease");
        assert_eq!(lease.address, ip(address));
    }
    match store.acquire(wanted(&owner("c"), &pool, None)) {
        Err(LeaseError::Choose { source: ChooseError::Exhausted { .. }, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_damaged_lease_keeps_its_address_and_stops_new_leases_only() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    let (a, b) = (owner("a"), owner("b"));
    store.acquire(wanted(&a, &pool, None)).expect("a lease");
    fs::write(store.dir.join("10.0.0.2.json"), "{").expect("a damaged file");
    store.acquire(wanted(&a, &pool, None)).expect("a held lease still works");
    let refused = store.acquire(wanted(&b, &pool, None));
    assert!(matches!(refused, Err(LeaseError::Unreadable(_))), "{refused:?}");
    assert_eq!(store.list().expect("a list").unreadable().len(), 1);
}

#[test]
fn a_misnamed_lease_is_not_believed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    store.acquire(wanted(&owner("a"), &pool, None)).expect("a lease");
    fs::copy(store.dir.join("10.0.0.1.json"), store.dir.join("10.0.0.4.json")).expect("a copy");
    let leases = store.list().expect("a list");
    assert!(matches!(leases.unreadable(), [Unreadable::Name { .. }]), "{leases:?}");
}

#[test]
fn an_emptied_directory_is_lost_and_not_empty() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    let lease = store.acquire(wanted(&owner("a"), &pool, None)).expect("a lease");
    for entry in fs::read_dir(&store.dir).expect("the directory") {
        fs::remove_file(entry.expect("an entry").path()).expect("its removal");
    }
    let listed = store.list();
    assert!(matches!(listed, Err(LeaseError::Lost { .. })), "{listed:?}");
    store.set_up().expect("a new start");
    let a = owner("a");
    let kept =
        Wanted { in_use: Some((ip("10.0.0.5"), lease.generation)), ..wanted(&a, &pool, None) };
    let kept = store.acquire(kept).expect("what the kernel carries");
    assert_eq!((kept.address, kept.generation), (ip("10.0.0.5"), lease.generation));
    assert!(kept.confirmed);
    let next = store.acquire(wanted(&owner("b"), &pool, None)).expect("a lease");
    assert!(next.generation > kept.generation);
}

#[test]
fn unfinished_writes_are_no_leases() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/29""#));
    fs::write(store.dir.join(".new-10.0.0.1.json"), "{\"addr").expect("a leftover");
    let lease = store.acquire(wanted(&owner("a"), &pool, None)).expect("a lease");
    assert_eq!(lease.address, ip("10.0.0.1"));
    assert_eq!(store.list().expect("a list").iter().count(), 1);
}

#[test]
fn many_at_once_never_get_the_same() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (store, pool) = (store(dir.path()), pool(r#""subnet": "10.0.0.0/25""#));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, pool) = (&store, &pool);
            scope.spawn(move || {
                for turn in 0..8 {
                    let owner = owner(&format!("o{thread}-{turn}"));
                    store.acquire(wanted(&owner, pool, None)).expect("a lease");
                }
            });
        }
    });
    let leases = store.list().expect("a list");
    let generations: BTreeSet<_> = leases.iter().map(|lease| lease.generation).collect();
    assert_eq!((leases.iter().count(), generations.len()), (64, 64));
}

proptest! {
    #[test]
    fn the_choice_is_free_and_offered_or_nothing_is_left(taken in prop::collection::btree_set(0u8..32, 0..32), reserved in prop::collection::vec(1u8..31, 0..4)) {
        let list: Vec<_> = reserved.iter().map(|n| format!("\"10.0.0.{n}\"")).collect();
        let pool = pool(&format!(
            r#""subnet": "10.0.0.0/27", "gateway": "10.0.0.30", "reserved": [{}]"#,
            list.join(",")
        ));
        let is_taken = |address: IpAddr| match address {
            IpAddr::V4(v4) => taken.contains(&v4.octets()[3]),
            IpAddr::V6(_) => false,
        };
        let free = |n: u8| {
            let address = ip(&format!("10.0.0.{n}"));
            pool.offers(address) && !is_taken(address)
        };
        let lowest = (0..32).find(|n| free(*n)).map(|n| ip(&format!("10.0.0.{n}")));
        prop_assert_eq!(choose(&pool, None, is_taken).ok(), lowest);
    }
}
