//! The kernel's routing netlink, as a small blocking socket.
//!
//! A socket stays in the network namespace it was opened in: one is opened inside
//! each namespace on a throw-away thread (see `netns`) and used from outside. Each
//! method is one kernel operation and names itself in its error. Every receive has a
//! time limit, and replies are matched by sequence number.
//!
//! Not here: what to do with what is found. See rtnetlink(7).

mod address;
pub(crate) mod generic;
mod link;
mod qdisc;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

pub(crate) use link::{Link, VethPair};
pub(crate) use qdisc::{Root, Shaper};

const RECEIVE_SECONDS: i64 = 5;
const DUMP_ATTEMPTS: usize = 20;
const DUMP_PAUSE: Duration = Duration::from_millis(5);
const MESSAGES_MAX: usize = 100_000;

/// Why a kernel operation failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("can't open a netlink socket")]
    Open(#[source] io::Error),
    /// The request was not sent.
    #[error("can't ask the kernel to {operation}")]
    Send {
        /// What was asked.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer came, or not in time.
    #[error("no answer from the kernel to: {operation}")]
    Receive {
        /// What was asked.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The answer can't be understood.
    #[error("unexpected answer from the kernel to: {operation}")]
    Decode {
        /// What was asked.
        operation: String,
        /// What is wrong with it.
        #[source]
        source: netlink_packet_core::DecodeError,
    },
    /// The kernel said no.
    #[error("the kernel refused to {operation}")]
    Refused {
        /// What was asked.
        operation: String,
        /// Its error.
        #[source]
        source: Errno,
    },
    /// The tables changed during every reading.
    #[error("the kernel's tables kept changing during: {operation}")]
    Unsteady {
        /// What was asked.
        operation: String,
    },
}

impl NetlinkError {
    fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } => Some(*source),
            _ => None,
        }
    }
}

/// Takes "it is not there" for an answer.
fn absent_ok(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error)
            if matches!(
                error.errno(),
                Some(Errno::ENODEV | Errno::ENOENT | Errno::EADDRNOTAVAIL | Errno::ESRCH)
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Takes "it is there already" for success.
fn present_ok(result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// A socket for the routing family, bound to the namespace it was opened in.
pub(crate) struct RouteSocket {
    channel: Channel,
}

impl std::fmt::Debug for RouteSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteSocket").finish_non_exhaustive()
    }
}

impl RouteSocket {
    /// Opens one in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        let channel = Channel::open(NETLINK_ROUTE)?;
        channel.socket.set_netlink_get_strict_chk(true).map_err(NetlinkError::Open)?;
        Ok(Self { channel })
    }

    /// One request that only succeeds or fails.
    fn change(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        self.channel.exchange(operation.into(), message, flags | NLM_F_ACK).map(drop)
    }

    /// One request with one or more answers.
    fn get(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.channel.exchange(operation.into(), message, NLM_F_ACK)
    }

    /// One whole table. Read again if it changed meanwhile.
    fn dump(
        &mut self,
        operation: impl Into<String>,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let operation = operation.into();
        for _ in 0..DUMP_ATTEMPTS {
            match self.channel.exchange(operation.clone(), message.clone(), NLM_F_DUMP) {
                Err(NetlinkError::Unsteady { .. }) => std::thread::sleep(DUMP_PAUSE),
                other => return other,
            }
        }
        Err(NetlinkError::Unsteady { operation })
    }
}

/// One netlink socket of any family.
struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Channel {
    fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(protocol).map_err(NetlinkError::Open)?;
        socket.bind_auto().map_err(NetlinkError::Open)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(NetlinkError::Open)?;
        // SAFETY: the descriptor is open as long as `socket`, which outlives the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(RECEIVE_SECONDS, 0))
            .map_err(|errno| NetlinkError::Open(errno.into()))?;
        Ok(Self { socket, sequence: 0 })
    }

    fn exchange<M>(
        &mut self,
        operation: String,
        message: M,
        flags: u16,
    ) -> Result<Vec<M>, NetlinkError>
    where
        M: NetlinkSerializable + NetlinkDeserializable + Into<NetlinkPayload<M>>,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = NetlinkMessage::from(message);
        packet.header.flags = NLM_F_REQUEST | flags;
        packet.header.sequence_number = self.sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        if let Err(source) = self.socket.send(&bytes, 0) {
            return Err(NetlinkError::Send { operation, source });
        }
        self.receive(operation)
    }

    fn receive<M: NetlinkDeserializable>(
        &mut self,
        operation: String,
    ) -> Result<Vec<M>, NetlinkError> {
        let (mut found, mut interrupted) = (Vec::new(), false);
        for _ in 0..MESSAGES_MAX {
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(NetlinkError::Receive { operation, source }),
            };
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = match NetlinkMessage::<M>::deserialize(rest) {
                    Ok(message) => message,
                    Err(source) => return Err(NetlinkError::Decode { operation, source }),
                };
                let length = usize::try_from(message.header.length).unwrap_or(rest.len());
                rest = &rest[length.next_multiple_of(4).clamp(1, rest.len())..];
                // An answer to an earlier request that was given up.
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => found.push(inner),
                    NetlinkPayload::Done(_) if interrupted => {
                        return Err(NetlinkError::Unsteady { operation });
                    }
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(found),
                        Some(code) => {
                            let source = Errno::from_raw(code.get().saturating_abs());
                            return Err(NetlinkError::Refused { operation, source });
                        }
                    },
                    _ => {}
                }
            }
        }
        let source = io::Error::other(format!("more than {MESSAGES_MAX} messages"));
        Err(NetlinkError::Receive { operation, source })
    }
}
