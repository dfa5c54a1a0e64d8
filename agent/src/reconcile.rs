//! The loop: wakes, and makes a pass: goal → observe → plan → act → status.
//!
//! A pass can't fail; what fails is a value in the status. It doesn't wait for the lanes
//! that it starts: their end wakes the next pass. What it must remember is in the journal.

mod lanes;
mod lock;
mod pass;
mod prepare;
mod service;
mod signals;
mod watches;
mod world;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use berth_runtime::become_subreaper;

use crate::{
    config::Config,
    files::FileError,
    host::{Host, HostError},
    wake::{GoalWatch, Waker},
};
use pass::Loop;
use world::HostWorld;

/// The form of the agent's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Threads that may wait in the kernel at the same time; they exist only while they do.
const BLOCKING_THREADS_MAX: usize = 4096;

/// Why the agent can't run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A directory that it needs can't be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent works on this host.
    #[error("another agent holds {}; there can be only one per host", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The lock can't be taken.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host can't be worked with.
    #[error("cannot work with this host")]
    Host(#[from] HostError),
    /// It can't become the parent of its containers.
    #[error("cannot become a subreaper")]
    Subreaper(#[source] berth_runtime::RuntimeError),
    /// What it wrote before can't be read. It is not passed over, as goals and failures
    /// would be forgotten.
    #[error("cannot read what an earlier agent left; mend or move the file away")]
    State(#[source] FileError),
    /// The asynchronous runtime, signals or inotify can't be had.
    #[error("cannot wait for events")]
    Events(#[source] io::Error),
}

/// Runs the agent until SIGTERM or SIGINT. The containers run on after it.
///
/// # Errors
/// What keeps it from running at all.
pub fn run(config: Config, log: LogFormat) -> Result<(), AgentError> {
    start_log(log);
    prepare::make_directories(&config)?;
    let _lock = lock::take(&config)?;
    prepare::sweep(&config);
    become_subreaper().map_err(AgentError::Subreaper)?;
    let host = Arc::new(Host::open(config)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Each instance on a disk that hangs holds one, and a probe must find one beside them.
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .map_err(AgentError::Events)?;
    let result = runtime.block_on(converge(host));
    // A probe or a lane may hang in the kernel; nothing is gained by waiting for it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn converge(host: Arc<Host>) -> Result<(), AgentError> {
    let waker = Waker::default();
    let goal_dir = host.config.goal_dir.clone();
    let watch = GoalWatch::start(goal_dir, waker.clone()).map_err(AgentError::Events)?;
    let mut stop = signals::Stop::new().map_err(AgentError::Events)?;
    let config = host.config.clone();
    let world = Arc::new(HostWorld::new(host, waker.clone()));
    let mut state = Loop::new(config, world, waker).map_err(AgentError::State)?;
    tokio::select! {
        never = state.run(|| watch.renew()) => match never {},
        () = stop.wait() => service::Service::stopping(),
    }
    state.finish();
    tracing::info!("the agent ends; containers run on");
    Ok(())
}

fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BERTH_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    // A second subscriber, as in tests, is no reason to fail.
    let _ = match format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            builder.with_ansi(io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
}

#[cfg(test)]
mod tests;
