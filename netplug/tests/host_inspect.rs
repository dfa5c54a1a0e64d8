//! Looking without touching: what `inspect` tells of each situation, and that it leaves
//! everything as it is. Judged by `ip` and `ovs-vsctl` through the census.

mod support;

use berth_netplug::{AttachRequest, Goal, Netplug, PoolName, Rates, Standing, pool::PoolSet};
use support::{Host, goal, owner, request};

fn standing(host: &Host, plug: &Netplug, wanted: &Goal, name: &str) -> Standing {
    let before = host.census();
    let found = look(host, plug, wanted, name);
    assert_eq!(host.census(), before, "looking changes nothing");
    found
}

fn look(host: &Host, plug: &Netplug, wanted: &Goal, name: &str) -> Standing {
    let found = plug.inspect(&host.pools(), wanted).expect("a look");
    found.owners[&owner(name)].clone()
}

fn wants(host: &Host, plug: &Netplug, wish: &AttachRequest) -> Standing {
    standing(host, plug, &goal(std::slice::from_ref(wish), &[]), wish.owner.as_str())
}

#[test]
fn what_is_there_and_what_is_missing_is_told() {
    let mut host = Host::start();
    let plug = Netplug::open(host.config()).expect("the crate's directories");
    assert_eq!(plug.inspect_bridge().expect("a look"), ["Create"]);
    plug.ensure_bridge().expect("a bridge");
    assert_eq!(plug.inspect_bridge().expect("a look"), [""; 0]);

    let mut wish = request("db1", "ten");
    let none = wants(&host, &plug, &wish);
    assert_eq!((none.todo, none.place), (vec!["lease an address of pool ten".to_owned()], None));
    let made = plug.attach(&host.pools(), &wish).expect("an attach");
    let right = wants(&host, &plug, &wish);
    assert_eq!((&right.todo, &right.blocked), (&Vec::new(), &Vec::new()));
    let place = right.place.expect("a place");
    assert_eq!((place.address, place.prefix), (made.address, made.prefix));
    assert_eq!((&place.namespace, &place.link), (&made.namespace, &made.link));
    assert_eq!((place.vlan, place.rates), (Some(made.vlan), wish.rates));
    assert!(right.counters.expect("counters").out_packets > 0, "it announced itself");

    wish.rates = Rates { inbound: "10Mbit".parse().ok(), outbound: None };
    let other_rates = wants(&host, &plug, &wish);
    assert_eq!(other_rates.todo.len(), 2, "{other_rates:?}");
    assert!(other_rates.place.is_some() && !other_rates.replaces);

    for (pool, address, replaces, why) in [
        ("twenty", None, true, ""),
        ("ten", Some("10.20.0.77"), true, ""),
        ("ten", Some("10.20.0.1"), true, "outside the ranges"),
        ("nowhere", None, true, "not there or was refused"),
    ] {
        wish.pool = PoolName::new(pool).expect("a name");
        wish.address = address.and_then(|address| address.parse().ok());
        let seen = wants(&host, &plug, &wish);
        assert_eq!(seen.replaces, replaces, "{pool} {address:?}");
        assert_eq!(seen.blocked.is_empty(), why.is_empty(), "{pool} {address:?}: {seen:?}");
        assert!(seen.blocked.concat().contains(why), "{:?}", seen.blocked);
        assert!(seen.place.is_some(), "what it has stays known");
    }

    // The pool is refused, as by a slip of the pen: that takes nothing from who has an address.
    let file = host.dir().join("pools.d/10.json");
    let text = std::fs::read_to_string(&file).expect("the pools");
    std::fs::write(&file, text.replace("\"vlan\": 10", "\"vlan\": 5000")).expect("a slip");
    let (wish, pools) =
        (request("db1", "ten"), PoolSet::load(&host.dir().join("pools.d")).expect("the pools"));
    let found = plug.inspect(&pools, &goal(&[wish], &[])).expect("a look");
    let kept = &found.owners[&owner("db1")];
    assert!(!kept.replaces && kept.place.is_some(), "{kept:?}");
    assert!(kept.blocked.concat().contains("was refused"));
    std::fs::write(&file, text).expect("the pools");

    let gone = standing(&host, &plug, &goal(&[], &["db1"]), "db1");
    assert!(gone.todo.iter().any(|step| step.starts_with("release")), "{gone:?}");

    // The switch's database is gone: what is there is known still, and may be served at.
    host.stop_database();
    let wish = request("db1", "ten");
    let blind = look(&host, &plug, &goal(&[wish], &[]), "db1");
    assert!(blind.blocked.concat().contains("the switch can't be read"), "{blind:?}");
    assert_eq!(blind.place.as_ref().map(|place| place.address), Some(made.address));
    assert_eq!((blind.todo, blind.place.expect("a place").vlan), (Vec::new(), None));
    let stranger = look(&host, &plug, &goal(&[], &["db9"]), "db9");
    assert_eq!(stranger, Standing::default(), "nothing tells of it");
    let blocked = look(&host, &plug, &goal(&[], &["db1"]), "db1");
    assert!(!blocked.blocked.is_empty(), "what is there can't be removed blindly");
}

#[test]
fn an_exhausted_pool_is_told_before_anything_is_tried() {
    let host = Host::start();
    let plug = host.plug();
    let pools = host.pools();
    let mut names = Vec::new();
    for number in 1.. {
        let wish = request(&format!("db{number}"), "tiny");
        let seen = wants(&host, &plug, &wish);
        if !seen.blocked.is_empty() {
            assert!(seen.blocked.concat().contains("no free address"), "{seen:?}");
            break;
        }
        plug.attach(&pools, &wish).expect("an attach");
        names.push(wish);
    }
    assert_eq!(names.len(), 2, "a /30 has two addresses");
    // Whoever holds one may ask for that very one.
    let mut own = names[0].clone();
    own.address = plug.leases().expect("leases").first().map(|lease| lease.address);
    assert_eq!(wants(&host, &plug, &own).blocked, [""; 0]);
}
