//! [`Netplug`]: attach, detach and reconcile, made of observe, plan and act.
//!
//! Every operation on an owner takes the owner's lock, observes, plans and acts, and
//! observes again until a plan is empty: what was asked for has then been read back
//! from the kernel and the switch. An operation that died half-way is continued by the
//! next one, whichever it is.
//!
//! Not here: any decision (`plan`), any effect (`act`).

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::sync::Mutex;

use crate::act::Executor;
use crate::addr::MacAddress;
use crate::attachment::{AttachRequest, Attachment};
use crate::config::Config;
use crate::error::PlugError;
use crate::failpoint::{Failpoint, hit};
use crate::lease::{Generation, Lease, LeaseStore, Wanted};
use crate::name::Owner;
use crate::netns::Pins;
use crate::observe::{self, HostLinks, OwnerState};
use crate::ovsdb::Client;
use crate::plan::{self, Desired, Plan, Step};
use crate::pool::{Pool, PoolSet};
use crate::session::Session;
use crate::tag::Tag;

/// How often an owner is observed and repaired before it is given up.
const ROUNDS: usize = 4;
/// How many addresses are tried when strangers hold them.
const CANDIDATES: usize = 8;

/// The network of one host's instances.
///
/// The host's network namespace is that of the calling thread. Every method may be
/// called from many threads and processes at once, and blocks for at most the
/// [`Timeouts`](crate::Timeouts) of its waits.
#[derive(Debug)]
pub struct Netplug {
    pub(crate) config: Config,
    pub(crate) leases: LeaseStore,
    pub(crate) pins: Pins,
    pub(crate) clients: Mutex<Vec<Client>>,
}

impl Netplug {
    /// Sets up the directories. Open vSwitch need not run yet.
    ///
    /// # Errors
    /// When the directories can't be created.
    pub fn open(config: Config) -> Result<Self, PlugError> {
        let plug = Self::look(config);
        plug.leases.set_up().map_err(PlugError::Lease)?;
        plug.pins.set_up().map_err(PlugError::Directory)?;
        Ok(plug)
    }

    /// The same for questions only: creates nothing. Neither root nor Open vSwitch is
    /// needed for what files tell.
    #[must_use]
    pub fn look(config: Config) -> Self {
        let leases = LeaseStore::new(config.state_dir.join("leases"), config.timeouts.lock);
        let pins = Pins::new(config.run_dir.join("netns"));
        Self { config, leases, pins, clients: Mutex::default() }
    }

