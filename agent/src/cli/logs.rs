//! `berth logs`: the end of a server's log, and what comes after it.

use std::{process::ExitCode, time::Duration};

use berth_runtime::logs::{Chunk, Follower};

use super::{Failure, args, output};
use crate::config::Config;

const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(config: &Config, what: &args::Logs) -> Result<ExitCode, Failure> {
    let path = config.log_file(&what.instance);
    if !path.exists() {
        return Err(format!(
            "there is no log of {} at {}; `berth status` lists the instances",
            what.instance,
            path.display()
        )
        .into());
    }
    let mut log = Follower::open(&path, Some(what.lines))?;
    loop {
        match log.next_chunk()? {
            Chunk::Data(bytes) => output::print_bytes(&bytes)?,
            Chunk::Gap => {
                output::warning("the log was rotated meanwhile; lines may be missing here")
            }
            Chunk::Nothing if what.follow => std::thread::sleep(LOOK),
            Chunk::Nothing => return Ok(ExitCode::SUCCESS),
        }
    }
}
