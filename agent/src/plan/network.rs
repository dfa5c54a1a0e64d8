//! Networks of instances in vlan mode: what their lanes do, and what a container needs
//! before it starts.
//!
//! Each instance's network has a lane of its own beside the instance's, so that a network
//! that can't be repaired never keeps a server from being held in its role. The rules:
//! - an instance in vlan mode has its network, running or not, until its goal says removed
//!   or host mode: an address is sticky;
//! - what only adds or repairs is done while the server runs (rates, VLAN, MTU, a lost pin);
//! - what gives up the present address is done in the instance's own lane, once its container
//!   is gone, and only if another can be had;
//! - what is unknown changes nothing: a container whose network was right starts and runs on.

use berth_model::{
    EntryKey,
    goal::{GoalState, Network},
    status::InstanceState,
};
use berth_netplug::{Place, Standing};

use super::{Decision, Plan, Step, Subject};
use crate::{
    files, network,
    observe::{ContainerFacts, ContainerState, NetworkFacts, Observation, Observed},
};

/// How the names of the lanes begin in which networks are made.
const LANE: &str = "network:";
/// The lane of the bridge that all share. No key begins like this.
const BRIDGE_LANE: &str = "bridge:";

/// The lane of an instance's network.
#[must_use]
pub fn lane(key: &EntryKey) -> String {
    format!("{LANE}{key}")
}

fn bridge_lane(subject: &Subject<'_>) -> String {
    format!("{BRIDGE_LANE}{}", subject.config.network.bridge.name)
}

/// Plans the lane of an instance's network, and that of the bridge if it lacks something.
/// The bridge comes first, whatever else is amiss: without it nothing can be right.
pub(super) fn plan(subject: &Subject<'_>, plan: &mut Plan) {
    let own_lane = lane(subject.key);
    let lacks = bridge(subject).is_some_and(|bridge| bridge.as_ref().is_ok_and(|l| !l.is_empty()));
    if lacks && wants_network(subject) {
        plan.shared.insert(bridge_lane(subject), vec![Step::EnsureBridge]);
    }
    let work = work(subject);
    if work.is_empty() {
        plan.quiet.push(own_lane);
    } else if !(lacks && attaches(&work)) {
        plan.shared.insert(own_lane, work);
    }
}

fn bridge<'a>(subject: &Subject<'a>) -> Option<&'a Result<Vec<String>, String>> {
    Some(&subject.observation.network.present()?.bridge)
}

fn attaches(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::AttachNetwork { .. }))
}

/// What is to be done to the instance's network now.
fn work(subject: &Subject<'_>) -> Vec<Step> {
    let Some(standing) = standing(subject) else { return Vec::new() };
    if standing.todo.is_empty() {
        return Vec::new();
    }
    let (empty, live) = match &subject.seen.container {
        Observed::Unknown(_) => return Vec::new(),
        Observed::Absent => (true, None),
        Observed::Present(container) => match container.state {
            ContainerState::Running { .. } => (false, Some(container)),
            ContainerState::Creating | ContainerState::Exited(_) => (false, None),
        },
    };
    // Its own lane may be about to start a container, or to end one.
    let at_rest = !subject.observation.busy.contains_key(subject.key.as_str());
    if !wants_network(subject) {
        let free = empty || subject.seen.container.present().is_some_and(|c| c.network.is_none());
        let may = free && at_rest && standing.blocked.is_empty();
        return match network::owner(subject.key) {
            Ok(owner) if may => vec![Step::DetachNetwork { owner }],
            _ => Vec::new(),
        };
    }
    // Of what is in place, some can be put right whatever blocks the rest.
    if standing.replaces || (!standing.blocked.is_empty() && standing.place.is_none()) {
        return Vec::new();
    }
    attach(subject, standing, live).into_iter().collect()
}

fn attach(
    subject: &Subject<'_>,
    standing: &Standing,
    live: Option<&ContainerFacts>,
) -> Option<Step> {
    let mut request = network::request(subject.key, subject.entry()).ok()??;
    // A server that runs keeps its address, also when its lease was lost.
    let running = live.and_then(|container| container.network.as_ref());
    if let Some(at) = running.filter(|at| at.pool == request.pool.as_str())
        && standing.lease.is_none()
    {
        request.address = request.address.or(Some(at.ip));
    }
    let live = running.map(|_| subject.container_id());
    Some(Step::AttachNetwork { request: Box::new(request), live })
}

fn wants_network(subject: &Subject<'_>) -> bool {
    subject.entry().network.is_vlan() && subject.entry().state != GoalState::Removed
}

fn standing<'a>(subject: &Subject<'a>) -> Option<&'a Standing> {
    subject.observation.network.present()?.instances.get(subject.key)
}