    /// Whether this host has a lease directory. Before its first network it has none.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn has_leases(&self) -> Result<bool, PlugError> {
        self.leases.exists().map_err(PlugError::Lease)
    }

    /// Every lease of this host.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn leases(&self) -> Result<Vec<Lease>, PlugError> {
        let leases = self.leases.list().map_err(PlugError::Lease)?;
        Ok(leases.iter().cloned().collect())
    }

    /// Lease files that can't be read, each with the reason.
    ///
    /// # Errors
    /// When they can't be listed.
    pub fn damaged_leases(&self) -> Result<Vec<String>, PlugError> {
        let leases = self.leases.list().map_err(PlugError::Lease)?;
        Ok(leases.unreadable().iter().map(|error| observe::chain(error)).collect())
    }

    /// The owner's network namespace, opened, if one is pinned.
    ///
    /// # Errors
    /// [`PlugError::Namespace`] when that can't be told.
    pub fn namespace(&self, owner: &Owner) -> Result<Option<File>, PlugError> {
        let failed = |source| PlugError::Namespace { owner: owner.clone(), source };
        self.pins.open(owner).map_err(failed)
    }

    /// Gives an instance its address, namespace, link, port and limits, or repairs them.
    ///
    /// If it fails, what was done stays, under the owner's lease: another attach goes
    /// on, and [`Netplug::detach`] removes it.
    ///
    /// # Errors
    /// See [`PlugError`].
    pub fn attach(
        &self,
        pools: &PoolSet,
        request: &AttachRequest,
    ) -> Result<Attachment, PlugError> {
        self.attach_hinted(pools, request, BTreeSet::new())
    }

    /// The same, with links that may have to go.
    pub(crate) fn attach_hinted(
        &self,
        pools: &PoolSet,
        request: &AttachRequest,
        hints: BTreeSet<String>,
    ) -> Result<Attachment, PlugError> {
        let _lock = self.lock(&request.owner)?;
        let mut session = Session { hints, ..self.session()? };
        let attached = self.attach_locked(&mut session, pools, request);
        self.give_back(session);
        attached
    }

    fn attach_locked(
        &self,
        session: &mut Session,
        pools: &PoolSet,
        request: &AttachRequest,
    ) -> Result<Attachment, PlugError> {
        let owner = &request.owner;
        let pool = pools.get(&request.pool).ok_or_else(|| PlugError::UnknownPool {
            owner: owner.clone(),
            pool: request.pool.clone(),
        })?;
        let mut tried = BTreeSet::new();
        while tried.len() < CANDIDATES {
            let lease = self.lease(session, pool, request, &tried)?;
            let desired = self.desired(request, pool, lease)?;
            let lease = desired.lease.clone();
            let failed = match self.converge(session, owner, Some(desired.clone())) {
                Ok(done) => {
                    if !done.is_empty() {
                        // That it is in service was confirmed on the way.
                        let lease = Lease { confirmed: true, ..lease };
                        self.answer_for(session, &lease);
                    }
                    return Ok(self.attachment(&desired, done));
                }
                Err(error) => error,
            };
            let stranger = match &failed {
                PlugError::Step { source, .. } => source.address_taken(),
                _ => None,
            };
            // An address that was in service is never exchanged by itself.
            let may_move = request.address.is_none() && !lease.confirmed;
            let Some(address) = stranger.filter(|_| may_move) else {
                return Err(failed);
            };
            tracing::warn!(%owner, %address, "a stranger holds the address");
            self.free(session, owner, Some(&lease))?;
            tried.insert(address);
        }
        Err(PlugError::Strangers { owner: owner.clone(), pool: request.pool.clone(), tried })
    }

    /// The owner's lease; one that doesn't fit the request is given back first.
    fn lease(
        &self,
        session: &mut Session,
        pool: &Pool,
        request: &AttachRequest,
        exclude: &BTreeSet<IpAddr>,
    ) -> Result<Lease, PlugError> {
        let owner = &request.owner;
        let in_use = match self.held(owner)? {
            Some(held) if held.fits(pool, request.address) => return Ok(held),
            Some(held) => {
                tracing::info!(%owner, address = %held.address, "the goal asks for another address");
                self.free(session, owner, Some(&held))?;
                None
            }
            None => self.in_use(session, owner)?,
        };
        let address = request.address;
        let wanted = Wanted { owner, pool, address, exclude, in_use };
        self.leases.acquire(wanted).map_err(PlugError::Lease)
    }

    fn held(&self, owner: &Owner) -> Result<Option<Lease>, PlugError> {
        Ok(self.leases.list().map_err(PlugError::Lease)?.of(owner).cloned())
    }

    /// What the switch carries for an owner without a lease.
    fn in_use(
        &self,
        session: &mut Session,
        owner: &Owner,
    ) -> Result<Option<(IpAddr, Generation)>, PlugError> {
        let bridge = &self.config.bridge.name;
        let read = self.switch(&mut session.client).ports(bridge, Some((owner, "")));
        let blocked = |error| {
            let reasons = vec![format!("the switch can't be read: {}", observe::chain(&error))];
            PlugError::Blocked { owner: owner.clone(), reasons }
        };
        let ports = read.map_err(blocked)?.ports;
        let latest = ports.into_iter().filter_map(|port| port.tag).max_by_key(|tag| tag.generation);
        Ok(latest.map(|tag| (tag.address, tag.generation)))
    }

    /// Removes all that an instance has, and frees its address.
    ///
    /// # Errors
    /// See [`PlugError`]; the address stays leased until all else is gone.
    pub fn detach(&self, owner: &Owner) -> Result<Vec<String>, PlugError> {
        let _lock = self.lock(owner)?;
        let mut session = self.session()?;
        let lease = self.held(owner)?;
        if lease.is_none() {
            let links = HostLinks::read(&self.config.host, &mut session.route);
            session.hints = links.map_err(PlugError::Netlink)?.names(owner);
        }
        let done = self.free(&mut session, owner, lease.as_ref());
        self.give_back(session);
        done
    }

    fn free(
        &self,
        session: &mut Session,
        owner: &Owner,
        lease: Option<&Lease>,
    ) -> Result<Vec<String>, PlugError> {
        let link = lease.map(|lease| lease.link_name(&self.config.host));
        session.hints.extend(link);
        if lease.is_some_and(|lease| lease.confirmed) {
            // First, while ovs-vswitchd has nothing else to do.
            self.answer_no_more(owner);
        }
        let mut done = self.converge(session, owner, None)?;
        if let Some(lease) = lease {
            self.leases.release(lease).map_err(PlugError::Lease)?;
            hit(Failpoint::LeaseRemoved);
            done.push(format!("release {}", lease.address));
        }
        Ok(done)
    }

    pub(crate) fn desired(
        &self,
        request: &AttachRequest,
        pool: &Pool,
        lease: Lease,
    ) -> Result<Desired, PlugError> {
        if !pool.offers(lease.address) {
            let (owner, pool) = (lease.owner, pool.name.clone());
            return Err(PlugError::OutsidePool { owner, address: lease.address, pool });
        }
        Ok(Desired {
            tag: Tag::of(&self.config.host, &lease),
            link: lease.link_name(&self.config.host),
            lease,
            bridge: self.config.bridge.name.clone(),
            vlan: pool.vlan,
            prefix: pool.subnet.prefix(),
            gateway: pool.gateway,
            mtu: pool.mtu,
            rates: request.rates.or(pool.rate),
            live_namespace: request.live_namespace.clone(),
        })
    }

    pub(crate) fn attachment(&self, desired: &Desired, done: Vec<String>) -> Attachment {
        Attachment {
            owner: desired.lease.owner.clone(),
            address: desired.lease.address,
            prefix: desired.prefix,
            gateway: desired.gateway,
            vlan: desired.vlan,
            mac: MacAddress::of(desired.lease.address),
            namespace: self.pins.path(&desired.lease.owner),
            link: desired.link.clone(),
            generation: desired.lease.generation,
            done,
        }
    }

    /// Observes, plans and acts until nothing is left to do.
    fn converge(
        &self,
        session: &mut Session,
        owner: &Owner,
        mut desired: Option<Desired>,
    ) -> Result<Vec<String>, PlugError> {
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            let plan = self.plan(session, owner, desired.as_ref());
            for step in &plan.steps {
                self.run(session, owner, step)?;
                done.push(step.to_string());
                if let (Step::Confirm { .. }, Some(desired)) = (step, &mut desired) {
                    desired.lease.confirmed = true;
                }
            }
            if !plan.blocked.is_empty() {
                return Err(PlugError::Blocked { owner: owner.clone(), reasons: plan.blocked });
            }
            if plan.steps.is_empty() {
                return Ok(done);
            }
        }
        let plan = self.plan(session, owner, desired.as_ref());
        if plan == Plan::default() {
            return Ok(done);
        }
        let remaining = plan.steps.iter().map(ToString::to_string).chain(plan.blocked).collect();
        Err(PlugError::NotConverged { owner: owner.clone(), remaining })
    }

    fn plan(&self, session: &mut Session, owner: &Owner, desired: Option<&Desired>) -> Plan {
        let observed = self.observe(session, owner, desired.map(|desired| desired.link.as_str()));
        match desired {
            Some(desired) => plan::attach(desired, &self.config.host, &observed),
            None => plan::detach(&observed),
        }
    }

    pub(crate) fn observe(
        &self,
        session: &mut Session,
        owner: &Owner,
        link: Option<&str>,
    ) -> OwnerState {
        let named = (owner, link.unwrap_or_default());
        let read = self.switch(&mut session.client).ports(&self.config.bridge.name, Some(named));
        let mut names = session.hints.clone();
        names.extend(link.map(str::to_owned));
        // A port has the name of its link.
        names.extend(read.iter().flat_map(|seen| &seen.ports).map(|port| port.name.clone()));
        let host = &self.config.host;
        let links = observe::links_named(host, owner, &names, &mut session.route);
        let links = links.map_err(|error| observe::chain(&error));
        observe::owner(owner, observe::switch(read), links, &self.pins)
    }

    fn run(&self, session: &mut Session, owner: &Owner, step: &Step) -> Result<(), PlugError> {
        let mut executor = Executor {
            config: &self.config,
            owner,
            pins: &self.pins,
            leases: &self.leases,
            client: &mut session.client,
            route: &mut session.route,
        };
        tracing::debug!(%owner, %step, "act");
        executor.run(step).map_err(|source| PlugError::Step {
            owner: owner.clone(),
            step: step.to_string(),
            source: Box::new(source),
        })
    }
}
