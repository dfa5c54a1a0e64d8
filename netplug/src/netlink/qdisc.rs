//! The token bucket that limits a link's sending (tc-tbf(8)).
//!
//! The netlink library has no type for it: its two attributes are laid out here as in
//! the kernel's include/uapi/linux/pkt_sched.h.

use std::collections::BTreeMap;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_REPLACE, Nla, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcOption, TcStats2};

use nix::errno::Errno;

use super::{NetlinkError, RouteSocket, absent_ok};
use crate::rate::BitRate;

const KIND: &str = "tbf";
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const LINKLAYER_ETHERNET: u8 = 1;
/// Large enough for one offloaded packet of 64 KiB with its headers.
const BURST_MIN: u64 = 96 * 1024;

/// What limits the sending of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shaper {
    /// Bytes per second.
    pub(crate) rate: u64,
    /// Bytes that may wait, the burst included.
    pub(crate) limit: u32,
}

impl Shaper {
    /// The shaper for a rate: a burst of 10 ms, and a queue of 50 ms behind it.
    pub(crate) fn of(rate: BitRate) -> Self {
        let rate = rate.bytes_per_second();
        let limit = burst(rate) + (rate / 20).max(BURST_MIN);
        Self { rate, limit: u32::try_from(limit).unwrap_or(u32::MAX) }
    }
}

fn burst(rate: u64) -> u64 {
    (rate / 100).max(BURST_MIN)
}

fn options(shaper: Shaper) -> Vec<TcOption> {
    // struct tc_tbf_qopt: two struct tc_ratespec (rate, peak rate), limit, buffer, mtu.
    let mut parms = Vec::with_capacity(36);
    parms.extend([0, LINKLAYER_ETHERNET]);
    parms.extend([0; 6]);
    parms.extend(u32::try_from(shaper.rate).unwrap_or(u32::MAX).to_ne_bytes());
    parms.extend([0; 12]);
    parms.extend(shaper.limit.to_ne_bytes());
    parms.extend([0; 8]);
    let burst = u32::try_from(burst(shaper.rate)).unwrap_or(u32::MAX);
    let mut options = vec![
        DefaultNla::new(TCA_TBF_PARMS, parms),
        DefaultNla::new(TCA_TBF_BURST, burst.to_ne_bytes().to_vec()),
    ];
    // The 32-bit field holds up to 4 GiB/s; above that, and only then, this counts.
    if shaper.rate > u64::from(u32::MAX) {
        options.push(DefaultNla::new(TCA_TBF_RATE64, shaper.rate.to_ne_bytes().to_vec()));
    }
    options.into_iter().map(TcOption::Other).collect()
}

fn shaper_of(options: &[TcOption]) -> Option<Shaper> {
    let [TcOption::Other(nested)] = options else {
        return None;
    };
    let mut bytes = vec![0; nested.value_len()];
    nested.emit_value(&mut bytes);
    let mut shaper = None;
    let mut rate64 = None;
    for nla in NlasIterator::new(bytes.as_slice()).flatten() {
        let value = nla.value();
        match nla.kind() {
            TCA_TBF_PARMS => {
                let rate = u32::from_ne_bytes(value.get(8..12)?.try_into().ok()?);
                let limit = u32::from_ne_bytes(value.get(24..28)?.try_into().ok()?);
                shaper = Some(Shaper { rate: rate.into(), limit });
            }
            TCA_TBF_RATE64 => rate64 = Some(u64::from_ne_bytes(value.try_into().ok()?)),
            _ => {}
        }
    }
    shaper.map(|shaper| Shaper { rate: rate64.unwrap_or(shaper.rate), ..shaper })
}

/// The root queueing discipline of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root {
    /// The token bucket, if it is one.
    pub(crate) shaper: Option<Shaper>,
    /// Packets it threw away.
    pub(crate) drops: u64,
}

impl RouteSocket {
    /// The root queueing discipline of one link, if it is more than the plain one.
    pub(crate) fn root_qdisc(&mut self, index: u32) -> Result<Option<Root>, NetlinkError> {
        let mut message = message(index);
        message.header.parent = TcHandle::ROOT;
        let message = RouteNetlinkMessage::GetQueueDiscipline(message);
        let operation = format!("look up the limit of link {index}");
        // Without NLM_F_ECHO the answer goes to those who watch and not to us.
        match self.channel.exchange(operation, message, NLM_F_ACK | NLM_F_ECHO) {
            Ok(found) => Ok(found.into_iter().find_map(root_of).map(|(_, root)| root)),
            // The plain one is never shown: the kernel has nothing to send.
            Err(error) if matches!(error.errno(), Some(Errno::EINVAL | Errno::ENOENT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The root queueing discipline of every link that has more than the plain one.
    pub(crate) fn root_qdiscs(&mut self) -> Result<BTreeMap<u32, Root>, NetlinkError> {
        let message = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let found = self.dump("list the queueing disciplines", message)?;
        Ok(found.into_iter().filter_map(root_of).collect())
    }

    /// Sets or changes the token bucket; packets that wait stay in it.
    pub(crate) fn set_shaper(&mut self, index: u32, shaper: Shaper) -> Result<(), NetlinkError> {
        let mut message = message(index);
        message.header.parent = TcHandle::ROOT;
        message.attributes =
            vec![TcAttribute::Kind(KIND.to_owned()), TcAttribute::Options(options(shaper))];
        let operation = format!("limit link {index} to {} bytes a second", shaper.rate);
        let message = RouteNetlinkMessage::NewQueueDiscipline(message);
        self.change(operation, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes the token bucket; none there is no error.
    pub(crate) fn remove_shaper(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = message(index);
        message.header.parent = TcHandle::ROOT;
        let message = RouteNetlinkMessage::DelQueueDiscipline(message);
        absent_ok(self.change(format!("remove the limit of link {index}"), message, 0))
    }
}

/// The index of the link and its root queueing discipline.
fn root_of(message: RouteNetlinkMessage) -> Option<(u32, Root)> {
    let RouteNetlinkMessage::NewQueueDiscipline(found) = message else {
        return None;
    };
    let index = u32::try_from(found.header.index).ok()?;
    if found.header.parent != TcHandle::ROOT {
        return None;
    }
    let ours = found.attributes.contains(&TcAttribute::Kind(KIND.to_owned()));
    let mut root = Root { shaper: None, drops: 0 };
    for attribute in &found.attributes {
        match attribute {
            TcAttribute::Options(options) if ours => root.shaper = shaper_of(options),
            TcAttribute::Stats2(stats) => root.drops = drops(stats),
            _ => {}
        }
    }
    Some((index, root))
}

fn message(index: u32) -> TcMessage {
    let index = i32::try_from(index).expect("the kernel numbers links with positive ints");
    TcMessage::with_index(index)
}

fn drops(stats: &[TcStats2]) -> u64 {
    stats
        .iter()
        .find_map(|stat| match stat {
            TcStats2::Queue(queue) => Some(queue.drops.into()),
            _ => None,
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
