//! The switch answers for the addresses of this host: ARP requests (RFC 826) and IPv6
//! neighbour solicitations (RFC 4861), so that they are not flooded to every port of a
//! large VLAN.
//!
//! ```text
//! table 0    a request from one of our ports, or from the uplink: note its VLAN ──┐
//! table 100  for an address of ours in that VLAN: turn it round, out of IN_PORT  ◄┘
//!            anything else: NORMAL
//! table 101  the second half of an advertisement: its link-layer address
//! ```
//! A port's VLAN has to be noted in a flow of its own, because Open vSwitch matches before
//! it gives a frame from an access port its VLAN. So there is a flow for each port and a
//! few for each address, and no pair of them.
//!
//! What is left to plain forwarding, on purpose:
//! - anything but broadcast requests and multicast solicitations: a neighbour that
//!   refreshes what it knows asks the container itself, also while ovs-vswitchd is dead;
//! - what comes from the address's own port, and announcements of the address: they are
//!   news for everybody;
//! - IPv6 probes, which come from nobody and are defended by the container. An ARP probe
//!   (RFC 5227) is answered like any request.
//!
//! Flows are an aid and never a condition: without them requests are flooded, as always.
//! So nothing fails for want of them; ovs-vswitchd forgets them when it starts anew, and
//! the next pass brings them back. Each carries a cookie: our mark, a hash of its owner, a
//! hash of itself. Only flows with our mark are touched; the cookies tell what is there.

mod flows;
mod refused;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::deadline::Deadline;
use crate::lease::Lease;
use crate::lock::{Lock, LockError};
use crate::name::Owner;
use crate::observe::chain;
use crate::openflow::{Client, OpenflowError};
use crate::ovsdb::OvsdbError;
use crate::plug::Netplug;
use crate::session::Session;

pub(crate) use flows::{Difference, of_owner};
use flows::{Wanted, ours};

/// How long the bridge may take. Requests are flooded meanwhile, which harms nobody.
const PATIENCE: Duration = Duration::from_millis(500);

