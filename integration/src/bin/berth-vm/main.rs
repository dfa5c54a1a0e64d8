//! A host in a virtual machine, where berth is installed from its Debian package.
//!
//! `berth-vm shell [PACKAGE]` boots one and gives a shell on its console. `berth-vm test
//! PACKAGE NEWER [NAME…]` runs the scenarios, or those named, each on a machine of its own,
//! and says what was measured and how long each took. `scripts/test-vm` makes the packages.

mod host;
mod limits;
mod neighbour;
mod network;
mod power;
mod survive;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use berth_integration::vm::{Options, Vm};
use host::Packages;

type Scenario = fn(&Packages);

/// The scenarios, in the order in which they run.
const SCENARIOS: [(&str, Scenario); 5] = [
    ("survive", survive::agents_come_and_go_and_servers_stay),
    ("limits", limits::limits_hold_and_change_while_running),
    ("neighbour", neighbour::a_limit_keeps_the_disk_for_the_neighbours),
    ("network", network::addresses_of_their_own_on_the_kernel_datapath),
    ("power", power::it_comes_back_from_a_reboot_and_from_power_cuts),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["shell"] => shell(None),
        ["shell", package] => shell(Some(package.into())),
        ["test", package, newer, names @ ..] => {
            let packages = Packages { first: package.into(), newer: newer.into() };
            return test(&packages, names);
        }
        _ => {
            eprintln!("usage: berth-vm shell [PACKAGE] | test PACKAGE NEWER [NAME...]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn shell(package: Option<PathBuf>) {
    let share = package.into_iter().map(|path| (host::FIRST.to_owned(), path)).collect();
    let mut vm = Vm::new(Options { terminal: true, share, ..Options::default() });
    eprintln!("booting ({:?}); `poweroff` or Ctrl-A X ends the machine", vm.accel());
    eprintln!("to install berth there: dpkg -i /mnt/share/{}", host::FIRST);
    vm.launch();
    vm.wait();
}

/// Runs the scenarios; one that fails doesn't keep the next from running.
fn test(packages: &Packages, names: &[&str]) -> ExitCode {
    if let Some(unknown) = names.iter().find(|name| !SCENARIOS.iter().any(|(is, _)| is == *name)) {
        eprintln!("there is no scenario {unknown}");
        return ExitCode::from(2);
    }
    let mut failed = Vec::new();
    for (name, scenario) in SCENARIOS {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        eprintln!("=== {name}");
        let begun = Instant::now();
        let ended = std::panic::catch_unwind(|| scenario(packages));
        let took = Duration::from_secs(begun.elapsed().as_secs());
        match ended {
            Ok(()) => eprintln!("=== {name}: ok ({took:?})"),
            Err(_) => {
                eprintln!("=== {name}: FAILED ({took:?})");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}
