//! Several scenarios, each in a process of its own: one that fails, or whose machine hangs,
//! doesn't keep the others from running, and what each says is told apart by its name.
//!
//! Two machines run at a time, because each keeps a processor busy under emulation. What is
//! measured beside another machine is worth less: name one scenario, and it runs alone.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{Packages, Scenario};

/// Machines at a time.
const JOBS: usize = 2;

/// Runs them all; the names of those that failed.
pub(crate) fn run(scenarios: &[Scenario], packages: &Packages) -> Vec<&'static str> {
    let queue = Mutex::new(scenarios.iter());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(scenario) = next else { return };
            if !apart(scenario.name, packages) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(scenario.name);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..JOBS {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one in a process that ends with this one, and passes on what it says; whether it
/// went well.
fn apart(name: &str, packages: &Packages) -> bool {
    let own = std::env::current_exe().expect("a program has a path");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(own).arg("test");
    command.arg(&packages.first).arg(&packages.newer).arg(name);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = child.stderr.take().expect("it was asked for");
    for line in BufReader::new(said).lines().map_while(Result::ok) {
        eprintln!("{name}: {line}");
    }
    child.wait().is_ok_and(|status| status.success())
}
