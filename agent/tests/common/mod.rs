//! Real mysqlds for the host tests.
//!
//! Each is the first process of a PID namespace, as in a container, in a `chroot` of the root
//! file system that [`root_fs`] names, with its own directory bound at `/mnt`. All of it ends
//! with the test: by [`Mysqld`]'s drop, or, when the test is killed, by `PR_SET_PDEATHSIG`.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use berth_agent::mysql::{
    Deadline, Server,
    credentials::{FleetKey, Purpose, Secret},
    initialise::{self, Mode, ServerSpec},
};
use tempfile::TempDir;

/// Time for anything that has to happen; only a failing test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A root file system with mysqld in it. The one place that says where it comes from.
pub(crate) fn root_fs() -> PathBuf {
    let root = std::env::var_os("BERTH_TEST_ROOTFS").expect(
        "BERTH_TEST_ROOTFS must name a root file system that has /usr/sbin/mysqld: these tests \
         run real servers",
    );
    let root = PathBuf::from(root);
    assert!(root.join("usr/sbin/mysqld").exists(), "no mysqld below {}", root.display());
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: they make namespaces");
    root
}

/// A deadline that only a failing test reaches.
pub(crate) fn soon() -> Deadline {
    Deadline::after(PATIENCE)
}

/// Polls until `condition` gives a value.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("berth-test-mysql-").tempdir().unwrap()
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// mysqld's command line: mount and PID namespaces of its own, `dir` at /mnt.
fn command(dir: &Path, args: Vec<std::ffi::OsString>) -> Command {
    const SCRIPT: &str = "set -e; root=$1; dir=$2; shift 2; mount --make-rprivate /; \
         mount --bind \"$dir\" \"$root/mnt\"; mount -t proc proc \"$root/proc\"; \
         exec chroot \"$root\" /usr/sbin/mysqld --no-defaults --user=root \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--"]);
    command.args(["sh", "-c", SCRIPT, "sh"]).arg(root_fs()).arg(dir).args(args);
    command.envs(initialise::ENVIRONMENT.iter().copied());
    command.stdin(Stdio::null());
    // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Into::into)
        });
    }
    command
}

/// A copy of a new data directory, without what would make it the same server as another.
///
/// The original is made once for all test programs and kept in cargo's directory for tests.
/// Its key is written last: one that a killed run left half made has none, and is made anew.
pub(crate) fn new_directory() -> TempDir {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = base.join("berth-test-mysql-template");
    let lock = fs::File::create(base.join("berth-test-mysql-template.lock")).unwrap();
    let key = template_key();
    loop {
        lock.lock_shared().unwrap();
        if fs::read_to_string(template.join("key")).is_ok_and(|found| found == key) {
            return copy_of(&template);
        }
        lock.unlock().unwrap();
        lock.lock().unwrap();
        if !fs::read_to_string(template.join("key")).is_ok_and(|found| found == key) {
            make_template(&template, &key);
        }
        lock.unlock().unwrap();
    }
}

/// What the template depends on.
fn template_key() -> String {
    let mysqld = root_fs().join("usr/sbin/mysqld");
    let metadata = fs::metadata(&mysqld).unwrap();
    let changed = metadata.modified().unwrap();
    let (args, sql) = (template_args(), initialise::INIT_SQL);
    format!("{mysqld:?} {} {changed:?} {args:?}\n{sql}", metadata.len())
}

fn template_args() -> Vec<std::ffi::OsString> {
    initialise::initialise_args(Path::new("/mnt/data"), Path::new("/mnt/init.sql"))
}

fn make_template(template: &Path, key: &str) {
    if template.exists() {
        fs::remove_dir_all(template).unwrap();
    }
    fs::create_dir(template).unwrap();
    fs::write(template.join("init.sql"), initialise::INIT_SQL).unwrap();
    let output = command(template, template_args()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "mysqld --initialize-insecure failed:\n{log}");
    fs::write(template.join("key"), key).unwrap();
}

