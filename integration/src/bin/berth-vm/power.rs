//! Reboots, and power cuts at random instants.

use std::{thread, time::Duration};

use crate::host::{Host, Packages, master, minion};

const MASTER: &str = "orders-db1";
const MINION: &str = "orders-db2";
/// Power cuts, unless BERTH_SOAK_COUNT says another number.
const CUTS: u64 = 2;

/// A clean reboot, then power cuts under writes: it comes back converged by itself, and no
/// acknowledged row is missing.
pub(crate) fn it_comes_back_from_a_reboot_and_from_power_cuts(packages: &Packages) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cuts = number("BERTH_SOAK_COUNT").unwrap_or(CUTS);
    let seed = number("BERTH_SOAK_SEED").unwrap_or_else(|| fastrand::u64(..));
    eprintln!("{cuts} power cuts, BERTH_SOAK_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut host = Host::new(packages);
    host.goal(&[(MASTER, master(MASTER, 7335)), (MINION, minion(MINION, 7336, 7335))]);

    // The first cut falls into the making of the data directories and the seeding.
    thread::sleep(Duration::from_millis(random.u64(2_000..60_000)));
    again(&mut host, "a power cut while converging");

    host.start_writer(MASTER);
    let last = host.end_writer();
    let took = host.vm.reboot();
    eprintln!("rebooted in {} s", took.as_secs());
    host.await_converged("after a reboot", 2);
    host.assert_rows(MASTER, last);
    assert_clean_end(&mut host);

    for at in 1..=cuts {
        host.start_writer(MASTER);
        thread::sleep(Duration::from_millis(random.u64(..8_000)));
        let last = host.acknowledged();
        again(&mut host, &format!("power cut {at} under writes"));
        host.assert_rows(MASTER, last);
        eprintln!("power cut {at}: all {last} acknowledged rows are there");
    }
}

fn again(host: &mut Host, what: &str) {
    host.vm.cut_power();
    let took = host.vm.boot();
    eprintln!("{what}: booted in {} s", took.as_secs());
    host.await_converged(what, 2);
}

/// The servers were asked to end at the reboot, after the agent, and had the time to.
fn assert_clean_end(host: &mut Host) {
    let key = crate::host::key(MASTER);
    let log = host.vm.sh(&format!("grep -c 'Shutdown complete' /var/log/berth/{key}.log"));
    assert!(log.parse::<u32>().is_ok_and(|count| count >= 1), "{log}");
}
