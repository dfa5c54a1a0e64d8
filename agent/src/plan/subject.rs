//! One instance before the planner: its goal, what was seen of it, and short ways to what
//! several rules need.

use std::path::PathBuf;

use berth_model::{
    ClusterName, EntryKey,
    goal::{Entry, Goal, Goals, Role},
    status::InstanceState,
};
use berth_runtime::ContainerId;
use jiff::Timestamp;

use super::{Decision, Peer, Step, Verb, shared};
use crate::{
    config::Config,
    data::{DataState, Marker},
    journal::{Journal, Remembered},
    mysql::SourceView,
    observe::{InstanceObservation, Observation, Observed, TreeFacts},
};

/// One instance before the planner.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) config: &'a Config,
    pub(super) goals: &'a Goals,
    pub(super) observation: &'a Observation,
    pub(super) journal: &'a Journal,
    pub(super) now: Timestamp,
    pub(super) key: &'a EntryKey,
    pub(super) goal: &'a Goal,
    pub(super) seen: &'a InstanceObservation,
}

impl<'a> Subject<'a> {
    pub(super) fn entry(&self) -> &'a Entry {
        &self.goal.placed.entry
    }

    pub(super) fn remembered(&self) -> Option<&'a Remembered> {
        self.journal.get(self.key.as_str())
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.config.instance_dir(self.key)
    }

    pub(super) fn container_id(&self) -> ContainerId {
        ContainerId::new(self.key.as_str()).expect("an entry key has the alphabet of an id")
    }

    pub(super) fn cluster(&self) -> ClusterName {
        self.goals.cluster_of(&self.goal.placed)
    }

    pub(super) fn image_reference(&self) -> &'a str {
        self.entry().image.as_deref().unwrap_or(&self.config.image)
    }

    pub(super) fn mark(&self, marker: Marker) -> Step {
        Step::Mark { instance_dir: self.dir(), marker }
    }

    pub(super) fn sql(&self, verb: Verb) -> Step {
        Step::Sql { socket_dir: self.config.socket_dir(self.key), verb }
    }

    /// Where the data directory goes when it is in use no longer. `why` becomes part of
    /// the name.
    pub(super) fn move_aside(&self, why: &str) -> Step {
        let name = format!("{}.{why}.{}", self.key, self.now.strftime("%Y%m%dT%H%M%SZ"));
        Step::MoveAside { instance_dir: self.dir(), aside: self.config.trash_dir().join(name) }
    }

    /// The source's address; otherwise what is missing.
    pub(super) fn source_peer(&self, state: InstanceState) -> Result<Peer, Decision> {
        match &self.seen.source {
            Observed::Present(source) => {
                Ok(Peer { host: source.address.0, port: source.address.1, cluster: self.cluster() })
            }
            Observed::Absent => Err(Decision::blocked(state, "the goal names no master")),
            Observed::Unknown(why) => {
                Err(Decision::blocked(state, format!("the master's address is not known: {why}")))
            }
        }
    }

    /// The unpacked image; otherwise the decision that follows from its want.
    pub(super) fn tree(&self, state: InstanceState) -> Result<&'a TreeFacts, Decision> {
        let reference = self.image_reference();
        let blocked = |why: String| Err(Decision::blocked(state, why));
        let image = match self.observation.images.get(reference) {
            Some(Observed::Present(image)) => image,
            Some(Observed::Unknown(why)) => {
                return blocked(format!("image {reference} can't be examined: {why}"));
            }
            Some(Observed::Absent) | None => {
                if let Some(lane) = shared::pull_lane(self.config, reference) {
                    return Err(self.wait_for_pull(state, &lane));
                }
                return blocked(format!(
                    "image {reference} is not on this host; bring it with `berth image import` \
                     or `berth image build`"
                ));
            }
        };
        let Some(tree) = &image.tree else {
            let lane = shared::image_lane(&image.config_digest);
            return Err(self.wait_for(state, &lane, &format!("image {reference} to be unpacked")));
        };
        if tree.mysqld.is_none() {
            return blocked(format!("image {reference} has no mysqld; name another image"));
        }
        if tree.owner.is_none() {
            return blocked(format!("image {reference} has no user mysql; name another image"));
        }
        Ok(tree)
    }

    /// Waiting for the image to be pulled, with how far that is.
    fn wait_for_pull(&self, state: InstanceState, lane: &str) -> Decision {
        let reference = self.image_reference();
        let words = self.observation.busy.get(lane);
        let far = words.and_then(|words| words.split_once(reference)).map_or("", |(_, far)| far);
        self.wait_for(state, lane, &format!("image {reference} to be pulled{far}"))
    }

    /// Waiting for a shared lane; blocked with its error while that keeps failing.
    pub(super) fn wait_for(&self, state: InstanceState, lane: &str, what: &str) -> Decision {
        let failed = self.journal.get(lane).and_then(|remembered| {
            let last = remembered.last_step.as_ref()?;
            (!last.error.is_empty()).then(|| last.error.join(": "))
        });
        match failed {
            Some(error) => {
                Decision::blocked(state, format!("waiting for {what}, which fails: {error}"))
            }
            None => Decision::waiting(state, format!("waiting for {what}")),
        }
    }

    /// Blocked, if someone else listens on the instance's port.
    pub(super) fn port_taken(&self, state: InstanceState) -> Option<Decision> {
        let port = self.entry().port;
        let why = match &self.seen.port_taken {
            Observed::Absent => return None,
            Observed::Present(listener) => format!(
                "port {port} is in use by a stranger ({listener}); end it (`ss -ltnp`), or choose \
                 another port"
            ),
            Observed::Unknown(why) => {
                format!("whether port {port} is free can't be found out: {why}")
            }
        };
        Some(Decision::blocked(state, why))
    }

    /// What the source answers, if its address is known.
    pub(super) fn source_server(&self) -> &'a Observed<SourceView> {
        match &self.seen.source {
            Observed::Present(source) => &source.server,
            Observed::Absent | Observed::Unknown(_) => &Observed::Absent,
        }
    }

    /// The step that marks the data as ready in this role, unless it is marked so already.
    pub(super) fn mark_ready(&self, marker: &Marker, role: Role) -> Vec<Step> {
        if marker.state == DataState::Ready && marker.role == Some(role) {
            return Vec::new();
        }
        let ready = Marker { state: DataState::Ready, role: Some(role), ..marker.clone() };
        vec![self.mark(ready)]
    }
}
