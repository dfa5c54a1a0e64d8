//! Probes that answer, hang and panic.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Long enough for any probe that answers; only a test in which one hangs waits for it.
const WAIT: Duration = Duration::from_secs(2);

fn answers(name: &str) -> (String, Probe<String>) {
    let answer = name.to_owned();
    (name.to_owned(), Box::new(move || answer))
}

/// A probe that hangs until the sender says something or goes.
fn hangs(name: &str) -> (Sender<()>, (String, Probe<String>)) {
    let (release, wait): (_, Receiver<()>) = channel();
    let probe = move || {
        let _ = wait.recv();
        "late".to_owned()
    };
    (release, (name.to_owned(), Box::new(probe)))
}

#[tokio::test]
async fn a_probe_that_hangs_costs_only_its_own_answer() {
    let together = Together::default();
    let (release, hung) = hangs("db1");
    let found = together.run(vec![hung, answers("db2")], WAIT).await;
    assert_eq!(found, ["db2"]);
    // It holds one thread, and is not begun once more beside itself.
    let again = together.run(vec![answers("db1"), answers("db2")], WAIT).await;
    assert_eq!(again, ["db2"]);
    assert!(together.age("db1").unwrap() >= WAIT, "it counts from its beginning");
    assert_eq!(together.age("db2"), None);
    release.send(()).unwrap();
    let ended = async {
        while together.age("db1").is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), ended).await.expect("a released probe ends");
    assert_eq!(together.run(vec![answers("db1")], WAIT).await, ["db1"]);
}

#[tokio::test]
async fn a_probe_that_panics_is_begun_again() {
    let together = Together::default();
    let panics: (String, Probe<String>) = ("db1".to_owned(), Box::new(|| panic!("on purpose")));
    assert_eq!(together.run(vec![panics], WAIT).await, [""; 0]);
    assert_eq!(together.run(vec![answers("db1")], WAIT).await, ["db1"]);
}

#[tokio::test]
async fn probes_run_at_the_same_time() {
    let together = Together::default();
    // Each waits for the other: one after the other they would hang.
    let (to_first, from_second) = channel();
    let (to_second, from_first) = channel();
    let meet = |send: Sender<()>, wait: Receiver<()>| -> Probe<bool> {
        Box::new(move || send.send(()).is_ok() && wait.recv().is_ok())
    };
    let probes = vec![
        ("first".to_owned(), meet(to_second, from_second)),
        ("second".to_owned(), meet(to_first, from_first)),
    ];
    assert_eq!(together.run(probes, WAIT).await, [true, true]);
}
