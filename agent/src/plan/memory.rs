//! The memory of a running server, led to the size that its goal has now, without a restart.
//!
//! - **Growing**: the memory limit first, as soon as the host's other instances leave room;
//!   the buffer pool follows.
//! - **Shrinking**: the buffer pool first; the limit follows once the pool has come down and
//!   what the kernel can't take back fits below it with a margin. Until then it stays: the
//!   kernel kills who is above a limit. Not knowing is no leave.
//!
//! A server that starts, is being seeded or is to have a new container is left as it was made.
//! The limit in force is the one that its container was given last; the pool is held at what
//! fits that limit, or the goal's if that is smaller, so a killed agent's successor goes on from
//! either.

use berth_model::{ByteSize, EntryKey, sizing::Sizing};

use super::{Decision, Step, Subject, Verb, serve};
use crate::{
    mysql::{BUFFER_POOL_SIZE, BufferPool},
    observe::{ContainerFacts, ContainerState, Observed},
};

/// What must be left between what is in use and a lower limit: a thirty-second of that, at least
/// this much.
const MARGIN_MIN: u64 = 16 << 20;

/// What is to become of a running server's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resize {
    /// The memory limit to have now.
    pub(super) limit: Option<u64>,
    /// The buffer pool to have now; `None` if it is as it should be, or is changing.
    pool: Option<u64>,
    /// What is waited for.
    waiting: Option<String>,
    /// Why the goal's size can't be had.
    blocked: Option<String>,
}

impl Resize {
    /// Nothing changes.
    pub(super) fn none(limit: Option<u64>) -> Self {
        Self { limit, pool: None, waiting: None, blocked: None }
    }

    fn waiting(limit: Option<u64>, what: String) -> Self {
        Self { waiting: Some(what), ..Self::none(limit) }
    }

    /// Whether a lower limit is to come.
    pub(super) fn is_shrinking(&self, subject: &Subject<'_>) -> bool {
        self.limit.is_none_or(|limit| limit > wanted(subject))
    }

    /// Adds what is to be done and waited for to a decision that leaves the server running.
    pub(super) fn join(self, subject: &Subject<'_>, mut decision: Decision) -> Decision {
        let ends = |step: &Step| !matches!(step, Step::Sql { .. } | Step::Mark { .. });
        if decision.steps.iter().any(ends) {
            return decision;
        }
        if let Some(bytes) = self.pool {
            let name = BUFFER_POOL_SIZE.to_owned();
            decision.steps.push(subject.sql(Verb::SetGlobal { name, value: bytes.to_string() }));
        }
        decision.blocked = decision.blocked.or(self.blocked);
        match self.waiting {
            Some(what) if decision.blocked.is_none() && decision.waiting.is_none() => {
                decision.waiting = Some(what);
            }
            Some(what) => decision.notes.push(what),
            None => {}
        }
        decision
    }
}

/// The size that the goal asks for, in bytes.
fn wanted(subject: &Subject<'_>) -> u64 {
    subject.entry().size.of(subject.config.memory_bytes)
}

/// What is to become of the memory of this running container.
pub(super) fn resize(subject: &Subject<'_>, container: &ContainerFacts) -> Resize {
    let limit = container.limits.memory_max_bytes;
    let wanted = wanted(subject);
    if let Err(why) = Sizing::for_limit(wanted) {
        let why = format!("its goal's size can't be had, so it keeps the one it has: {why}");
        return Resize { blocked: Some(why), ..Resize::none(limit) };
    }
    match limit {
        Some(limit) if limit < wanted => grow(subject, limit, wanted),
        Some(limit) if limit == wanted => Resize { limit: Some(limit), ..hold(subject, limit) },
        _ => shrink(subject, container, wanted),
    }
}

fn pool<'a>(subject: &Subject<'a>) -> Option<&'a BufferPool> {
    subject.seen.server.present().map(|server| &server.snapshot.pool)
}

