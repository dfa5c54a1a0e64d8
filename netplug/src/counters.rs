//! What went through each instance's link.

use std::collections::BTreeMap;

use crate::error::PlugError;
use crate::name::Owner;
use crate::netlink::{Link, Root};
use crate::observe::HostLinks;
use crate::plug::Netplug;

/// Totals since the link was made, as the container sees directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes towards the container.
    pub in_bytes: u64,
    /// Packets towards the container.
    pub in_packets: u64,
    /// Packets towards the container that its limit, or the link, threw away.
    pub in_dropped: u64,
    /// Bytes from the container.
    pub out_bytes: u64,
    /// Packets from the container.
    pub out_packets: u64,
    /// Packets from the container that the link threw away after its limit.
    pub out_dropped: u64,
}

impl Counters {
    /// From the host's end, which sends what the container receives.
    pub(crate) fn of(link: &Link, root: Option<&Root>) -> Self {
        let stats = link.stats.unwrap_or_default();
        Self {
            in_bytes: stats.tx_bytes,
            in_packets: stats.tx_packets,
            in_dropped: stats.tx_dropped + root.map_or(0, |root| root.drops),
            out_bytes: stats.rx_bytes,
            out_packets: stats.rx_packets,
            out_dropped: stats.rx_dropped,
        }
    }
}

impl Netplug {
    /// The counters of every instance that has a link.
    ///
    /// # Errors
    /// [`PlugError::Netlink`].
    pub fn counters(&self) -> Result<BTreeMap<Owner, Counters>, PlugError> {
        let mut session = self.session()?;
        let links = HostLinks::read(&self.config.host, &mut session.route);
        self.give_back(session);
        let links = links.map_err(PlugError::Netlink)?;
        let counted =
            links.ours().map(|(owner, link, root)| (owner.clone(), Counters::of(link, root)));
        Ok(counted.collect())
    }
}
