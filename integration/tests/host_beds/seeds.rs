//! Seeds that are interrupted: nothing half-made is ever served, and in the end all is there.

use std::{
    net::TcpStream,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use berth_integration::{Bed, Entry, PATIENCE, client};
use berth_model::{EntryKey, status::InstanceState};
use nix::sys::signal::Signal;

use super::send;

const FILE: &str = "shop.json";
/// Rows of the donor, 1 MiB each: some seconds of CLONE.
const ROWS: u32 = 400;
/// How often a CLONE is begun to catch one at work.
const ATTEMPTS: u32 = 5;
const COUNT: &str = "SELECT COUNT(*), SUM(LENGTH(v)) FROM app.t";

#[test]
fn an_interrupted_seed_is_begun_afresh() {
    let mut bed = Bed::new();
    let entries = bed.cluster("shop", 0, 2);
    bed.goal(FILE, &entries[..1]);
    bed.await_converged(&entries[..1]);
    fill(&bed, &entries[0].key());

    seed(&mut bed, &entries, "nothing", |_, _| {});
    seed(&mut bed, &entries, "the donor's end", |bed, _| {
        send(bed.pid(&entries[0].key()), Signal::SIGKILL);
    });
    seed(&mut bed, &entries, "the agent's end", |bed, _| {
        bed.end_agent(Signal::SIGKILL);
        bed.start_agent();
    });
    seed(&mut bed, &entries, "the recipient's end", |bed, recipient| {
        send(bed.pid(recipient), Signal::SIGKILL);
    });
    seed(&mut bed, &entries, "the end of the agent and of the recipient", |bed, recipient| {
        let pid = bed.pid(recipient);
        bed.end_agent(Signal::SIGKILL);
        send(pid, Signal::SIGKILL);
        bed.start_agent();
    });
}

/// Random bytes: nothing shrinks them on the way.
fn fill(bed: &Bed, donor: &EntryKey) {
    bed.sql(
        donor,
        "CREATE USER app@'%' IDENTIFIED BY 'of-the-test'; GRANT ALL ON app.* TO app@'%'; \
         CREATE DATABASE app; CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY, v LONGBLOB)",
    );
    let row = "SELECT REPEAT(RANDOM_BYTES(1024), 1024)";
    bed.sql(
        donor,
        &format!(
            "SET sql_log_bin=0; SET SESSION cte_max_recursion_depth=10000; INSERT INTO app.t (v) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) \
             SELECT ({row}) FROM n"
        ),
    );
}

/// Seeds the minion, interrupts that in the middle of CLONE, and sees it through. A CLONE that
/// was over before it was seen at work is repeated: only an interrupted one proves something.
fn seed(bed: &mut Bed, entries: &[Entry], by: &str, interrupt: impl FnOnce(&mut Bed, &EntryKey)) {
    let recipient = entries[1].key();
    for _ in 0..ATTEMPTS {
        let watch = Watch::begin(bed, &entries[0].key(), &recipient);
        let begun = Instant::now();
        bed.goal(FILE, entries);
        let Some(copied) = in_the_middle(bed, &recipient) else {
            finish(bed, entries, watch);
            continue;
        };
        interrupt(bed, &recipient);
        bed.await_converged(entries);
        eprintln!(
            "figure: seeded after {:?}, interrupted at {copied} MiB by {by}",
            begun.elapsed()
        );
        return finish(bed, entries, watch);
    }
    panic!("CLONE was not seen at work in {ATTEMPTS} attempts");
}

/// Compares what the minion has with what it should have, and removes it.
fn finish(bed: &Bed, entries: &[Entry], watch: Watch) {
    let recipient = entries[1].key();
    bed.await_converged(entries);
    let looks = watch.end();
    assert!(looks > 10, "the watch must have looked often: {looks}");
    assert_eq!(bed.sql(&recipient, COUNT), bed.sql(&entries[0].key(), COUNT));
    assert!(bed.sql(&recipient, COUNT).starts_with(&ROWS.to_string()));

    bed.goal(FILE, &[entries[0].clone(), entries[1].clone().state("removed")]);
    bed.await_state(&recipient, InstanceState::Removed);
    for path in bed.trash() {
        std::fs::remove_dir_all(path).unwrap();
    }
}

/// Waits until CLONE copies the rows; tells how much of them it has, in MiB. `None` if it was
/// over before that was seen. The file's growth is looked at, because a client takes longer to
/// start than a fast disk takes for all of it.
fn in_the_middle(bed: &Bed, recipient: &EntryKey) -> Option<u64> {
    let end = Instant::now() + PATIENCE;
    let table = bed.instance_dir(recipient).join("mysql/app/t.ibd");
    let all = u64::from(ROWS);
    while Instant::now() < end {
        let copied = std::fs::metadata(&table).map_or(0, |found| (found.blocks() * 512) >> 20);
        if copied > all * 9 / 10 {
            return None;
        }
        if copied > all / 4 {
            return Some(copied);
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("CLONE must begin: {} is not there", table.display());
}

/// Looks all the time whether the minion serves what it hasn't got.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Watch {
    fn begin(bed: &Bed, donor: &EntryKey, recipient: &EntryKey) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let port = bed.port(1);
        let complete = bed.sql(donor, COUNT);
        let marker = bed.instance_dir(recipient).join("marker.json");
        let thread = thread::spawn(move || {
            let mut looks = 0;
            while !end.load(Ordering::Relaxed) {
                let half = || {
                    let text = std::fs::read_to_string(&marker).unwrap_or_default();
                    text.contains("\"seeding\"") || text.contains("\"initialising\"")
                };
                let before = half();
                let open = TcpStream::connect(("127.0.0.1", port)).is_ok();
                assert!(!(before && open && half()), "the port is open while it is seeded");
                if let Ok(found) = client::ask_as("app", "of-the-test", port, COUNT) {
                    assert_eq!(found, complete, "a user reads what is not complete");
                }
                looks += 1;
                thread::sleep(Duration::from_millis(50));
            }
            looks
        });
        Self { stop, thread }
    }

    fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("nothing incomplete may be served")
    }
}
