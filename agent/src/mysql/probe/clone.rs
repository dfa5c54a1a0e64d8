//! The recipient's clone tables.
//!
//! They outlive a restart (in the data directory's `#clone/`). A clone runs on when its
//! client goes away, so these tables, and not the client, tell how it ends. Measured on
//! 9.7.4: after mysqld dies in mid-clone, the next one says `In Progress` with session 0 and
//! error 1317 for ever; when the donor dies, the recipient says `In Progress` while it tries
//! to reconnect, which is minutes, and fails at once when the donor is back.

use crate::mysql::{Cause, Deadline, Error, GtidSet, Result, Server, row::Row};

/// The last clone into a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneStatus {
    /// How it stands.
    pub state: CloneState,
    /// The error number; 0 when there is none.
    pub error_no: u16,
    /// The error's text.
    pub error_message: String,
    /// The donor, as `host:port`.
    pub source: String,
    /// What the data hold, once complete.
    pub gtid_executed: GtidSet,
    /// The session that runs it, while it runs.
    pub session: Option<u32>,
    /// Its stages in order; empty when it failed before the first.
    pub stages: Vec<CloneStage>,
}

/// How a clone stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloneState {
    /// Begun and not at work yet.
    NotStarted,
    /// At work.
    Running,
    /// The server that ran it died. The data are not those of the donor.
    Interrupted,
    /// The data are the donor's.
    Completed,
    /// It failed. Whether the old data were dropped: see the stages.
    Failed,
}

/// One stage of a clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneStage {
    /// `DROP DATA`, `FILE COPY`, and so on.
    pub name: String,
    /// `Not Started`, `In Progress`, `Completed` or `Failed`.
    pub state: String,
    /// Bytes done.
    pub data: u64,
    /// Bytes expected.
    pub estimate: u64,
}

impl CloneStatus {
    /// Bytes done, in all stages.
    #[must_use]
    pub fn bytes_done(&self) -> u64 {
        self.stages.iter().map(|stage| stage.data).sum()
    }

    /// Bytes expected, in the stages begun so far.
    #[must_use]
    pub fn bytes_estimate(&self) -> u64 {
        self.stages.iter().map(|stage| stage.estimate).sum()
    }
}

const QUERY: &str = "SELECT STATE AS state, PID AS session, ERROR_NO AS error_no, \
     ERROR_MESSAGE AS error_message, SOURCE AS source, GTID_EXECUTED AS gtid_executed \
     FROM performance_schema.clone_status; \
     SELECT STAGE AS name, STATE AS state, DATA AS data, ESTIMATE AS estimate \
     FROM performance_schema.clone_progress";

impl Server {
    /// Reads the clone tables alone, which is what a seed is watched by; `None` before any
    /// clone.
    ///
    /// # Errors
    /// [`Error::CloneStatus`]; 1146 when the plugin is not loaded.
    pub fn clone_status(&mut self, deadline: Deadline) -> Result<Option<CloneStatus>> {
        self.read_clone_status(deadline)
            .map_err(|cause| Error::CloneStatus { server: self.name().to_owned(), cause })
    }

    pub(in crate::mysql) fn read_clone_status(
        &mut self,
        deadline: Deadline,
    ) -> std::result::Result<Option<CloneStatus>, Cause> {
        let answer = self.query(QUERY, deadline)?;
        let [status, stages] = answer.as_slice() else {
            return Err(Cause::Answer(format!("{} result sets", answer.len())));
        };
        status.first().map(|row| parse(row, stages)).transpose()
    }
}

fn parse(row: &Row, stages: &[Row]) -> std::result::Result<CloneStatus, Cause> {
    let state_text = row.text("state")?;
    // Of a clone that has ended the column keeps a session that may be another's by now.
    let session =
        Some(row.parse::<u32>("session")?).filter(|id| *id != 0 && state_text == "In Progress");
    let gtid_executed = row.optional("gtid_executed")?.unwrap_or_default();
    Ok(CloneStatus {
        state: state(state_text, session)?,
        error_no: row.parse("error_no")?,
        error_message: row.optional("error_message")?.unwrap_or_default().to_owned(),
        source: row.text("source")?.to_owned(),
        gtid_executed: gtid_executed
            .parse()
            .map_err(|error: crate::mysql::ParseGtidError| Cause::Answer(error.to_string()))?,
        session,
        stages: stages.iter().map(stage).collect::<std::result::Result<_, _>>()?,
    })
}

fn state(text: &str, session: Option<u32>) -> std::result::Result<CloneState, Cause> {
    match (text, session) {
        ("Not Started", _) => Ok(CloneState::NotStarted),
        ("In Progress", Some(_)) => Ok(CloneState::Running),
        ("In Progress", None) => Ok(CloneState::Interrupted),
        ("Completed", _) => Ok(CloneState::Completed),
        ("Failed", _) => Ok(CloneState::Failed),
        (other, _) => Err(Cause::Answer(format!("the clone's state is {other:?}"))),
    }
}

fn stage(row: &Row) -> std::result::Result<CloneStage, Cause> {
    Ok(CloneStage {
        name: row.text("name")?.to_owned(),
        state: row.text("state")?.to_owned(),
        data: row.parse("data")?,
        estimate: row.parse("estimate")?,
    })
}
