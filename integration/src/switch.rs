//! A bed's own Open vSwitch: ovsdb-server(1) and ovs-vswitchd(8) in its network namespace,
//! with all their files in one directory. The data path is in userspace where the kernel has
//! none, which is the agent's choice.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{PATIENCE, namespace::command_in, until};

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// One of the two daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// ovsdb-server(1).
    Database,
    /// ovs-vswitchd(8).
    Switch,
}

/// An Open vSwitch. Its daemons end with this value.
#[derive(Debug)]
pub struct Switch {
    dir: PathBuf,
    namespace: PathBuf,
    database: Option<Child>,
    switch: Option<Child>,
}

impl Switch {
    /// Starts one, without any bridge, in a directory that it makes.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(dir: &Path, namespace: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let mut switch = Self {
            dir: dir.to_owned(),
            namespace: namespace.to_owned(),
            database: None,
            switch: None,
        };
        run(Command::new("ovsdb-tool").arg("create").arg(dir.join("conf.db")).arg(SCHEMA));
        switch.start_daemon(Daemon::Database);
        switch.vsctl(&["--no-wait", "init"]);
        switch.start_daemon(Daemon::Switch);
        switch
    }

    /// Where the database listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("db.sock")
    }

    /// Runs ovs-vsctl(8), and tells what it prints.
    ///
    /// # Panics
    /// It fails, or the switch does not take the change within 20 s.
    pub fn vsctl(&self, arguments: &[&str]) -> String {
        let db = format!("--db=unix:{}", self.socket().display());
        run(Command::new("ovs-vsctl").args(["--timeout=20", &db]).args(arguments))
    }

    /// Starts a daemon that does not run.
    ///
    /// # Panics
    /// It can't be started, or does not listen.
    pub fn start_daemon(&mut self, daemon: Daemon) {
        let path = |name: &str| self.dir.join(name).display().to_string();
        let (program, arguments, ctl) = match daemon {
            Daemon::Database => (
                "ovsdb-server",
                vec![path("conf.db"), format!("--remote=punix:{}", path("db.sock"))],
                path("db.ctl"),
            ),
            Daemon::Switch => {
                ("ovs-vswitchd", vec![format!("unix:{}", path("db.sock"))], path("vswitchd.ctl"))
            }
        };
        // The mark by which the sweep knows them.
        let ctl = format!("--unixctl={ctl}");
        let log = File::options().create(true).append(true).open(path("log")).unwrap();
        let mut command = command_in(Some(&self.namespace), program);
        command.args(arguments).args([&ctl, "--no-chdir"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, &self.dir);
        }
        let child = command.spawn().unwrap();
        assert!(self.place(daemon).replace(child).is_none(), "{program} runs already");
        if daemon == Daemon::Database {
            let listens = || UnixStream::connect(self.socket()).ok();
            assert!(until(PATIENCE, listens).is_some(), "{program} does not listen");
        }
    }

    /// Kills a daemon, and waits for its end.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill_daemon(&mut self, daemon: Daemon) {
        let mut child = self.place(daemon).take().expect("a daemon that runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends a daemon a signal, such as SIGSTOP.
    ///
    /// # Panics
    /// It does not run.
    pub fn signal(&mut self, daemon: Daemon, signal: Signal) {
        let child = self.place(daemon).as_ref().expect("a daemon that runs");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    }

    fn place(&mut self, daemon: Daemon) -> &mut Option<Child> {
        match daemon {
            Daemon::Database => &mut self.database,
            Daemon::Switch => &mut self.switch,
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for mut child in [self.switch.take(), self.database.take()].into_iter().flatten() {
            // Both fail if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?} (Debian: openvswitch-switch): {error}");
    });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
