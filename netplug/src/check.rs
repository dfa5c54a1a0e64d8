//! What there is against what the leases say, without changing anything.
//!
//! The planner that repairs is asked what it would do: each of its steps is one
//! difference, so that what is found here is what the next pass mends. Limits are left
//! out: they follow from the goal, which is not known here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::attachment::AttachRequest;
use crate::error::PlugError;
use crate::lease::Lease;
use crate::name::Owner;
use crate::observe::{Observed, chain};
use crate::plan::{self, Step};
use crate::plug::Netplug;
use crate::pool::PoolSet;
use crate::rate::Rates;
use crate::reconcile::Snapshot;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about: a file, an owner, the switch.
    pub subject: String,
    /// What is wrong.
    pub found: String,
    /// What helps.
    pub remedy: String,
}

impl Finding {
    fn new(
        subject: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), found: found.into(), remedy: remedy.into() }
    }
}

const NEXT_PASS: &str = "the agent mends it in its next pass; if it stays, `berth status` says why";
const READ: &str = "run as root, with Open vSwitch running";

impl Netplug {
    /// Compares pools, leases, links, namespaces and the switch's rows. Changes nothing.
    ///
    /// # Errors
    /// [`PlugError::Lease`] when the leases can't be read: then nothing can be compared.
    pub fn check(&self, pools: &PoolSet) -> Result<Vec<Finding>, PlugError> {
        let refused = pools.refused().iter().map(|refusal| {
            let place = format!("{}:{}:{}", refusal.file.display(), refusal.line, refusal.column);
            Finding::new(place, refusal.mistake(), "correct the file; other pools are in force")
        });
        let mut findings: Vec<_> = refused.collect();
        if !self.has_leases()? {
            return Ok(findings);
        }
        let snapshot = self.snapshot()?;
        if snapshot.leases.iter().next().is_some() || pools.iter().next().is_some() {
            findings.extend(self.of_switch(&snapshot));
        }
        for error in snapshot.leases.unreadable() {
            let remedy = "restore the file or remove it; until then nothing new is leased";
            findings.push(Finding::new("leases", chain(error), remedy));
        }
        let mut addresses = BTreeMap::<_, Vec<_>>::new();
        for lease in snapshot.leases.iter() {
            addresses.entry(&lease.owner).or_default().push(lease.address.to_string());
            findings.extend(self.of_lease(&snapshot, pools, lease));
        }
        for (owner, held) in addresses.iter().filter(|(_, held)| held.len() > 1) {
            let found = format!("it holds {}", held.join(" and "));
            let remedy = "remove the lease file of the address that it does not use";
            findings.push(Finding::new(owner.as_str(), found, remedy));
        }
        let leased: BTreeSet<&Owner> = addresses.into_keys().collect();
        findings.extend(self.strays(&snapshot, &leased));
        // Flows follow from all the rest: they are no news while that is wrong.
        let bridge = matches!(&snapshot.switch, Observed::Present(state) if state.bridge.is_some());
        if bridge && findings.is_empty() {
            findings.extend(self.of_answers());
        }
        Ok(findings)
    }

    fn of_switch(&self, snapshot: &Snapshot) -> Option<Finding> {
        let bridge = &self.config.bridge.name;
        let state = match &snapshot.switch {
            Observed::Present(state) => state,
            Observed::Absent => return None,
            Observed::Unknown(why) => return Some(Finding::new("Open vSwitch", why, READ)),
        };
        let in_use = snapshot.leases.iter().next().is_some();
        let host = self.config.host.as_str();
        match &state.bridge {
            None if in_use => Some(Finding::new(
                bridge,
                "the bridge is not there",
                "start the agent: it makes it",
            )),
            Some(row) if row.host.as_deref() != Some(host) => {
                let of = row.host.as_deref().unwrap_or("nobody known");
                let remedy = format!(
                    "to hand it over, `ovs-vsctl set bridge {bridge} external_ids:berth-host={host}`; \
                     or name another in `bridge` of `network`"
                );
                Some(Finding::new(bridge, format!("the bridge belongs to {of}"), remedy))
            }
            _ if state.behind => Some(Finding::new(
                "ovs-vswitchd",
                "it has not applied the latest configuration",
                "is it running and not hung? `ovs-appctl version`",
            )),
            _ => None,
        }
    }

    /// Flows are an aid: requests that the switch doesn't answer are flooded.
    fn of_answers(&self) -> Option<Finding> {
        let bridge = &self.config.bridge.name;
        let found = match self.session().map(|mut session| self.unanswered(&mut session)) {
            Ok(Ok(difference)) => difference.words()?,
            Ok(Err(error)) => chain(&error),
            Err(error) => chain(&error),
        };
        Some(Finding::new(bridge, found, NEXT_PASS))
    }

