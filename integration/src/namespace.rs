//! Network namespaces of test beds (network_namespaces(7)), pinned to files.
//!
//! The file is in the directory of what the namespace belongs to. So it goes when that
//! directory is swept, and the kernel frees the namespace once no process is in it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

/// A network namespace that ends with this value, once no process is in it.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
}

impl Namespace {
    /// Makes one with nothing in it but a loopback interface that is up.
    ///
    /// # Panics
    /// It can't be made; that needs root.
    #[must_use]
    pub fn make(path: &Path) -> Self {
        File::create(path).unwrap();
        let pin = path.to_owned();
        // A thread of its own: the namespace of the others stays what it was.
        let made = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(
                Some("/proc/thread-self/ns/net"),
                &pin,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )
        });
        made.join().expect("no panic in there").expect("a network namespace");
        let namespace = Self { path: path.to_owned() };
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// The file, for setns(2).
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command in the namespace.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command_in(Some(&self.path), program)
    }

    /// Runs a tool in the namespace, and tells what it prints.
    ///
    /// # Panics
    /// It fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let (program, arguments) = arguments.split_first().expect("a program");
        let output = self.command(program).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {}: {error}", arguments.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs `work` on a thread in the namespace.
    ///
    /// # Panics
    /// `work` does.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        inside(&self.path, work)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What fails here is left to the sweep of the directory.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}

/// A command in a namespace, or in the caller's. nsenter(1) becomes the program, so the
/// process id is the program's; and unlike `ip netns exec` it leaves /sys as it is.
#[must_use]
pub fn command_in(namespace: Option<&Path>, program: impl AsRef<OsStr>) -> Command {
    let Some(namespace) = namespace else { return Command::new(program) };
    let mut command = Command::new("nsenter");
    let mut net = std::ffi::OsString::from("--net=");
    net.push(namespace);
    command.arg(net).arg("--").arg(program);
    command
}

/// Runs `work` on a thread in the namespace that is pinned to this file.
///
/// # Panics
/// `work` does, or there is no such namespace.
pub fn inside<T: Send + 'static>(namespace: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(namespace).unwrap();
    let thread = thread::spawn(move || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("a namespace to enter");
        work()
    });
    thread.join().expect("work in a namespace")
}