/// The pool that fits this limit.
fn hold(subject: &Subject<'_>, limit: u64) -> Resize {
    let none = Resize::none(Some(limit));
    let Some(pool) = pool(subject) else { return none };
    let target = pool.fixed.size_for(limit);
    match pool.size == target {
        true => none,
        false if pool.is_changing() => Resize::waiting(Some(limit), changing(pool)),
        false => Resize { pool: Some(target), ..none },
    }
}

fn changing(pool: &BufferPool) -> String {
    format!(
        "waiting for the buffer pool to become {}, it is {}",
        ByteSize::new(pool.size),
        ByteSize::new(pool.allocated)
    )
}

fn grow(subject: &Subject<'_>, limit: u64, wanted: u64) -> Resize {
    if serve::may_be_starting(subject) {
        return Resize::none(Some(limit));
    }
    match room(subject) {
        room if room >= wanted => Resize::none(Some(wanted)),
        room => Resize {
            waiting: Some(format!(
                "waiting for memory: its limit is to grow from {} to {}, and the limits of the \
                 other instances leave {}",
                ByteSize::new(limit),
                ByteSize::new(wanted),
                ByteSize::new(room)
            )),
            ..hold(subject, limit)
        },
    }
}

/// What the other instances' containers leave of the host's memory, in bytes. One that is to
/// shrink, or to end, counts with the limit that it still has.
fn room(subject: &Subject<'_>) -> u64 {
    let host = subject.config.memory_bytes;
    let others = subject.goals.own.keys().filter(|key| *key != subject.key);
    others.fold(host, |room, key| room.saturating_sub(held(subject, key)))
}

fn held(subject: &Subject<'_>, key: &EntryKey) -> u64 {
    let host = subject.config.memory_bytes;
    let asked = || subject.goals.own[key].placed.entry.size.of(host);
    match subject.observation.instances.get(key).map(|seen| &seen.container) {
        Some(Observed::Absent) => 0,
        Some(Observed::Present(container)) => match container.state {
            ContainerState::Exited(_) => 0,
            // One without a limit has no more than its goal's size in mind either.
            _ => container.limits.memory_max_bytes.unwrap_or_else(asked),
        },
        Some(Observed::Unknown(_)) | None => asked(),
    }
}

fn shrink(subject: &Subject<'_>, container: &ContainerFacts, wanted: u64) -> Resize {
    let limit = container.limits.memory_max_bytes;
    let wait = |for_what: String| {
        let from =
            limit.map_or_else(|| "none".to_owned(), |limit| ByteSize::new(limit).to_string());
        let to = ByteSize::new(wanted);
        let what = format!("waiting to lower the memory limit from {from} to {to}: {for_what}");
        Resize::waiting(limit, what)
    };
    let Some(pool) = pool(subject) else {
        return wait("its server does not answer".to_owned());
    };
    let target = pool.fixed.size_for(wanted);
    if pool.allocated > target || pool.size > target {
        let shrinks = wait(format!(
            "its buffer pool has to shrink from {} to {}",
            ByteSize::new(pool.allocated),
            ByteSize::new(target)
        ));
        let step = (pool.size != target && !pool.is_changing()).then_some(target);
        return Resize { pool: step, ..shrinks };
    }
    let in_use = match &container.pinned_bytes {
        Observed::Present(bytes) => *bytes,
        // Nothing that could hit anyone.
        Observed::Absent => 0,
        Observed::Unknown(why) => {
            return wait(format!("what it uses can't be found out: {why}"));
        }
    };
    let most = wanted - (wanted / 32).max(MARGIN_MIN);
    if in_use <= most {
        return Resize::none(Some(wanted));
    }
    let coarse = target > Sizing::for_limit(wanted).map_or(0, |sizing| sizing.buffer_pool);
    let restart = match coarse {
        true => "; its buffer pool can't be smaller until it is stopped and started",
        false => "",
    };
    wait(format!(
        "{} MiB are in use that can't be taken back, at most {} MiB may be{restart}",
        in_use >> 20,
        most >> 20
    ))
}
