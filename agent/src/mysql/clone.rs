//! Cloning from a donor.

use super::{
    Cause, Deadline, Error, Result, Server,
    credentials::Secret,
    sql::{Sql, literal},
};

/// Whom to clone from.
#[derive(Debug, Clone)]
pub struct Donor {
    /// Host name or IPv4 address: CLONE takes no IPv6 literal.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The clone account's user.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// How a clone ended, as far as its client could see.
#[derive(Debug)]
pub enum CloneOutcome {
    /// The data are the donor's; mysqld is ending and has to be started again. Under
    /// `MYSQLD_PARENT_PID=0` it exits with status 16.
    Restarting,
    /// It goes on without this client; [`Server::clone_status`] tells how it ends.
    StillRunning,
    /// The connection broke: mysqld's exit status and its clone status tell.
    ConnectionLost,
    /// Another clone runs, here or on the donor (3634). Nothing was touched.
    Busy,
    /// The server would not begin. Nothing was touched.
    Refused(Cause),
    /// It failed. The old data are gone if the clone status has the stage `DROP DATA`.
    Failed(Cause),
}

/// `ER_CLONE_TOO_MANY_CONCURRENT_CLONES`.
const TOO_MANY: u16 = 3634;
/// `ER_RESTART_SERVER_FAILED`: all is there, but nobody restarts mysqld.
const NOT_SUPERVISED: u16 = 3707;

impl Server {
    /// Replaces this server's data by the donor's, over TLS if the donor's account asks for
    /// it. Before 9.x the server must not be `super_read_only`. `super_read_only` or not, all
    /// data of this server are dropped first.
    ///
    /// Returns when the server answers, or at the deadline, after which the clone goes on.
    ///
    /// # Errors
    /// [`Error::Clone`] when the request could not be made; how the clone itself ended is the
    /// [`CloneOutcome`].
    pub fn clone_from(&mut self, donor: &Donor, deadline: Deadline) -> Result<CloneOutcome> {
        let sql = statement(donor)
            .map_err(|cause| Error::Clone { server: self.name().to_owned(), cause })?;
        Ok(match self.query_detachable(sql, deadline) {
            Ok(_) => CloneOutcome::Restarting,
            Err(cause) => outcome(cause),
        })
    }
}

fn statement(donor: &Donor) -> std::result::Result<Sql, Cause> {
    let text = format!(
        "SET GLOBAL clone_valid_donor_list = {}; CLONE INSTANCE FROM {}@{}:{} IDENTIFIED BY {}",
        literal(&format!("{}:{}", donor.host, donor.port))?,
        literal(&donor.user)?,
        literal(&donor.host)?,
        donor.port,
        literal(donor.password.expose())?,
    );
    Ok(Sql::new(text).with_secret(&donor.password))
}

fn outcome(cause: Cause) -> CloneOutcome {
    match cause {
        Cause::Timeout => CloneOutcome::StillRunning,
        Cause::Connection { .. } => CloneOutcome::ConnectionLost,
        Cause::Server { errno: NOT_SUPERVISED, .. } => CloneOutcome::Restarting,
        Cause::Server { errno: TOO_MANY, .. } => CloneOutcome::Busy,
        Cause::Server { errno, .. } if begins_nothing(errno) => CloneOutcome::Refused(cause),
        cause => CloneOutcome::Failed(cause),
    }
}

/// Errors of the checks that come before anything is dropped.
fn begins_nothing(errno: u16) -> bool {
    matches!(
        errno,
        1064 // syntax: no such statement, or a host that is no name
        | 1227 // no CLONE_ADMIN, or no SYSTEM_VARIABLES_ADMIN
        | 1290 // super_read_only, before 9.x
        | 1193 | 1524 // no plugin
        | 3869 // not a valid donor
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_follow_the_error_number() {
        let of =
            |errno| outcome(Cause::Server { errno, state: "HY000".into(), message: String::new() });
        assert!(matches!(of(3707), CloneOutcome::Restarting));
        assert!(matches!(of(3634), CloneOutcome::Busy));
        assert!(matches!(of(1290), CloneOutcome::Refused(_)));
        assert!(matches!(of(3869), CloneOutcome::Refused(_)));
        assert!(matches!(of(3862), CloneOutcome::Failed(_)));
        assert!(matches!(outcome(Cause::Timeout), CloneOutcome::StillRunning));
    }
}
