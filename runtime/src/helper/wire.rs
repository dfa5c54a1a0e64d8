//! The frames between a caller and its helper: four bytes of length, then that
//! many bytes of JSON. Descriptors travel with the length.
//!
//! A frame's end follows from its length, never from end-of-file: the container's
//! init inherits copies of the helper's descriptors until it runs its program,
//! so end-of-file may be long in coming.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::ExitStatus;
use crate::record::ProcessName;
use crate::spec::User;

/// Largest frame. The biggest real one is an exec request with a long
/// environment, which the kernel limits to about 2 MiB.
const MAX_FRAME: usize = 4 << 20;
/// Most descriptors in one frame: stdin, stdout and stderr.
const MAX_FDS: usize = 3;

/// What a helper is asked to do: the first frame it gets.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Create a container, answer [`Reply::Created`], wait for [`Go`], start it,
    /// answer [`Reply::Started`].
    Start(StartRequest),
    /// Run a process in a running container, answer [`Reply::ExecStarted`], wait
    /// for its end, answer [`Reply::ExecExited`]. Three descriptors come along.
    Exec(ExecRequest),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StartRequest {
    pub(crate) id: String,
    /// Directory with config.json.
    pub(crate) bundle: PathBuf,
    /// libcontainer's root directory.
    pub(crate) state: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) oom_score_adj: i32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    /// The container's init.
    pub(crate) init: ProcessName,
    /// The container's OCI spec: capabilities, seccomp and environment are its.
    pub(crate) config: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<User>,
    /// Whether the descriptors are a terminal that is to become the controlling one.
    pub(crate) tty: bool,
}

/// The caller's leave to start the container, given once its record is written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Go {}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// init is there and waits. Notes tell what could not be done as asked.
    Created {
        process: ProcessName,
        notes: Vec<String>,
    },
    Started,
    ExecStarted,
    ExecExited(ExitStatus),
    /// It failed: the error and its causes, outermost first.
    Failed {
        chain: Vec<String>,
    },
}

/// Sends one frame.
pub(crate) fn send<T: Serialize>(
    mut stream: &UnixStream,
    value: &T,
    fds: &[RawFd],
) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|&length| length as usize <= MAX_FRAME)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "frame too long"))?;
    let header = length.to_le_bytes();
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    let iov = [IoSlice::new(&header)];
    // Four bytes into an empty socket buffer are taken whole or not at all.
    sendmsg::<UnixAddr>(stream.as_raw_fd(), &iov, control, flags, None)?;
    stream.write_all(&body)
}

/// Receives one frame; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0u8; 4];
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut fds = Vec::new();
    let got = {
        let mut iov = [IoSliceMut::new(&mut header)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut iov, Some(&mut space), flags)?;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = control {
                // SAFETY: the kernel has just made these descriptors for this process.
                fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        message.bytes
    };
    if got == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut header[got..])?;
    let length = u32::from_le_bytes(header) as usize;
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, fds)))
}

/// An error and its causes, outermost first, without repetitions: some libraries
/// show their source in their own text.
pub(super) fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        push_new(&mut chain, error.to_string());
        next = error.source();
    }
    chain
}

/// Adds a text unless the one before it ends in it.
fn push_new(chain: &mut Vec<String>, text: String) {
    if !chain.last().is_some_and(|last| last.ends_with(&text)) {
        chain.push(text);
    }
}

#[cfg(test)]
mod tests;
