//! Second opinions: tools, pings, TCP, and work inside of a namespace.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

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
    let args = [&net, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", &address];
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
    stream.set_read_timeout(Some(DEADLINE)).expect("a time limit");
    let (mut peer, _) = listener.accept().expect("the connection");
    peer.set_read_timeout(Some(DEADLINE)).expect("a time limit");
    let sent = vec![7_u8; 1 << 20];
    let expected = sent.len();
    let echo = std::thread::spawn(move || {
        let mut got = vec![0; expected];
        peer.read_exact(&mut got).and_then(|()| peer.write_all(&got))
    });
    let mut back = vec![0; expected];
    // Both directions at once: read what comes back only after all is sent.
    let done = stream.write_all(&sent).and_then(|()| stream.read_exact(&mut back));
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

/// A process that ends with its test, however that ends.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program; it is killed when this is dropped, or when its thread ends.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from)
            });
        }
        let program = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| panic!("can't start {program:?}: {error}")))
    }

    /// Its network namespace, once that is not the caller's.
    pub(crate) fn namespace(&self) -> PathBuf {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.0.id()));
        let own = fs::read_link("/proc/thread-self/ns/net").expect("our namespace");
        wait("the process to be in its namespace", || {
            fs::read_link(&path).is_ok_and(|namespace| namespace != own)
        });
        path
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().and_then(|()| self.0.wait().map(drop)).ok();
    }
}
