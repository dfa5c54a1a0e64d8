//! Another vendor's client as the judge of what servers are and hold.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::namespace::command_in;

/// Seconds for a connection, and for a whole statement.
const CONNECT: &str = "--connect-timeout=5";
const PATIENCE: &str = "60";

/// The client, connected to a socket as root, with these statements.
fn client(socket: &Path, sql: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", PATIENCE, "mariadb", "--no-defaults", CONNECT]);
    command.args(["-uroot", "-N", "-B", "-S"]).arg(socket).args(["-e", sql]);
    command.stdin(Stdio::null());
    command
}

/// What statements answer: rows of fields parted by tabs, or the client's error.
///
/// # Errors
/// What the client says.
pub fn ask(socket: &Path, sql: &str) -> Result<String, String> {
    answer(client(socket, sql).output())
}

/// The same as an ordinary user over TCP.
///
/// # Errors
/// What the client says.
pub fn ask_as(user: &str, password: &str, port: u16, sql: &str) -> Result<String, String> {
    ask_at(None, SocketAddr::from(([127, 0, 0, 1], port)), (user, password), sql)
}

/// The same from a network namespace.
///
/// # Errors
/// What the client says.
pub fn ask_at(
    namespace: Option<&Path>,
    server: SocketAddr,
    (user, password): (&str, &str),
    sql: &str,
) -> Result<String, String> {
    let mut command = command_in(namespace, "timeout");
    command.args(["--signal=KILL", PATIENCE, "mariadb", "--no-defaults", CONNECT]);
    command.args(["--ssl", "-N", "-B"]).arg(format!("-h{}", server.ip()));
    command.arg(format!("-P{}", server.port())).arg(format!("-u{user}")).args(["-e", sql]);
    answer(command.env("MYSQL_PWD", password).stdin(Stdio::null()).output())
}

fn answer(output: std::io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}

/// A client that runs beside the test with a file of statements, and ends with this value.
#[derive(Debug)]
pub struct Beside(Child);

impl Beside {
    /// Starts it. Its errors are appended to `errors`; `--force` makes it go on after one.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(socket: &Path, statements: &Path, errors: &Path) -> Self {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", CONNECT, "--force", "-uroot", "-N", "-B", "-S"]);
        command.arg(socket).stdin(File::open(statements).unwrap()).stdout(Stdio::null());
        let errors = File::options().create(true).append(true).open(errors).unwrap();
        Self(command.stderr(errors).spawn().unwrap())
    }

    /// Whether it is at work still.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_none())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