/// The network to start a container in, `None` for the host's; otherwise what comes first.
pub(super) fn ready<'a>(
    subject: &Subject<'a>,
    state: InstanceState,
) -> Result<Option<&'a Place>, Decision> {
    if !subject.entry().network.is_vlan() {
        return Ok(None);
    }
    if let Err(error) = network::request(subject.key, subject.entry()) {
        return Err(Decision::blocked(state, files::chain(&error).join(": ")));
    }
    let facts = match &subject.observation.network {
        Observed::Present(facts) => facts,
        Observed::Unknown(why) => {
            return Err(Decision::blocked(state, format!("its network can't be examined: {why}")));
        }
        Observed::Absent => return Err(Decision::waiting(state, "waiting for its network")),
    };
    let Some(standing) = facts.instances.get(subject.key) else {
        return Err(Decision::waiting(state, "waiting for its network"));
    };
    if let Some(step) = replacement(subject) {
        return Err(Decision::act(state, vec![step]));
    }
    let settled = standing.todo.is_empty() || !standing.blocked.is_empty();
    match &standing.place {
        Some(place) if !standing.replaces && settled && !at_work(subject) => Ok(Some(place)),
        _ => Err(unready(subject, state, facts, standing)),
    }
}

fn at_work(subject: &Subject<'_>) -> bool {
    subject.observation.busy.contains_key(&lane(subject.key))
}

fn unready(
    subject: &Subject<'_>,
    state: InstanceState,
    facts: &NetworkFacts,
    standing: &Standing,
) -> Decision {
    match &facts.bridge {
        Ok(lacks) if !lacks.is_empty() => {
            subject.wait_for(state, &bridge_lane(subject), "the bridge to be set up")
        }
        Err(why) if standing.blocked.is_empty() => Decision::blocked(state, why.clone()),
        _ if !standing.blocked.is_empty() => {
            Decision::blocked(state, format!("it has no network: {}", standing.blocked.join("; ")))
        }
        _ => subject.wait_for(state, &lane(subject.key), "its network"),
    }
}

/// The step by which an instance without a container gives up its address for one that its
/// goal asks for and that can be had; `None` if there is no such change.
pub(super) fn replacement(subject: &Subject<'_>) -> Option<Step> {
    let standing = standing(subject).filter(|_| wants_network(subject))?;
    let may = standing.replaces
        && standing.blocked.is_empty()
        && bridge(subject) == Some(&Ok(Vec::new()))
        && !at_work(subject);
    may.then(|| attach(subject, standing, None)).flatten()
}

/// Whether a running container is in the network that the goal asks for. While networks
/// can't be examined, by what it was made with.
pub(super) fn suits(subject: &Subject<'_>, container: &ContainerFacts) -> bool {
    let Network::Vlan { pool, ip, .. } = &subject.entry().network else {
        return container.network.is_none();
    };
    let lease = standing(subject).and_then(|standing| standing.lease.as_ref());
    let leased = lease.filter(|lease| lease.pool.as_str() == pool).map(|lease| lease.address);
    container.network.as_ref().is_some_and(|at| {
        at.pool == *pool
            && ip.is_none_or(|ip| ip == at.ip)
            && leased.is_none_or(|leased| leased == at.ip)
    })
}

/// What a decision about an instance says of its network besides: what is amiss is told,
/// and nothing else is changed by it.
pub(super) fn tell(subject: &Subject<'_>, decision: &mut Decision) {
    let note = match (&subject.observation.network, standing(subject)) {
        (Observed::Unknown(why), _) if subject.entry().network.is_vlan() => {
            format!("its network can't be examined, and is left as it is: {why}")
        }
        (_, Some(standing)) if !standing.blocked.is_empty() => {
            format!("its network is left as it is: {}", standing.blocked.join("; "))
        }
        _ => String::new(),
    };
    if !note.is_empty() && decision.blocked.is_none() {
        decision.notes.push(note);
    }
    let idle =
        decision.steps.is_empty() && decision.blocked.is_none() && decision.waiting.is_none();
    let amiss = !work(subject).is_empty() || at_work(subject);
    if idle && amiss {
        let what = standing(subject).map(|standing| standing.todo.join(", ")).unwrap_or_default();
        let words = format!("its network: {what}");
        let told = subject.wait_for(decision.state, &lane(subject.key), &words);
        (decision.blocked, decision.waiting) = (told.blocked, told.waiting);
    }
}

/// Waiting, or blocked, as long as something of a network is left that is to be gone.
pub(super) fn gone(subject: &Subject<'_>, state: InstanceState) -> Option<Decision> {
    match (&subject.observation.network, standing(subject)) {
        (Observed::Unknown(why), _) if network::owner(subject.key).is_ok() => Some(
            Decision::blocked(state, format!("whether its network is gone is not known: {why}")),
        ),
        (_, Some(standing)) if !standing.blocked.is_empty() => Some(Decision::blocked(
            state,
            format!("its network can't be removed: {}", standing.blocked.join("; ")),
        )),
        (_, Some(standing)) if !standing.todo.is_empty() => {
            Some(subject.wait_for(state, &lane(subject.key), "its network to be removed"))
        }
        _ => None,
    }
}

/// The bridge's lane is at rest once nobody's network needs it.
pub(super) fn settle_bridge(observation: &Observation, bridge: &str, plan: &mut Plan) {
    let right = observation.network.present().is_some_and(|facts| facts.bridge == Ok(Vec::new()));
    if right {
        plan.quiet.push(format!("{BRIDGE_LANE}{bridge}"));
    }
}

/// The lanes that belong to instances: they are forgotten with them.
#[must_use]
pub fn lanes_of(key: &EntryKey) -> [String; 2] {
    [key.to_string(), lane(key)]
}
