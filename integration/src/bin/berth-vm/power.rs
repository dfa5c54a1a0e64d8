//! A clean reboot, and power cuts at random instants: while directories are made, while CLONE
//! runs, while a client commits.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::host::{CONVERGE, Host, Packages, key, master, minion};

const MASTER: &str = "orders-db1";
const MINION: &str = "orders-db2";
const MASTER_PORT: u16 = 7335;
/// Power cuts after which the machine is let converge, unless BERTH_SOAK_COUNT says another
/// number.
const CUTS: u64 = 20;
/// How long the first machine has until its cut: directories, a first start, a CLONE.
const FIRST_SECONDS: u64 = 60;
/// How long a CLONE takes under emulation.
const CLONE_SECONDS: u64 = 4;
/// How long it takes to come back after a boot.
const BACK_SECONDS: u64 = 30;
/// How long a client commits with nothing else going on.
const QUIET_SECONDS: u64 = 5;

/// Each time the machine comes back it converges by itself, no acknowledged row is missing,
/// every server that serves has all of them, and nothing is left over.
pub(crate) fn it_comes_back_from_a_reboot_and_from_power_cuts(packages: &Packages) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cuts = number("BERTH_SOAK_COUNT").unwrap_or(CUTS);
    let seed = number("BERTH_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{cuts} power cuts and those in between, BERTH_SOAK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut host = Host::new(packages);

    // The first cut falls into the making of everything.
    let mut pair = Pair { minion: MINION.to_owned(), port: 7336 };
    ask(&mut host, &pair, None);
    thread::sleep(Duration::from_millis(random.u64(..FIRST_SECONDS * 1000)));
    cut(&mut host, 1, &pair, 0);
    reboot(&mut host);

    // The others while a client commits.
    let quiet = When::Quiet;
    let whens = [When::Cloning, quiet, When::Seeding, quiet, When::Asked, quiet];
    for (at, when) in (2..=cuts).zip(whens.into_iter().cycle()) {
        host.start_writer(MASTER);
        if when != When::Quiet {
            pair = seed_another(&mut host, &pair, at);
        }
        await_instant(&mut host, when, &pair.minion, &mut random);
        let acknowledged = host.acknowledged();
        if when == When::Cloning {
            cut_again(&mut host, &mut random);
        }
        cut(&mut host, at, &pair, acknowledged);
        // As an operator does from time to time.
        host.vm.sh("rm -rf /var/lib/berth/data/.trash/*");
    }
}

/// The master and its minion of the moment.
struct Pair {
    minion: String,
    port: u16,
}

impl Pair {
    fn names(&self) -> [&str; 2] {
        [MASTER, &self.minion]
    }

    fn entries(&self) -> [(&str, Value); 2] {
        let minion = minion(&self.minion, self.port, MASTER_PORT);
        [(MASTER, master(MASTER, MASTER_PORT)), (&self.minion, minion)]
    }
}

/// Asks for another minion in place of the last.
fn seed_another(host: &mut Host, last: &Pair, at: u64) -> Pair {
    // The last one's port may still be held.
    let port = if last.port == 7336 { 7337 } else { 7336 };
    let next = Pair { minion: format!("orders-db{}", at + 1), port };
    ask(host, &next, Some(&last.minion));
    next
}

/// Replaces the goal file, and waits until the agent goes by it: from then on no power cut
/// may bring the old one back.
fn ask(host: &mut Host, pair: &Pair, removed: Option<&str>) {
    // Names reach the disk when somebody waits for them, and not by chance (ext4(5)).
    host.vm.sh("mount -o remount,commit=300 /");
    host.goal_with_removed(&pair.entries(), removed);
    let key = key(&pair.minion);
    let known = format!("jq -e '.instances[\"{key}\"]' /run/berth/status.json");
    host.vm.await_sh("the goal in force", CONVERGE, &known);
}

/// When the power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// While CLONE runs.
    Cloning,
    /// While nothing but the client is at work.
    Quiet,
    /// As soon as the agent has taken up a new goal.
    Asked,
    /// At any time while the last minion is removed and another is made.
    Seeding,
}

