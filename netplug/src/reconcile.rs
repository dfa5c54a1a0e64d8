//! All instances of the host at once: at start, and at every pass.
//!
//! Links, ports and leases are read once, each namespace by itself, and only owners
//! with something to do are worked on, a few at a time. What nobody asked about is
//! reported and left alone: an entry that vanished from the goal is no order to delete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::attachment::{AttachRequest, Attachment};
use crate::error::PlugError;
use crate::lease::{Lease, Leases};
use crate::name::Owner;
use crate::netlink::NetlinkError;
use crate::observe::{self, HostLinks, Observed};
use crate::ovsdb::SwitchState;
use crate::plan::{self, Plan};
use crate::plug::Netplug;
use crate::pool::PoolSet;

/// What the host should have.
#[derive(Debug, Clone, Default)]
pub struct Goal {
    /// Instances with a network, whether their processes run or not.
    pub attached: Vec<AttachRequest>,
    /// Instances that are to have none, and whose addresses become free.
    pub removed: BTreeSet<Owner>,
}

/// What happened to one owner.
#[derive(Debug)]
pub enum Outcome {
    /// It has what it should have; `done` tells whether it had it before.
    Attached(Attachment),
    /// It has nothing; what was done for that.
    Detached(Vec<String>),
    /// It could not be done.
    Failed(PlugError),
}

/// What a pass found and did.
#[derive(Debug, Default)]
pub struct Report {
    /// By owner, everyone that the goal names.
    pub owners: BTreeMap<Owner, Outcome>,
    /// Leases of owners that the goal doesn't name; left alone.
    pub orphans: Vec<Lease>,
    /// Owners that have a link, a port or a namespace, but neither a lease nor a place
    /// in the goal; left alone, because that is what a lost lease directory looks like.
    pub strays: BTreeSet<Owner>,
    /// Lease files that can't be read, and other things an operator has to look at.
    pub problems: Vec<String>,
}

/// What one pass reads once for all owners.
pub(crate) struct Snapshot {
    pub(crate) leases: Leases,
    pub(crate) links: Result<HostLinks, NetlinkError>,
    /// The bridge, without ports.
    pub(crate) switch: Observed<SwitchState>,
    pub(crate) ports: BTreeMap<Owner, SwitchState>,
}

impl Snapshot {
    fn link_names(&self, owner: &Owner) -> BTreeSet<String> {
        self.links.as_ref().map(|links| links.names(owner)).unwrap_or_default()
    }
}

