use std::path::Path;

use proptest::prelude::*;

use super::*;

fn spec() -> ServerSpec {
    ServerSpec {
        data_dir: "/var/lib/mysql".into(),
        socket: "/run/mysqld/mysqld.sock".into(),
        bind_address: "127.0.0.1".parse().unwrap(),
        port: 7335,
        server_id: 42,
        report_host: "dbhost01".to_owned(),
        sizing: Sizing::for_limit(berth_model::size::SERVER_BYTES_MIN).unwrap(),
    }
}

fn has(args: &[OsString], arg: &str) -> bool {
    args.iter().any(|found| found == arg)
}

#[test]
fn a_serving_server_boots_read_only_and_a_seeded_one_unreachable() {
    let serve = server_args(&spec(), Mode::Serve);
    let seed = server_args(&spec(), Mode::Seed);
    assert!(has(&serve, "--super-read-only=ON") && has(&serve, "--bind-address=127.0.0.1"));
    assert!(!has(&serve, "--skip-networking=ON"));
    assert!(has(&seed, "--super-read-only=OFF") && has(&seed, "--skip-networking=ON"));
    for args in [&serve, &seed] {
        for arg in [
            "--skip-replica-start=ON",
            "--replica-net-timeout=10",
            "--gtid-mode=ON",
            "--port=7335",
            "--server-id=42",
        ] {
            assert!(has(args, arg), "{arg}");
        }
        assert!(has(args, "--plugin-load-add=mysql_clone.so"));
    }
}

#[test]
fn initialising_runs_the_statements_that_close_root() {
    let args = initialise_args(Path::new("/d"), Path::new("/i.sql"));
    assert!(has(&args, "--initialize-insecure") && has(&args, "--init-file=/i.sql"));
}

#[test]
fn identity_files_are_those_that_name_a_server() {
    for name in ["auto.cnf", "ca.pem", "server-key.pem"] {
        assert!(is_identity_file(OsStr::new(name)), "{name}");
    }
    for name in ["ibdata1", "mysql.ibd", "auto.cnf.bak", "pem"] {
        assert!(!is_identity_file(OsStr::new(name)), "{name}");
    }
}

#[test]
fn server_ids_are_fixed_by_the_key() {
    // The first four bytes of sha256sum.
    assert_eq!(server_id("dbhost01-orders-db4"), 0x47c0_ef70);
    assert_ne!(server_id("dbhost01-orders-db4"), server_id("dbhost01-orders-db5"));
}

#[test]
fn the_shares_of_memory_are_arguments() {
    let args = server_args(&spec(), Mode::Serve);
    assert!(has(&args, "--innodb-buffer-pool-size=50331648"));
    assert!(has(&args, "--innodb-buffer-pool-chunk-size=16777216"));
    assert!(has(&args, "--max-connections=100"));
}

proptest! {
    #[test]
    fn server_ids_are_never_zero(key in ".*") {
        prop_assert_ne!(server_id(&key), 0);
    }
}
