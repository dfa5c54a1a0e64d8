//! A client in the VLAN: a namespace of its own, on an access port of the bed's bridge.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use berth_agent::mysql::credentials::{FleetKey, Purpose};
use berth_integration::{Bed, client, namespace::Namespace};

use super::{PORT, VLAN};

const LINK: &str = "btclient";
/// Outside of all that the pool hands out.
const ADDRESS: &str = "10.77.0.200/24";
/// Between two pings.
const PING_INTERVAL: &str = "0.01";

pub(super) struct Client {
    namespace: Namespace,
    password: String,
}

impl Client {
    /// Joins the VLAN. The bridge must be there.
    pub(super) fn join(bed: &Bed, cluster: &str) -> Self {
        let namespace = Namespace::make(&bed.dir().join("client.ns"));
        let path = namespace.path().to_str().unwrap().to_owned();
        bed.run(&[
            "ip", "link", "add", LINK, "type", "veth", "peer", "name", "eth0", "netns", &path,
        ]);
        bed.run(&["ip", "link", "set", LINK, "up"]);
        namespace.run(&["ip", "link", "set", "eth0", "up"]);
        namespace.run(&["ip", "addr", "add", ADDRESS, "dev", "eth0"]);
        // The userspace data path completes no checksums.
        namespace.run(&["ethtool", "-K", "eth0", "tx", "off"]);
        bed.switch().vsctl(&["add-port", bed.bridge(), LINK, &format!("tag={VLAN}")]);
        let key = FleetKey::read(&bed.dir().join("fleet.key")).unwrap();
        Self { namespace, password: key.password(cluster, Purpose::Check).expose().to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        self.namespace.path()
    }

    /// Asks a server over TCP and TLS, as the account that berth checks with.
    pub(super) fn ask(&self, ip: IpAddr, sql: &str) -> Result<String, String> {
        let login = (Purpose::Check.user(), self.password.as_str());
        client::ask_at(Some(self.path()), SocketAddr::new(ip, PORT), login, sql)
    }

    /// Opens a connection, and has the server's greeting.
    pub(super) fn connect(&self, ip: IpAddr) -> TcpStream {
        let mut stream = self.try_connect(ip).unwrap();
        let mut greeting = [0; 4096];
        assert!(stream.read(&mut greeting).unwrap() > 4, "a server greets first");
        stream
    }

    pub(super) fn try_connect(&self, ip: IpAddr) -> std::io::Result<TcpStream> {
        let patience = Duration::from_secs(20);
        self.namespace.inside(move || {
            let stream = TcpStream::connect_timeout(&SocketAddr::new(ip, PORT), patience)?;
            stream.set_read_timeout(Some(patience))?;
            Ok(stream)
        })
    }

    /// Begins to ping without a pause.
    pub(super) fn ping(&self, ip: IpAddr) -> Pings {
        let mut command = self.namespace.command("ping");
        command.args(["-n", "-q", "-i", PING_INTERVAL, &ip.to_string()]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        Pings { child: Some(child), begun: Instant::now() }
    }
}

/// Pings under way.
pub(super) struct Pings {
    child: Option<Child>,
    begun: Instant,
}

impl Pings {
    /// How many were sent and how many answered, once at least so much time has passed.
    pub(super) fn end(mut self, after: Duration) -> (u32, u32) {
        // Not a condition that is waited for: the pings are to go on for a while.
        std::thread::sleep(after.saturating_sub(self.begun.elapsed()));
        let child = self.child.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        let counts = text.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let mut numbers = counts.split_whitespace().filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail if it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
