//! What passes between the switches of a fleet's hosts, by tcpdump(8) on the fabric.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Fleet;
use crate::{PATIENCE, until};

/// A capture that is under way; it ends with this value.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Child,
    file: PathBuf,
}

/// The frames of one VLAN, or of none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frames {
    /// How many.
    pub count: usize,
    /// Their senders' hardware addresses.
    pub from: BTreeSet<String>,
    /// Those they were sent to, without groups and the broadcast address.
    pub to: BTreeSet<String>,
}

impl Capture {
    /// Begins to capture all that passes between the hosts' switches.
    ///
    /// # Panics
    /// tcpdump can't be started.
    #[must_use]
    pub fn begin(fleet: &Fleet) -> Self {
        let (file, said) = (fleet.dir().join("trunk.pcap"), fleet.dir().join("tcpdump.log"));
        let mut command = fleet.fabric().namespace().command("tcpdump");
        // The heads are enough; each is written at once, and root may write in the directory.
        command.args(["-i", fleet.fabric().trunk(), "-s", "96", "-U", "-Z", "root", "-w"]);
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&said).unwrap());
        let capture = Self { tcpdump: command.spawn().expect("tcpdump (Debian: tcpdump)"), file };
        let listens = || fs::read_to_string(&said).ok()?.contains("listening on").then_some(());
        let listens = until(PATIENCE, listens);
        assert!(listens.is_some(), "tcpdump: {}", fs::read_to_string(&said).unwrap_or_default());
        capture
    }

    /// Ends it, and tells the frames by VLAN; `None` is those without a tag.
    ///
    /// # Panics
    /// tcpdump can't read what it wrote.
    #[must_use]
    pub fn end(mut self) -> BTreeMap<Option<u16>, Frames> {
        kill(Pid::from_raw(self.tcpdump.id().cast_signed()), Signal::SIGINT).unwrap();
        assert!(self.tcpdump.wait().unwrap().success(), "tcpdump ends well when it is asked to");
        let output =
            Command::new("tcpdump").args(["-e", "-n", "-t", "-r"]).arg(&self.file).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found: BTreeMap<Option<u16>, Frames> = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (from, to, vlan) = frame(line).unwrap_or_else(|| panic!("tcpdump says {line:?}"));
            let frames = found.entry(vlan).or_default();
            frames.count += 1;
            frames.from.insert(from.to_owned());
            if is_of_one(to) {
                frames.to.insert(to.to_owned());
            }
        }
        found
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.tcpdump.kill();
        let _ = self.tcpdump.wait();
    }
}

/// `FROM > TO, ethertype 802.1Q (0x8100), length 60: vlan 10, p 0, ...`
fn frame(line: &str) -> Option<(&str, &str, Option<u16>)> {
    let (from, rest) = line.split_once(" > ")?;
    let (to, rest) = rest.split_once(", ")?;
    let (head, rest) = rest.split_once(": ")?;
    if !head.contains("802.1Q") {
        return Some((from, to, None));
    }
    let (vlan, _) = rest.strip_prefix("vlan ")?.split_once(',')?;
    Some((from, to, Some(vlan.parse().ok()?)))
}

/// Whether a hardware address is that of one station: the lowest bit of its first byte is
/// clear (IEEE 802, individual/group).
fn is_of_one(address: &str) -> bool {
    let first = address.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    first.is_some_and(|byte| byte & 1 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tcpdump_are_understood() {
        let tagged = "0a:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 802.1Q (0x8100), length \
                      46: vlan 10, p 0, ethertype ARP (0x0806), Request who-has 10.0.0.2 tell \
                      10.0.0.1, length 28";
        let (from, to) = ("0a:00:00:00:00:01", "ff:ff:ff:ff:ff:ff");
        assert_eq!(frame(tagged), Some((from, to, Some(10))));
        let plain = "0a:00:00:00:00:01 > 0a:00:00:00:00:02, ethertype IPv6 (0x86dd), length 70: \
                     fe80::1 > fe80::2: ICMP6, router solicitation, length 16";
        assert_eq!(frame(plain), Some((from, "0a:00:00:00:00:02", None)));
        assert!(is_of_one(from) && !is_of_one(to) && !is_of_one("33:33:00:00:00:16"));
        assert_eq!(frame("tcpdump: what is that"), None);
    }
}
