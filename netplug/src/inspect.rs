//! What there is of each instance's network, and what an attach or a detach would do.
//!
//! For callers that plan themselves: the same reading and the same plan as in
//! [`Netplug::reconcile`], without any step. Nothing is changed, and nothing unknown
//! counts as absent: what can't be read stands in [`Standing::blocked`].
//!
//! Not here: whether a stranger on the wire has an address, which only an attach tries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::attachment::AttachRequest;
use crate::counters::Counters;
use crate::error::PlugError;
use crate::lease::Lease;
use crate::name::{Owner, VlanId};
use crate::observe::{self, OwnerState};
use crate::plan::{self, Plan};
use crate::plug::Netplug;
use crate::pool::PoolSet;
use crate::rate::{BitRate, Rates};
use crate::reconcile::{Goal, Report, Snapshot};
use crate::tag::Tag;

/// What a leased address has in the kernel, complete enough for a container to serve at
/// it: the pinned namespace holds the link, up and with the address. Read back, whatever
/// the pool says by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// The network namespace that the container joins.
    pub namespace: PathBuf,
    /// The host's end of the veth pair, and the port's name.
    pub link: String,
    /// The port's VLAN, if the switch can be read and has the port.
    pub vlan: Option<VlanId>,
    /// The limits that are set.
    pub rates: Rates,
}

/// How one owner stands to what is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// What it holds.
    pub lease: Option<Lease>,
    /// What it has of that lease.
    pub place: Option<Place>,
    /// Whether its lease is not what is asked for, so that an attach would first give up
    /// all it has.
    pub replaces: bool,
    /// What would be done; empty if all is right.
    pub todo: Vec<String>,
    /// Why nothing, or not all of it, can be done, in words to act on.
    pub blocked: Vec<String>,
    /// What went through its link.
    pub counters: Option<Counters>,
}

/// How a host stands to what is asked of it.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Everyone that the goal names.
    pub owners: BTreeMap<Owner, Standing>,
    /// Leases of owners that the goal doesn't name.
    pub orphans: Vec<Lease>,
    /// Owners that have something, but neither a lease nor a place in the goal.
    pub strays: BTreeSet<Owner>,
    /// Lease files that can't be read, and other things an operator has to look at.
    pub problems: Vec<String>,
}

impl Netplug {
    /// What the bridge and its uplink lack; empty if all is right.
    ///
    /// # Errors
    /// [`PlugError::Bridge`] as for [`Netplug::ensure_bridge`].
    pub fn inspect_bridge(&self) -> Result<Vec<String>, PlugError> {
        let mut session = self.session()?;
        let steps = self.bridge_steps(&mut session).map_err(PlugError::Bridge)?;
        // What can't be told is no reason to do anything: requests are flooded meanwhile.
        let answers = self.answerable(&mut session).ok().and_then(|difference| difference.words());
        self.give_back(session);
        Ok(steps.iter().map(|step| format!("{step:?}")).chain(answers).collect())
    }

    /// Compares what should be with what is there, for every owner of the goal.
    ///
    /// # Errors
    /// [`PlugError::Lease`] and [`PlugError::Netlink`]: then nothing is known.
    pub fn inspect(&self, pools: &PoolSet, goal: &Goal) -> Result<Inspection, PlugError> {
        let snapshot = self.snapshot()?;
        let mut report = Report::default();
        self.leftovers(&snapshot, goal, &mut report);
        let mut owners = BTreeMap::new();
        for request in &goal.attached {
            owners.insert(request.owner.clone(), self.standing(&snapshot, pools, request));
        }
        for owner in &goal.removed {
            owners.insert(owner.clone(), self.leftover(&snapshot, owner));
        }
        Ok(Inspection {
            owners,
            orphans: report.orphans,
            strays: report.strays,
            problems: report.problems,
        })
    }

