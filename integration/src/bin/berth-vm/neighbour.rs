//! A server that wants the whole disk, beside one that wants little: what the neighbour gets
//! with and without a limit. The disk is one that can be filled: see `Host::on_a_slow_disk`.

use std::time::Duration;

use serde_json::json;

use crate::{
    host::{CONVERGE, Host, client},
    pair::{LIMITED as GREEDY, OTHER as MODEST, await_files, goal},
    spare::{self, DATA_DEVICE},
};

/// What the greedy one may write, once it is limited.
const LIMIT: &str = "4MiB/s";
const LIMIT_BYTES: u64 = 4 << 20;
/// How long each measurement takes.
const SECONDS: u32 = 20;

/// Commits of one small row at a time, each with its time in microseconds; then how many there
/// were, and the 99th percentile.
const MODEST_SQL: &str = "\
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.small (id BIGINT PRIMARY KEY AUTO_INCREMENT, body VARCHAR(200));
DELIMITER //
CREATE PROCEDURE shop.commits(seconds INT)
BEGIN
  DECLARE finish DATETIME(6) DEFAULT SYSDATE(6) + INTERVAL seconds SECOND;
  DECLARE begun DATETIME(6);
  CREATE TEMPORARY TABLE took (us BIGINT);
  WHILE SYSDATE(6) < finish DO
    SET begun = SYSDATE(6);
    INSERT INTO shop.small (body) VALUES (REPEAT('x', 200));
    INSERT INTO took VALUES (TIMESTAMPDIFF(MICROSECOND, begun, SYSDATE(6)));
  END WHILE;
  SELECT MAX(n), MIN(us) FROM
    (SELECT us, COUNT(*) OVER () n, CUME_DIST() OVER (ORDER BY us) d FROM took) t WHERE d >= 0.99;
  DROP TEMPORARY TABLE took;
END //
";

/// Large rows for as long as the procedure is left to run, a bound apart.
const GREEDY_SQL: &str = "\
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.large (id INT PRIMARY KEY, body LONGBLOB);
DELIMITER //
CREATE PROCEDURE shop.fill(rows_max INT)
BEGIN
  DECLARE i INT DEFAULT 0;
  WHILE i < rows_max DO
    REPLACE INTO shop.large VALUES (i % 128, REPEAT(CHAR(97 + i % 26), 262144));
    SET i = i + 1;
  END WHILE;
END //
";

/// What the modest one achieved, and what the greedy one wrote meanwhile, in bytes a second.
#[derive(Debug, Clone, Copy)]
struct Served {
    commits: u64,
    p99_us: u64,
    greedy: u64,
}

/// See the module.
pub(crate) fn has_the_disk_it_needs(host: &mut Host) {
    host.script(MODEST, MODEST_SQL);
    host.script(GREEDY, GREEDY_SQL);
    let alone = measure(host, "alone");
    host.begin(GREEDY, "CALL shop.fill(8000)");
    let count = format!("$({} -e 'SELECT COUNT(*) FROM shop.large')", client(GREEDY));
    let writes = format!("test \"{count}\" -gt 8 || ! systemctl is-active --quiet begun");
    host.vm.await_sh("rows of the greedy server", CONVERGE, &writes);
    host.assert_begun();
    let unlimited = measure(host, "beside a server without a limit");
    goal(host, &json!({ "io": { "write_bps": LIMIT } }));
    let disk = spare::number(host, DATA_DEVICE);
    let set = format!("{disk} rbps=max wbps={LIMIT_BYTES} riops=max wiops=max");
    await_files(host, &[("io.max", set)]);
    let limited = measure(host, &format!("beside a server with a limit of {LIMIT}"));
    for (what, served) in [("without a limit", unlimited), ("with a limit", limited)] {
        eprintln!(
            "neighbour {what}: {} % of the commits alone, p99 {} % of that alone",
            served.commits * 100 / alone.commits.max(1),
            served.p99_us * 100 / alone.p99_us.max(1)
        );
    }
    host.assert_begun();
    goal(host, &json!({}));
    await_files(host, &[("io.max", String::new())]);
    host.end_begun(GREEDY);
    for served in [alone, unlimited, limited] {
        assert!(served.commits > 0, "the neighbour went on: {served:?}");
    }
    // Far apart, because what was written before the change may still come.
    let held = 1..=2 * LIMIT_BYTES;
    assert!(held.contains(&limited.greedy), "it writes, and is held by its limit: {limited:?}");
}

/// Lets the modest server commit for a while, and says what both did.
fn measure(host: &mut Host, what: &str) -> Served {
    let written = |host: &mut Host| -> u64 {
        let text = host.limit(GREEDY, "io.stat");
        let words = text.split_ascii_whitespace();
        words
            .filter_map(|word| word.strip_prefix("wbytes=")?.parse::<u64>().ok())
            .max()
            .unwrap_or(0)
    };
    let before = written(host);
    let answer =
        host.sql_within(MODEST, &format!("CALL shop.commits({SECONDS})"), Duration::from_secs(300));
    let rate = (written(host) - before) / u64::from(SECONDS);
    let mut numbers = answer.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    let (Some(commits), Some(p99_us)) = (numbers.next(), numbers.next()) else {
        panic!("expected two numbers: {answer}");
    };
    eprintln!(
        "{what}: {} commits/s, p99 {} ms; the other writes {} KiB/s",
        commits / u64::from(SECONDS),
        p99_us / 1000,
        rate / 1024
    );
    Served { commits, p99_us, greedy: rate }
}
