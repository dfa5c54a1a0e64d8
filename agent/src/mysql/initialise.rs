//! The arguments and the environment of mysqld, as pure functions.
//!
//! Three ways to run it: to make a data directory, to serve, and to be seeded by CLONE. What
//! differs per instance is an argument, and so is what berth's safety rests on (it boots
//! read-only, with replication stopped, with GTIDs, with its plugins); all else is the
//! image's configuration, which must not load the same plugins once more.
//!
//! Measured on 9.7.4: `--init-file` is run under `--initialize-insecure`, `plugin-load-add` is
//! not; a recipient clones with `--skip-networking`, so that nobody reaches half a copy; a
//! copy of a new data directory without `auto.cnf` and `*.pem` starts with a new UUID and
//! new certificates.

use std::{
    ffi::{OsStr, OsString},
    net::IpAddr,
    path::PathBuf,
};

use berth_model::sizing::Sizing;
use sha2::{Digest as _, Sha256};

mod sizing;

pub use sizing::SMALL_DIGESTS;

/// The statements for `--init-file` at initialisation: root logs in by the unix socket's
/// peer, and by nothing else, from the first moment. The plugin is loaded for the statement
/// only: at every start it comes by `--plugin-load-add`, which a row in `mysql.plugin` would
/// make an error in the log.
pub const INIT_SQL: &str = "INSTALL PLUGIN auth_socket SONAME 'auth_socket.so';\n\
     ALTER USER 'root'@'localhost' IDENTIFIED WITH auth_socket;\n\
     UNINSTALL PLUGIN auth_socket;\n";

/// The exit status of a supervised mysqld that asks to be started again, as after CLONE
/// (`MYSQLD_RESTART_EXIT` in the sources).
pub const EXIT_RESTART: i32 = 16;

/// mysqld's environment. It takes itself for supervised, and so may restart after CLONE, if
/// this names its parent; the first process of a PID namespace has parent 0.
pub const ENVIRONMENT: &[(&str, &str)] = &[("MYSQLD_PARENT_PID", "0")];

/// Files of a data directory that a copy must not have: they would make it the same server.
#[must_use]
pub fn is_identity_file(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes == b"auto.cnf" || bytes.ends_with(b".pem")
}

/// A server id from an entry's key: the first 32 bits of its SHA-256 that are not zero.
#[must_use]
pub fn server_id(entry_key: &str) -> u32 {
    let digest = Sha256::digest(entry_key.as_bytes());
    let words = digest.chunks_exact(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
    words.into_iter().find(|id| *id != 0).unwrap_or(1)
}

/// The arguments that make a data directory. mysqld ends when it is done; with another
/// status than 0 the directory is of no use.
#[must_use]
pub fn initialise_args(data_dir: &std::path::Path, init_file: &std::path::Path) -> Vec<OsString> {
    vec![
        "--initialize-insecure".into(),
        option("--datadir=", data_dir),
        option("--init-file=", init_file),
        "--secure-file-priv=NULL".into(),
        "--innodb-buffer-pool-size=64M".into(),
        // No transaction of the making may reach a binary log: copies would share it.
        "--disable-log-bin".into(),
        // A small redo log and no doublewrite files: fewer bytes to copy, and the first
        // start makes them anew.
        "--innodb-redo-log-capacity=8M".into(),
        "--innodb-doublewrite=OFF".into(),
        // Hundreds of syncs less: the whole is synced once before it counts as made.
        "--innodb-flush-log-at-trx-commit=0".into(),
    ]
}

/// What a server is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To serve: read-only until the agent decides otherwise.
    Serve,
    /// To receive a clone: not reachable by network, and writable, which CLONE needs before
    /// 9.x.
    Seed,
}

/// What differs from one instance to the next. Paths are those that mysqld sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// `--datadir`.
    pub data_dir: PathBuf,
    /// `--socket`.
    pub socket: PathBuf,
    /// `--bind-address`; `0.0.0.0` for every one.
    pub bind_address: IpAddr,
    /// `--port`.
    pub port: u16,
    /// `--server-id`, see [`server_id`].
    pub server_id: u32,
    /// `--report-host`: how peers reach it.
    pub report_host: String,
    /// Memory, see [`Sizing::for_limit`].
    pub sizing: Sizing,
}

/// The arguments that run a server.
#[must_use]
pub fn server_args(spec: &ServerSpec, mode: Mode) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![
        option("--datadir=", &spec.data_dir),
        option("--socket=", &spec.socket),
        format!("--port={}", spec.port).into(),
        format!("--server-id={}", spec.server_id).into(),
        format!("--report-host={}", spec.report_host).into(),
        format!("--report-port={}", spec.port).into(),
        "--skip-replica-start=ON".into(),
        format!("--replica-net-timeout={REPLICA_NET_TIMEOUT}").into(),
        "--gtid-mode=ON".into(),
        "--enforce-gtid-consistency=ON".into(),
        "--mysqlx=OFF".into(),
        "--secure-file-priv=NULL".into(),
    ];
    args.extend(PLUGINS.iter().map(|plugin| format!("--plugin-load-add={plugin}").into()));
    args.extend(sizing::args(&spec.sizing).into_iter().map(OsString::from));
    match mode {
        Mode::Serve => {
            args.push(format!("--bind-address={}", spec.bind_address).into());
            args.push("--super-read-only=ON".into());
            // Clients come in once the agent has seen that the data is what it should be.
            args.push("--offline-mode=ON".into());
        }
        Mode::Seed => {
            args.push("--skip-networking=ON".into());
            args.push("--super-read-only=OFF".into());
            args.push("--read-only=OFF".into());
        }
    }
    args
}

/// Seconds of silence after which a receiver gives its connection up and makes a new one. A
/// network that drops everything is noticed by nothing else; the server's default is 60.
pub(super) const REPLICA_NET_TIMEOUT: u32 = 10;

/// Loaded by argument: `super_read_only` blocks `INSTALL PLUGIN`.
const PLUGINS: [&str; 4] =
    ["auth_socket.so", "mysql_clone.so", "semisync_source.so", "semisync_replica.so"];

fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut option = OsString::from(name);
    option.push(value);
    option
}

#[cfg(test)]
mod tests;