impl Netplug {
    /// Gives every instance of the goal what it should have. Never fails as a whole,
    /// unless the leases can't be read: then nothing is known and nothing is done.
    ///
    /// # Errors
    /// [`PlugError::Lease`] and [`PlugError::Netlink`].
    pub fn reconcile(&self, pools: &PoolSet, goal: &Goal) -> Result<Report, PlugError> {
        let snapshot = self.snapshot()?;
        let mut report = Report::default();
        self.leftovers(&snapshot, goal, &mut report);
        let jobs: Vec<Job<'_>> = goal
            .attached
            .iter()
            .map(Job::Attach)
            .chain(goal.removed.iter().map(Job::Detach))
            .collect();
        let (next, owners) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.config.parallel.clamp(1, jobs.len().max(1)) {
                scope.spawn(|| {
                    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let (owner, outcome) = self.job(&snapshot, pools, job);
                        let mut owners = owners.lock().unwrap_or_else(PoisonError::into_inner);
                        owners.insert(owner, outcome);
                    }
                });
            }
        });
        report.owners = owners.into_inner().unwrap_or_else(PoisonError::into_inner);
        let in_use = !jobs.is_empty() || snapshot.leases.iter().next().is_some();
        if in_use && let Err(error) = self.answer_all(&mut self.session()?) {
            report.problems.push(observe::chain(&error));
        }
        Ok(report)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, PlugError> {
        let mut session = self.session()?;
        let read = self.switch(&mut session.client).ports(&self.config.bridge.name, None);
        let links = HostLinks::read(&self.config.host, &mut session.route);
        // Leases last: whatever was seen above has its lease by now, since leases come first.
        let leases = self.leases.list().map_err(PlugError::Lease)?;
        self.give_back(session);
        let mut ports: BTreeMap<Owner, SwitchState> = BTreeMap::new();
        let switch = match observe::switch(read) {
            Observed::Present(mut seen) => {
                for port in std::mem::take(&mut seen.ports) {
                    let Some(tag) = &port.tag else { continue };
                    let of_owner = ports.entry(tag.owner.clone()).or_insert_with(|| seen.clone());
                    of_owner.ports.push(port);
                }
                Observed::Present(seen)
            }
            other => other,
        };
        Ok(Snapshot { leases, links, switch, ports })
    }

    pub(crate) fn leftovers(&self, snapshot: &Snapshot, goal: &Goal, report: &mut Report) {
        let named = |owner: &Owner| {
            goal.removed.contains(owner) || goal.attached.iter().any(|r| r.owner == *owner)
        };
        report.orphans =
            snapshot.leases.iter().filter(|lease| !named(&lease.owner)).cloned().collect();
        let leased: BTreeSet<_> = snapshot.leases.iter().map(|lease| &lease.owner).collect();
        let mut seen: BTreeSet<Owner> = snapshot.ports.keys().cloned().collect();
        match &snapshot.links {
            Ok(links) => seen.extend(links.ours().map(|(owner, _, _)| owner.clone())),
            Err(error) => report.problems.push(observe::chain(error)),
        }
        match self.pins.owners() {
            Ok(owners) => seen.extend(owners),
            Err(error) => report.problems.push(observe::chain(&error)),
        }
        report.strays =
            seen.into_iter().filter(|owner| !named(owner) && !leased.contains(owner)).collect();
        let unreadable = snapshot.leases.unreadable().iter();
        report.problems.extend(unreadable.map(|error| observe::chain(error)));
    }

    fn job(&self, snapshot: &Snapshot, pools: &PoolSet, job: &Job<'_>) -> (Owner, Outcome) {
        match job {
            Job::Attach(request) => {
                let attached = match self.as_it_should_be(snapshot, pools, request) {
                    Some(attachment) => Ok(attachment),
                    None => self.attach_hinted(pools, request, snapshot.link_names(&request.owner)),
                };
                let outcome = attached.map_or_else(Outcome::Failed, Outcome::Attached);
                (request.owner.clone(), outcome)
            }
            Job::Detach(owner) => {
                let leased = snapshot.leases.of(owner).is_some();
                let observed = self.observed(snapshot, owner, None);
                let detached = if !leased && plan::detach(&observed) == Plan::default() {
                    Ok(Vec::new())
                } else {
                    self.detach(owner)
                };
                let outcome = detached.map_or_else(Outcome::Failed, Outcome::Detached);
                ((*owner).clone(), outcome)
            }
        }
    }

    /// The attachment, if the snapshot shows that nothing is to be done for it.
    fn as_it_should_be(
        &self,
        snapshot: &Snapshot,
        pools: &PoolSet,
        request: &AttachRequest,
    ) -> Option<Attachment> {
        let pool = pools.get(&request.pool)?;
        let lease = snapshot.leases.of(&request.owner)?;
        let fits = lease.fits(pool, request.address);
        let desired = self.desired(request, pool, lease.clone()).ok().filter(|_| fits)?;
        let observed = self.observed(snapshot, &request.owner, Some(&desired.link));
        let plan = plan::attach(&desired, &self.config.host, &observed);
        (plan == Plan::default()).then(|| self.attachment(&desired, Vec::new()))
    }

    pub(crate) fn observed(
        &self,
        snapshot: &Snapshot,
        owner: &Owner,
        link: Option<&str>,
    ) -> observe::OwnerState {
        let switch = match snapshot.ports.get(owner) {
            Some(ports) => Observed::Present(ports.clone()),
            None => snapshot.switch.clone(),
        };
        let links = match &snapshot.links {
            Ok(links) => Ok(links.of(owner, link)),
            Err(error) => Err(observe::chain(error)),
        };
        observe::owner(owner, switch, links, &self.pins)
    }
}

enum Job<'a> {
    Attach(&'a AttachRequest),
    Detach(&'a Owner),
}
