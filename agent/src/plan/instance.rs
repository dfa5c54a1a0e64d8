//! One instance, led by what its goal says of its state, its data and its container.

use std::time::Duration;

use berth_model::{goal::GoalState, status::InstanceState};
use berth_runtime::{ExitInfo, ExitStatus};

use super::{
    Decision, Step, Subject, Verb, bootstrap, disk,
    memory::{self, Resize},
    network, serve, spec,
};
use crate::{
    data::{DataFacts, DataState, Marker},
    mysql::initialise::EXIT_RESTART,
    observe::{ContainerFacts, ContainerState, Observed, Purpose},
};

/// Time for mysqld to flush and end; what is killed after it recovers at its next start.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(300);

pub(super) fn decide(subject: &Subject<'_>) -> Decision {
    match subject.entry().state {
        GoalState::Started => started(subject),
        GoalState::Stopped => without_container(subject, |subject| {
            let state = match &subject.seen.data {
                Observed::Absent => InstanceState::Absent,
                _ => InstanceState::Down,
            };
            Decision::act(state, network::replacement(subject).into_iter().collect())
        }),
        GoalState::Removed => without_container(subject, remove_data),
    }
}

/// Ends and removes the container, then goes on with `then`.
fn without_container(subject: &Subject<'_>, then: impl Fn(&Subject<'_>) -> Decision) -> Decision {
    let id = subject.container_id();
    match &subject.seen.container {
        Observed::Absent => then(subject),
        Observed::Unknown(why) => unknown_container(why),
        Observed::Present(container) => match &container.state {
            ContainerState::Running { .. } => {
                Decision::act(InstanceState::Down, end_container(subject))
            }
            ContainerState::Creating | ContainerState::Exited(_) => {
                Decision::act(InstanceState::Down, vec![Step::RemoveContainer { id }])
            }
        },
    }
}

fn remove_data(subject: &Subject<'_>) -> Decision {
    match &subject.seen.data {
        Observed::Absent => network::gone(subject, InstanceState::Down)
            .unwrap_or_else(|| Decision::settled(InstanceState::Removed)),
        Observed::Unknown(why) => unknown_data(subject, why),
        Observed::Present(DataFacts::Foreign { why }) => foreign(subject, why),
        Observed::Present(DataFacts::Own { .. }) => match disk::fixed(subject) {
            None => Decision::act(InstanceState::Down, vec![subject.move_aside("removed")]),
            Some(why) => Decision::blocked(
                InstanceState::Down,
                format!(
                    "{why}; unmount it (`umount {}`) to have the instance removed: its file \
                     system keeps the data",
                    subject.dir().display()
                ),
            ),
        },
    }
}

fn unknown_container(why: &str) -> Decision {
    Decision::blocked(
        InstanceState::Unknown,
        format!("whether its container runs can't be found out: {why}"),
    )
}

/// The container and the server may be known nevertheless, and are told as they are.
fn unknown_data(subject: &Subject<'_>, why: &str) -> Decision {
    let container = subject.seen.container.present().map(|container| &container.state);
    let runs = matches!(container, Some(ContainerState::Running { .. }));
    let server = subject.seen.server.present();
    let before = subject.remembered().and_then(|remembered| remembered.state);
    let state = match (runs, server, before) {
        (true, Some(_), Some((state, _))) => state,
        (true, None, _) => InstanceState::Unresponsive,
        _ => InstanceState::Unknown,
    };
    let decision = Decision::blocked(
        state,
        format!(
            "what {} holds can't be found out: {why}{}; nothing is done to it until then",
            subject.dir().display(),
            disk::behind(subject)
        ),
    );
    Decision { role: server.and_then(|server| serve::role_now(&server.snapshot)), ..decision }
}

fn foreign(subject: &Subject<'_>, why: &str) -> Decision {
    Decision::blocked(
        InstanceState::Unknown,
        format!(
            "{} is not this instance's data and is not touched: {why}; move it away, or give \
             the entry another key",
            subject.dir().display()
        ),
    )
}

fn started(subject: &Subject<'_>) -> Decision {
    let marker = match &subject.seen.data {
        Observed::Unknown(why) => return unknown_data(subject, why),
        Observed::Present(DataFacts::Foreign { why }) => return foreign(subject, why),
        Observed::Present(DataFacts::Own { marker, .. }) => Some(marker),
        Observed::Absent => None,
    };
    let container = match &subject.seen.container {
        Observed::Unknown(why) => return unknown_container(why),
        Observed::Absent => None,
        Observed::Present(container) => Some(container),
    };
    let Some(container) = container else {
        return no_container(subject, marker);
    };
    match (&container.state, marker) {
        (ContainerState::Creating, _) => Decision::act(
            InstanceState::Down,
            vec![Step::RemoveContainer { id: subject.container_id() }],
        ),
        (ContainerState::Exited(exit), marker) => exited(subject, marker, container, exit),
        (ContainerState::Running { .. }, None) => Decision::blocked(
            InstanceState::Unknown,
            format!(
                "its container runs, but {} is gone; nothing is done while a server may have \
                 files open there",
                subject.dir().display()
            ),
        ),
        (ContainerState::Running { .. }, Some(marker)) => running(subject, marker, container),
    }
}