/// Lets time pass until the next cut.
fn await_instant(host: &mut Host, instant: When, name: &str, random: &mut fastrand::Rng) {
    let most = match instant {
        When::Cloning => {
            // Or it was over before it was seen.
            let clones = format!(
                "jq -e '.instances[\"{}\"] | .phase == \"converged\" or \
                 ((.doing.step // \"\") | test(\"clon(e|ing) from\"))' /run/berth/status.json",
                key(name)
            );
            host.vm.await_sh("CLONE", CONVERGE, &clones);
            CLONE_SECONDS
        }
        When::Quiet => {
            host.await_converged("before a cut", 2);
            QUIET_SECONDS
        }
        When::Asked => return,
        When::Seeding => FIRST_SECONDS,
    };
    thread::sleep(Duration::from_millis(random.u64(..most * 1000)));
}

/// Cuts the power, and lets the machine come back only so far that the next cut falls into it.
fn cut_again(host: &mut Host, random: &mut fastrand::Rng) {
    let doing = doing(host);
    host.vm.cut_power();
    let booted = host.vm.boot();
    let wait = Duration::from_millis(random.u64(..BACK_SECONDS * 1000));
    eprintln!("power cut ({doing}): booted in {} s, another {wait:?} later", booted.as_secs());
    thread::sleep(wait);
}

/// Cuts the power now, and asserts all that must be true afterwards.
fn cut(host: &mut Host, at: u64, pair: &Pair, acknowledged: u64) {
    let names = pair.names();
    let doing = doing(host);
    host.vm.cut_power();
    let booted = host.vm.boot();
    let begun = Instant::now();
    host.await_converged(&format!("power cut {at}, while {doing}"), names.len());
    let converged = begun.elapsed();
    for name in names {
        host.await_rows(name, acknowledged);
    }
    assert_nothing_left(host, &names);
    eprintln!(
        "power cut {at} ({doing}): booted in {} s, converged {} s later, all {acknowledged} \
         acknowledged rows are on both servers",
        booted.as_secs(),
        converged.as_secs()
    );
}

/// What goes on at this instant, in words, from the agent's last status.
fn doing(host: &mut Host) -> String {
    let words = host.vm.run(
        "jq -r '[.instances | to_entries[] | select(.value.phase != \"converged\") | \
         .value.doing.step // .value.blocked // (.value.state + \"\")] | join(\"; \")' \
         /run/berth/status.json",
    );
    match words.stdout.trim() {
        "" => "commits only".to_owned(),
        words => words.to_owned(),
    }
}

/// One scope, one container, one ready directory for each server, and no more.
fn assert_nothing_left(host: &mut Host, names: &[&str]) {
    let mut keys: Vec<String> = names.iter().map(|name| key(name)).collect();
    keys.sort_unstable();
    let keys = keys.join("\n");
    let sorted =
        |host: &mut Host, script: &str| host.vm.sh(&format!("{{ {script}; }} | LC_ALL=C sort"));
    let scopes = "systemctl list-units --plain --no-legend 'berth-*.scope' | \
                  sed -n 's/^berth-\\(.*\\)\\.scope .*/\\1/p'";
    assert_eq!(sorted(host, scopes), keys, "scopes");
    assert_eq!(sorted(host, "ls /run/berth/containers"), keys, "containers");
    assert_eq!(sorted(host, "ls /var/lib/berth/data"), keys, "data directories");
    for name in names {
        let marker = format!("jq -r .state /var/lib/berth/data/{}/marker.json", key(name));
        assert_eq!(host.vm.sh(&marker), "ready", "the marker of {name}");
    }
}

/// The servers were asked to end, after the agent, and had the time to: each says so in its
/// log ("Shutdown complete").
fn reboot(host: &mut Host) {
    host.start_writer(MASTER);
    let acknowledged = host.end_writer();
    let log = format!("grep -c MY-010910 /var/log/berth/{}.log", key(MASTER));
    let count = |host: &mut Host| host.vm.run(&log).stdout.trim().parse::<u32>().unwrap_or(0);
    let before = count(host);
    let took = host.vm.reboot();
    host.await_converged("after a reboot", 2);
    assert_eq!(count(host), before + 1, "one clean shutdown of the master");
    host.await_rows(MINION, acknowledged);
    assert_nothing_left(host, &[MASTER, MINION]);
    eprintln!("rebooted in {} s, the servers were shut down cleanly", took.as_secs());
}
