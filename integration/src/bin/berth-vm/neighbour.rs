//! A server that wants the whole disk, beside one that wants little: what the neighbour gets
//! with and without a limit.

use std::time::Duration;

use serde_json::{Value, json};

use crate::host::{CONVERGE, Host, Packages, client, master};

const GREEDY: &str = "stock-db1";
const MODEST: &str = "orders-db1";
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

/// Rows of a megabyte for as long as the procedure is left to run, a bound apart.
const GREEDY_SQL: &str = "\
CREATE DATABASE IF NOT EXISTS shop;
CREATE TABLE IF NOT EXISTS shop.large (id INT PRIMARY KEY, body LONGBLOB);
DELIMITER //
CREATE PROCEDURE shop.fill(rows_max INT)
BEGIN
  DECLARE i INT DEFAULT 0;
  WHILE i < rows_max DO
    REPLACE INTO shop.large VALUES (i % 32, REPEAT(MD5(i), 32768));
    SET i = i + 1;
  END WHILE;
END //
";

/// What the modest one achieved.
#[derive(Debug, Clone, Copy)]
struct Served {
    commits: u64,
    p99_us: u64,
}

/// See the module.
pub(crate) fn a_limit_keeps_the_disk_for_the_neighbours(packages: &Packages) {
    let mut host = Host::new(packages);
    goal(&mut host, &json!({}));
    host.await_converged("two masters", 2);
    host.script(MODEST, MODEST_SQL);
    host.script(GREEDY, GREEDY_SQL);

    let alone = measure(&mut host, "alone");
    host.begin(GREEDY, "CALL shop.fill(100000)");
    let rows = format!("test \"$({} -e 'SELECT COUNT(*) FROM shop.large')\" -gt 4", client(GREEDY));
    host.vm.await_sh("rows of the greedy server", CONVERGE, &rows);
    let unlimited = measure(&mut host, "beside a server without a limit");
    goal(&mut host, &json!({ "write_bps": LIMIT }));
    let group = Host::group(GREEDY);
    let set = format!("grep -q wbps={LIMIT_BYTES} '{group}/io.max'");
    host.vm.await_sh("the limit in the kernel", CONVERGE, &set);
    let limited = measure(&mut host, &format!("beside one limited to {LIMIT}"));
    for (what, served) in [("without a limit", unlimited), ("with a limit", limited)] {
        eprintln!(
            "neighbour {what}: {} % of the commits alone, p99 {} % of that alone",
            served.commits * 100 / alone.commits.max(1),
            served.p99_us * 100 / alone.p99_us.max(1)
        );
    }
    assert!(alone.commits > 0 && unlimited.commits > 0 && limited.commits > 0);
}

fn goal(host: &mut Host, io: &Value) {
    let mut greedy = master(GREEDY, 7336);
    greedy["io"] = io.clone();
    host.goal(&[(MODEST, master(MODEST, 7335)), (GREEDY, greedy)]);
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
    Served { commits, p99_us }
}
