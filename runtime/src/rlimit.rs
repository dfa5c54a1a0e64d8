//! Which resource limits a container really gets, where the wished-for ones
//! need a privilege that is missing.

use nix::sys::resource::{Resource, getrlimit};

use crate::error::{Result, RuntimeError};
use crate::facts;
use crate::spec::Rlimits;

/// Resource limits that the kernel will take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EffectiveRlimits {
    pub(crate) nofile: Option<u64>,
    pub(crate) memlock: Option<u64>,
    pub(crate) core: Option<u64>,
}

/// The limits to set, and a note for each that had to be lowered.
pub(crate) fn effective(wanted: &Rlimits) -> Result<(EffectiveRlimits, Vec<String>)> {
    let may_raise = facts::has_capability(facts::CAP_SYS_RESOURCE)?;
    let mut notes = Vec::new();
    let mut fit = |name: &str, wanted: Option<u64>, resource: Resource| -> Result<Option<u64>> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        let (_, hard) =
            getrlimit(resource).map_err(RuntimeError::syscall("read a resource limit"))?;
        let (value, note) = clamp(name, wanted, hard, may_raise);
        notes.extend(note);
        Ok(Some(value))
    };
    let limits = EffectiveRlimits {
        nofile: fit("nofile", wanted.nofile, Resource::RLIMIT_NOFILE)?,
        memlock: fit("memlock", wanted.memlock, Resource::RLIMIT_MEMLOCK)?,
        core: fit("core", wanted.core, Resource::RLIMIT_CORE)?,
    };
    Ok((limits, notes))
}

/// The value to set, and what to say when it is not the one wanted.
fn clamp(name: &str, wanted: u64, hard: u64, may_raise: bool) -> (u64, Option<String>) {
    if wanted <= hard || may_raise {
        return (wanted, None);
    }
    let note =
        format!("rlimit {name} is {hard} instead of {wanted}: raising it needs CAP_SYS_RESOURCE");
    (hard, Some(note))
}

#[cfg(test)]
mod tests;
