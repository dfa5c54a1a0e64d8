//! What an address owes its neighbours: asking whether somebody has it before it is
//! used (RFC 5227 for IPv4, RFC 4862 section 5.4 for IPv6), and telling them once it
//! is (ARP announcement; unsolicited neighbour advertisement, RFC 4861 section 7.2.6).
//!
//! Both run on a packet socket inside the container's namespace, while the address is
//! not yet set, so that the kernel answers for nothing. Our waits are shorter than the
//! RFCs' seconds: they are made for sleeping laptops on wireless networks, and a
//! database that starts would wait for them each time. [`Probing`] sets them.
//!
//! Hardware addresses follow from addresses (`MacAddress::of`), so that a second host
//! with the same address also has the same hardware address. Questions are therefore
//! sent from another one, made for asking: an answer to the address's own would never
//! get past the switch that has just learned that it moved.

mod frame;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::addr::MacAddress;
use crate::deadline::Deadline;

/// How an address is tried before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// How many probes are sent; 0 tries nothing.
    pub count: u32,
    /// The time between two probes.
    pub interval: Duration,
    /// How long an answer to the last one is awaited.
    pub wait: Duration,
}

impl Default for Probing {
    fn default() -> Self {
        Self { count: 3, interval: Duration::from_millis(30), wait: Duration::from_millis(100) }
    }
}

/// Why neighbours could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourError {
    /// No socket.
    #[error("can't open a packet socket")]
    Open(#[source] Errno),
    /// Sending.
    #[error("can't send to the neighbours")]
    Send(#[source] io::Error),
    /// Receiving.
    #[error("can't hear the neighbours")]
    Receive(#[source] io::Error),
}

const ANNOUNCEMENTS: u32 = 3;
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(10);
const FRAME_MAX: usize = 2048;

/// Asks, as `from`, whether anybody has `address`; the hardware address of who answered.
///
/// `index` is a link of the calling thread's namespace.
pub(crate) fn probe(
    index: u32,
    address: IpAddr,
    from: MacAddress,
    probing: Probing,
) -> Result<Option<MacAddress>, NeighbourError> {
    let socket = PacketSocket::open(index, frame::ethertype(address))?;
    for turn in 1..=probing.count {
        socket.send(&frame::probe(address, from))?;
        let wait = if turn == probing.count { probing.wait } else { probing.interval };
        let deadline = Deadline::after(wait);
        while let Some(frame) = socket.receive(deadline)? {
            if let Some(stranger) = frame::claims(&frame, address, from) {
                return Ok(Some(stranger));
            }
        }
    }
    Ok(None)
}

/// Tells the neighbours, three times, that `address` is here.
pub(crate) fn announce(index: u32, address: IpAddr) -> Result<(), NeighbourError> {
    let socket = PacketSocket::open(index, frame::ethertype(address))?;
    let frame = frame::announcement(address, MacAddress::of(address));
    for turn in 0..ANNOUNCEMENTS {
        if turn > 0 {
            std::thread::sleep(ANNOUNCE_INTERVAL);
        }
        socket.send(&frame)?;
    }
    Ok(())
}

/// A packet socket (packet(7)) for one protocol on one link.
struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    fn open(index: u32, ethertype: u16) -> Result<Self, NeighbourError> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0 hears nothing until the socket is bound to the link.
        // SAFETY: no pointer is passed.
        let fd = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })
            .map_err(NeighbourError::Open)?;
        // SAFETY: the descriptor is new and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: every field of `sockaddr_ll` is plain data, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family =
            libc::c_ushort::try_from(libc::AF_PACKET).expect("an address family is a small number");
        address.sll_protocol = ethertype.to_be();
        address.sll_ifindex =
            i32::try_from(index).map_err(|_| NeighbourError::Open(Errno::ENODEV))?;
        let length =
            libc::socklen_t::try_from(size_of_val(&address)).expect("a socket address is small");
        // SAFETY: the pointer and the length describe `address`, which outlives the call.
        Errno::result(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) })
            .map_err(NeighbourError::Open)?;
        Ok(Self { fd })
    }

    fn send(&self, frame: &[u8]) -> Result<(), NeighbourError> {
        nix::unistd::write(&self.fd, frame)
            .map(drop)
            .map_err(|errno| NeighbourError::Send(errno.into()))
    }

    /// The next frame, or `None` at the deadline.
    fn receive(&self, deadline: Deadline) -> Result<Option<Vec<u8>>, NeighbourError> {
        let failed = |errno: Errno| NeighbourError::Receive(errno.into());
        while let Some(left) = deadline.remaining() {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            let timeout =
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
            let mut frame = vec![0; FRAME_MAX];
            match nix::unistd::read(&self.fd, &mut frame) {
                Ok(length) => {
                    frame.truncate(length);
                    return Ok(Some(frame));
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(None)
    }
}
