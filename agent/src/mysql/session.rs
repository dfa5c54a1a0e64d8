//! The thread that drives one connection, so that no caller ever waits longer than it said.
//!
//! The driver's calls block, and its timeouts hold per `read`, not per call; `connect` on a
//! unix socket has none at all when the server is stopped and its accept queue is full. So a
//! thread owns the connection and callers wait for its answers with `recv_timeout`. When the
//! time is up the socket is shut down, which ends whatever the thread waits for, and the
//! thread then tells the server to kill the statement, which would go on without a client.
//! A thread can stay behind only in `connect`; [`Pending`] bounds how many do, per server.

use std::{
    collections::BTreeMap,
    fs::File,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use mysql::{Conn, Opts, OptsBuilder, prelude::Queryable as _};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        socket::{Shutdown, setsockopt, shutdown, sockopt},
        time::TimeVal,
    },
};

use super::{Cause, Deadline, row::Row, sql::Sql};

/// Attempts to connect to one server that may be under way at a time.
const MAX_PENDING: usize = 4;
/// How long the thread of an abandoned statement may take to have it killed.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// Rows that one statement may answer; more is not what any statement here asks for.
const MAX_ROWS: usize = 20_000;

/// `ER_NO_SUCH_THREAD`, the answer to a KILL of what has ended.
pub(super) const NO_SUCH_THREAD: u16 = 1094;

/// What became of the caller, as the thread sees it.
const SERVED: u8 = 0;
/// The caller left; the statement must not go on.
const KILL: u8 = 1;
/// The caller left; the statement may go on.
const LEAVE: u8 = 2;

/// What to do with a statement whose caller's time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnTimeout {
    /// Kill it on the server.
    Kill,
    /// Let it run, as CLONE does without its client.
    Leave,
}

type Job = Box<dyn FnOnce(&mut Conn) + Send>;
type Answer = Result<Vec<Vec<Row>>, Cause>;

/// One connection and its thread.
#[derive(Debug)]
pub(super) struct Session {
    /// `None` once the session is over.
    jobs: Option<mpsc::Sender<Job>>,
    socket: OwnedFd,
    fate: Arc<AtomicU8>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How to reach a server.
pub(super) struct Opening {
    /// The name that bounds its pending attempts.
    pub(super) name: String,
    /// Without timeouts: those follow from the deadline.
    pub(super) options: OptsBuilder,
    /// The directory that the options name by `/proc/self/fd`.
    #[expect(dead_code, reason = "held open, so that the name stays good")]
    pub(super) directory: Option<OwnedFd>,
    /// The network namespace to connect from; `None` for that of the process.
    pub(super) namespace: Option<File>,
}

impl Session {
    /// Connects and logs in.
    pub(super) fn open(opening: Opening, deadline: Deadline) -> Result<Self, Cause> {
        let pending = Pending::enter(&opening.name)?;
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (greet, greeted) = mpsc::sync_channel(1);
        let fate = Arc::new(AtomicU8::new(SERVED));
        let worker = Worker { opening, inbox, fate: Arc::clone(&fate) };
        thread::Builder::new()
            .name("berth-mysql".to_owned())
            .spawn(move || worker.run(deadline, pending, &greet))
            .map_err(|error| Cause::Connection {
                detail: format!("can't start a thread: {error}"),
                kind: Some(error.kind()),
            })?;
        let socket = receive(&greeted, deadline)??;
        Ok(Self { jobs: Some(jobs), socket, fate })
    }

    /// Runs statements in one round trip; a list of rows for each that answers rows.
    pub(super) fn query(&mut self, sql: Sql, deadline: Deadline, late: OnTimeout) -> Answer {
        let ended = || Cause::Connection {
            detail: "the session ended with an earlier call".to_owned(),
            kind: None,
        };
        let (answer, answered) = mpsc::sync_channel::<Answer>(1);
        let job: Job = Box::new(move |conn| {
            let rows = run(conn, sql.text()).map_err(|cause| sql.clean(cause));
            // The caller may have left.
            let _ = answer.send(rows);
        });
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        let outcome = receive(&answered, deadline).and_then(|answer| answer);
        match &outcome {
            Err(Cause::Timeout) => self.end(if late == OnTimeout::Kill { KILL } else { LEAVE }),
            Err(Cause::Connection { .. }) => self.end(LEAVE),
            _ => {}
        }
        outcome
    }

    fn end(&mut self, fate: u8) {
        self.fate.store(fate, Ordering::Release);
        self.jobs = None;
        // A socket that is no longer connected needs no shutting down.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
    }
}

/// Waits for the thread.
fn receive<T>(from: &mpsc::Receiver<T>, deadline: Deadline) -> Result<T, Cause> {
    from.recv_timeout(deadline.remaining()).map_err(|error| match error {
        mpsc::RecvTimeoutError::Timeout => Cause::Timeout,
        mpsc::RecvTimeoutError::Disconnected => {
            Cause::Connection { detail: "the connection's thread ended".to_owned(), kind: None }
        }
    })
}

/// The thread's side.
struct Worker {
    opening: Opening,
    inbox: mpsc::Receiver<Job>,
    fate: Arc<AtomicU8>,
}

impl Worker {
    fn run(
        self,
        deadline: Deadline,
        pending: Pending,
        greet: &mpsc::SyncSender<Result<OwnedFd, Cause>>,
    ) {
        let connected = enter(self.opening.namespace.as_ref())
            .and_then(|()| connect(&self.opening.options, deadline.remaining()));
        drop(pending);
        let mut conn = match connected.and_then(|conn| Ok((untimed_socket(&conn)?, conn))) {
            Ok((socket, conn)) => match greet.send(Ok(socket)) {
                Ok(()) => conn,
                Err(_) => return,
            },
            Err(cause) => {
                // The caller may have left.
                let _ = greet.send(Err(cause));
                return;
            }
        };
        let id = conn.connection_id();
        // Ends when the session drops its sender, or with the statement it gave up on.
        while let Ok(job) = self.inbox.recv() {
            job(&mut conn);
            if self.fate.load(Ordering::Acquire) != SERVED {
                break;
            }
        }
        drop(conn);
        if self.fate.load(Ordering::Acquire) == KILL {
            self.kill(id);
        }
    }

