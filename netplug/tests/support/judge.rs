//! Second opinions: tools, pings, TCP, and work inside of a namespace.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

use super::DEADLINE;

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of plain text")
}

/// Waits for a condition, up to [`DEADLINE`].
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn output(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("can't run {program}: {error}"))
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = output(program, args);
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a tool inside a namespace.
pub(crate) fn run_in(namespace: &Path, args: &[&str]) -> String {
    let net = format!("--net={}", text(namespace));
    let mut all = vec![net.as_str()];
    all.extend(args);
    run("nsenter", &all)
}

/// Whether one of a few pings is answered.
pub(crate) fn pings(namespace: &Path, address: IpAddr) -> bool {
    let net = format!("--net={}", text(namespace));
    let address = address.to_string();
    let args = [
        &net, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", &address,
    ];
    output("nsenter", &args).status.success()
}

/// Sends a mebibyte by TCP from one namespace to another and back; whether it came.
pub(crate) fn talks(from: &Path, to: &Path, address: IpAddr) -> bool {
    use std::io::{Read, Write};
    let listener = inside(to, move || TcpListener::bind(SocketAddr::new(address, 0)));
    let Ok(listener) = listener else { return false };
    let target = listener.local_addr().expect("the listener's address");
    let patience = Duration::from_secs(2);
    let stream = inside(from, move || TcpStream::connect_timeout(&target, patience));
    let Ok(mut stream) = stream else { return false };
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a time limit");
    let (mut peer, _) = listener.accept().expect("the connection");
    peer.set_read_timeout(Some(DEADLINE)).expect("a time limit");
    let sent = vec![7_u8; 1 << 20];
    let expected = sent.len();
    let echo = std::thread::spawn(move || {
        let mut got = vec![0; expected];
        peer.read_exact(&mut got)
            .and_then(|()| peer.write_all(&got))
    });
    let mut back = vec![0; expected];
    // Both directions at once: read what comes back only after all is sent.
    let done = stream
        .write_all(&sent)
        .and_then(|()| stream.read_exact(&mut back));
    echo.join().expect("the echo").and(done).is_ok() && back == sent
}

/// Runs `work` on a thread inside a namespace.
pub(crate) fn inside<T: Send + 'static>(
    namespace: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let file = File::open(namespace).expect("a namespace");
    std::thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("entering a namespace");
        work()
    })
    .join()
    .expect("work inside a namespace")
}
