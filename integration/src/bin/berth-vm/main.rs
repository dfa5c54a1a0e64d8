//! A host in a virtual machine, where berth is installed from its Debian package.
//!
//! `berth-vm shell PACKAGE` boots one and gives a shell on its console. `berth-vm test
//! PACKAGE NEWER [NAME…]` runs the scenarios, or those named, each on a machine of its own,
//! and says what was measured and how long each took. `scripts/test-vm` makes the packages.

mod disks;
mod host;
mod limits;
mod neighbour;
mod network;
mod pair;
mod power;
mod rates;
mod several;
mod spare;
mod survive;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use berth_integration::vm::{self, Options, Vm};
use host::Packages;

/// What is done with a machine, and expected of it.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    run: fn(&Packages),
}

impl Scenario {
    const fn new(name: &'static str, run: fn(&Packages)) -> Self {
        Self { name, run }
    }
}

/// The scenarios; the longest first.
const SCENARIOS: [Scenario; 6] = [
    Scenario::new("power", power::it_comes_back_from_a_reboot_and_from_power_cuts),
    Scenario::new("disks", disks::disks_fail_alone),
    Scenario::new("survive", survive::agents_come_and_go_and_servers_stay),
    Scenario::new("network", network::addresses_of_their_own_on_the_kernel_datapath),
    Scenario::new("rates", rates::rates_are_achieved_on_every_kind_of_disk),
    Scenario::new("limits", limits::limits_hold_and_change_while_running),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["shell", package] => shell(package.into()),
        ["test", package, newer, names @ ..] => {
            let packages = Packages { first: package.into(), newer: newer.into() };
            return test(&packages, names);
        }
        _ => {
            eprintln!("usage: berth-vm shell PACKAGE | test PACKAGE NEWER [NAME...]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn shell(package: PathBuf) {
    let share = vec![(host::FIRST.to_owned(), package)];
    let mut vm = Vm::new(Options { terminal: true, share, ..Options::default() });
    eprintln!("booting ({:?}); `poweroff` or Ctrl-A X ends the machine", vm.accel());
    vm.boot();
    host::install(&mut vm, host::FIRST);
    eprintln!("\r\nberth is installed: `berth status`, `systemctl status berth-agent`\r");
    vm.wait();
}

fn test(packages: &Packages, names: &[&str]) -> ExitCode {
    if let Some(unknown) = names.iter().find(|name| !SCENARIOS.iter().any(|is| is.name == **name)) {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        eprintln!("there is no scenario {unknown}; there are: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |scenario: &&Scenario| names.is_empty() || names.contains(&scenario.name);
    let chosen: Vec<Scenario> = SCENARIOS.iter().filter(wanted).copied().collect();
    let begun = Instant::now();
    let failed = match chosen.as_slice() {
        [one] => run(one, packages).err().into_iter().collect(),
        several => {
            vm::prepare();
            several::run(several, packages)
        }
    };
    eprintln!("{} scenarios took {:?}", chosen.len(), seconds(begun.elapsed()));
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// Runs a scenario here; its name, if it fails.
fn run(scenario: &Scenario, packages: &Packages) -> Result<(), &'static str> {
    let begun = Instant::now();
    let ended = std::panic::catch_unwind(|| (scenario.run)(packages));
    let took = seconds(begun.elapsed());
    eprintln!("{} ({took:?})", if ended.is_ok() { "ok" } else { "FAILED" });
    ended.map_err(|_| scenario.name)
}

fn seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs())
}
