//! Runs steps. It decides nothing: each step carries all it needs.
//!
//! A lane runs the steps of one instance (or of one image or template) in order, on a
//! thread that may block, and ends at the first failure. Lanes don't wait for each other.
//! [`Board`] says what each is doing.

mod container;
mod image;
mod network;
mod sql;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use berth_model::status::Doing;
use jiff::Timestamp;

use crate::{data::directory, files, host::Host, mysql, network::NetworkError, plan::Step};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The image's reference is not one, or it has gone since it was seen.
    #[error("image {reference} is not on this host")]
    NoImage {
        /// The reference.
        reference: String,
    },
    /// Unpacking failed.
    #[error("cannot unpack the image")]
    Unpack(#[source] berth_images::ImageError),
    /// Pulling failed.
    #[error(transparent)]
    Pull(berth_images::ImageError),
    /// A move of data directories failed.
    #[error("cannot change the data directory")]
    Data(#[from] directory::DirectoryError),
    /// A container operation failed.
    #[error("cannot {what} the container")]
    Container {
        /// The operation.
        what: &'static str,
        /// Why.
        source: berth_runtime::RuntimeError,
    },
    /// Initialising a template ended badly.
    #[error("mysqld --initialize-insecure ended with {exit}; its log: {log}")]
    Initialise {
        /// How it ended.
        exit: String,
        /// The end of its log.
        log: String,
    },
    /// An instance's network, or the bridge, can't be changed.
    #[error("cannot change the network")]
    Network(#[from] NetworkError),
    /// The namespace of a container that runs can't be had.
    #[error("cannot hold the network namespace of the running container")]
    Namespace(#[source] io::Error),
    /// The fleet key can't be had.
    #[error("cannot derive passwords")]
    Key(#[from] mysql::credentials::KeyError),
    /// The server refused or didn't answer.
    #[error("the server did not do it")]
    Server(#[from] mysql::Error),
    /// CLONE did not succeed.
    #[error("clone: {why}")]
    Clone {
        /// What came of it.
        why: String,
    },
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step, in words.
    pub step: String,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The error and its causes; empty if it worked.
    pub error: Vec<String>,
    /// What the loop has to remember of it.
    pub effect: Effect,
}

/// What a step changes in what is remembered of its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// A server ended by itself, in this way.
    Crashed(String),
    /// There is a data directory now.
    DataMade,
    /// The data directory was moved aside.
    DataGone,
}

/// What each lane is doing.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Doing>>>);

impl Board {
    /// What every lane is doing.
    #[must_use]
    pub fn read(&self) -> BTreeMap<String, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what a lane begins to do.
    pub fn begin(&self, lane: &str, step: &str) {
        let doing = Doing { step: step.to_owned(), since: Timestamp::now() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(lane.to_owned(), doing);
    }

    /// Notes how far a lane is with what it does.
    pub fn say(&self, lane: &str, step: &str) {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(doing) = lanes.get_mut(lane) {
            doing.step = step.to_owned();
        }
    }

    /// The lane is at rest.
    pub fn end(&self, lane: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(lane);
    }
}

/// Runs the steps of a lane, one after the other, up to the first that fails. Blocks.
#[must_use]
pub fn run_lane(host: &Host, board: &Board, lane: &str, steps: Vec<Step>) -> Vec<StepReport> {
    let mut reports = Vec::new();
    for step in steps {
        let words = step.to_string();
        board.begin(lane, &words);
        let begun = Instant::now();
        let result = run(host, board, lane, &step);
        let took = begun.elapsed();
        let error = result.err().map(|error| files::chain(&error)).unwrap_or_default();
        let failed = !error.is_empty();
        let effect = if failed { Effect::None } else { effect(&step) };
        reports.push(StepReport { step: words, at: Timestamp::now(), took, error, effect });
        if failed {
            break;
        }
    }
    reports
}

/// What the loop has to remember of a step that worked.
pub(crate) fn effect(step: &Step) -> Effect {
    match step {
        Step::RecordCrash { exit } => Effect::Crashed(exit.clone()),
        Step::CreateData { .. } => Effect::DataMade,
        Step::MoveAside { .. } => Effect::DataGone,
        _ => Effect::None,
    }
}

fn run(host: &Host, board: &Board, lane: &str, step: &Step) -> Result<(), StepError> {
    match step {
        Step::PullImage { reference } => image::pull(host, board, lane, reference),
        Step::UnpackImage { reference } => image::unpack(host, reference),
        Step::MakeTemplate { dir, init, spec, owner } => {
            container::make_template(host, dir, init, spec, *owner)
        }
        Step::CreateData { template, instance_dir, marker } => {
            Ok(directory::create(template, instance_dir, marker)?)
        }
        Step::Mark { instance_dir, marker } => Ok(directory::mark(instance_dir, marker)?),
        Step::MoveAside { instance_dir, aside } => Ok(directory::move_aside(instance_dir, aside)?),
        Step::StartContainer { spec, dirs } => container::start(host, spec, dirs),
        Step::StopContainer { id, grace } => container::stop(host, id, *grace),
        Step::RemoveContainer { id } => container::remove(host, id),
        Step::RecordCrash { .. } => Ok(()),
        Step::SetLimits { id, limits } => container::set_limits(host, id, limits),
        Step::EnsureBridge => network::ensure_bridge(host),
        Step::AttachNetwork { request, live } => network::attach(host, request, live.as_ref()),
        Step::DetachNetwork { owner } => network::detach(host, owner),
        Step::RotateLog { path } => container::rotate_log(path),
        Step::Sql { socket_dir, verb } => sql::run(host, socket_dir, verb),
    }
}
