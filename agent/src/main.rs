//! The `berth` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A helper must be single-threaded and do nothing else, so this comes first.
    berth_runtime::run_if_helper();
    berth_agent::cli::main()
}
