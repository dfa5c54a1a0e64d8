use std::path::Path;

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn spec() -> ServerSpec {
    ServerSpec {
        data_dir: "/var/lib/mysql".into(),
        socket: "/run/mysqld/mysqld.sock".into(),
        bind_address: "127.0.0.1".parse().unwrap(),
        port: 7335,
        server_id: 42,
        report_host: "dbhost01".to_owned(),
        sizing: Sizing::for_limit(MIN_MEMORY).unwrap(),
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
fn known_limits_give_known_pools() {
    let pool = |limit| Sizing::for_limit(limit).unwrap();
    assert_eq!(pool(384 * MIB).buffer_pool, 48 * MIB);
    assert_eq!(pool(1024 * MIB).buffer_pool, 512 * MIB);
    assert_eq!(pool(2048 * MIB).buffer_pool, 1024 * MIB);
    assert!(pool(2047 * MIB).small && !pool(2048 * MIB).small);
    let large = pool(64 * 1024 * MIB);
    assert_eq!((large.buffer_pool, large.pool_instances), (55 * 1024 * MIB, 8));
    let error = Sizing::for_limit(384 * MIB - 1).unwrap_err();
    assert!(error.to_string().contains("too few"));
}

proptest! {
    #[test]
    fn a_pool_leaves_room_and_is_not_rounded_up_by_the_server(limit in MIN_MEMORY..1 << 42) {
        let sizing = Sizing::for_limit(limit).unwrap();
        let room = limit - sizing.buffer_pool;
        let reserve = if sizing.small { 320 * MIB } else { 640 * MIB };
        prop_assert!(room >= reserve);
        prop_assert!(sizing.buffer_pool >= 48 * MIB);
        prop_assert!(sizing.buffer_pool < 128 * MIB
            || sizing.buffer_pool.is_multiple_of(sizing.pool_instances * 128 * MIB));
    }

    #[test]
    fn server_ids_are_never_zero(key in ".*") {
        prop_assert_ne!(server_id(&key), 0);
    }
}
