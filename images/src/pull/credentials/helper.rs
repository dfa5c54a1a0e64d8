//! Programs that keep logins: `docker-credential-NAME get`, the registry on standard
//! input, JSON on standard output.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Credentials;

const WAIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// What helpers say where they know no login.
const NOT_FOUND: &str = "credentials not found";
/// The user name under which a helper gives an identity token.
const TOKEN_USER: &str = "<token>";

/// Why a credential helper gave nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// Its name would lead elsewhere.
    #[error("its name has other characters than letters, digits, `.`, `_` and `-`")]
    Name,
    /// It could not be run.
    #[error("docker-credential-{name} can't be run")]
    Run {
        /// The helper.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long, and was ended.
    #[error("it did not end within {} s", WAIT.as_secs())]
    Late,
    /// It failed. What it printed is not told: it may hold secrets.
    #[error("it ended with {0}")]
    Failed(ExitStatus),
    /// Its answer is not of the form.
    #[error("its answer is not a login")]
    Answer,
    /// It keeps an identity token.
    #[error("it keeps an identity token, which this version can't use; log in with a password")]
    IdentityToken,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper for the login of a server; `None` where it has none.
pub(super) fn get(name: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(HelperError::Name);
    }
    let run = |source| HelperError::Run { name: name.to_owned(), source };
    // A file, not a pipe: what the helper leaves running can't keep anybody waiting.
    let mut answer = tempfile::tempfile().map_err(run)?;
    let output = answer.try_clone().map_err(run)?;
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::from(output))
        .stderr(Stdio::null())
        .spawn()
        .map_err(run)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input says so by its answer.
        let _ = input.write_all(server.as_bytes());
    }
    let status = wait(&mut child).map_err(run)?.ok_or(HelperError::Late)?;
    let text = read(&mut answer).map_err(run)?;
    if !status.success() {
        let none = text.to_lowercase().contains(NOT_FOUND);
        return if none { Ok(None) } else { Err(HelperError::Failed(status)) };
    }
    let Ok(Answer { username, secret }) = serde_json::from_str(&text) else {
        return Err(HelperError::Answer);
    };
    if username == TOKEN_USER {
        return Err(HelperError::IdentityToken);
    }
    Ok(Some(Credentials::Basic { user: username, password: secret }))
}

fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn read(answer: &mut File) -> io::Result<String> {
    answer.rewind()?;
    let mut text = Vec::new();
    answer.take(ANSWER_BYTES_MAX).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
