//! The command line: what an operator types, and what comes back.
//!
//! Exit codes: 0 all is well, 1 the answer is bad news (a refused goal, an instance that
//! is not as it should be, a command that failed), 2 the command line was wrong.
//! Nothing here needs the agent to be alive; only `berth agent` is one.

mod args;
mod exec;
mod goal;
mod image;
mod logs;
mod net;
mod output;
mod preflight;
mod progress;
mod status;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::{config::Config, reconcile};
use args::{Args, Command};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            output::error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// What a command ends with when it can't do what was asked.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn run(args: Args) -> Result<ExitCode, Failure> {
    let config = || Config::load(&args.config);
    match args.command {
        Command::Agent(agent) => {
            reconcile::run(config()?, agent.log_format())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status(what) => status::run(&config()?, &what),
        Command::Wait(what) => wait::run(&config()?, &what),
        Command::Logs(what) => logs::run(&config()?, &what),
        Command::Exec(what) => exec::run(&config()?, what),
        Command::Goal { command } => goal::run(command),
        Command::Preflight(what) => preflight::run(&config()?, &what),
        Command::Image { command } => image::run(&config()?, command),
        Command::Net { command } => net::run(&config()?, command),
        Command::Completion { shell } => {
            let mut command = Args::command();
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, "berth", &mut text);
            output::print(&String::from_utf8_lossy(&text))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Manual { directory } => {
            clap_mangen::generate_to(Args::command(), directory)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