    /// Ends the server's side of an abandoned statement, as far as it can be done in time.
    fn kill(&self, id: u32) {
        let Ok(pending) = Pending::enter(&self.opening.name) else {
            return;
        };
        let killed = connect(&self.opening.options, KILL_WAIT)
            .and_then(|mut conn| conn.query_drop(format!("KILL {id}")).map_err(cause_of));
        drop(pending);
        match killed {
            // It has ended by itself.
            Ok(()) | Err(Cause::Server { errno: NO_SUCH_THREAD, .. }) => {}
            Err(cause) => tracing::debug!(
                server = self.opening.name, session = id, %cause,
                "an abandoned statement could not be killed"
            ),
        }
    }
}

/// Puts the calling thread into a network namespace, where it stays: it is to be a
/// session's own. What it connects, later too, is connected from there.
fn enter(namespace: Option<&File>) -> Result<(), Cause> {
    let Some(namespace) = namespace else { return Ok(()) };
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|errno| Cause::Connection {
        detail: format!("can't enter the network namespace: {errno}"),
        kind: Some(std::io::Error::from(errno).kind()),
    })
}

/// Connects with `wait` as the bound of every read and write of the handshake.
fn connect(options: &OptsBuilder, wait: Duration) -> Result<Conn, Cause> {
    if wait.is_zero() {
        return Err(Cause::Timeout);
    }
    let options = options
        .clone()
        .tcp_connect_timeout(Some(wait))
        .read_timeout(Some(wait))
        .write_timeout(Some(wait));
    Conn::new(Opts::from(options)).map_err(cause_of)
}

/// A second descriptor of the connection's socket, from which the handshake's timeouts are
/// taken: from now on the caller's deadline counts.
fn untimed_socket(conn: &Conn) -> Result<OwnedFd, Cause> {
    let failed = |error: std::io::Error| Cause::Connection {
        detail: error.to_string(),
        kind: Some(error.kind()),
    };
    // SAFETY: the descriptor is `conn`'s, which outlives this borrow.
    let borrowed = unsafe { BorrowedFd::borrow_raw(conn.as_raw_fd()) };
    let socket = borrowed.try_clone_to_owned().map_err(failed)?;
    let never = TimeVal::new(0, 0);
    setsockopt(&socket, sockopt::ReceiveTimeout, &never).map_err(|e| failed(e.into()))?;
    setsockopt(&socket, sockopt::SendTimeout, &never).map_err(|e| failed(e.into()))?;
    Ok(socket)
}

fn run(conn: &mut Conn, text: &str) -> Answer {
    let mut result = conn.query_iter(text).map_err(cause_of)?;
    let mut sets = Vec::new();
    let mut total = 0_usize;
    while let Some(set) = result.iter() {
        let has_columns = !set.columns().as_ref().is_empty();
        let mut rows = Vec::new();
        for row in set {
            total += 1;
            if total > MAX_ROWS {
                return Err(Cause::Answer(format!("more than {MAX_ROWS} rows")));
            }
            rows.push(Row::from_driver(row.map_err(cause_of)?));
        }
        if has_columns {
            sets.push(rows);
        }
    }
    Ok(sets)
}

/// The driver's errors in this module's words.
fn cause_of(error: mysql::Error) -> Cause {
    use std::io::ErrorKind;
    let connection = |detail: String, kind| match kind {
        Some(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Cause::Timeout,
        kind => Cause::Connection { detail, kind },
    };
    match error {
        mysql::Error::MySqlError(error) => {
            Cause::Server { errno: error.code, state: error.state, message: error.message }
        }
        mysql::Error::IoError(error) => connection(error.to_string(), Some(error.kind())),
        mysql::Error::DriverError(mysql::DriverError::ConnectTimeout) => Cause::Timeout,
        // The address is left out: it can be a path below /proc/self/fd.
        mysql::Error::DriverError(mysql::DriverError::CouldNotConnect(Some((_, why, kind)))) => {
            connection(why, Some(kind))
        }
        mysql::Error::FromRowError(_) | mysql::Error::FromValueError(_) => {
            Cause::Answer("a value of an unexpected type".to_owned())
        }
        other => connection(other.to_string(), None),
    }
}

/// How many attempts are under way, per server.
static PENDING: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

/// One attempt to connect that is under way.
struct Pending(String);

impl Pending {
    fn enter(name: &str) -> Result<Self, Cause> {
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = pending.entry(name.to_owned()).or_default();
        if *waiting >= MAX_PENDING {
            return Err(Cause::Stuck { waiting: *waiting });
        }
        *waiting += 1;
        Ok(Self(name.to_owned()))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = pending.get_mut(&self.0) {
            *waiting -= 1;
            if *waiting == 0 {
                pending.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_attempts_are_bounded_per_server() {
        let held: Vec<Pending> =
            (0..MAX_PENDING).map(|_| Pending::enter("bt-one").unwrap()).collect();
        assert!(matches!(Pending::enter("bt-one"), Err(Cause::Stuck { waiting: MAX_PENDING })));
        drop(Pending::enter("bt-two").unwrap());
        drop(held);
        drop(Pending::enter("bt-one").unwrap());
        assert!(!PENDING.lock().unwrap().contains_key("bt-one"));
    }
}