fn copy_of(template: &Path) -> TempDir {
    let dir = temp_dir();
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([template.join("data"), dir.path().join("data")])
        .status()
        .unwrap();
    assert!(copied.success());
    for entry in fs::read_dir(dir.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        if initialise::is_identity_file(&entry.file_name()) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    dir
}

/// One running mysqld.
pub(crate) struct Mysqld {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Mysqld {
    /// A new, empty, serving server, read-only as it boots.
    pub(crate) fn serve() -> Self {
        Self::start(new_directory(), Mode::Serve)
    }

    /// A new, writable server that lets its clients in.
    pub(crate) fn writable() -> Self {
        let mysqld = Self::serve();
        let mut server = mysqld.connect();
        server.set_writable(soon()).unwrap();
        server.set_offline_mode(false, soon()).unwrap();
        mysqld
    }

    /// A new server that can be cloned into.
    pub(crate) fn seed() -> Self {
        Self::start(new_directory(), Mode::Seed)
    }

    /// Runs a server on `dir` and waits until it answers.
    pub(crate) fn start(dir: TempDir, mode: Mode) -> Self {
        // A port that is free now may be taken when mysqld gets to it.
        let mut dir = Some(dir);
        for _ in 0..5 {
            match Self::try_start(dir.take().unwrap(), mode) {
                Ok(mysqld) => return mysqld,
                Err(back) => dir = Some(back),
            }
        }
        panic!("no port stayed free:\n{}", log_of(dir.unwrap().path()));
    }

    fn try_start(dir: TempDir, mode: Mode) -> Result<Self, TempDir> {
        let port = free_port();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = command(dir.path(), initialise::server_args(&spec(port), mode));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let mut mysqld = Self { dir, port, child };
        let up = wait_for("mysqld to answer", || {
            if let Some(status) = mysqld.child.try_wait().unwrap() {
                let log = log_of(mysqld.dir.path());
                assert!(log.contains("Bind on TCP/IP port"), "mysqld ended, {status}:\n{log}");
                return Some(false);
            }
            Server::connect(&mysqld.socket(), soon()).ok().map(|_| true)
        });
        if up {
            return Ok(mysqld);
        }
        let empty = TempDir::new().unwrap();
        Err(std::mem::replace(&mut mysqld.dir, empty))
    }

    /// The socket's path on the host.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("s.sock")
    }

    /// A new connection as root.
    pub(crate) fn connect(&self) -> Server {
        Server::connect(&self.socket(), soon()).unwrap()
    }

    /// mysqld's pid on the host: the one child of `unshare`.
    pub(crate) fn pid(&self) -> nix::unistd::Pid {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        nix::unistd::Pid::from_raw(children.trim().parse().unwrap())
    }

    /// Sends mysqld a signal.
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Waits for mysqld to end by itself; `unshare` passes its status on.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        wait_for("mysqld to end", || self.child.try_wait().unwrap())
    }

    /// Ends mysqld and keeps its directory.
    pub(crate) fn into_dir(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.dir, TempDir::new().unwrap())
    }

    fn end(&mut self) {
        // `unshare` may have ended already; with it goes mysqld.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What the second client says: the judge of what this crate did.
    pub(crate) fn judge(&self, sql: &str) -> String {
        let output = self.client(sql).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {error}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// The second client, to run beside the test.
    pub(crate) fn client(&self, sql: &str) -> Command {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-uroot", "-N", "-B", "-S"]).arg(self.socket());
        client.args(["-e", sql]);
        client
    }
}

impl Drop for Mysqld {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            eprintln!("log of mysqld {}:\n{}", self.port, log_of(self.dir.path()));
        }
    }
}

/// A second client that runs beside the test, and ends with it.
pub(crate) struct Beside(Child);

impl Beside {
    pub(crate) fn run(mysqld: &Mysqld, sql: &str) -> Self {
        let mut client = mysqld.client(sql);
        Self(client.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

fn spec(port: u16) -> ServerSpec {
    ServerSpec {
        data_dir: "/mnt/data".into(),
        socket: "/mnt/s.sock".into(),
        bind_address: "127.0.0.1".parse().unwrap(),
        port,
        server_id: initialise::server_id(&format!("bt-{port}")),
        report_host: "127.0.0.1".to_owned(),
        sizing: berth_model::sizing::Sizing::for_limit(berth_model::size::SERVER_BYTES_MIN)
            .unwrap(),
    }
}

/// The passwords of a cluster, from a key made for the test.
pub(crate) fn passwords(cluster: &str) -> BTreeMap<Purpose, Secret> {
    let dir = temp_dir();
    let path = dir.path().join("fleet.key");
    fs::write(&path, [42; 32]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let key = FleetKey::read(&path).unwrap();
    Purpose::ALL.into_iter().map(|purpose| (purpose, key.password(cluster, purpose))).collect()
}

/// A writable server with the accounts.
pub(crate) fn master(passwords: &BTreeMap<Purpose, Secret>) -> Mysqld {
    let mysqld = Mysqld::writable();
    mysqld.connect().ensure_accounts(passwords, soon()).unwrap();
    mysqld
}
