//! A terminal for a process in a container: a pseudo-terminal whose outer end is
//! relayed to the terminal that this process has as stdin.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::{Result, RuntimeError};

/// How often the size of the terminal is compared, in milliseconds. Asking is
/// preferred to SIGWINCH because a signal handler would belong to the whole process.
const SIZE_CHECK_MS: u16 = 200;

nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, Winsize);
nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, Winsize);

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The end that this process relays.
    outer: OwnedFd,
    /// The end that the process in the container gets.
    pub(crate) inner: OwnedFd,
}

impl Pair {
    /// Makes a pseudo-terminal of the size of the terminal at stdin.
    pub(crate) fn open() -> Result<Self> {
        let size = size_of(io::stdin().as_fd())
            .map_err(RuntimeError::syscall("read the terminal's size: stdin is not a terminal"))?;
        let pair = openpty(&size, None).map_err(RuntimeError::syscall("open a pseudo-terminal"))?;
        Ok(Self { outer: pair.master, inner: pair.slave })
    }
}

/// The terminal's mode, put back when dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Result<Self> {
        let before =
            tcgetattr(io::stdin()).map_err(RuntimeError::syscall("read the terminal's mode"))?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)
            .map_err(RuntimeError::syscall("set the terminal's mode"))?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.before);
    }
}

/// Carries bytes both ways until the process has ended, which `ended` tells by
/// becoming readable, and its last output has been read.
pub(crate) fn relay(pair: Pair, ended: &UnixStream) -> Result<()> {
    let mode = RawMode::enter()?;
    let Pair { outer, inner } = pair;
    // The outer end reports the hang-up only when nobody here holds the inner one.
    drop(inner);
    let mut outer = File::from(outer);
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let mut stdin_open = true;
    loop {
        pass_size_on(&outer, &mut size);
        let mut fds = vec![
            PollFd::new(outer.as_fd(), PollFlags::POLLIN),
            PollFd::new(ended.as_fd(), PollFlags::POLLIN),
        ];
        let stdin = io::stdin();
        if stdin_open {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, SIZE_CHECK_MS) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(RuntimeError::syscall("wait for the terminal")(error)),
        }
        let ready = |index: usize| fds.get(index).and_then(PollFd::any) == Some(true);
        let (output, over, input) = (ready(0), ready(1), ready(2));
        if input {
            stdin_open = forward_input(&mut outer)?;
        }
        if output {
            if !forward_output(&mut outer)? {
                break;
            }
        } else if over {
            break;
        }
    }
    drop(mode);
    Ok(())
}

/// One read from stdin to the process; `false` at the end of the input.
fn forward_input(outer: &mut File) -> Result<bool> {
    let mut buffer = [0; 4096];
    let got = read_fd(io::stdin().as_fd(), &mut buffer)
        .map_err(RuntimeError::syscall("read from the terminal"))?;
    if got == 0 {
        return Ok(false);
    }
    match outer.write_all(&buffer[..got]) {
        Ok(()) => Ok(true),
        // The process has gone; its end shows elsewhere.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(false),
        Err(error) => Err(RuntimeError::syscall("write to the pseudo-terminal")(error)),
    }
}

/// One read from the process to stdout; `false` when it has hung up (EIO).
fn forward_output(outer: &mut File) -> Result<bool> {
    let mut buffer = [0; 4096];
    let got = match outer.read(&mut buffer) {
        Ok(0) => return Ok(false),
        Ok(got) => got,
        Err(error) if error.raw_os_error() == Some(libc::EIO) => return Ok(false),
        Err(error) => {
            return Err(RuntimeError::syscall("read from the pseudo-terminal")(error));
        }
    };
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(&buffer[..got])
        .and_then(|()| stdout.flush())
        .map_err(RuntimeError::syscall("write to the terminal"))?;
    Ok(true)
}

/// read(2) past the buffer of [`io::Stdin`], which would swallow bytes that poll
/// no longer reports.
fn read_fd(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn size_of(fd: BorrowedFd<'_>) -> nix::Result<Winsize> {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a valid, writable winsize, and the descriptor is open.
    unsafe { tiocgwinsz(fd.as_raw_fd(), &raw mut size) }?;
    Ok(size)
}

/// Gives the pseudo-terminal the terminal's size when it has changed. A failure
/// leaves the old size, which is no reason to end the session.
fn pass_size_on(outer: &File, last: &mut Winsize) {
    let Ok(size) = size_of(io::stdin().as_fd()) else {
        return;
    };
    if (size.ws_row, size.ws_col) == (last.ws_row, last.ws_col) {
        return;
    }
    // SAFETY: `size` is a valid winsize, and the descriptor is open.
    if unsafe { tiocswinsz(outer.as_raw_fd(), &raw const size) }.is_ok() {
        *last = size;
    }
}
