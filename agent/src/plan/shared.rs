//! What several instances need, made once: unpacked images, and initialised data
//! directories to copy.

use std::{collections::BTreeMap, path::PathBuf};

use berth_model::goal::{GoalState, Goals};

use super::{Step, spec};
use crate::{
    config::Config,
    data::{DataFacts, DataState, Marker},
    observe::{ContainerState, InstanceObservation, Observation, Observed},
};

/// The lane in which an image is unpacked. The colon keeps it apart from entry keys.
pub(super) fn image_lane(config_digest: &str) -> String {
    format!("image:{config_digest}")
}

/// The lane in which a template is made.
pub(super) fn template_lane(config_digest: &str) -> String {
    format!("template:{config_digest}")
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
        let Some(seen) = observation.instances.get(key) else { continue };
        if entry.state != GoalState::Started || !needs_image(seen) {
            continue;
        }
        let reference = entry.image.as_deref().unwrap_or(&config.image);
        let Some(Observed::Present(image)) = observation.images.get(reference) else { continue };
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
    lanes
}

fn needs_image(seen: &InstanceObservation) -> bool {
    match &seen.container {
        Observed::Absent => true,
        Observed::Present(container) => matches!(container.state, ContainerState::Exited(_)),
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
