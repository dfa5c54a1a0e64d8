//! `berth image gc`, and what of the images is in use.

use std::collections::BTreeSet;

use berth_images::{Collected, Digest, Reference, Store};
use berth_model::goal::GoalState;
use berth_runtime::State;

use super::super::{Failure, args::ImageGc, output};
use crate::{
    config::Config,
    goal::in_force,
    host::{self, HostError},
    journal,
    plan::labels,
};

pub(super) fn run(config: &Config, store: &Store, what: &ImageGc) -> Result<(), Failure> {
    let mut keep = in_use(config)?;
    keep.extend(ran_last(config)?);
    keep.extend(in_goals(config, store)?);
    let gone = store.collect(&keep, what.dry_run)?;
    if what.json {
        output::json(&serde_json::json!({
            "dry_run": what.dry_run,
            "bytes": gone.bytes(),
            "blobs": digests(&gone.blobs),
            "trees": digests(&gone.trees),
            "partials": gone.partials.iter().map(|(path, _)| path).collect::<Vec<_>>(),
        }))?;
        return Ok(());
    }
    output::print(&words(&gone, what.dry_run))?;
    Ok(())
}

fn digests(found: &[(Digest, u64)]) -> Vec<String> {
    found.iter().map(|(digest, _)| digest.to_string()).collect()
}

fn words(gone: &Collected, dry_run: bool) -> String {
    let begun = gone.partials.iter().map(|(path, bytes)| (path.display().to_string(), *bytes));
    let named = |kind: &str, found: &[(Digest, u64)]| {
        let line = |(digest, bytes): &(Digest, u64)| (format!("{kind} {digest}"), *bytes);
        found.iter().map(line).collect::<Vec<_>>()
    };
    let all = named("tree of", &gone.trees).into_iter().chain(named("blob", &gone.blobs));
    let lines = all.chain(begun).map(|(what, bytes)| format!("{what} {}\n", output::bytes(bytes)));
    let end = match (gone.bytes(), dry_run) {
        (0, _) => "nothing to remove\n".to_owned(),
        (bytes, true) => format!("would free {}\n", output::bytes(bytes)),
        (bytes, false) => format!("freed {}\n", output::bytes(bytes)),
    };
    lines.collect::<String>() + &end
}

/// The images that servers served with last: kept until another has served.
fn ran_last(config: &Config) -> Result<Vec<Digest>, Failure> {
    let journal = journal::load(&config.journal())?;
    let ran = journal.values().filter_map(|remembered| remembered.image_ran.as_deref());
    Ok(ran.map(str::parse).collect::<Result<_, _>>()?)
}

/// The images of goals in force that are here. A name that is none needs nothing.
fn in_goals(config: &Config, store: &Store) -> Result<Vec<Digest>, Failure> {
    let goals = in_force::load(&config.goals_in_force())?;
    let wanted = goals.values().filter(|placed| placed.entry.state != GoalState::Removed);
    let named = wanted.map(|placed| placed.entry.image.as_deref().unwrap_or(&config.image));
    let names: BTreeSet<&str> = named.collect();
    let mut digests = Vec::new();
    for reference in names.into_iter().filter_map(|name| name.parse::<Reference>().ok()) {
        digests.extend(store.resolve(&reference)?.map(|image| image.config_digest));
    }
    Ok(digests)
}

/// The images of all containers, whatever their state. One that can't be read could be of
/// any image, so then nothing is removed.
pub(super) fn in_use(config: &Config) -> Result<BTreeSet<Digest>, Failure> {
    let mut digests = BTreeSet::new();
    let runtime = match host::open_runtime(config) {
        Ok(runtime) => runtime,
        // Without a run directory there can't be a container.
        Err(HostError::NoRunDir { .. }) => return Ok(digests),
        Err(error) => return Err(error.into()),
    };
    for (id, container) in runtime.list()? {
        let container = container?;
        if let State::Unknown { reason } = &container.state {
            return Err(
                format!("container {id} can't be judged, so nothing is removed: {reason}").into()
            );
        }
        let record = container.record;
        let label = record.as_ref().and_then(|record| record.labels.get(labels::IMAGE));
        digests.extend(label.and_then(|digest| digest.parse::<Digest>().ok()));
    }
    Ok(digests)
}