fn no_container(subject: &Subject<'_>, marker: Option<&Marker>) -> Decision {
    match marker {
        None if subject.remembered().is_some_and(|remembered| remembered.has_data) => {
            data_vanished(subject)
        }
        None => bootstrap::make(subject, InstanceState::Absent),
        Some(marker) => match marker.state {
            DataState::Initialising | DataState::Seeding { .. } => {
                bootstrap::make(subject, InstanceState::Bootstrapping)
            }
            DataState::Seeded { .. } | DataState::Ready => start(subject, InstanceState::Down),
        },
    }
}

fn data_vanished(subject: &Subject<'_>) -> Decision {
    let dir = subject.dir();
    let own_disk = subject.remembered().is_some_and(|remembered| remembered.own_disk);
    let mounted = subject.seen.disk.present().filter(|disk| disk.is_mounted_at(&dir));
    let dir = dir.display();
    let what = match (own_disk, mounted) {
        (true, None) => format!(
            "it had data on a disk that was mounted at {dir}, and none is mounted there now; \
             mount it (`mount {dir}`)"
        ),
        (_, Some(disk)) => format!(
            "it had data in {dir}, and the disk that is mounted there now ({}) has none; mount \
             the right one",
            disk.name()
        ),
        (false, None) => format!("it had data in {dir}, which is gone; mount its disk"),
    };
    Decision::blocked(
        InstanceState::Unknown,
        format!("{what}, or restore it. To begin afresh, set its state to removed first"),
    )
}

/// Starts a container that serves, if the host has what it needs.
fn start(subject: &Subject<'_>, state: InstanceState) -> Decision {
    let tree = match subject.tree(state) {
        Ok(tree) => tree,
        Err(decision) => return decision,
    };
    if let Observed::Present(DataFacts::Own { owner, .. }) = &subject.seen.data
        && *owner != tree.owner
    {
        let found = owner.map_or("nobody".to_owned(), |(uid, gid)| format!("{uid}:{gid}"));
        let (uid, gid) = tree.owner.unwrap_or_default();
        return Decision::blocked(
            state,
            format!(
                "the data in {} is owned by {found}, expected {uid}:{gid} (mysql in the image); \
                 chown it if it is right",
                subject.dir().display()
            ),
        );
    }
    if let Some(decision) = disk::unfit(subject, state).or_else(|| subject.port_taken(state)) {
        return decision;
    }
    let place = match network::ready(subject, state) {
        Ok(place) => place,
        Err(decision) => return decision,
    };
    match spec::serve(subject, tree, place) {
        Ok(step) => Decision::act(state, vec![step]),
        Err(why) => Decision::blocked(state, why),
    }
}

fn exited(
    subject: &Subject<'_>,
    marker: Option<&Marker>,
    container: &ContainerFacts,
    exit: &ExitInfo,
) -> Decision {
    let remove = Step::RemoveContainer { id: subject.container_id() };
    let cloned = container.purpose == Some(Purpose::Seed)
        && exit.status == Some(ExitStatus::Code(EXIT_RESTART));
    if let Some(marker) = marker
        && cloned
        && let DataState::Seeding { from } | DataState::Seeded { from } = &marker.state
    {
        return complete_seed(subject, marker, from, remove);
    }
    let ails = subject.seen.disk.present().and_then(disk::ails);
    let exit = [Some(describe(exit)), ails].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let mut steps = vec![Step::RecordCrash { exit }, remove];
    if let Some(marker) = marker
        && let DataState::Seeded { from } = &marker.state
    {
        // It has never served, so what CLONE left is worth no more than a new CLONE.
        let from = from.clone();
        steps.push(subject.mark(Marker { state: DataState::Seeding { from }, ..marker.clone() }));
    }
    let state = match marker.map(|marker| &marker.state) {
        Some(DataState::Ready) | None => InstanceState::Down,
        Some(_) => InstanceState::Bootstrapping,
    };
    Decision::act(state, steps)
}

