//! Logging in to a server.
//!
//! To the host's own servers through the unix socket, as root by `auth_socket`, so that no
//! password exists. To a peer by TCP and TLS with a password. The peer's certificate is not
//! verified: every mysqld makes its own, and no authority of the fleet signs them (yet). That
//! keeps listeners out, not impostors; the accounts used this way can only read positions or
//! replicate. Without TLS the driver's RSA exchange would do no better, could not log in to
//! servers with `require_secure_transport`, and panics on a key that is no key.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::Path,
};

use mysql::{OptsBuilder, SslOpts};

use super::{
    Cause, Deadline, Error, Result, Version,
    credentials::Secret,
    row::Row,
    session::{OnTimeout, Opening, Session},
    sql::Sql,
};

/// One connection to one server. After a timeout or a broken connection every further call
/// fails; connect anew.
#[derive(Debug)]
pub struct Server {
    name: String,
    session: Session,
    version: Version,
}

impl Server {
    /// Logs in as root through the unix socket at `socket`, whatever the length of its path.
    ///
    /// # Errors
    /// [`Error::Connect`]: no such socket, no answer in time, an unsupported version.
    pub fn connect(socket: &Path, deadline: Deadline) -> Result<Self> {
        let name = socket.display().to_string();
        let opened = local_options(socket).and_then(|(options, directory)| {
            Self::open(
                Opening {
                    name: name.clone(),
                    options,
                    directory: Some(directory),
                    namespace: None,
                },
                deadline,
            )
        });
        opened.map_err(|cause| Error::Connect { server: name, cause })
    }

    /// Logs in to a peer over TLS.
    ///
    /// # Errors
    /// [`Error::Connect`]: as above, or the password is refused (1045), or the server has no
    /// TLS.
    pub fn connect_tcp(
        host: &str,
        port: u16,
        user: &str,
        password: &Secret,
        deadline: Deadline,
    ) -> Result<Self> {
        Self::connect_peer(None, host, port, user, password, deadline)
    }

    /// The same from inside another network namespace (network_namespaces(7)). Only the
    /// connection's own thread enters it; the socket belongs to it for ever.
    ///
    /// # Errors
    /// As [`Server::connect_tcp`], and when the namespace can't be entered.
    pub fn connect_tcp_in(
        namespace: File,
        host: &str,
        port: u16,
        user: &str,
        password: &Secret,
        deadline: Deadline,
    ) -> Result<Self> {
        Self::connect_peer(Some(namespace), host, port, user, password, deadline)
    }

    fn connect_peer(
        namespace: Option<File>,
        host: &str,
        port: u16,
        user: &str,
        password: &Secret,
        deadline: Deadline,
    ) -> Result<Self> {
        let name = format!("{host}:{port}");
        let tls = SslOpts::default()
            .with_danger_accept_invalid_certs(true)
            .with_danger_skip_domain_validation(true);
        let options = OptsBuilder::new()
            .ip_or_hostname(Some(host))
            .tcp_port(port)
            .user(Some(user))
            .pass(Some(password.expose()))
            .prefer_socket(false)
            .ssl_opts(Some(tls));
        let opening = Opening { name: name.clone(), options, directory: None, namespace };
        Self::open(opening, deadline).map_err(|cause| Error::Connect { server: name, cause })
    }

    fn open(opening: Opening, deadline: Deadline) -> std::result::Result<Self, Cause> {
        let name = opening.name.clone();
        let mut session = Session::open(opening, deadline)?;
        // The empty sql_mode is what `sql::literal` quotes for.
        let hello = Sql::new("SET SESSION sql_mode = ''; SELECT VERSION() AS version");
        let answer = session.query(hello, deadline, OnTimeout::Kill)?;
        let found = first(&answer)?.text("version")?.to_owned();
        let version = Version::parse(&found).filter(|version| version.is_supported());
        let version = version.ok_or(Cause::Version { found })?;
        Ok(Self { name, session, version })
    }

    /// The socket's path, or `host:port`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Runs statements in one round trip; killed on the server when the deadline passes.
    pub(super) fn query(
        &mut self,
        sql: impl Into<Sql>,
        deadline: Deadline,
    ) -> std::result::Result<Vec<Vec<Row>>, Cause> {
        self.session.query(sql.into(), deadline, OnTimeout::Kill)
    }

    /// Runs a statement that goes on when the deadline passes.
    pub(super) fn query_detachable(
        &mut self,
        sql: Sql,
        deadline: Deadline,
    ) -> std::result::Result<Vec<Vec<Row>>, Cause> {
        self.session.query(sql, deadline, OnTimeout::Leave)
    }
}

/// The first row of the first answer.
pub(super) fn first(answer: &[Vec<Row>]) -> std::result::Result<&Row, Cause> {
    let row = answer.first().and_then(|rows| rows.first());
    row.ok_or_else(|| Cause::Answer("no row".to_owned()))
}

/// A unix socket's address holds 107 bytes (unix(7)); a path through the open directory is
/// short whatever the directory is called.
fn local_options(socket: &Path) -> std::result::Result<(OptsBuilder, OwnedFd), Cause> {
    let (Some(directory), Some(file)) = (socket.parent(), socket.file_name()) else {
        return Err(Cause::Request("the socket's path has no directory".to_owned()));
    };
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_PATH | nix::libc::O_DIRECTORY)
        .open(directory)
        .map_err(|error| Cause::File { path: directory.to_owned(), error })?;
    let path = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(file);
    let path = path
        .to_str()
        .ok_or_else(|| Cause::Request("the socket's file name is not UTF-8".to_owned()))?;
    let options = OptsBuilder::new().user(Some("root")).socket(Some(path));
    Ok((options, opened.into()))
}
