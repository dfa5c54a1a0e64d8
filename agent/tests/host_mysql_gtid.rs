//! GTID sets against the server's own functions.

mod common;

use berth_agent::mysql::GtidSet;
use common::Mysqld;

const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

#[test]
fn sets_agree_with_the_server() {
    let mysqld = Mysqld::serve();
    let mut random = fastrand::Rng::with_seed(7);
    let tags = mysqld.connect().version().major >= 9;
    let texts: Vec<String> = (0..120).map(|_| random_set(&mut random, tags)).collect();
    let pairs: Vec<(&String, &String)> = texts.iter().zip(texts.iter().skip(1)).collect();
    let questions: Vec<String> = pairs
        .iter()
        .map(|(a, b)| {
            format!(
                "SELECT REPLACE(GTID_SUBTRACT('{a}', '{b}'), '\\n', ''), GTID_SUBSET('{a}', '{b}'), \
                 REPLACE(GTID_SUBTRACT(CONCAT('{a}', ',', '{b}'), ''), '\\n', '')"
            )
        })
        .collect();
    let answers = mysqld.judge(&questions.join("; "));
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), pairs.len());
    for ((a, b), answer) in pairs.iter().zip(answers) {
        let (left, right): (GtidSet, GtidSet) = (a.parse().unwrap(), b.parse().unwrap());
        let ours = format!(
            "{}\t{}\t{}",
            left.subtract(&right),
            u8::from(left.is_subset_of(&right)),
            left.union(&right)
        );
        assert_eq!(ours, answer, "{a} and {b}");
    }
}

/// Text of a set, in no particular order, of origins that meet often.
fn random_set(random: &mut fastrand::Rng, tags: bool) -> String {
    let mut parts = Vec::new();
    for _ in 0..random.usize(0..6) {
        let uuid = if random.bool() { A } else { B };
        let tag = match random.u8(0..3) {
            0 if tags => ":beta",
            1 if tags => ":Al_1",
            _ => "",
        };
        let first = random.u64(1..40);
        let last = first + random.u64(0..8);
        parts.push(format!("{uuid}{tag}:{first}-{last}"));
    }
    parts.join(",")
}
