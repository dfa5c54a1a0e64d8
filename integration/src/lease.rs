//! What is shared between test programs on one machine, and must be handed out: places for
//! beds, and ports.
//!
//! A lease is an abstract unix socket (unix(7)): the kernel gives a name to one owner at a
//! time, and takes it back when the owner ends, however it ends. Nothing is left on disk.

use std::{
    net::TcpListener,
    os::{linux::net::SocketAddrExt, unix::net},
    time::Duration,
};

use crate::until;

/// Beds at the same time. Each has about three servers; more would only be slower.
const PLACES: u16 = 2;
/// Time for other test programs to give a place up.
const PLACE_WAIT: Duration = Duration::from_secs(3600);

/// The first port: all are below the range from which the kernel takes ports for outgoing
/// connections (ip_local_port_range, 32768 and above), so none is taken by chance.
const FIRST_PORT: u16 = 21_000;
/// Ports of one block.
pub const BLOCK_PORTS: u16 = 16;
const BLOCKS: u16 = 600;

/// A name that is held as long as this lives.
#[derive(Debug)]
struct Lease {
    _socket: net::UnixListener,
}

impl Lease {
    fn take(name: &str) -> Option<Self> {
        let address = net::SocketAddr::from_abstract_name(name).ok()?;
        net::UnixListener::bind_addr(&address).ok().map(|socket| Self { _socket: socket })
    }
}

/// The right to have a bed.
#[derive(Debug)]
pub struct Place {
    _lease: Lease,
}

impl Place {
    /// Waits for a place.
    ///
    /// # Panics
    /// None gets free within an hour.
    #[must_use]
    pub fn wait() -> Self {
        let free = || (0..PLACES).find_map(|at| Lease::take(&format!("berth-test-place-{at}")));
        let lease = until(PLACE_WAIT, free).expect("other test programs must end some time");
        Self { _lease: lease }
    }
}

/// Ports of 127.0.0.1 that no other bed uses.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    _lease: Lease,
}

impl Ports {
    /// A block whose ports are all free now.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn take() -> Self {
        let start = fastrand::u16(..BLOCKS);
        let block = (0..BLOCKS).find_map(|at| {
            let first = FIRST_PORT + (start + at) % BLOCKS * BLOCK_PORTS;
            let lease = Lease::take(&format!("berth-test-ports-{first}"))?;
            let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
            (first..first + BLOCK_PORTS).all(free).then_some(Self { first, _lease: lease })
        });
        block.expect("a block of free ports")
    }

    /// The port of this number, from 0.
    ///
    /// # Panics
    /// The block has fewer.
    #[must_use]
    pub fn get(&self, number: u16) -> u16 {
        assert!(number < BLOCK_PORTS, "a bed has {BLOCK_PORTS} ports");
        self.first + number
    }
}
