//! A whole host: a master and two minions from goal files.

use std::{
    fs,
    time::{Duration, Instant},
};

use berth_integration::{Bed, Options};
use berth_runtime::Signal;

use crate::figures::Figures;

const CONVERGE_ROUNDS: usize = 5;
const STATUS_ROUNDS: usize = 30;
const REST: Duration = Duration::from_secs(60);

/// From the drop of the goal file to all three converged, the image unpacked.
pub(crate) fn converge() {
    for (what, template) in
        [("goal to converged, no template", false), ("goal to converged, template there", true)]
    {
        let mut figures = Figures::default();
        for round in 0..CONVERGE_ROUNDS {
            let bed = bed(template);
            let entries = bed.cluster("shop", 1, 3);
            let begun = Instant::now();
            bed.goal("shop.json", &entries);
            bed.await_converged(&entries);
            figures.add(begun.elapsed());
            if round == 0 {
                let timeline = bed.berth(&["wait", "--timeline"]);
                println!("{}", String::from_utf8_lossy(&timeline.stdout));
            }
        }
        figures.print(what);
    }
}

/// The agent as it is installed: a pass every 30 seconds.
fn bed(template: bool) -> Bed {
    let mut bed = Bed::with(&Options { interval: "30s", template, ..Options::default() });
    bed.start_agent();
    bed
}

/// What the agent costs while nothing happens, and how fast `berth status` answers.
pub(crate) fn rest_and_status() {
    let bed = bed(true);
    let entries = bed.cluster("shop", 1, 3);
    bed.goal("shop.json", &entries);
    bed.await_converged(&entries);
    let pid = bed.agent().pid();
    let (before, begun) = (cpu_ticks(pid), Instant::now());
    std::thread::sleep(REST);
    let ticks = cpu_ticks(pid) - before;
    let seconds = begun.elapsed().as_secs();
    println!(
        "agent at rest with three instances: {ticks} ticks of 10 ms in {seconds} s, {} KiB resident",
        resident_kib(pid)
    );
    status(&bed, "berth status, agent at work");
    bed.agent().signal(Signal::SIGSTOP);
    status(&bed, "berth status, agent stopped");
    bed.agent().signal(Signal::SIGCONT);
}

fn status(bed: &Bed, what: &str) {
    let mut figures = Figures::default();
    for _ in 0..STATUS_ROUNDS {
        let begun = Instant::now();
        let answered = bed.berth(&["status", "--json"]);
        figures.add(begun.elapsed());
        assert!(!answered.stdout.is_empty(), "status answers");
    }
    figures.print(what);
}

/// Processor time of a process in clock ticks, user and system (proc_pid_stat(5), 14 and 15).
fn cpu_ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(')').unwrap();
    rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

fn resident_kib(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").to_owned()
}
