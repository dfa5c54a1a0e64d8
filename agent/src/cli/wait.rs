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
        let verdict = match &document {
            Ok(document) if document.agent.goal_files == goals => verdict(document, what),
            _ => Verdict::NotYet,
        };
        if verdict != Verdict::NotYet || begun.elapsed() > what.timeout {
            return conclude(&document?, verdict, what);
        }
        std::thread::sleep(LOOK);
    }
}

/// What a document says of the goals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Converged,
    NotYet,
    /// No waiting makes a refused entry a good one.
    Refused,
}

fn verdict(document: &StatusDocument, what: &args::Wait) -> Verdict {
    let at_work = document.agent.state == AgentState::Running;
    let enough = document.instances.len() >= what.instances;
    if at_work && !document.refusals.is_empty() {
        Verdict::Refused
    } else if at_work
        && enough
        && document.instances.values().all(|instance| instance.phase == Phase::Converged)
    {
        Verdict::Converged
    } else {
        Verdict::NotYet
    }
}

fn conclude(
    document: &StatusDocument,
    verdict: Verdict,
    what: &args::Wait,
) -> Result<ExitCode, Failure> {
    if what.timeline {
        output::print(&timeline(document))?;
    }
    match verdict {
        Verdict::Converged => return Ok(ExitCode::SUCCESS),
        Verdict::NotYet => output::print(&waited_for(document))?,
        Verdict::Refused => {
            let lines = document.refusals.iter().map(|refusal| format!("refused: {refusal}\n"));
            output::print(&lines.collect::<String>())?;
        }
    }
    Ok(ExitCode::FAILURE)
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
