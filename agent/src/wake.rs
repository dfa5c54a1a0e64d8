//! What wakes the loop: a goal file, the end of a process, the end of a lane, a timer.
//!
//! Events only wake the loop, they never act: a pass reads everything anew, so an event
//! that is lost costs at most one interval, and one that comes twice costs nothing.

use std::{
    collections::BTreeSet,
    fmt,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use berth_model::EntryKey;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

/// Why a pass is run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The agent has just started.
    Start,
    /// The goal directory changed.
    Goal,
    /// The init of this instance's container ended.
    Exit(EntryKey),
    /// Steps of this instance, or of an image or template, were completed.
    Lane(String),
    /// Something that was waited for, or a retry, is due.
    Timer,
    /// Nothing happened for a whole interval.
    Interval,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Goal => f.write_str("goal files changed"),
            Self::Exit(key) => write!(f, "{key} ended"),
            Self::Lane(lane) => write!(f, "{lane} is done"),
            Self::Timer => f.write_str("timer"),
            Self::Interval => f.write_str("interval"),
        }
    }
}

/// Where events are put and the loop takes them. Events that come while a pass runs are
/// kept as a set, so there is no queue that could grow.
#[derive(Debug, Clone, Default)]
pub struct Waker {
    reasons: Arc<Mutex<BTreeSet<Reason>>>,
    notify: Arc<Notify>,
}

impl Waker {
    /// Wakes the loop.
    pub fn raise(&self, reason: Reason) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(reason);
        self.notify.notify_one();
    }

    /// Waits until there is a reason, and takes all there are.
    pub async fn wait(&self) -> BTreeSet<Reason> {
        loop {
            let reasons =
                std::mem::take(&mut *self.reasons.lock().unwrap_or_else(PoisonError::into_inner));
            if !reasons.is_empty() {
                return reasons;
            }
            self.notify.notified().await;
        }
    }
}

/// A descriptor whose readiness to be read can be awaited. Must be called within a tokio
/// runtime.
///
/// # Errors
/// The descriptor can't be polled (epoll_ctl(2)).
pub fn readiness(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is always the same open descriptor, and AsyncFd closes it only
    // after it has taken it out of epoll.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(Into::into)
}

/// Raises [`Reason::Goal`] whenever something changes in the goal directory.
///
/// A directory that is made anew has another inode, so the watch is renewed whenever the
/// old one ends, and by [`GoalWatch::renew`] with every pass.
#[derive(Debug)]
pub struct GoalWatch {
    inotify: Arc<Inotify>,
    dir: PathBuf,
}

impl GoalWatch {
    /// Begins to watch. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No inotify instance can be had (inotify_init(2)).
    pub fn start(dir: PathBuf, waker: Waker) -> std::io::Result<Self> {
        let inotify = Arc::new(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?);
        let readiness = readiness(inotify.as_fd().try_clone_to_owned()?)?;
        let watch = Self { inotify: Arc::clone(&inotify), dir };
        watch.renew();
        tokio::spawn(async move {
            while let Ok(mut ready) = readiness.readable().await {
                // The events themselves don't matter; EAGAIN ends the reading.
                while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
                ready.clear_ready();
                waker.raise(Reason::Goal);
            }
        });
        Ok(watch)
    }

    /// Watches the directory that now has the name. Without effect if it is watched already
    /// (inotify_add_watch(2)); if it is missing, the next interval finds it.
    pub fn renew(&self) {
        let events = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ATTRIB;
        let _ = self.inotify.add_watch(&self.dir, events);
    }
}
