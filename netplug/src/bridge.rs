//! The bridge that the instances of this host share, and its uplink.
//!
//! It is created with our tag, and used only if it carries it: a bridge of the same
//! name that somebody else made is refused, and so is an uplink that sits on another
//! bridge. An operator who wants to hand over a bridge tags it:
//! `ovs-vsctl set bridge NAME external_ids:berth-host=HOST`.

pub(crate) mod error;

use crate::config::{BridgeConfig, DatapathChoice};
use crate::deadline::Deadline;
use crate::error::PlugError;
use crate::name::{HostName, VlanId};
use crate::netlink::{NetlinkError, generic};
use crate::observe::chain;
use crate::ovsdb::{BridgeRow, UplinkRow};
use crate::plug::Netplug;
use crate::session::Session;
pub use error::BridgeError;

impl Netplug {
    /// Creates the bridge and its uplink if they are not there; what was done.
    ///
    /// # Errors
    /// [`BridgeError::Foreign`] when a bridge of that name is not ours.
    pub fn ensure_bridge(&self) -> Result<Vec<String>, PlugError> {
        let mut session = self.session()?;
        let mut done = self.bridge(&mut session).map_err(PlugError::Bridge)?;
        match self.answer_all(&mut session) {
            Ok(changed) => done.extend(changed.words()),
            // Without them requests are flooded, and all else works.
            Err(error) => {
                let why = chain(&error);
                tracing::warn!(%why, "the switch's answers for addresses are not up to date");
            }
        }
        self.give_back(session);
        Ok(done)
    }

    /// What is missing.
    pub(crate) fn bridge_steps(
        &self,
        session: &mut Session,
    ) -> Result<Vec<BridgeStep>, BridgeError> {
        let wanted = &self.config.bridge;
        let failed = |source| BridgeError::Ovsdb { name: wanted.name.clone(), source };
        let uplink = wanted.uplink.as_ref().map(|uplink| uplink.interface.as_str());
        let mut switch = self.switch(&mut session.client);
        let (bridge, uplink) = switch.bridge(&wanted.name, uplink).map_err(failed)?;
        plan(wanted, &self.config.host, bridge.as_ref(), uplink.as_ref())
    }

    fn bridge(&self, session: &mut Session) -> Result<Vec<String>, BridgeError> {
        let steps = self.bridge_steps(session)?;
        let wanted = &self.config.bridge;
        let name = wanted.name.clone();
        let failed = |source| BridgeError::Ovsdb { name: name.clone(), source };
        let mut switch = self.switch(&mut session.client);
        let mut number = None;
        for step in &steps {
            let applied = match step {
                BridgeStep::Create => switch.create_bridge(&name, userspace(wanted.datapath)?),
                BridgeStep::AddUplink { interface, trunks } => {
                    switch.add_uplink(&name, interface, trunks)
                }
                BridgeStep::SetTrunks { interface, trunks } => switch.set_trunks(interface, trunks),
            };
            number = Some(applied.map_err(failed)?);
        }
        if let Some(number) = number {
            switch.deadline = Deadline::after(self.config.timeouts.apply);
            switch.wait_applied(number).map_err(failed)?;
        }
        Ok(steps.iter().map(|step| format!("{step:?}")).collect())
    }
}

/// One change to the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BridgeStep {
    Create,
    AddUplink { interface: String, trunks: Vec<VlanId> },
    SetTrunks { interface: String, trunks: Vec<VlanId> },
}

/// What the bridge lacks.
pub(crate) fn plan(
    wanted: &BridgeConfig,
    host: &HostName,
    bridge: Option<&BridgeRow>,
    uplink: Option<&UplinkRow>,
) -> Result<Vec<BridgeStep>, BridgeError> {
    let mut steps = Vec::new();
    match bridge {
        None => steps.push(BridgeStep::Create),
        Some(row) if row.host.as_deref() == Some(host.as_str()) => {}
        Some(row) => {
            let (name, of) = (wanted.name.clone(), row.host.clone());
            return Err(BridgeError::Foreign { name, host: host.clone(), of });
        }
    }
    let Some(want) = &wanted.uplink else {
        return Ok(steps);
    };
    let (interface, trunks) = (want.interface.clone(), want.trunks.clone());
    let mut ids: Vec<_> = trunks.iter().map(|vlan| vlan.get()).collect();
    ids.sort_unstable();
    match uplink {
        None => steps.push(BridgeStep::AddUplink { interface, trunks }),
        Some(row) if row.bridge != wanted.name => {
            return Err(BridgeError::UplinkElsewhere {
                uplink: interface,
                at: row.bridge.clone(),
                bridge: wanted.name.clone(),
            });
        }
        // One without our tag was set up by an operator, who knows what it carries.
        Some(row) if row.ours && row.trunks != ids => {
            steps.push(BridgeStep::SetTrunks { interface, trunks });
        }
        Some(_) => {}
    }
    Ok(steps)
}

/// Whether a new bridge is to use the userspace data path.
pub(crate) fn userspace(choice: DatapathChoice) -> Result<bool, BridgeError> {
    match choice {
        DatapathChoice::Kernel => Ok(false),
        DatapathChoice::Userspace => Ok(true),
        DatapathChoice::Auto => {
            kernel_datapath().map(|found| !found).map_err(BridgeError::Datapath)
        }
    }
}

/// Whether the kernel has Open vSwitch's data path, loading its module if it can.
pub(crate) fn kernel_datapath() -> Result<bool, NetlinkError> {
    generic::has_family("ovs_datapath")
}

#[cfg(test)]
mod tests;
