//! Several users of one store at once: each has its own handle and locks, as
//! processes have. flock(2) does not tell threads from processes.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::collections::BTreeSet;
use std::sync::Barrier;

use berth_images::{NoProgress, Reference};
use common::{Layer, Layout, Pack, assert_empty, chain, scratch, store};

const USERS: usize = 4;
const ROUNDS: usize = 12;

#[test]
fn imports_unpacks_and_removals_do_not_get_in_each_others_way() {
    common::require_root();
    let scratch = scratch();
    // All share the first layer; every two share the whole image.
    let shared =
        || (Pack::Gzip, Layer::new().dir("a").file("a/shared", &vec![9; 500_000]).finish());
    let layouts: Vec<Layout> = (0..USERS / 2)
        .map(|number| {
            let own = Layer::new().file("own", number.to_string().as_bytes()).finish();
            let path = scratch.path().join(format!("layout-{number}"));
            Layout::write(&path, &[shared(), (Pack::Zstd, own)])
        })
        .collect();
    let barrier = Barrier::new(USERS);
    std::thread::scope(|scope| {
        for user in 0..USERS {
            let (layout, barrier, scratch) = (&layouts[user / 2], &barrier, &scratch);
            scope.spawn(move || {
                let store = store(scratch);
                let tag: Reference = format!("user-{user}").parse().unwrap();
                barrier.wait();
                for round in 0..ROUNDS {
                    let run = || {
                        let image = store.import(&layout.path, &tag, &NoProgress)?;
                        let tree = store.unpack(&image, &NoProgress)?;
                        let own = std::fs::read_to_string(tree.root.join("own")).unwrap();
                        assert_eq!(own, (user / 2).to_string());
                        let listing = store.list()?;
                        assert!(listing.images.iter().any(|image| image.reference == tag));
                        store.remove(&tag, &BTreeSet::new())
                    };
                    if let Err(error) = run() {
                        panic!("user {user} round {round}: {}", chain(&error));
                    }
                }
            });
        }
    });
    assert_empty(&store(&scratch));
}
