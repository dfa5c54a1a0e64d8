//! Named points at which a test makes the process kill itself.
//!
//! Compiled in with the feature `failpoints` only; without it [`hit`] is empty.
//! With it, a process whose environment holds `BERTH_FAILPOINT=<name>` sends itself
//! SIGKILL when it reaches that point, so that nothing is cleaned up, as in a crash.

/// A point between two effects of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// A record is written beside its place and not yet renamed.
    RecordUnfinished,
    /// The lease is durable; nothing else is done.
    LeaseWritten,
    /// The file for the namespace's pin exists; nothing is mounted on it.
    PinCreated,
    /// The namespace is pinned and empty.
    NamespacePinned,
    /// The veth pair exists inside the namespace, without our tag.
    VethCreated,
    /// The outer end is tagged and still inside the namespace.
    VethTagged,
    /// The outer end is in the host's namespace.
    VethMoved,
    /// The port's row is committed; the switch may not have read it.
    PortAdded,
    /// The switch has applied the port.
    PortApplied,
    /// The rate limits are set.
    RatesSet,
    /// The address was probed and is free.
    AddressProbed,
    /// The address is set; the routes are not.
    AddressSet,
    /// The routes are set.
    RoutesSet,
    /// The neighbours were told; the lease is not confirmed.
    Announced,
    /// The lease is confirmed: the attach is complete.
    LeaseConfirmed,
    /// Detach: the port's row is gone.
    PortRemoved,
    /// Detach: the veth pair is gone.
    VethRemoved,
    /// Detach: the namespace is no longer mounted; the pin's file is there.
    NamespaceUnmounted,
    /// Detach: the pin is gone.
    NamespaceRemoved,
    /// Detach: the lease is gone.
    LeaseRemoved,
}

impl Failpoint {
    /// The points an attach passes, in their order.
    pub const ATTACH: [Self; 15] = [
        Self::RecordUnfinished,
        Self::LeaseWritten,
        Self::PinCreated,
        Self::NamespacePinned,
        Self::VethCreated,
        Self::VethTagged,
        Self::VethMoved,
        Self::PortAdded,
        Self::PortApplied,
        Self::RatesSet,
        Self::AddressProbed,
        Self::AddressSet,
        Self::RoutesSet,
        Self::Announced,
        Self::LeaseConfirmed,
    ];
    /// The points a detach passes, in their order.
    pub const DETACH: [Self; 5] = [
        Self::PortRemoved,
        Self::VethRemoved,
        Self::NamespaceUnmounted,
        Self::NamespaceRemoved,
        Self::LeaseRemoved,
    ];
    /// The environment variable that names the point to die at.
    pub const VARIABLE: &'static str = "BERTH_FAILPOINT";

    /// The name as it stands in [`Failpoint::VARIABLE`].
    #[must_use]
    pub fn name(self) -> String {
        format!("netplug-{self:?}")
    }
}

/// Dies here if the environment says so.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(point: Failpoint) {
    use nix::sys::signal::{Signal, kill};
    if std::env::var(Failpoint::VARIABLE).is_ok_and(|name| name == point.name()) {
        kill(nix::unistd::Pid::this(), Signal::SIGKILL).expect("a process may signal itself");
        // The signal may land on another thread first.
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing: failpoints are not compiled in.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn hit(_point: Failpoint) {}
