//! What an instance's disk means for it: whether a server may be started on it, what is told
//! of one that runs, and whether its directory can be moved.
//!
//! A server that runs is left alone whatever its disk does: without room it still reads, while
//! one that was killed has to recover, for which it needs room. Nothing is decided here of a
//! disk that does not answer: its data is unknown then, and that blocks.

use berth_model::{goal::GoalState, status::InstanceState};

use super::{Decision, Subject};
use crate::observe::{ContainerState, DiskFacts, Observed};

/// Room below which no server is started: it would end at its first files.
const START_BYTES_MIN: u64 = 4 << 20;
/// Room below which the disk of a server that runs is called full. A binary log and an undo
/// tablespace grow by pieces of this size.
const FULL_BYTES: u64 = 16 << 20;
/// Room below which an operator is told before it is full: so much, but no more than a
/// twentieth of a disk that is small.
const LOW_BYTES: u64 = 1 << 30;
const LOW_DIVISOR: u64 = 20;

/// A disk that can't be written, or is full: what a server on it suffers from.
pub(super) fn ails(disk: &DiskFacts) -> Option<String> {
    let free = disk.on.free_bytes;
    if disk.on.read_only {
        return Some(format!("its disk ({}) is read-only", disk.name()));
    }
    (free < FULL_BYTES)
        .then(|| format!("its disk ({}) is full, with {} free", disk.name(), mebibytes(free)))
}

/// Blocked, if no server can be started on the instance's disk.
pub(super) fn unfit(subject: &Subject<'_>, state: InstanceState) -> Option<Decision> {
    let disk = subject.seen.disk.present()?;
    let of = whose(subject, disk);
    if disk.on.read_only {
        return Some(Decision::blocked(
            state,
            format!(
                "{of} is mounted read-only, so no server is started on it; {}",
                to_writable(disk)
            ),
        ));
    }
    (disk.on.free_bytes < START_BYTES_MIN).then(|| {
        Decision::blocked(
            state,
            format!(
                "{of} is full, with {} free, so no server is started on it; make room, or make \
                 it larger",
                mebibytes(disk.on.free_bytes)
            ),
        )
    })
}

/// Blocked, if there is not room for new data.
pub(super) fn too_small(
    subject: &Subject<'_>,
    state: InstanceState,
    bytes_min: u64,
) -> Option<Decision> {
    match &subject.seen.disk {
        Observed::Present(disk) if disk.on.free_bytes < bytes_min => Some(Decision::blocked(
            state,
            format!(
                "{} has {} free, expected at least {}; make room",
                whose(subject, disk),
                mebibytes(disk.on.free_bytes),
                mebibytes(bytes_min)
            ),
        )),
        Observed::Unknown(why) => Some(Decision::blocked(
            state,
            format!(
                "the room on the disk of {} can't be found out: {why}",
                subject.dir().display()
            ),
        )),
        _ => None,
    }
}

/// Adds to a decision what is to be told of the disk of a server that runs.
pub(super) fn tell(subject: &Subject<'_>, decision: &mut Decision) {
    let runs = subject
        .seen
        .container
        .present()
        .is_some_and(|container| matches!(container.state, ContainerState::Running { .. }));
    let Some(disk) = subject.seen.disk.present() else { return };
    if !runs || subject.entry().state != GoalState::Started {
        return;
    }
    if subject.entry().io.weight.is_some() && !disk.takes_weights {
        decision.notes.push(format!(
            "`io.weight` has no effect: neither BFQ nor iocost is at work on {}",
            whose(subject, disk)
        ));
    }
    if let Some(why) = amiss(subject, disk) {
        match &decision.blocked {
            None => decision.blocked = Some(why),
            Some(_) => decision.notes.push(why),
        }
    } else if disk.on.free_bytes < LOW_BYTES.min(disk.on.total_bytes / LOW_DIVISOR) {
        decision.notes.push(format!(
            "{} has {} of {} left",
            whose(subject, disk),
            mebibytes(disk.on.free_bytes),
            mebibytes(disk.on.total_bytes)
        ));
    }
}

fn amiss(subject: &Subject<'_>, disk: &DiskFacts) -> Option<String> {
    let of = whose(subject, disk);
    if disk.on.read_only {
        return Some(format!(
            "{of} is mounted read-only under its server, which can't write any more and may end; \
             {}",
            to_writable(disk)
        ));
    }
    (disk.on.free_bytes < FULL_BYTES).then(|| {
        format!(
            "{of} is full, with {} free: its server runs, but what it writes fails or waits, and \
             it may end; make room, or make it larger",
            mebibytes(disk.on.free_bytes)
        )
    })
}

/// What is known of the disk of data that could not be read, in words to follow the reason.
pub(super) fn behind(subject: &Subject<'_>) -> String {
    let Some(disk) = subject.seen.disk.present() else { return String::new() };
    match disk.on.suspended {
        true => format!(
            " (it is on {name}, which is suspended: `dmsetup resume {name}` lets it go on)",
            name = disk.name()
        ),
        false => format!(" (it is on {})", disk.name()),
    }
}

/// Why the instance's directory can't be moved aside; `None` if it can, as far as is known.
pub(super) fn fixed(subject: &Subject<'_>) -> Option<String> {
    let dir = subject.dir();
    let disk = subject.seen.disk.present().filter(|disk| disk.is_mounted_at(&dir))?;
    Some(format!(
        "its disk ({}) is mounted at {}, which therefore can't be moved to the trash folder",
        disk.name(),
        dir.display()
    ))
}

/// What an operator does. A file system that the kernel took out of use after an error can't
/// be remounted.
fn to_writable(disk: &DiskFacts) -> String {
    let at = disk.on.mount_point.display();
    format!(
        "see `dmesg` for the reason, and mount it read-write (`mount -o remount,rw {at}`; after \
         an error unmount it, check it with `fsck`, and mount it again)"
    )
}

fn whose(subject: &Subject<'_>, disk: &DiskFacts) -> String {
    format!("the disk of {} ({})", subject.dir().display(), disk.name())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}
