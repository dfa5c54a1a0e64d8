//! `berth wait`: for scripts that go on once all is as the goals say.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use berth_model::status::{AgentState, Phase, StatusDocument};

use super::{Failure, args, output};
use crate::{config::Config, goal::read, status::live};

const LOOK: Duration = Duration::from_millis(50);

pub(super) fn run(config: &Config, what: &args::Wait) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    loop {
        let document = live::read(config, None);
        // A document from before a change of goals says nothing of what they are now.
        let goals = read::fingerprint(&config.goal_dir)?;
        let converged = document.as_ref().is_ok_and(|document| {
            document.agent.goal_files == goals && is_converged(document, what)
        });
        if converged || begun.elapsed() > what.timeout {
            let document = document?;
            if what.timeline {
                output::print(&timeline(&document))?;
            }
            if !converged {
                output::print(&waited_for(&document))?;
            }
            return Ok(if converged { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        std::thread::sleep(LOOK);
    }
}

fn is_converged(document: &StatusDocument, what: &args::Wait) -> bool {
    document.agent.state == AgentState::Running
        && document.instances.len() >= what.instances
        && document.instances.values().all(|instance| instance.phase == Phase::Converged)
}

fn waited_for(document: &StatusDocument) -> String {
    let open = document.instances.iter().filter(|(_, i)| i.phase != Phase::Converged);
    let lines = open.map(|(key, instance)| {
        let doing = instance.doing.as_ref().map(|doing| doing.step.as_str());
        let why = instance.blocked.as_deref().or(doing).unwrap_or("-");
        format!("{key} is {} ({}): {why}\n", instance.state, instance.phase)
    });
    let text: String = lines.collect();
    format!("not converged in time: {} instances\n{text}", document.instances.len())
}

/// The completed steps, with the time since the first of them began.
fn timeline(document: &StatusDocument) -> String {
    let begun = |step: &berth_model::status::RecentStep| {
        step.at.as_millisecond() - i64::try_from(step.took_ms).unwrap_or_default()
    };
    let Some(start) = document.recent.iter().map(begun).min() else {
        return "no steps\n".to_owned();
    };
    let seconds = |ms: i64| format!("{}.{:03}s", ms / 1000, ms % 1000);
    let mut steps: Vec<_> = document.recent.iter().collect();
    steps.sort_by_key(|step| begun(step));
    let rows = steps.iter().map(|step| {
        vec![
            seconds(begun(step) - start),
            seconds(i64::try_from(step.took_ms).unwrap_or_default()),
            step.lane.clone(),
            step.step.clone(),
            step.error.join(": "),
        ]
    });
    output::table(&["BEGAN", "TOOK", "FOR", "STEP", ""], rows.collect())
}

#[cfg(test)]
mod tests;
