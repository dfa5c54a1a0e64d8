//! What several instances need, made once: images pulled and unpacked, and initialised data
//! directories to copy.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use berth_images::Reference;
use berth_model::goal::{GoalState, Goals};
use berth_runtime::ContainerId;

use super::{
    Step,
    spec::{self, TEMPLATE_ID},
};
use crate::{
    config::Config,
    data::{DataFacts, DataState, Marker},
    observe::{ContainerFacts, InstanceObservation, Observation, Observed, Purpose},
};

/// The lane in which an image is unpacked. The colon keeps it apart from entry keys.
pub(super) fn image_lane(config_digest: &str) -> String {
    format!("image:{}", short(config_digest))
}

/// How the names of the lanes begin in which images are pulled.
const PULL_LANE: &str = "pull:";
/// Images pulled at the same time. More would only share the network and the disk.
const PULLS_MAX: usize = 2;

/// The lane in which an image is pulled; `None` if the agent may not pull it.
pub(super) fn pull_lane(config: &Config, reference: &str) -> Option<String> {
    let pullable = reference.parse().is_ok_and(|reference: Reference| reference.is_pullable());
    (config.registries.by_agent && pullable).then(|| format!("{PULL_LANE}{reference}"))
}

/// Lets only so many pulls begin that no more than [`PULLS_MAX`] are under way.
pub(super) fn bound_pulls(lanes: &mut BTreeMap<String, Vec<Step>>, observation: &Observation) {
    let under_way = observation.busy.keys().filter(|lane| lane.starts_with(PULL_LANE)).count();
    let mut left = PULLS_MAX.saturating_sub(under_way);
    lanes.retain(|lane, _| {
        let begins = lane.starts_with(PULL_LANE);
        let may = !begins || left > 0;
        left = left.saturating_sub(usize::from(begins));
        may
    });
}

/// How the names of the lanes begin in which templates are made.
const TEMPLATE_LANE: &str = "template:";

/// The lane in which a template is made.
pub(super) fn template_lane(config_digest: &str) -> String {
    format!("{TEMPLATE_LANE}{}", short(config_digest))
}

/// The digest's first twelve digits, as people and other tools write it.
fn short(config_digest: &str) -> &str {
    let digits = config_digest.rsplit(':').next().unwrap_or(config_digest);
    digits.get(..12).unwrap_or(digits)
}

/// The directory of the template of an image, below the data directories so that its
/// blocks can be shared with them.
#[must_use]
pub fn template_dir(config: &Config, config_digest: &str) -> PathBuf {
    config.templates_dir().join(config_digest.replace(':', "-"))
}

/// The lanes that started instances wait for.
pub(super) fn plan(
    config: &Config,
    goals: &Goals,
    observation: &Observation,
) -> BTreeMap<String, Vec<Step>> {
    let mut lanes = BTreeMap::new();
    for (key, goal) in &goals.own {
        let entry = &goal.placed.entry;
        let Some(seen) = observation.instances.get(key) else {
            continue;
        };
        if entry.state != GoalState::Started || !needs_image(seen) {
            continue;
        }
        let reference = entry.image.as_deref().unwrap_or(&config.image);
        let image = match observation.images.get(reference) {
            Some(Observed::Present(image)) => image,
            Some(Observed::Absent) => {
                if let Some(lane) = pull_lane(config, reference) {
                    let pull = Step::PullImage { reference: reference.to_owned() };
                    lanes.entry(lane).or_insert_with(|| vec![pull]);
                }
                continue;
            }
            Some(Observed::Unknown(_)) | None => continue,
        };
        match &image.tree {
            None => {
                let unpack = Step::UnpackImage { reference: reference.to_owned() };
                lanes.entry(image_lane(&image.config_digest)).or_insert_with(|| vec![unpack]);
            }
            Some(tree) if !tree.template && needs_template(seen) => {
                let dir = template_dir(config, &image.config_digest);
                if let Some(step) = spec::template(&dir, &image.config_digest, tree) {
                    let lane = template_lane(&image.config_digest);
                    lanes.entry(lane).or_insert_with(|| vec![step]);
                }
            }
            Some(_) => {}
        }
    }
    let making = lanes.keys().chain(observation.busy.keys()).any(|l| l.starts_with(TEMPLATE_LANE));
    if !making {
        lanes.extend(observation.strays.iter().filter_map(left_over));
    }
    lanes
}

/// What an agent left that was killed while it made a template; asked only while none is
/// being made. Other strays are only reported.
fn left_over(stray: &ContainerFacts) -> Option<(String, Vec<Step>)> {
    let of_template = stray.purpose == Some(Purpose::Template)
        || (stray.purpose.is_none() && stray.id.starts_with(TEMPLATE_ID));
    if !of_template {
        return None;
    }
    let id = ContainerId::new(stray.id.as_str()).ok()?;
    let steps = vec![
        Step::StopContainer { id: id.clone(), grace: Duration::ZERO },
        Step::RemoveContainer { id },
    ];
    Some((format!("container:{}", stray.id), steps))
}

fn needs_image(seen: &InstanceObservation) -> bool {
    match &seen.container {
        Observed::Absent => true,
        // One that runs needs the image too if its goal names another now.
        Observed::Present(_) => true,
        Observed::Unknown(_) => false,
    }
}

fn needs_template(seen: &InstanceObservation) -> bool {
    match &seen.data {
        Observed::Absent => true,
        Observed::Present(DataFacts::Own { marker, .. }) => is_half_made(marker),
        Observed::Present(DataFacts::Foreign { .. }) | Observed::Unknown(_) => false,
    }
}

fn is_half_made(marker: &Marker) -> bool {
    matches!(marker.state, DataState::Initialising | DataState::Seeding { .. })
}
