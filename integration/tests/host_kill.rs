//! The agent is killed at random instants, again and again; nothing that runs is touched,
//! and nothing is left over. `BERTH_SOAK_COUNT` kills, `BERTH_SOAK_SEED` to repeat them.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use berth_integration::{Bed, Entry, Possessions, proc, seed};
use berth_model::{EntryKey, status::InstanceState};
use nix::sys::signal::Signal;

/// Kills in an ordinary test run.
const USUAL: usize = 25;

/// A bed, what is left to kill, and how long each kind of change took without a kill.
struct Run {
    bed: Bed,
    chance: fastrand::Rng,
    left: usize,
    longest: Duration,
}

#[test]
fn the_agent_is_killed_at_random_instants() {
    let mut run = Run {
        bed: Bed::with(&berth_integration::Options::default()),
        chance: seed::chance(),
        left: seed::count(USUAL),
        longest: Duration::from_secs(12),
    };
    let entries = run.bed.cluster("shop", 0, 4);
    let (three, fourth) = entries.split_at(3);
    run.bed.goal("shop.json", three);
    run.bed.launch_agent();
    // An agent per kill: of the first convergence too.
    run.kill_during(three, three, 3);
    let at_rest = settled(&mut run.bed, three);

    let mut rows = 0;
    while run.left > 0 {
        rows += 1;
        write(&run.bed, three, rows);
        run.bed.goal("fourth.json", fourth);
        run.kill_during(&entries, &entries, 3);
        check_rows(&run.bed, &entries, rows);
        run.kill_during(&entries, &entries, 2);
        run.bed.goal("fourth.json", &[fourth[0].clone().state("removed")]);
        run.kill_during(three, &entries, 1);
        run.bed.remove_goal("fourth.json");
        run.bed.await_converged(three);
        for path in run.bed.trash() {
            fs::remove_dir_all(path).unwrap();
        }
    }
    settled(&mut run.bed, three);
    at_rest.await_same(&run.bed);
    nothing_stays_of_a_cycle_without_a_kill(&run.bed, three, fourth, &at_rest);
    nothing_stays_of_what_is_removed(&run.bed, three);
}

impl Run {
    /// Kills the agent up to `times` times while it leads `all` to their goals, each time at
    /// another instant, and starts it again. Servers of `lasting` that are ready have to
    /// outlive that.
    fn kill_during(&mut self, lasting: &[Entry], all: &[Entry], times: usize) {
        let mut running = BTreeMap::new();
        self.are_untouched(&mut running, lasting);
        let begun = Instant::now();
        let times = times.min(self.left);
        for _ in 0..times {
            let wait = self.chance.u64(0..self.longest.as_micros().try_into().unwrap());
            // Not a condition that is waited for: the instant of the kill is to be random.
            thread::sleep(Duration::from_micros(wait) / u32::try_from(times).unwrap());
            self.bed.end_agent(Signal::SIGKILL);
            self.left -= 1;
            self.are_untouched(&mut running, lasting);
            self.bed.launch_agent();
        }
        self.bed.await_converged(all);
        self.are_untouched(&mut running, lasting);
        eprintln!("{times} kills, converged after {:?}; {} left", begun.elapsed(), self.left);
    }

    /// Every server that was ready is the same process still; those that have become ready
    /// since are among them from now on.
    fn are_untouched(&self, running: &mut BTreeMap<EntryKey, u32>, lasting: &[Entry]) {
        for (key, pid) in running.iter() {
            assert!(proc::lives(*pid), "the server of {key} has gone");
        }
        for (key, pid) in servers(&self.bed, lasting) {
            let ready = self.bed.marker(&key).is_some_and(|text| text.contains("\"ready\""));
            if ready {
                let known = *running.entry(key.clone()).or_insert(pid);
                assert_eq!(known, pid, "{key} has another server");
            }
        }
    }
}

/// The servers of these entries that run, as the kernel says.
fn servers(bed: &Bed, entries: &[Entry]) -> BTreeMap<EntryKey, u32> {
    let Some(document) = bed.document() else { return BTreeMap::new() };
    let live = bed.status();
    let keys = entries.iter().map(Entry::key).filter(|key| document.instances.contains_key(key));
    keys.filter_map(|key| {
        let pid = live.instances.get(&key)?.container.as_ref()?.pid?;
        Some((key, pid))
    })
    .collect()
}

/// A new agent at rest: what it has is what an agent needs.
fn settled(bed: &mut Bed, entries: &[Entry]) -> Possessions {
    bed.end_agent(Signal::SIGTERM);
    bed.start_agent();
    bed.await_converged(entries);
    bed.await_converged(entries);
    // What most looks show: in some of them a pass is under way.
    let mut looks: BTreeMap<Possessions, usize> = BTreeMap::new();
    for _ in 0..60 {
        thread::sleep(Duration::from_millis(20));
        *looks.entry(Possessions::of(bed)).or_default() += 1;
    }
    looks.into_iter().max_by_key(|(_, count)| *count).unwrap().0
}

fn write(bed: &Bed, entries: &[Entry], row: usize) {
    bed.sql(
        &entries[0].key(),
        &format!(
            "CREATE DATABASE IF NOT EXISTS app; \
             CREATE TABLE IF NOT EXISTS app.t (id INT PRIMARY KEY); \
             INSERT INTO app.t VALUES ({row})"
        ),
    );
}

fn check_rows(bed: &Bed, entries: &[Entry], rows: usize) {
    for entry in entries {
        bed.await_answer(&entry.key(), "SELECT COUNT(*) FROM app.t", &rows.to_string());
    }
}

fn nothing_stays_of_a_cycle_without_a_kill(
    bed: &Bed,
    three: &[Entry],
    fourth: &[Entry],
    at_rest: &Possessions,
) {
    let all: Vec<Entry> = three.iter().chain(fourth).cloned().collect();
    bed.goal("fourth.json", fourth);
    bed.await_converged(&all);
    bed.goal("fourth.json", &[fourth[0].clone().state("removed")]);
    bed.await_state(&fourth[0].key(), InstanceState::Removed);
    bed.remove_goal("fourth.json");
    bed.await_converged(three);
    at_rest.await_same(bed);
}

fn nothing_stays_of_what_is_removed(bed: &Bed, three: &[Entry]) {
    let removed: Vec<Entry> = three.iter().map(|entry| entry.clone().state("removed")).collect();
    bed.goal("shop.json", &removed);
    for entry in three {
        bed.await_state(&entry.key(), InstanceState::Removed);
    }
    let left = Possessions::of(bed);
    assert_eq!(left.groups, Vec::<String>::new());
    assert_eq!(left.mounts, Vec::<std::path::PathBuf>::new());
    let of_instance = |path: &&std::path::PathBuf| path.to_string_lossy().contains("shop");
    assert_eq!(left.files.iter().find(of_instance), None);
    assert_eq!(bed.trash().len(), three.len() + 1, "the data is kept, also the fourth's");
}