/// Why the switch may not answer for all addresses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The flows.
    #[error("the flows can't be used")]
    Flows(#[source] OpenflowError),
    /// The ports.
    #[error("the ports can't be read")]
    Ports(#[source] OvsdbError),
    /// The leases.
    #[error("the leases can't be read")]
    Leases(#[source] crate::lease::LeaseError),
    /// Somebody else is at it.
    #[error("the flows are being worked on")]
    Lock(#[source] LockError),
}

impl Netplug {
    /// What the flows lack, if it can be told; nothing on a bridge that is not ours.
    pub(crate) fn unanswered(&self, session: &mut Session) -> Result<Difference, AnswerError> {
        let mut client = self.flows()?;
        self.difference(session, &mut client)
    }

    /// The same, without what the bridge has refused: to try that in every pass would be
    /// work without end.
    pub(crate) fn answerable(&self, session: &mut Session) -> Result<Difference, AnswerError> {
        let refused = refused::read(&self.config.run_dir);
        let Difference { remove, mut add } = self.unanswered(session)?;
        add.retain(|flow| !refused.contains(&flow.cookie));
        Ok(Difference { remove, add })
    }

    /// Brings all flows to what ports and leases say; what was changed.
    pub(crate) fn answer_all(&self, session: &mut Session) -> Result<Difference, AnswerError> {
        let _lock = self.lock_flows()?;
        let mut client = self.flows()?;
        let difference = self.difference(session, &mut client)?;
        if !difference.is_empty() {
            let changed = client.change(&difference.removals(), &difference.add);
            if let Err(OpenflowError::Refused { .. }) = &changed {
                let present = self.flows()?.cookies(ours()).map_err(AnswerError::Flows)?;
                let missing = difference.add.iter().map(|flow| flow.cookie);
                let missing = missing.filter(|cookie| !present.contains(cookie));
                refused::write(&self.config.run_dir, missing);
            }
            changed.map_err(AnswerError::Flows)?;
        }
        refused::forget(&self.config.run_dir);
        Ok(difference)
    }

    /// Has the switch answer for one owner, whose port and lease are there.
    pub(crate) fn answer_for(&self, session: &mut Session, lease: &Lease) {
        let done = self.try_answer_for(session, lease);
        self.log(&lease.owner, done);
    }

    fn try_answer_for(&self, session: &mut Session, lease: &Lease) -> Result<(), AnswerError> {
        let _lock = self.lock_flows()?;
        let (bridge, owner) = (&self.config.bridge.name, &lease.owner);
        let link = lease.link_name(&self.config.host);
        let read = self.switch(&mut session.client).ports(bridge, Some((owner, &link)));
        let ports = read.map_err(AnswerError::Ports)?.ports;
        let leases = [(owner, lease)].into();
        let wanted = Wanted { bridge, ports: &ports, leases: &leases, uplink: None };
        let mut client = self.flows()?;
        client.change(&[of_owner(owner)], &wanted.flows()).map_err(AnswerError::Flows)
    }

    /// Has the switch answer no longer for an owner that is about to go. A pass that looks
    /// at the ports in between brings its flows back, and the next one removes them.
    pub(crate) fn answer_no_more(&self, owner: &Owner) {
        let remove = || -> Result<(), AnswerError> {
            let _lock = self.lock_flows()?;
            self.flows()?.change(&[of_owner(owner)], &[]).map_err(AnswerError::Flows)
        };
        self.log(owner, remove());
    }

    fn log(&self, owner: &Owner, done: Result<(), AnswerError>) {
        if let Err(error) = done {
            let why = chain(&error);
            tracing::warn!(%owner, %why, "the switch's answers for its address are not up to date");
        }
    }

    fn difference(
        &self,
        session: &mut Session,
        client: &mut Client,
    ) -> Result<Difference, AnswerError> {
        // First: a flow that comes after it belongs to a port that is seen below.
        let present = client.cookies(ours()).map_err(AnswerError::Flows)?;
        let config = &self.config.bridge;
        let uplink = config.uplink.as_ref().map(|uplink| uplink.interface.as_str());
        let mut switch = self.switch(&mut session.client);
        let (bridge, uplink) = switch.bridge(&config.name, uplink).map_err(AnswerError::Ports)?;
        let is_ours = |host: &str| host == self.config.host.as_str();
        if !bridge.and_then(|row| row.host).is_some_and(|host| is_ours(&host)) {
            return Ok(Difference { remove: BTreeSet::new(), add: Vec::new() });
        }
        let ports = switch.ports(&config.name, None).map_err(AnswerError::Ports)?.ports;
        let leases = self.leases.list().map_err(AnswerError::Leases)?;
        let leases = leases.iter().map(|lease| (&lease.owner, lease)).collect();
        let wanted = Wanted {
            bridge: &config.name,
            ports: &ports,
            leases: &leases,
            uplink: uplink.as_ref(),
        };
        Ok(Difference::between(&present, wanted.flows()))
    }

    fn flows(&self) -> Result<Client, AnswerError> {
        let patience = PATIENCE.min(self.config.timeouts.database);
        Client::connect(&self.flows_socket(), Deadline::after(patience)).map_err(AnswerError::Flows)
    }

    /// ovs-vswitchd makes it in its run directory, where the database's socket is too.
    fn flows_socket(&self) -> PathBuf {
        self.config.ovsdb_socket.with_file_name(format!("{}.mgmt", self.config.bridge.name))
    }

    fn lock_flows(&self) -> Result<Lock, AnswerError> {
        let path = self.config.run_dir.join("flows.lock");
        let deadline = Deadline::after(self.config.timeouts.lock);
        Lock::acquire(&path, "flows", deadline).map_err(AnswerError::Lock)
    }
}