    fn standing(&self, snapshot: &Snapshot, pools: &PoolSet, request: &AttachRequest) -> Standing {
        let lease = snapshot.leases.of(&request.owner).cloned();
        let (found, observed) = self.found(snapshot, &request.owner, lease.as_ref());
        let Some(pool) = pools.get(&request.pool) else {
            let (owner, pool) = (request.owner.clone(), request.pool.clone());
            let unknown = PlugError::UnknownPool { owner, pool };
            // Of a pool that is refused now, the lease is still what is asked for.
            let replaces = lease.is_some_and(|lease| {
                lease.pool != request.pool || request.address.is_some_and(|ip| ip != lease.address)
            });
            return Standing { replaces, blocked: vec![unknown.to_string()], ..found };
        };
        match lease {
            Some(lease) if lease.fits(pool, request.address) => {
                let plan = match self.desired(request, pool, lease) {
                    Ok(desired) => plan::attach(&desired, &self.config.host, &observed),
                    Err(error) => Plan { blocked: vec![error.to_string()], ..Plan::default() },
                };
                Standing { todo: words(&plan), blocked: plan.blocked, ..found }
            }
            lease => {
                // All that is there has to be seen before anything new is made.
                let unreadable = plan::detach(&observed).blocked;
                let refused = snapshot.leases.would_give(&request.owner, pool, request.address);
                let refused = refused.err().map(|error| observe::chain(&error));
                let lost = lease.iter().map(|lease| format!("release {}", lease.address));
                let todo = lost.chain([format!("lease an address of pool {}", pool.name)]);
                Standing {
                    replaces: lease.is_some(),
                    todo: todo.collect(),
                    blocked: unreadable.into_iter().chain(refused).collect(),
                    ..found
                }
            }
        }
    }

    /// What an owner has that should have nothing.
    fn leftover(&self, snapshot: &Snapshot, owner: &Owner) -> Standing {
        let lease = snapshot.leases.of(owner).cloned();
        let (found, observed) = self.found(snapshot, owner, lease.as_ref());
        let plan = plan::detach(&observed);
        let mut todo = words(&plan);
        todo.extend(lease.map(|lease| format!("release {}", lease.address)));
        // Nothing on this host tells of a network: while only the switch can't be read,
        // that blocks nobody.
        let no_trace = found.lease.is_none()
            && !observed.pin_file
            && observed.links.present().is_some_and(Vec::is_empty);
        let blocked = if no_trace { Vec::new() } else { plan.blocked };
        Standing { todo, blocked, ..found }
    }

    fn found(
        &self,
        snapshot: &Snapshot,
        owner: &Owner,
        lease: Option<&Lease>,
    ) -> (Standing, OwnerState) {
        let link = lease.map(|lease| lease.link_name(&self.config.host));
        let observed = self.observed(snapshot, owner, link.as_deref());
        let place = lease.and_then(|lease| self.place(lease, &observed));
        let counters = snapshot.links.as_ref().ok().and_then(|links| {
            let mut ours = links.ours().filter(|(of, link, _)| {
                *of == owner && lease.is_some_and(|l| l.link_name(&self.config.host) == link.name)
            });
            ours.next().map(|(_, link, root)| Counters::of(link, root))
        });
        (Standing { lease: lease.cloned(), place, counters, ..Standing::default() }, observed)
    }

    fn place(&self, lease: &Lease, observed: &OwnerState) -> Option<Place> {
        let (name, tag) = (lease.link_name(&self.config.host), Tag::of(&self.config.host, lease));
        let links = observed.links.present()?;
        let outer = links.iter().find(|l| l.name == name && l.tag.as_ref() == Some(&tag))?;
        let inner = observed.namespace.present()?.inner.as_ref()?;
        let (address, prefix) =
            inner.addresses.iter().find(|(found, _)| *found == lease.address)?;
        if inner.peer != Some(outer.index) || !inner.up || !outer.up {
            return None;
        }
        let ports = observed.switch.present().map_or(&[][..], |switch| &switch.ports);
        let port = ports.iter().find(|port| port.name == name && port.tag.as_ref() == Some(&tag));
        let vlan = port.and_then(|port| port.access).and_then(|id| VlanId::new(id.into()).ok());
        let rate = |bytes: u64| BitRate::from_bits_per_second(bytes.saturating_mul(8)).ok();
        Some(Place {
            address: *address,
            prefix: *prefix,
            namespace: self.pins.path(&lease.owner),
            link: name,
            vlan,
            rates: Rates {
                inbound: outer.shaper.and_then(|shaper| rate(shaper.rate)),
                outbound: inner.shaper.and_then(|shaper| rate(shaper.rate)),
            },
        })
    }
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(ToString::to_string).collect()
}
