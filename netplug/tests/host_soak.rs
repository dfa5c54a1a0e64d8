//! Many at once, and many times over.
//!
//! The short form runs with `cargo test`; `BERTH_SOAK_COUNT` sets how many cycles of
//! attach and detach there are, and `BERTH_SOAK_SEED` which ones are killed. The times
//! that are printed are measured, and nothing depends on them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_netplug::{Netplug, Outcome};
use support::{Census, Host, goal, owner, request};

const THREADS: usize = 8;

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        // As make passes what was not given.
        Ok(text) if text.is_empty() => default,
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

/// Not a test: what other tests run as a process that dies.
#[test]
#[ignore = "other tests run it as a child process"]
fn child() {
    support::child_main();
}

/// Runs `work` for each number below `count`, eight at a time; how long each took.
fn at_once(count: usize, work: impl Fn(usize) + Sync) -> Vec<Duration> {
    let (next, times) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= count {
                        return;
                    }
                    let start = Instant::now();
                    work(turn);
                    times.lock().expect("no thread panicked").push(start.elapsed());
                }
            });
        }
    });
    times.into_inner().expect("no thread panicked")
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!("{what}: {} times, median {:?}, 99 % {:?}", times.len(), at(50), at(99));
}

#[test]
fn cycles_of_attach_and_detach_leave_nothing() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let held = Mutex::new(BTreeMap::new());
    let started = Instant::now();
    let times = at_once(number("BERTH_SOAK_COUNT", 24), |turn| {
        let name = format!("db{turn}");
        let made = plug.attach(&pools, &request(&name, "many")).expect("an attach");
        let before = held.lock().expect("no panic").insert(made.address, name.clone());
        assert_eq!(before, None, "{} was handed out twice", made.address);
        held.lock().expect("no panic").remove(&made.address);
        plug.detach(&owner(&name)).expect("a detach");
    });
    println!("all cycles: {:?}", started.elapsed());
    report("attach and detach, 8 at once", times);
    assert_eq!(host.census(), Census::default());
    let interfaces = host.vsctl(&["--bare", "--columns=name", "list", "interface"]);
    assert_eq!(interfaces.trim(), support::BRIDGE, "no row is left");
}

/// How long an attach takes beside few and many ports; the long form goes to 400.
#[test]
fn attaching_beside_others() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let most = number("BERTH_SOAK_PORTS", 8);
    let mut made = 0;
    for beside in [0, most / 4, most] {
        let filled = at_once(beside - made, |turn| {
            let name = format!("fill{}", made + turn);
            plug.attach(&pools, &request(&name, "many")).expect("an attach");
        });
        report(&format!("filling up to {beside}"), filled);
        made = beside;
        let alone: Vec<_> = (0..5)
            .map(|turn| {
                let name = format!("one{turn}");
                let start = Instant::now();
                plug.attach(&pools, &request(&name, "many")).expect("an attach");
                let took = start.elapsed();
                plug.detach(&owner(&name)).expect("a detach");
                took
            })
            .collect();
        report(&format!("one attach beside {beside} ports"), alone);
        let wishes: Vec<_> =
            (0..beside).map(|turn| request(&format!("fill{turn}"), "many")).collect();
        let start = Instant::now();
        let pass = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
        println!("a pass over {beside} ports that are right: {:?}", start.elapsed());
        let right =
            |outcome: &Outcome| matches!(outcome, Outcome::Attached(a) if a.done.is_empty());
        assert!(pass.owners.values().all(right), "{:?}", pass.owners);
    }
    let names: Vec<_> = (0..made).map(|turn| format!("fill{turn}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    plug.reconcile(&pools, &goal(&[], &names)).expect("a pass");
    assert_eq!(host.census(), Census::default());
}

/// Processes that attach at the same time and are killed at any moment.
#[test]
fn killed_agents_never_share_an_address() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let seed = number("BERTH_SOAK_SEED", 7);
    println!("BERTH_SOAK_SEED={seed}");
    let mut random = Random(seed as u64);
    let names: Vec<_> = (0..6).map(|turn| format!("db{turn}")).collect();
    for round in 0..number("BERTH_SOAK_COUNT", 24).div_ceil(8) {
        let mut agents: Vec<Child> = names
            .iter()
            .map(|name| {
                let mut agent = host.child("many", name);
                agent.stdout(Stdio::null()).stderr(Stdio::null());
                agent.spawn().expect("an agent")
            })
            .collect();
        for agent in &mut agents {
            std::thread::sleep(Duration::from_millis(random.below(60)));
            // It may have finished; then it is not killed.
            agent.kill().expect("a signal");
            agent.wait().expect("its end");
        }
        let addresses: Vec<_> =
            plug.leases().expect("the leases").into_iter().map(|lease| lease.address).collect();
        let distinct: BTreeSet<_> = addresses.iter().collect();
        assert_eq!(distinct.len(), addresses.len(), "round {round}");
        repair(&host, &plug, &names, &pools);
    }
}

fn repair(host: &Host, plug: &Netplug, names: &[String], pools: &berth_netplug::pool::PoolSet) {
    let wishes: Vec<_> = names.iter().map(|name| request(name, "many")).collect();
    let pass = plug.reconcile(pools, &goal(&wishes, &[])).expect("a pass");
    let made: Vec<_> = pass
        .owners
        .values()
        .map(|outcome| match outcome {
            Outcome::Attached(attachment) => attachment,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(host.census(), Census::of(&made));
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    plug.reconcile(pools, &goal(&[], &names)).expect("a pass");
    assert_eq!(host.census(), Census::default());
}

/// A small generator (xorshift), so that a run can be repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