/// CLONE has ended well: the next container completes it. If that can't be started now, a
/// later pass says why.
fn complete_seed(subject: &Subject<'_>, marker: &Marker, from: &str, remove: Step) -> Decision {
    let seeded = DataState::Seeded { from: from.to_owned() };
    let mut steps = Vec::new();
    if marker.state != seeded {
        steps.push(subject.mark(Marker { state: seeded, ..marker.clone() }));
    }
    steps.push(remove);
    steps.extend(start(subject, InstanceState::Bootstrapping).steps);
    Decision::act(InstanceState::Bootstrapping, steps)
}

/// How a server ended, in words.
#[must_use]
pub fn describe(exit: &ExitInfo) -> String {
    let how = match exit.status {
        Some(status) => status.to_string(),
        None => "how is not known: no one was there to see it".to_owned(),
    };
    match exit.oom_killed {
        Some(true) => format!("{how}, out of memory"),
        _ => how,
    }
}

fn running(subject: &Subject<'_>, marker: &Marker, container: &ContainerFacts) -> Decision {
    // Who is to have a new container gets its memory there.
    let resize = match stays(subject, marker, container) {
        true => memory::resize(subject, container),
        false => Resize::none(container.limits.memory_max_bytes),
    };
    match spec::limits_change(subject, container, &resize) {
        Ok(Some(step)) => Decision::act(serve::state_now(subject, marker), vec![step]),
        Ok(None) => in_its_limits(subject, marker, container, resize),
        Err(why) => {
            let mut decision = in_its_limits(subject, marker, container, resize);
            decision.notes.push(format!("its limits stay as they are: {why}"));
            decision
        }
    }
}

/// Whether this container serves, and can follow the goal as it is.
fn stays(subject: &Subject<'_>, marker: &Marker, container: &ContainerFacts) -> bool {
    matches!(marker.state, DataState::Seeded { .. } | DataState::Ready)
        && container.purpose == Some(Purpose::Serve)
        && spec::is_made_alike(subject, container)
        && network::suits(subject, container)
}

fn in_its_limits(
    subject: &Subject<'_>,
    marker: &Marker,
    container: &ContainerFacts,
    resize: Resize,
) -> Decision {
    match (&marker.state, container.purpose) {
        (_, None) => Decision::blocked(
            InstanceState::Unknown,
            format!("container {} is not one that berth made; nothing is done to it", container.id),
        ),
        (DataState::Seeding { from }, Some(Purpose::Seed)) => bootstrap::seed(subject, from),
        (DataState::Seeded { .. } | DataState::Ready, Some(Purpose::Serve)) => {
            if stays(subject, marker, container) {
                return resize.join(subject, serve::hold(subject, marker));
            }
            replace(subject, marker)
        }
        // Begun for what the data is no longer, or not yet: half-made data never serves.
        _ => Decision::act(InstanceState::Bootstrapping, end_container(subject)),
    }
}

/// The goal has changed in what only a new container can have. The old one is ended only if
/// a new one can be made.
fn replace(subject: &Subject<'_>, marker: &Marker) -> Decision {
    let next = start(subject, InstanceState::Down);
    let words = |why| {
        format!(
            "its goal asks for a new container, which can't be made yet, so the old one runs on: \
             {why}"
        )
    };
    match (next.blocked, next.waiting) {
        (None, None) => Decision::act(InstanceState::Down, end_container(subject)),
        (Some(why), _) => Decision { blocked: Some(words(why)), ..serve::hold(subject, marker) },
        (None, Some(why)) => {
            let held = serve::hold(subject, marker);
            Decision { waiting: held.waiting.clone().or_else(|| Some(words(why))), ..held }
        }
    }
}

fn end_container(subject: &Subject<'_>) -> Vec<Step> {
    let id = subject.container_id();
    let mut steps = part_from_replicas(subject);
    steps.push(Step::StopContainer { id: id.clone(), grace: SHUTDOWN_GRACE });
    steps.push(Step::RemoveContainer { id });
    steps
}

/// A source takes no more writes and then sends all clients away, its replicas too, before it
/// is told to end: otherwise its shutdown waits 8 s for the replicas' threads, and 2 s more
/// for clients that stay (`close_connections` in MySQL's sql/mysqld.cc). This is a courtesy: a
/// server that can't do it, or failed at it, is just told to end.
fn part_from_replicas(subject: &Subject<'_>) -> Vec<Step> {
    let failed = subject.remembered().is_some_and(|remembered| remembered.failures > 0);
    let (Some(container), Some(server)) =
        (subject.seen.container.present(), subject.seen.server.present())
    else {
        return Vec::new();
    };
    if failed || container.purpose != Some(Purpose::Serve) || server.snapshot.replica.is_some() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if !server.snapshot.super_read_only {
        steps.push(subject.sql(Verb::SuperReadOnly));
    }
    if !server.snapshot.offline_mode {
        steps.push(subject.sql(Verb::OfflineMode { on: true }));
    }
    steps
}
