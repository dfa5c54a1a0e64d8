//! Host tests: real containers on the real kernel, with /proc, the control group
//! files and `runc` as judges.
//!
//! This has a main of its own instead of the test harness, because the helper is
//! this very program executed again, and because some tests need a second agent
//! process to kill: see `roles`. Tests run one after another, each with its own
//! directories and control groups.
//!
//! Needs root, busybox-static and runc. Fails, and says why, without them.

// Clippy knows tests by the test harness, which this does without.
#![allow(clippy::unwrap_used)]

mod bed;
mod crash;
mod exec;
mod failure;
mod lifecycle;
mod limits;
mod privilege;
mod roles;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// Far more than all tests take; then SIGALRM ends the run.
const TOO_LONG_SECONDS: u32 = 300;

/// One test: its name, and what it does.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    berth_runtime::run_if_helper();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = roles::run_if_role(&args) {
        return code;
    }
    let filter: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let all = [
        lifecycle::TESTS,
        failure::TESTS,
        crash::TESTS,
        exec::TESTS,
        limits::TESTS,
        privilege::TESTS,
    ];
    let chosen: Vec<Test> = all
        .concat()
        .into_iter()
        .filter(|(name, _)| filter.is_empty() || filter.iter().any(|part| name.contains(*part)))
        .collect();
    if args.iter().any(|arg| arg == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    run(&chosen)
}

fn run(tests: &[Test]) -> ExitCode {
    println!("\nrunning {} tests", tests.len());
    // A test that hangs must not hang whoever waits for the tests.
    nix::unistd::alarm::set(TOO_LONG_SECONDS);
    let mut failed = Vec::new();
    if !tests.is_empty() {
        bed::require();
        // Containers must come back to this process, as they do to the agent.
        berth_runtime::become_subreaper().expect("a process may always become a subreaper");
    }
    for (name, test) in tests {
        let begin = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({:.1?})", begin.elapsed());
        if !passed {
            failed.push(*name);
        }
    }
    println!(
        "\ntest result: {} passed; {} failed {failed:?}\n",
        tests.len() - failed.len(),
        failed.len()
    );
    ExitCode::from(u8::from(!failed.is_empty()))
}
