//! Addresses of their own: how exactly limits hold, and what an attach takes.
//!
//! A host is a network namespace with an Open vSwitch of its own; iperf3(1) measures what
//! passes between containers. `BERTH_BENCH_SECONDS` is how long each measurement lasts,
//! `BERTH_BENCH_PORTS` beside how many ports an attach is timed, `BERTH_BENCH_CYCLES` how
//! many attaches and detaches follow each other, eight at a time.

use std::{
    net::IpAddr,
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use berth_integration::{
    namespace::{Namespace, command_in},
    switch::Switch,
    until,
};
use berth_netplug::{
    AttachRequest, Attachment, BridgeConfig, Config, DatapathChoice, HostName, Netplug, Owner,
    PoolName, Rates, pool::PoolSet,
};
use serde_json::Value;

use crate::figures::Figures;

const AT_ONCE: usize = 8;
const ALONE: usize = 9;
const POOLS: &str = r#"{"bench": {"vlan": 10, "subnet": "10.20.0.0/20"}}"#;

/// A number of the environment, or several with commas between them.
fn numbers(variable: &str, default: &str) -> Vec<usize> {
    let text = std::env::var(variable).unwrap_or_else(|_| default.to_owned());
    text.split(',').map(|number| number.trim().parse().unwrap()).collect()
}

struct Host {
    plug: Netplug,
    pools: PoolSet,
    _switch: Switch,
    space: Namespace,
    dir: tempfile::TempDir,
}

impl Host {
    fn start() -> Arc<Self> {
        let dir = tempfile::Builder::new().prefix("berth-bench-net-").tempdir().unwrap();
        let space = Namespace::make(&dir.path().join("host"));
        let switch = Switch::start(&dir.path().join("ovs"), space.path());
        let bridge =
            BridgeConfig { name: "btbr0".into(), datapath: DatapathChoice::Auto, uplink: None };
        let config = Config {
            state_dir: dir.path().join("state"),
            run_dir: dir.path().join("run"),
            ovsdb_socket: switch.socket(),
            ..Config::new(HostName::new("bench").unwrap(), bridge)
        };
        let host = Arc::new(Self {
            plug: Netplug::open(config).unwrap(),
            pools: PoolSet::from_files(&[("bench.json".into(), POOLS.into())]),
            _switch: switch,
            space,
            dir,
        });
        host.inside(|host| drop(host.plug.ensure_bridge().unwrap()));
        host
    }

    /// Works in the host's namespace, which is the calling thread's to netplug.
    fn inside<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let host = Arc::clone(self);
        self.space.inside(move || work(&host))
    }

    fn attach(&self, name: &str, rates: Rates) -> Attachment {
        let request = AttachRequest {
            owner: Owner::new(name).unwrap(),
            pool: PoolName::new("bench").unwrap(),
            address: None,
            rates,
            live_namespace: None,
        };
        self.plug.attach(&self.pools, &request).unwrap()
    }

    fn limited(self: &Arc<Self>, name: &'static str, megabits: Option<u64>) -> Attachment {
        let rate = megabits.map(|megabits| format!("{megabits}Mbit").parse().unwrap());
        let rates = Rates { inbound: rate, outbound: rate };
        self.inside(move |host| host.attach(name, rates))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for lease in self.plug.leases().unwrap_or_default() {
            let pin = self.dir.path().join("run/netns").join(lease.owner.as_str());
            // What is left goes with the directory.
            let _ = nix::mount::umount2(&pin, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// An iperf3 server that ends with this value.
struct Server(Child);

impl Server {
    fn start(at: &Attachment) -> Self {
        let mut command = command_in(Some(&at.namespace), "iperf3");
        command.args(["--server"]).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(command.spawn().unwrap());
        let listens = || {
            let mut shown = command_in(Some(&at.namespace), "ss");
            let shown = shown.args(["-ltn"]).output().unwrap();
            String::from_utf8_lossy(&shown.stdout).contains(":5201").then_some(())
        };
        until(Duration::from_secs(10), listens).expect("iperf3 listens");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A measurement that runs.
struct Stream(Child);

impl Stream {
    /// From `namespace` to `address`, or the other way round.
    fn start(namespace: &Path, address: IpAddr, seconds: usize, reverse: bool) -> Self {
        let mut command = command_in(Some(namespace), "iperf3");
        let (address, seconds) = (address.to_string(), seconds.to_string());
        command.args(["--client", &address, "--time", &seconds, "--json", "--interval", "0.5"]);
        if reverse {
            command.arg("--reverse");
        }
        Self(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    fn result(self) -> Value {
        let output = self.0.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Megabits per second that arrived.
    fn megabits(self) -> f64 {
        let result = self.result();
        result["end"]["sum_received"]["bits_per_second"].as_f64().expect("a rate") / 1e6
    }
}

pub(crate) fn run() {
    rates();
    attaches();
    cycles();
}

fn rates() {
    let seconds = numbers("BERTH_BENCH_SECONDS", "4")[0];
    let host = Host::start();
    let free = |name| host.limited(name, None);
    let (peer, neighbour, neighbour_peer) = (free("peer"), free("neighbour"), free("neighbours"));
    let _servers = [Server::start(&peer), Server::start(&neighbour_peer)];
    let mut limited = free("limited");
    let measure = |from: &Attachment, to: &Attachment, reverse| {
        Stream::start(&from.namespace, to.address, seconds, reverse).megabits()
    };
    println!(
        "limit                      out Mbit/s    in Mbit/s   (iperf3, TCP, {seconds} s each)"
    );
    for megabits in [None, Some(10), Some(100), Some(1000)] {
        limited = host.limited("limited", megabits);
        let (out, into) = (measure(&limited, &peer, false), measure(&limited, &peer, true));
        let asked = megabits.map_or("none".to_owned(), |megabits| format!("{megabits}Mbit"));
        println!("{asked:<24} {out:>12.1} {into:>12.1}");
    }
    in_flight(&host, &limited, &peer, seconds);
    host.limited("limited", Some(10));
    let alone = measure(&neighbour, &neighbour_peer, false);
    let busy = Stream::start(&limited.namespace, peer.address, seconds + 2, false);
    let beside = measure(&neighbour, &neighbour_peer, false);
    let limit = busy.megabits();
    println!("a neighbour without a limit: {alone:.0} Mbit/s alone, {beside:.0} Mbit/s beside one");
    println!("that is limited to 10Mbit and sends {limit:.1} Mbit/s");
}

/// A stream whose limit changes from 100 to 10 and to 1000 Mbit/s while it runs.
fn in_flight(host: &Arc<Host>, limited: &Attachment, peer: &Attachment, seconds: usize) {
    host.limited("limited", Some(100));
    let stream = Stream::start(&limited.namespace, peer.address, 3 * seconds, false);
    let part = Duration::from_secs(u64::try_from(seconds).unwrap());
    let begun = Instant::now();
    let mut changed = Vec::new();
    for (at, megabits) in [(1, 10), (2, 1000)] {
        thread::sleep((part * at).saturating_sub(begun.elapsed()));
        let now = Instant::now();
        host.limited("limited", Some(megabits));
        changed.push(now.elapsed());
    }
    let result = stream.result();
    println!("changed in flight: 100, 10, 1000 Mbit/s; each change took {changed:.1?}");
    let intervals = result["intervals"].as_array().expect("intervals");
    let rate = |interval: &Value| interval["sum"]["bits_per_second"].as_f64().unwrap_or_default();
    let rates: Vec<String> =
        intervals.iter().map(|interval| format!("{:.0}", rate(interval) / 1e6)).collect();
    println!("  Mbit/s sent, each half second: {}", rates.join(" "));
}

/// How long one attach takes beside how many ports.
fn attaches() {
    let host = Host::start();
    let mut made = 0;
    for beside in numbers("BERTH_BENCH_PORTS", "0,100,400") {
        at_once(&host, beside.saturating_sub(made), move |host, turn| {
            drop(host.attach(&format!("fill{}", made + turn), Rates::default()));
        });
        made = made.max(beside);
        let figures = host.inside(|host| {
            let mut figures = (Figures::default(), Figures::default());
            for turn in 0..ALONE {
                let name = format!("one{turn}");
                let begun = Instant::now();
                drop(host.attach(&name, Rates::default()));
                figures.0.add(begun.elapsed());
                let begun = Instant::now();
                host.plug.detach(&Owner::new(name).unwrap()).unwrap();
                figures.1.add(begun.elapsed());
            }
            figures
        });
        figures.0.print(&format!("one attach beside {beside} ports"));
        figures.1.print(&format!("one detach beside {beside} ports"));
    }
}

fn cycles() {
    let count = numbers("BERTH_BENCH_CYCLES", "500")[0];
    let host = Host::start();
    let begun = Instant::now();
    let times = at_once(&host, count, |host, turn| {
        let name = format!("cycle{turn}");
        drop(host.attach(&name, Rates::default()));
        host.plug.detach(&Owner::new(name).unwrap()).unwrap();
    });
    let whole = begun.elapsed();
    // By their order: growth would show between the first and the last.
    let part = (times.len() / 5).max(1);
    let mut first = Figures::default();
    let mut last = Figures::default();
    times.iter().take(part).for_each(|took| first.add(*took));
    times.iter().rev().take(part).for_each(|took| last.add(*took));
    first.print("attach and detach, 8 at once: the first fifth");
    last.print("attach and detach, 8 at once: the last fifth");
    let left = host.plug.leases().unwrap().len();
    println!("{count} cycles in {whole:.1?}; leases left: {left}");
}

/// Runs `work` for each number below `count`, eight at a time, in the host's namespace; how
/// long each took, in the order in which they began.
fn at_once(
    host: &Arc<Host>,
    count: usize,
    work: impl Fn(&Host, usize) + Send + Sync + 'static,
) -> Vec<Duration> {
    let (next, work) = (Arc::new(AtomicUsize::new(0)), Arc::new(work));
    let times = Arc::new(Mutex::new(vec![Duration::ZERO; count]));
    let workers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (host, next) = (Arc::clone(host), Arc::clone(&next));
            let (work, times) = (Arc::clone(&work), Arc::clone(&times));
            thread::spawn(move || {
                host.inside(move |host| {
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        if turn >= count {
                            return;
                        }
                        let begun = Instant::now();
                        work(host, turn);
                        times.lock().unwrap()[turn] = begun.elapsed();
                    }
                });
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let times = times.lock().unwrap();
    times.clone()
}
