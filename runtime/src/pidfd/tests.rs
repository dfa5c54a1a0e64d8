use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::PidFd;
use crate::deadline::Deadline;
use crate::exit::ExitStatus;
use crate::procfs;

fn spawn(script: &str) -> (Child, PidFd) {
    let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    let fd = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap().unwrap();
    (child, fd)
}

#[test]
fn peeking_leaves_the_status_for_its_owner() {
    let (mut child, fd) = spawn("exit 7");
    assert!(fd.wait_exit(Deadline::after(Duration::from_secs(10))).unwrap());
    assert_eq!(fd.peek_child().unwrap(), Some(ExitStatus::Code(7)));
    assert_eq!(child.wait().unwrap().code(), Some(7));
    assert_eq!(fd.peek_child().unwrap(), None);
}

#[test]
fn a_signal_shows_as_a_signal() {
    let (mut child, fd) = spawn("sleep 60");
    assert!(fd.signal(Signal::SIGTERM).unwrap());
    assert!(fd.wait_exit(Deadline::after(Duration::from_secs(10))).unwrap());
    assert_eq!(fd.reap_child().unwrap(), Some(ExitStatus::Signal(15)));
    assert!(!fd.signal(Signal::SIGTERM).unwrap());
    assert!(child.wait().is_err(), "reaped already");
}

#[test]
fn another_start_time_is_another_process() {
    let (mut child, _fd) = spawn("sleep 60");
    let pid = i32::try_from(child.id()).unwrap();
    let start = procfs::stat(pid).unwrap().unwrap().start_time;
    assert!(PidFd::open_exact(pid, start).unwrap().is_some());
    assert!(PidFd::open_exact(pid, start + 1).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(PidFd::open_exact(pid, start).unwrap().is_none());
}

#[test]
fn waiting_ends_at_the_deadline() {
    let (mut child, fd) = spawn("sleep 60");
    assert!(!fd.wait_exit(Deadline::after(Duration::from_millis(20))).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_kernel_keeps_the_status_after_somebody_else_has_reaped() {
    let (mut child, fd) = spawn("exit 7");
    assert_eq!(fd.exit_info(), None);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let kept = crate::facts::preflight().unwrap().pidfd_exit_info;
    assert_eq!(fd.exit_info(), kept.then_some(ExitStatus::Code(7)));
}
