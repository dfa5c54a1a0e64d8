//! later
use std::process::ExitCode;
pub(crate) fn run_if_role(_: &[String]) -> Option<ExitCode> {
    None
}
