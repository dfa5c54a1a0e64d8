//! Starting a container, and undoing a start that failed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::inspect::now_ms;
use super::lock::Lock;
use super::{RECORD, Runtime, write_record};
use crate::bundle;
use crate::cgroup::{self, Groups, Leaf};
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::files;
use crate::helper::wire::{Go, Reply, Request, StartRequest};
use crate::helper::{COPY_LINK, Call};
use crate::procfs;
use crate::record::{ProcessName, Record};
use crate::rlimit::{self, EffectiveRlimits};
use crate::spec::{ContainerSpec, Network};

const OPERATION: &str = "start";
/// How soon to look again whether init runs its program; it takes microseconds.
const RECHECK: Duration = Duration::from_micros(500);
/// Time for undoing, on top of the caller's: a start that used up its own must
/// still leave nothing behind.
pub(super) const UNDO_TIME: Duration = Duration::from_secs(10);

impl Runtime {
    /// Creates and starts a container. When this returns an error other than
    /// [`RuntimeError::Exists`] or [`RuntimeError::Undo`], nothing of it is left.
    ///
    /// The limits are in force before its first instruction; those that can't be
    /// are in the record's `unapplied`. When this returns, execve has been tried:
    /// how the program fares is for [`Runtime::inspect`] to say.
    ///
    /// # Errors
    /// [`RuntimeError::InvalidSpec`]; [`RuntimeError::Exists`]; [`RuntimeError::Helper`] when
    /// libcontainer refuses; [`RuntimeError::Deadline`] after `within` (undoing may take
    /// 10 seconds more); [`RuntimeError::Undo`] when something could not be taken back.
    pub fn start(&self, spec: &ContainerSpec, within: Duration) -> Result<Record> {
        let deadline = Deadline::after(within);
        spec.validate()?;
        check_sources(spec)?;
        let dir = self.dir(&spec.id);
        match fs::create_dir(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RuntimeError::Exists { id: spec.id.clone() });
            }
            Err(error) => return Err(RuntimeError::io("create", &dir)(error)),
        }
        // Somebody may have seen the empty directory and removed it meanwhile.
        let lock = self.lock(&spec.id, deadline)?;
        if lock.path().join(RECORD).exists() {
            return Err(RuntimeError::Exists { id: spec.id.clone() });
        }
        let groups = self.groups(&spec.id)?;
        self.start_locked(spec, &lock, &groups, deadline).map_err(|source| {
            match clear(&lock, &groups, Deadline::after(UNDO_TIME)) {
                Ok(()) => source,
                Err(error) => {
                    RuntimeError::Undo { cleanup_error: Box::new(error), source: Box::new(source) }
                }
            }
        })
    }

    fn start_locked(
        &self,
        spec: &ContainerSpec,
        lock: &Lock,
        groups: &Groups,
        deadline: Deadline,
    ) -> Result<Record> {
        let leaf = &groups.leaf;
        let (rlimits, notes) = rlimit::effective(&spec.rlimits)?;
        let mut record = intent(spec, leaf, notes)?;
        write_record(lock.path(), &record)?;
        let bundle = write_bundle(spec, lock.path(), leaf, &rlimits)?;
        let adopt = |pid| groups.create_with_helper(pid, deadline);
        let call = self.helper.launch(OPERATION, adopt, deadline)?;
        record.unapplied = cgroup::apply(leaf, &spec.limits)?;
        let request = StartRequest {
            id: spec.id.as_str().to_owned(),
            bundle,
            state: lock.path().join("state"),
            log: spec.log.clone(),
            oom_score_adj: spec.oom_score_adj,
        };
        converse(call, request, groups, |process, notes| {
            record.process = Some(process);
            record.notes.extend(notes);
            write_record(lock.path(), &record)
        })?;
        groups.end_start(Deadline::after(UNDO_TIME))?;
        wait_for_program(&record, deadline)?;
        Ok(record)
    }
}

