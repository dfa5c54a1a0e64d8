//! Further processes in a running container.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_runtime::{ExecSpec, ExitStatus, RuntimeError, State, User};

use crate::Test;
use crate::bed::{Bed, LONG, Possessions, id, until};
use crate::roles;

pub(crate) const TESTS: &[Test] = &[
    ("exec::output_codes_and_settings", output_codes_and_settings),
    ("exec::descriptors_are_passed", descriptors_are_passed),
    ("exec::too_long_is_killed_and_the_container_lives", too_long_is_killed),
    ("exec::needs_a_running_container", needs_a_running_container),
    ("exec::a_terminal_is_relayed", a_terminal_is_relayed),
    ("exec::a_killed_caller_takes_its_process_along", killed_caller),
];

const FOREVER: &str = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done";

fn shell(script: &str) -> ExecSpec {
    ExecSpec { args: ["sh", "-c", script].map(str::to_owned).into(), ..ExecSpec::default() }
}

fn output_codes_and_settings() {
    let bed = Bed::new();
    let mut spec = bed.spec("a", FOREVER);
    spec.env.insert("FROM".to_owned(), "container".to_owned());
    spec.env.insert("BOTH".to_owned(), "container".to_owned());
    bed.start(&spec);
    bed.logged("a", "up");
    let before = Possessions::now();
    let run = |exec: &ExecSpec| bed.runtime.exec_output(&id("a"), exec, LONG).unwrap();
    for (script, expected) in [
        ("exit 0", ExitStatus::Code(0)),
        ("exit 42", ExitStatus::Code(42)),
        ("kill -9 $$", ExitStatus::Signal(9)),
    ] {
        assert_eq!(run(&shell(script)).status, expected, "{script}");
    }
    // What is left running in the container holds the pipe, but not the caller.
    let left = run(&shell("sleep 1000 & echo hi"));
    assert_eq!((left.status, left.stdout.as_slice()), (ExitStatus::Code(0), &b"hi\n"[..]));
    let missing = run(&ExecSpec { args: vec!["nothing".into()], ..ExecSpec::default() });
    assert_eq!(missing.status, ExitStatus::Code(127));
    assert!(String::from_utf8(missing.stderr).unwrap().contains("cannot run nothing"));

    let mut exec = shell("echo $FROM $BOTH $(id -u) $PWD; cat /proc/self/cgroup >&2");
    exec.env = BTreeMap::from([("BOTH".to_owned(), "exec".to_owned())]);
    exec.cwd = Some(PathBuf::from("/data"));
    exec.user = Some(User { uid: 77, gid: 78, additional_gids: Vec::new() });
    let output = run(&exec);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "container exec 77 /data\n");
    let groups = String::from_utf8(output.stderr).unwrap();
    assert!(!groups.contains("berth-test-"), "in the container's group: {groups}");

    exec.cwd = Some(PathBuf::from("/no/such"));
    assert_eq!(run(&exec).status, ExitStatus::Code(126));
    assert_eq!(Possessions::now(), before);
    assert!(matches!(bed.inspect("a").state, State::Running { .. }));
}

fn descriptors_are_passed() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", FOREVER));
    let (input, mut writer) = std::io::pipe().unwrap();
    let (mut reader, output) = std::io::pipe().unwrap();
    writer.write_all(b"through the container").unwrap();
    drop(writer);
    let exec = ExecSpec { args: vec!["cat".into()], ..ExecSpec::default() };
    let null = OwnedFd::from(File::create("/dev/null").unwrap());
    let stdio = [OwnedFd::from(input), OwnedFd::from(output), null];
    let status = bed.runtime.exec(&id("a"), &exec, stdio, None).unwrap();
    assert_eq!(status, ExitStatus::Code(0));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through the container");
}

fn too_long_is_killed() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", FOREVER));
    let before = Possessions::now();
    let error = bed
        .runtime
        .exec_output(&id("a"), &shell("exec sleep 1000"), Duration::from_millis(300))
        .unwrap_err();
    assert!(matches!(error, RuntimeError::Deadline { .. }), "{error}");
    let gone = until(LONG, || {
        let output = bed.runtime.exec_output(&id("a"), &shell("cat /proc/[0-9]*/cmdline"), LONG);
        (!String::from_utf8_lossy(&output.unwrap().stdout).contains("1000")).then_some(())
    });
    assert!(gone.is_some(), "the process still runs");
    assert!(matches!(bed.inspect("a").state, State::Running { .. }));
    assert_eq!(Possessions::now(), before);
}

fn needs_a_running_container() {
    let bed = Bed::new();
    let exec = |name: &str| bed.runtime.exec_output(&id(name), &shell("exit 0"), LONG).unwrap_err();
    assert!(matches!(exec("none"), RuntimeError::NotFound { .. }));
    bed.start(&bed.spec("a", "exit 0"));
    bed.wait("a");
    assert!(matches!(exec("a"), RuntimeError::NotRunning { .. }));
}

/// The operator's side is a second process whose stdin is a terminal: one made
/// here, so that both ends can be looked at.
fn a_terminal_is_relayed() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", FOREVER));
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(&size, None).unwrap();
    let mode_before = nix::sys::termios::tcgetattr(&pair.slave).unwrap();
    let mut operator = Command::new("/proc/self/exe")
        .args(roles::tty_args(&bed, "a", "stty size; read line; echo got $line; exit 5"))
        .stdin(Stdio::from(pair.slave.try_clone().unwrap()))
        .stdout(Stdio::from(pair.slave.try_clone().unwrap()))
        .spawn()
        .unwrap();
    let mut screen = Screen { file: File::from(pair.master), text: String::new() };
    screen.expect("33 111\r\n");
    screen.file.write_all(b"hello\r").unwrap();
    screen.expect("got hello\r\n");
    let status = until(LONG, || operator.try_wait().unwrap());
    assert_eq!(status.unwrap().code(), Some(5));
    assert_eq!(nix::sys::termios::tcgetattr(&pair.slave).unwrap(), mode_before, "restored");
}

struct Screen {
    file: File,
    text: String,
}

impl Screen {
    /// Reads until the text appears. The read is bounded by poll.
    fn expect(&mut self, wanted: &str) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        while !self.text.contains(wanted) {
            let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(60_000u16)).unwrap();
            assert!(ready > 0, "{wanted:?} does not come: {:?}", self.text);
            let mut buffer = [0; 4096];
            let got = self.file.read(&mut buffer).unwrap();
            self.text += &String::from_utf8_lossy(&buffer[..got]);
        }
    }
}

fn killed_caller() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", FOREVER));
    let mut caller = Command::new("/proc/self/exe")
        .args(roles::exec_args(&bed, "a", "echo here > /tmp/here; exec sleep 1000"))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let look = |script: &str| {
        let output = bed.runtime.exec_output(&id("a"), &shell(script), LONG).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    until(LONG, || look("cat /proc/[0-9]*/cmdline").contains("1000").then_some(())).unwrap();
    caller.kill().unwrap();
    caller.wait().unwrap();
    let gone = until(LONG, || (!look("cat /proc/[0-9]*/cmdline").contains("1000")).then_some(()));
    assert!(gone.is_some(), "the process still runs");
    assert!(matches!(bed.inspect("a").state, State::Running { .. }));
    roles::collect_orphans();
}
