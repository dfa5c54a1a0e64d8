//! A registry on loopback (Debian's docker-registry), and skopeo as its client that is not
//! berth. Stands alone, so that other crates' tests can use it by its path.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "helpers of tests; every test binary uses a part of them"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;

const STARTS: usize = 5;
const START_WAIT: Duration = Duration::from_secs(20);

/// A registry on loopback, ended with this value.
pub struct Registry {
    child: Child,
    pub port: u16,
}

impl Registry {
    /// Starts one that keeps its files below `directory`.
    pub fn start(directory: &Path) -> Self {
        let root = directory.join("registry");
        fs::create_dir_all(&root).unwrap();
        // Another process may take the port between the look and the start.
        for _ in 0..STARTS {
            if let Some(registry) = Self::try_start(&root) {
                return registry;
            }
        }
        let log = fs::read_to_string(root.join("log")).unwrap_or_default();
        panic!("docker-registry does not start: {log}");
    }

    fn try_start(root: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = root.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            root.join("data").display()
        );
        fs::write(&config, text).unwrap();
        let log = fs::File::create(root.join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: prctl(2) is async-signal-safe. A test that is killed leaves no registry.
        unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) };
        let mut registry = Self { child: spawn(&mut command), port };
        let deadline = Instant::now() + START_WAIT;
        while Instant::now() < deadline && registry.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// A name in this registry.
    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// Copies the image of a layout in, by skopeo; as it is, unless an argument says in
    /// which format.
    pub fn push(&self, layout: &Path, name: &str, arguments: &[&str]) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
        if !arguments.contains(&"--format") {
            command.arg("--preserve-digests");
        }
        command.args(arguments).arg(format!("oci:{}:1", layout.display()));
        run(command.arg(format!("docker://{}", self.name(name))));
    }

    /// The manifest or index, by skopeo.
    pub fn raw(&self, name: &str) -> Vec<u8> {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "inspect", "--raw", "--tls-verify=false"]);
        run(command.arg(format!("docker://{}", self.name(name))))
    }

    /// Fetches the image by skopeo into a flat directory: blobs by their hex digits.
    pub fn fetch(&self, name: &str, to: &Path) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"]);
        command.arg(format!("docker://{}", self.name(name)));
        run(command.arg(format!("dir:{}", to.display())));
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Child {
    let tool = command.get_program().to_owned();
    let spawned = command.spawn();
    spawned.unwrap_or_else(|error| panic!("{tool:?}: {error}; apt-get install it"))
}

fn run(command: &mut Command) -> Vec<u8> {
    let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {text}", output.status);
    output.stdout
}