    fn of_lease(&self, snapshot: &Snapshot, pools: &PoolSet, lease: &Lease) -> Vec<Finding> {
        let subject = || format!("{} ({})", lease.owner, lease.address);
        let Some(pool) = pools.get(&lease.pool) else {
            let found = format!("its pool {} is not there, or was refused", lease.pool);
            let remedy = "put the pool's file back; or set the entry to `removed`";
            return vec![Finding::new(subject(), found, remedy)];
        };
        let request = AttachRequest {
            owner: lease.owner.clone(),
            pool: lease.pool.clone(),
            address: None,
            rates: Rates::default(),
            live_namespace: None,
        };
        let desired = match self.desired(&request, pool, lease.clone()) {
            Ok(desired) => desired,
            Err(error) => {
                let remedy = "widen the pool again; or set the entry to `removed`, then start it";
                return vec![Finding::new(subject(), chain(&error), remedy)];
            }
        };
        let observed = self.observed(snapshot, &lease.owner, Some(&desired.link));
        let mut plan = plan::attach(&desired, &self.config.host, &observed);
        if plan.steps.iter().any(|step| matches!(step, Step::AddPort { .. }))
            && let Ok(mut session) = self.session()
        {
            // The snapshot has ports with our tags only: another may have the name.
            let observed = self.observe(&mut session, &lease.owner, Some(&desired.link));
            plan = plan::attach(&desired, &self.config.host, &observed);
            self.give_back(session);
        }
        // That the switch can't be read is said once, not for every lease.
        let known = !matches!(observed.switch, Observed::Unknown(_));
        let blocked = plan.blocked.into_iter().filter(|_| known);
        let blocked = blocked.map(|why| {
            let remedy = match why.contains("can't be read") {
                true => READ,
                false => "make room for it: berth removes nothing that is not its own",
            };
            Finding::new(subject(), why, remedy)
        });
        // A port that is yet to be set right is not waited for by itself.
        let changes =
            plan.steps.iter().any(|s| matches!(s, Step::AddPort { .. } | Step::SetVlan { .. }));
        let steps = plan.steps.iter();
        let steps = steps.filter(|step| !(changes && matches!(step, Step::AwaitPort { .. })));
        let differences = steps.filter_map(difference);
        let differences = differences.map(|found| Finding::new(subject(), found, NEXT_PASS));
        blocked.chain(differences).collect()
    }

    fn strays(&self, snapshot: &Snapshot, leased: &BTreeSet<&Owner>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut carried = BTreeMap::<Owner, Vec<String>>::new();
        for (owner, state) in &snapshot.ports {
            let names = state.ports.iter().map(|port| format!("port {}", port.name));
            carried.entry(owner.clone()).or_default().extend(names);
        }
        match &snapshot.links {
            Ok(links) => {
                for (owner, link, _) in links.ours() {
                    carried.entry(owner.clone()).or_default().push(format!("link {}", link.name));
                }
            }
            Err(error) => findings.push(Finding::new("links", chain(error), READ)),
        }
        match self.pins.owners() {
            Ok(owners) => {
                for owner in owners {
                    carried.entry(owner).or_default().push("a namespace".to_owned());
                }
            }
            Err(error) => findings.push(Finding::new("namespaces", chain(&error), READ)),
        }
        for (owner, things) in carried.into_iter().filter(|(owner, _)| !leased.contains(owner)) {
            let found = format!("it has no lease, but {}", things.join(", "));
            let remedy =
                "an entry of this key takes them over again, or with `removed` removes them";
            findings.push(Finding::new(owner.as_str(), found, remedy));
        }
        findings
    }
}

/// What is wrong, if this step is what mends it. `None` for what only accompanies others.
fn difference(step: &Step) -> Option<String> {
    Some(match step {
        Step::RemovePort { port, .. } => format!("port {} is not of this lease", port.name),
        Step::RemoveLink { name, .. } => format!("link {name} is not of this lease"),
        Step::RemoveInner => "the container's link leads nowhere".to_owned(),
        Step::RemoveNamespace => "the namespace is not needed".to_owned(),
        Step::PinNamespace { .. } => "the namespace is missing".to_owned(),
        Step::CreateVeth { outer, .. } => format!("link {outer} is missing"),
        Step::SetMtu { end, mtu } => format!("{end} has another MTU than {mtu}"),
        Step::SetMac { mac } => format!("the hardware address is not {mac}"),
        Step::CompleteChecksums => {
            "the container leaves checksums to offload, which hangs TCP".to_owned()
        }
        Step::SetUp { end, .. } => format!("{end} is down"),
        Step::LoopbackUp => "the loopback link is down".to_owned(),
        Step::AddPort { name, .. } => format!("port {name} is missing"),
        Step::SetVlan { port, vlan, .. } => format!("port {port} is not in VLAN {vlan}"),
        Step::AwaitPort { name, .. } => format!("ovs-vswitchd has not taken up port {name}"),
        Step::RemoveAddress { address, .. } => format!("the container has {address} besides"),
        Step::RemoveGateway { gateway } => format!("a route leads by {gateway}"),
        Step::AddAddress { address, .. } => format!("{address} is not set"),
        Step::AddGateway { gateway } => format!("the default route by {gateway} is missing"),
        Step::Confirm { .. } => "the address has not been in service yet".to_owned(),
        Step::SetRate { .. }
        | Step::ClearRate { .. }
        | Step::Probe { .. }
        | Step::Announce { .. } => return None,
    })
}
