//! Seeds that are interrupted: nothing half-made is ever served, and in the end all is there.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use berth_integration::{Bed, Entry, PATIENCE, client, until};
use berth_model::{EntryKey, status::InstanceState};
use nix::sys::signal::Signal;

use super::send;

const FILE: &str = "shop.json";
/// Rows of the donor, 1 MiB each: some seconds of CLONE.
const ROWS: u32 = 400;
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

/// Seeds the minion, interrupts that in the middle of CLONE, and sees it through.
fn seed(bed: &mut Bed, entries: &[Entry], by: &str, interrupt: impl FnOnce(&mut Bed, &EntryKey)) {
    let recipient = entries[1].key();
    let watch = Watch::begin(bed, &entries[0].key(), &recipient);
    let begun = Instant::now();
    bed.goal(FILE, entries);
    let copied = in_the_middle(bed, &recipient);
    interrupt(bed, &recipient);
    bed.await_converged(entries);
    eprintln!("figure: seeded after {:?}, interrupted at {copied} MiB by {by}", begun.elapsed());
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

/// Waits until CLONE copies pages; tells how much it has, in MiB.
fn in_the_middle(bed: &Bed, recipient: &EntryKey) -> u64 {
    const DONE: &str = "SELECT DATA >> 20 FROM performance_schema.clone_progress \
                        WHERE STAGE = 'FILE COPY' AND STATE = 'In Progress' AND DATA > 8 << 20";
    let copied = until(PATIENCE, || bed.ask(recipient, DONE).ok()?.parse().ok());
    copied.expect("CLONE must be seen at work")
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