/// The conversation with the helper: `created` is called between the create and
/// the start. Whatever fails, the helper and everything it started is gone.
fn converse(
    mut call: Call,
    request: StartRequest,
    groups: &Groups,
    created: impl FnOnce(ProcessName, Vec<String>) -> Result<()>,
) -> Result<()> {
    let talk = |call: &mut Call| -> Result<()> {
        call.send(&Request::Start(request), &[])?;
        match call.receive()? {
            Reply::Created { process, notes } => created(process, notes)?,
            other => return Err(call.unexpected(&other)),
        }
        call.send(&Go {}, &[])?;
        match call.receive()? {
            Reply::Started => Ok(()),
            other => Err(call.unexpected(&other)),
        }
    };
    match talk(&mut call) {
        Ok(()) => call.finish(),
        Err(error) => {
            call.abort(|| groups.kill(Deadline::after(UNDO_TIME)))?;
            Err(error)
        }
    }
}

/// Waits until init, which has its leave, runs its program or has ended. Only
/// then the record speaks for itself, whatever happens to this process.
fn wait_for_program(record: &Record, deadline: Deadline) -> Result<()> {
    let Some(named) = record.process else {
        return Ok(());
    };
    loop {
        let waits = procfs::exe(named.pid)?.is_some_and(|exe| exe.as_os_str() == COPY_LINK);
        if !waits || !procfs::is_alive(named.pid, named.start_time)? {
            return Ok(());
        }
        if deadline.expired() {
            return Err(RuntimeError::Deadline {
                operation: OPERATION,
                granted: deadline.granted(),
            });
        }
        thread::sleep(RECHECK);
    }
}

fn intent(spec: &ContainerSpec, leaf: &Leaf, notes: Vec<String>) -> Result<Record> {
    let pid = std::process::id().cast_signed();
    let start_time = procfs::stat(pid)?.map(|stat| stat.start_time).unwrap_or_default();
    Ok(Record {
        id: spec.id.clone(),
        boot_id: procfs::boot_id()?,
        created_at_ms: now_ms(),
        creator: ProcessName { pid, start_time },
        process: None,
        cgroups: leaf.dirs(),
        limits: spec.limits.clone(),
        unapplied: Vec::new(),
        notes,
        rootfs: spec.rootfs.clone(),
        log: spec.log.clone(),
        labels: spec.labels.clone(),
    })
}

fn write_bundle(
    spec: &ContainerSpec,
    dir: &Path,
    leaf: &Leaf,
    rlimits: &EffectiveRlimits,
) -> Result<PathBuf> {
    let bundle = dir.join("bundle");
    fs::create_dir_all(&bundle).map_err(RuntimeError::io("create", &bundle))?;
    let config = bundle::build(spec, &leaf.spec_path(), rlimits)?;
    files::write_json(&bundle, "config.json", "OCI spec", &config)?;
    Ok(bundle)
}

/// Paths of the host that must be there, so that the message names them.
fn check_sources(spec: &ContainerSpec) -> Result<()> {
    let mut needed: Vec<(&'static str, &PathBuf)> = vec![("rootfs", &spec.rootfs)];
    needed.extend(spec.mounts.iter().map(|bind| ("mounts.source", &bind.source)));
    if let Network::Namespace(path) = &spec.network {
        needed.push(("network", path));
    }
    for (field, path) in needed {
        fs::metadata(path).map_err(|error| RuntimeError::InvalidSpec {
            field,
            reason: format!("{}: {error}", path.display()),
        })?;
    }
    Ok(())
}

/// Takes away everything of a container: processes, control groups, files; the
/// record last. Idempotent.
pub(super) fn clear(lock: &Lock, groups: &Groups, deadline: Deadline) -> Result<()> {
    groups.kill(deadline)?;
    groups.remove(deadline)?;
    let dir = lock.path();
    for entry in fs::read_dir(dir).map_err(RuntimeError::io("list", dir))? {
        let entry = entry.map_err(RuntimeError::io("list", dir))?;
        if entry.file_name() == RECORD {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().map_err(RuntimeError::io("examine", &path))?.is_dir();
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(RuntimeError::io("remove", &path))?;
    }
    let record = dir.join(RECORD);
    match fs::remove_file(&record) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(RuntimeError::io("remove", &record)(error));
        }
        _ => {}
    }
    fs::remove_dir(dir).map_err(RuntimeError::io("remove", dir))
}
