//! This program as another process: a second agent, or an operator. Started by a
//! test, often killed by it; nothing it did may be lost.

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use berth_runtime::{ExecSpec, Runtime};

use crate::bed::{self, Bed, LONG};

/// First argument of another process.
const MARK: &str = "--role";

fn args(role: &str, bed: &Bed, id: &str, script: &str) -> [String; 6] {
    let dir = bed.dir.path().display().to_string();
    let cgroup = bed.cgroup.display().to_string();
    [MARK.to_owned(), role.to_owned(), dir, cgroup, id.to_owned(), script.to_owned()]
}

/// Starts a second agent over the bed's directories: it starts container `id`
/// with `script`, then ends, or stays to be killed.
pub(crate) fn agent(bed: &Bed, id: &str, script: &str, stay: bool) -> Child {
    Command::new("/proc/self/exe")
        .args(args(if stay { "stay" } else { "leave" }, bed, id, script))
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Arguments of an operator who runs a script in a container on the terminal at
/// stdin, and exits with its code.
pub(crate) fn tty_args(bed: &Bed, id: &str, script: &str) -> [String; 6] {
    args("tty", bed, id, script)
}

/// Arguments of an operator who runs a script in a container.
pub(crate) fn exec_args(bed: &Bed, id: &str, script: &str) -> [String; 6] {
    args("exec", bed, id, script)
}

/// Does a role's work when the arguments ask for one.
pub(crate) fn run_if_role(args: &[String]) -> Option<ExitCode> {
    let [mark, role, dir, cgroup, id, script] = args else {
        return None;
    };
    if mark != MARK {
        return None;
    }
    let dir = Path::new(dir);
    let runtime = bed::open(dir, Path::new(cgroup));
    match role.as_str() {
        "stay" | "leave" => {
            berth_runtime::become_subreaper().unwrap();
            runtime.start(&bed::spec(dir, id, script), LONG).unwrap();
            if role == "stay" {
                thread::sleep(LONG);
            }
            Some(ExitCode::SUCCESS)
        }
        _ => Some(ExitCode::from(exec(&runtime, role, id, script))),
    }
}

fn exec(runtime: &Runtime, role: &str, id: &str, script: &str) -> u8 {
    let exec =
        ExecSpec { args: ["sh", "-c", script].map(str::to_owned).into(), ..ExecSpec::default() };
    let id = bed::id(id);
    let status = match role {
        "tty" => runtime.exec_tty(&id, &exec).unwrap(),
        _ => runtime.exec_output(&id, &exec, LONG).unwrap().status,
    };
    u8::try_from(status.shell_code()).unwrap()
}

/// Collects the zombies that killed processes left to this one, which is their
/// subreaper. Living children, such as the init of a container, are left alone.
pub(crate) fn collect_orphans() {
    for pid in bed::Possessions::now().zombies {
        let flags = Some(nix::sys::wait::WaitPidFlag::WNOHANG);
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), flags);
    }
}
