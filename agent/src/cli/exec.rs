//! `berth exec`: one more process in a running container.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, IsTerminal},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
};

use berth_runtime::{ContainerId, ExecSpec, ExitStatus, User};

use super::{Failure, args};
use crate::{config::Config, host};

pub(super) fn run(config: &Config, what: args::Exec) -> Result<ExitCode, Failure> {
    let runtime = host::open_runtime(config)?;
    let id = ContainerId::new(what.instance.as_str())?;
    if runtime.inspect(&id)?.is_none() {
        return Err(format!(
            "{} has no container; `berth status` lists the instances",
            what.instance
        )
        .into());
    }
    let spec = ExecSpec {
        args: what.command,
        env: environment(what.tty),
        cwd: None,
        user: Some(user(what.user.as_deref())?),
    };
    let status = if what.tty {
        if !io::stdin().is_terminal() {
            return Err("--tty needs a terminal as standard input; leave it out in a script".into());
        }
        runtime.exec_tty(&id, &spec)?
    } else {
        runtime.exec(&id, &spec, streams(what.interactive)?, None)?
    };
    Ok(exit_code(status))
}

fn exit_code(status: ExitStatus) -> ExitCode {
    ExitCode::from(u8::try_from(status.shell_code()).unwrap_or(u8::MAX))
}

/// The caller's streams; no input unless it is asked for, so that a loop of commands
/// doesn't have its input eaten by the first.
fn streams(interactive: bool) -> io::Result<[OwnedFd; 3]> {
    let input = if interactive {
        io::stdin().as_fd().try_clone_to_owned()?
    } else {
        File::open("/dev/null")?.into()
    };
    Ok([
        input,
        io::stdout().as_fd().try_clone_to_owned()?,
        io::stderr().as_fd().try_clone_to_owned()?,
    ])
}

/// The terminal's kind is the caller's; all else is the container's.
fn environment(tty: bool) -> BTreeMap<String, String> {
    let term = tty.then(|| std::env::var("TERM").ok()).flatten();
    term.map(|term| ("TERM".to_owned(), term)).into_iter().collect()
}

fn user(text: Option<&str>) -> Result<User, Failure> {
    let wrong = || format!("found the user {text:?}, expected uid or uid:gid in numbers");
    let Some(given) = text else {
        return Ok(User::default());
    };
    let (uid, gid) = given.split_once(':').unwrap_or((given, given));
    Ok(User {
        uid: uid.parse().map_err(|_| wrong())?,
        gid: gid.parse().map_err(|_| wrong())?,
        additional_gids: Vec::new(),
    })
}
