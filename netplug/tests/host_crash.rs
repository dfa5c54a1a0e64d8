//! What ends without warning: agents at every point, the switch's daemon, the host,
//! and directories that vanish. Judged by `ip`, `ovs-vsctl` and `ping`.

mod support;

use std::fs;
use std::process::Command;

use berth_netplug::failpoint::Failpoint;
use berth_netplug::{Attachment, Outcome, PlugError};
use support::{Census, Host, Process, goal, owner, pings, request, run, wait};

/// Not a test: what other tests run as a process that dies.
#[test]
#[ignore = "other tests run it as a child process"]
fn child() {
    support::child_main();
}

fn attached(report: &berth_netplug::Report, name: &str) -> Attachment {
    match &report.owners[&owner(name)] {
        Outcome::Attached(attachment) => attachment.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn an_attach_that_dies_anywhere_is_finished_by_the_next_pass() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let neighbour = plug.attach(&pools, &request("neighbour", "ten")).expect("an attach");
    for point in Failpoint::ATTACH {
        host.die_at(&point.name(), "ten", "db1");
        let wishes = [request("db1", "ten"), request("neighbour", "ten")];
        let report = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
        let repaired = attached(&report, "db1");
        assert_eq!(attached(&report, "neighbour").done, Vec::<String>::new(), "{point:?}");
        assert!(report.orphans.is_empty() && report.strays.is_empty(), "{point:?}: {report:?}");
        assert_eq!(host.census(), Census::of(&[&repaired, &neighbour]), "{point:?}");
        assert!(pings(&repaired.namespace, neighbour.address), "{point:?}");
        plug.detach(&owner("db1")).expect("a detach");
        assert_eq!(host.census(), Census::of(&[&neighbour]), "{point:?}");
    }
}

#[test]
fn an_attach_that_dies_anywhere_can_be_detached() {
    let host = Host::start();
    let plug = host.plug();
    for point in Failpoint::ATTACH {
        host.die_at(&point.name(), "ten", "db1");
        plug.detach(&owner("db1")).expect("a detach");
        assert_eq!(host.census(), Census::default(), "{point:?}");
    }
}

#[test]
fn a_detach_that_dies_anywhere_is_finished_by_the_next_pass() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    for point in Failpoint::DETACH {
        let wish = request("db1", "ten");
        plug.attach(&pools, &wish).expect("an attach");
        host.die_at(&point.name(), "detach", "db1");
        let report = plug.reconcile(&pools, &goal(&[], &["db1"])).expect("a pass");
        let outcome = &report.owners[&owner("db1")];
        assert!(matches!(outcome, Outcome::Detached(_)), "{point:?}: {outcome:?}");
        assert_eq!(host.census(), Census::default(), "{point:?}");

        // The same, when the instance is wanted back.
        let before = plug.attach(&pools, &wish).expect("an attach");
        host.die_at(&point.name(), "detach", "db1");
        let report = plug.reconcile(&pools, &goal(&[wish], &[])).expect("a pass");
        let after = attached(&report, "db1");
        assert_eq!(after.address, before.address, "{point:?}");
        assert_eq!(host.census(), Census::of(&[&after]), "{point:?}");
        plug.detach(&owner("db1")).expect("a detach");
    }
}

#[test]
fn after_a_reboot_everything_comes_back_at_its_address() {
    let mut host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let wishes: Vec<_> = ["db1", "db2", "db3"].map(|name| request(name, "ten")).into();
    let before: Vec<_> =
        wishes.iter().map(|wish| plug.attach(&pools, wish).expect("an attach")).collect();
    host.stop_daemon();
    for made in &before {
        run("ip", &["link", "del", &made.link]);
        run("umount", &[support::text(&made.namespace)]);
    }
    fs::remove_dir_all(host.dir().join("run")).expect("an empty /run");
    host.start_daemon();
    let plug = host.plug();
    let report = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
    let after: Vec<_> = ["db1", "db2", "db3"].map(|name| attached(&report, name)).into();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.address, after.address);
    }
    assert_eq!(host.census(), Census::of(&after.iter().collect::<Vec<_>>()));
    assert!(pings(&after[0].namespace, after[1].address));
}

#[test]
fn a_lost_pin_is_restored_from_the_running_container() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let mut wish = request("db1", "ten");
    let made = plug.attach(&pools, &wish).expect("an attach");
    let net = format!("--net={}", support::text(&made.namespace));
    let mut command = Command::new("nsenter");
    command.args([&net, "sleep", "1000"]);
    let mysqld = Process::start(command);
    let live = mysqld.namespace();
    let inode = fs::read_link(&live).expect("its namespace");
    run("umount", &[support::text(&made.namespace)]);
    fs::remove_dir_all(host.dir().join("run")).expect("an emptied run directory");

    wish.live_namespace = Some(live);
    let plug = host.plug();
    let again = plug.attach(&pools, &wish).expect("a repair");
    assert_eq!(again.done.len(), 1, "only the pin: {:?}", again.done);
    let pinned = support::inside(&again.namespace, || {
        fs::read_link("/proc/thread-self/ns/net").expect("a namespace")
    });
    assert_eq!(pinned, inode);
    assert_eq!(host.census(), Census::of(&[&again]));
}

#[test]
fn lost_leases_change_no_address_and_remove_nothing() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let mut wish = request("db1", "ten");
    wish.address = "10.20.0.55".parse().ok();
    let made = plug.attach(&pools, &wish).expect("an attach");
    plug.attach(&pools, &request("db2", "ten")).expect("an attach");
    fs::remove_dir_all(host.dir().join("state")).expect("the leases are lost");
    let error = plug.reconcile(&pools, &goal(&[], &[])).expect_err("nothing is known");
    assert!(matches!(error, PlugError::Lease(_)), "{error:?}");
    let plug = host.plug();
    let report = plug.reconcile(&pools, &goal(&[request("db1", "ten")], &[])).expect("a pass");
    assert_eq!(attached(&report, "db1").address, made.address);
    assert_eq!(attached(&report, "db1").link, made.link);
    assert_eq!(report.strays.into_iter().collect::<Vec<_>>(), [owner("db2")]);
    assert_eq!(host.census().links.len(), 2, "the stray one is left alone");
    plug.reconcile(&pools, &goal(&[], &["db2"])).expect("a pass");
    assert_eq!(host.census(), Census::of(&[&made]));
}

#[test]
fn the_daemon_may_restart_at_any_time() {
    let mut host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |name| plug.attach(&pools, &request(name, "ten")).expect("an attach");
    let (one, two) = (attach("db1"), attach("db2"));
    host.stop_daemon();
    host.start_daemon();
    wait("the switch to be back", || pings(&one.namespace, two.address));
    let wishes = [request("db1", "ten"), request("db2", "ten")];
    let report = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
    assert_eq!(attached(&report, "db1").address, one.address);
    assert_eq!(host.census(), Census::of(&[&one, &two]));
}
