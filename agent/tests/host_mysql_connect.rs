//! Logging in, and deadlines that hold against a server that does not answer.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{fs, time::Duration};

use berth_agent::mysql::{Cause, Deadline, Server, Version};
use common::{Mysqld, soon};
use nix::sys::signal::Signal;

#[test]
fn root_logs_in_by_the_socket_alone() {
    let mysqld = Mysqld::serve();
    let server = mysqld.connect();
    assert_eq!(
        mysqld.judge("SELECT SUBSTRING_INDEX(VERSION(), '-', 1)"),
        server.version().to_string()
    );
    assert!(server.version() >= Version::OLDEST);
    assert_eq!(mysqld.judge("SELECT plugin FROM mysql.user WHERE user = 'root'"), "auth_socket");
}

#[test]
fn a_socket_path_of_any_length_works() {
    let mysqld = Mysqld::serve();
    let deep = mysqld.dir.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::hard_link(mysqld.socket(), deep.join("s.sock")).unwrap();
    Server::connect(&deep.join("s.sock"), soon()).unwrap().snapshot(soon()).unwrap();
}

#[test]
fn a_missing_socket_is_said_by_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let error = Server::connect(&socket, soon()).unwrap_err();
    assert!(error.to_string().contains(socket.to_str().unwrap()), "{error}");
    assert!(!error.cause().to_string().contains("/proc/self"), "{}", error.cause());
    assert!(error.is_retryable());
}

#[test]
fn a_stopped_server_costs_no_more_than_the_deadline() {
    let mysqld = Mysqld::serve();
    let mut server = mysqld.connect();
    mysqld.signal(Signal::SIGSTOP);
    let short = || Deadline::after(Duration::from_millis(300));
    assert!(server.snapshot(short()).unwrap_err().is_timeout());
    // The session is over, and says so at once.
    let again = server.snapshot(soon()).unwrap_err();
    assert!(matches!(again.cause(), Cause::Connection { .. }), "{:?}", again.cause());
    assert!(Server::connect(&mysqld.socket(), short()).unwrap_err().is_timeout());
    mysqld.signal(Signal::SIGCONT);
    mysqld.connect().snapshot(soon()).unwrap();
}

#[test]
fn a_full_accept_queue_does_not_hang_and_does_not_pile_up_threads() {
    let mysqld = Mysqld::serve();
    mysqld.signal(Signal::SIGSTOP);
    // Nobody accepts any more: fill the queue until a connect would wait.
    let mut waiting = Vec::new();
    while let Some(stream) = connect_now(&mysqld) {
        waiting.push(stream);
        assert!(waiting.len() < 20_000, "the accept queue never fills");
    }
    let short = || Deadline::after(Duration::from_millis(50));
    let mut stuck = 0;
    for _ in 0..20 {
        let error = Server::connect(&mysqld.socket(), short()).unwrap_err();
        match error.cause() {
            Cause::Timeout => {}
            Cause::Stuck { .. } => stuck += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(stuck >= 16, "only {stuck} attempts were refused");
    drop(waiting);
    mysqld.signal(Signal::SIGCONT);
    common::wait_for("the server to answer again", || {
        Server::connect(&mysqld.socket(), soon()).ok()
    });
}

/// A connection that waits for nothing; `None` when the queue is full.
fn connect_now(mysqld: &Mysqld) -> Option<std::os::fd::OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
    let address = UnixAddr::new(&mysqld.socket()).unwrap();
    match connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &address) {
        Ok(()) => Some(fd),
        Err(nix::errno::Errno::EAGAIN) => None,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_statement_whose_time_is_up_is_killed_on_the_server() {
    let mysqld = Mysqld::serve();
    let mut server = mysqld.connect();
    let never = "11111111-1111-1111-1111-111111111111:1".parse().unwrap();
    let day = Duration::from_secs(86_400);
    let deadline = Deadline::after(Duration::from_millis(300));
    assert!(server.wait_for_gtids(&never, day, deadline).unwrap_err().is_timeout());
    common::wait_for("the statement to end", || {
        let count = mysqld.judge(
            "SELECT COUNT(*) FROM performance_schema.processlist WHERE info LIKE 'SELECT WAIT_FOR%'",
        );
        (count == "0").then_some(())
    });
}
