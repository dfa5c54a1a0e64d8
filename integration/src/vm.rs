//! A bare-metal host in a virtual machine: systemd, unified cgroup v2, disks of its own, and
//! a plug that can be pulled.
//!
//! A [`Vm`] is one qemu. Its root disk is a copy of an image made from Debian packages
//! ([`image`]), its data disk holds the image store that the other beds use ([`disks`]), and
//! commands go in through the guest agent on a virtio port ([`guest`]), with a deadline each.
//! KVM drives it where that works, software emulation otherwise ([`accel`]).
//!
//! qemu dies with the process that started it (PR_SET_PDEATHSIG), and its directory is that of
//! a bed, so that [`crate::sweep`] removes what a killed run left. The network reaches
//! loopback only: ports that the caller names, forwarded into the machine.
//!
//! What a scenario expects of a host is not here.

pub mod accel;
pub mod disks;
pub mod guest;
pub mod image;
mod tools;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{lease::Ports, sweep, until};
use accel::Accel;
use guest::Guest;
pub use guest::Ran;

/// Time for a boot under emulation on a busy machine; it takes about half a minute.
const BOOT: Duration = Duration::from_secs(420);
/// Time for what should take seconds under emulation.
const COMMAND: Duration = Duration::from_secs(180);
/// Time for a clean end, servers included.
const DOWN: Duration = Duration::from_secs(300);
/// What every kernel is told.
const KERNEL_ARGUMENTS: &str = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet panic=10";
/// The memory of a machine.
const MEMORY_MIB: u32 = 4096;

/// What a machine is made of.
#[derive(Debug, Default)]
pub struct Options {
    /// Files that the machine sees read-only in `/mnt/share`: name there, and path here.
    pub share: Vec<(String, PathBuf)>,
    /// Ports of the machine that are reached from here, by the same order in [`Vm::port`].
    pub ports: Vec<u16>,
    /// What the data disk can do at most, if it is to be slower than this machine.
    pub data_rate: Option<DiskRate>,
    /// Whether the console is this process's terminal instead of a file.
    pub terminal: bool,
}

/// What a disk can do, reads and writes together.
#[derive(Debug, Clone, Copy)]
pub struct DiskRate {
    /// Bytes a second.
    pub bytes: u64,
    /// Requests a second.
    pub requests: u64,
}

/// A machine that runs, or has been switched off.
#[derive(Debug)]
pub struct Vm {
    name: String,
    dir: PathBuf,
    options: Options,
    accel: Accel,
    kernel: image::Kernel,
    ports: Ports,
    qemu: Option<Child>,
    guest: Guest,
}

/// Makes what all machines begin with, so that several that are made at the same time find it.
///
/// # Panics
/// It can't be made, or virtual machines can't run here.
pub fn prepare() {
    require();
    accel::find(&image::base().kernel);
    disks::data();
}

impl Vm {
    /// Makes a machine and its disks; it is off.
    ///
    /// # Panics
    /// It can't be made, or virtual machines can't run here.
    #[must_use]
    pub fn new(options: Options) -> Self {
        require();
        sweep::leftovers();
        let base = image::base();
        let accel = accel::find(&base.kernel);
        let name = sweep::next_name();
        let dir = Path::new(sweep::PLACE).join(&name);
        fs::create_dir_all(&dir).unwrap();
        disks::copy(&base.root, &dir.join("root.img"));
        disks::copy(&disks::data(), &dir.join("data.img"));
        disks::blank(&dir.join("spare.img"));
        disks::share(&options.share, &dir.join("share.img"));
        let guest = Guest::new(dir.join("guest.sock"));
        let kernel = base.kernel;
        Self { name, dir, options, accel, kernel, ports: Ports::take(), qemu: None, guest }
    }

    /// How it is driven.
    #[must_use]
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// The port here that leads to the machine's port of this place in [`Options::ports`].
    #[must_use]
    pub fn port(&self, at: u16) -> u16 {
        self.ports.get(at)
    }

    /// Switches it on, and waits until systemd has done all it does at boot. Returns how long
    /// that took.
    ///
    /// # Panics
    /// It is on, or does not come up.
    pub fn boot(&mut self) -> Duration {
        let begun = Instant::now();
        self.launch();
        self.await_up(None);
        begun.elapsed()
    }

    /// Switches it on and doesn't wait.
    ///
    /// # Panics
    /// It is on already.
    pub fn launch(&mut self) {
        assert!(self.qemu.is_none(), "the machine is on");
        let mut command = self.command();
        self.qemu = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    }

    /// Waits for the end of qemu, as when its user has switched the machine off.
    ///
    /// # Panics
    /// It is off.
    pub fn wait(&mut self) {
        let mut qemu = self.qemu.take().expect("a machine that is on");
        let _ = qemu.wait();
    }

    fn command(&self) -> Command {
        let dir = self.dir.display();
        // With nice(1), because tests of other engineers may run beside it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "nice", "-n", "10", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-smp", "2"]);
        command.args(["-m", &MEMORY_MIB.to_string()]).args(self.accel.arguments());
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(&self.kernel.initrd);
        let told = self.accel.kernel_arguments();
        command.args(["-append", &format!("{KERNEL_ARGUMENTS}{told}")]);
        for disk in ["root", "data", "spare", "share"] {
            // Unsafe for this machine's own power failures only: what the guest has written is
            // in the page cache here, and outlives qemu.
            let mut drive =
                format!("file={dir}/{disk}.img,if=none,id={disk},format=raw,cache=unsafe");
            if let ("data", Some(rate)) = (disk, self.options.data_rate) {
                let (bytes, requests) = (rate.bytes, rate.requests);
                drive += &format!(",throttling.bps-total={bytes},throttling.iops-total={requests}");
            }
            command.args(["-drive", &drive]);
            command.args(["-device", &format!("virtio-blk-pci,drive={disk},serial={disk}")]);
        }
        command.args(["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]);
        let socket = format!("socket,id=guest,path={dir}/guest.sock,server=on,wait=off");
        command.args(["-chardev", &socket]);
        command.args(["-device", "virtserialport,chardev=guest,name=org.qemu.guest_agent.0"]);
        let forwards: String = (0u16..)
            .zip(&self.options.ports)
            .map(|(at, inside)| format!(",hostfwd=tcp:127.0.0.1:{}-:{inside}", self.port(at)))
            .collect();
        command.args(["-netdev", &format!("user,id=net,restrict=on{forwards}")]);
        command.args(["-device", "virtio-net-pci,netdev=net"]);
        if self.options.terminal {
            command.args(["-serial", "mon:stdio"]);
        } else {
            let chardev = format!("file,id=console,path={dir}/console.log,append=on");
            command.args(["-chardev", &chardev, "-serial", "chardev:console"]);
            let log = File::options().create(true).append(true).open(self.dir.join("qemu.log"));
            let log = log.unwrap();
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        }
        command
    }

    /// Waits until the machine is up; if `not` is given, in another boot than that one.
    fn await_up(&mut self, not: Option<&str>) {
        let up = until(BOOT, || {
            self.assert_on();
            let boot = self.guest.try_run("cat /proc/sys/kernel/random/boot_id", COMMAND)?;
            (Some(boot.stdout.trim()) != not).then_some(())
        });
        assert!(up.is_some(), "the machine does not come up:\n{}", self.console());
        let state = self.run_within("systemctl is-system-running --wait", BOOT);
        // Degraded: a unit failed, which a scenario may be about. It says which, if it minds.
        assert!(
            matches!(state.stdout.trim(), "running" | "degraded"),
            "after the boot the machine is {state:?}"
        );
    }

    fn assert_on(&mut self) {
        let ended = self.qemu.as_mut().map(|qemu| qemu.try_wait());
        if let Some(Ok(None)) = ended {
            return;
        }
        let log = fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
        panic!("qemu is not running ({ended:?}):\n{log}\n{}", self.console());
    }

    /// The end of what was written to the console.
    #[must_use]
    pub fn console(&self) -> String {
        let text = fs::read(self.dir.join("console.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Runs a shell script as root and returns what it printed.
    ///
    /// # Panics
    /// It fails, or the machine doesn't answer.
    pub fn sh(&mut self, script: &str) -> String {
        let ran = self.run(script);
        assert!(ran.code == 0, "{script}: {ran:?}");
        ran.stdout.trim_end().to_owned()
    }

    /// Runs a shell script as root.
    ///
    /// # Panics
    /// The machine doesn't answer, or the script takes too long.
    pub fn run(&mut self, script: &str) -> Ran {
        self.run_within(script, COMMAND)
    }

    /// The same, within this time.
    ///
    /// # Panics
    /// As [`Vm::run`].
    pub fn run_within(&mut self, script: &str, within: Duration) -> Ran {
        let ran = self.guest.try_run(script, within);
        ran.unwrap_or_else(|| {
            panic!("no answer within {within:?} from: {script}\n{}", self.console())
        })
    }

    /// Asks the machine until a script succeeds; what it printed then.
    ///
    /// # Panics
    /// It doesn't within this time.
    pub fn await_sh(&mut self, what: &str, within: Duration, script: &str) -> String {
        let end = Instant::now() + within;
        loop {
            let ran = self.run(script);
            if ran.code == 0 {
                return ran.stdout.trim_end().to_owned();
            }
            assert!(Instant::now() < end, "waited {within:?} in vain for {what}: {ran:?}");
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// Writes a file in the machine: beside, and renamed, and not waiting for the disk.
    ///
    /// # Panics
    /// It can't be written.
    pub fn write(&mut self, path: &str, text: &str) {
        let script = format!("cat > {path}.new && mv {path}.new {path}");
        let ran = self.guest.try_run_with(&script, text, COMMAND);
        assert!(ran.as_ref().is_some_and(|ran| ran.code == 0), "writing {path}: {ran:?}");
    }

    /// Starts the machine anew as an operator would, and waits until it is up again.
    ///
    /// # Panics
    /// It does not come back.
    pub fn reboot(&mut self) -> Duration {
        let begun = Instant::now();
        let boot = self.sh("cat /proc/sys/kernel/random/boot_id");
        // No answer may come any more.
        let _ = self.guest.try_run("systemctl --no-block reboot", COMMAND);
        self.await_up(Some(&boot));
        begun.elapsed()
    }

    /// Switches it off as an operator would.
    ///
    /// # Panics
    /// It does not end.
    pub fn shut_down(&mut self) {
        let _ = self.guest.try_run("systemctl --no-block poweroff", COMMAND);
        let mut qemu = self.qemu.take().expect("a machine that is on");
        let ended = until(DOWN, || matches!(qemu.try_wait(), Ok(Some(_))).then_some(()));
        if ended.is_none() {
            self.qemu = Some(qemu);
            panic!("the machine does not switch off:\n{}", self.console());
        }
        self.guest.forget();
    }

    /// Cuts the power: what was not on the disks is gone.
    pub fn cut_power(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            // Fails only when it has ended already.
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
        self.guest.forget();
    }

    /// Shows what helps to understand a failure.
    fn show(&mut self) {
        eprintln!("--- console\n{}", self.console());
        let script = "systemctl --failed --no-legend; systemctl status berth-agent --no-pager -l; \
                      journalctl -b --no-pager -n 80; berth status";
        match self.guest.try_run(script, Duration::from_secs(30)) {
            Some(ran) => eprintln!("--- machine\n{}{}", ran.stdout, ran.stderr),
            None => eprintln!("--- the machine doesn't answer"),
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if thread::panicking() && self.qemu.is_some() {
            self.show();
        }
        self.cut_power();
        sweep::remove(&self.name);
    }
}

/// Fails, with the reason, where machines can't be made.
fn require() {
    assert!(nix::unistd::geteuid().is_root(), "making disks for a virtual machine needs root");
    for (program, package) in [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("mke2fs", "e2fsprogs"),
        ("mmdebstrap", "mmdebstrap"),
        ("setpriv", "util-linux"),
    ] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "{program} is missing: install {package}"
        );
    }
}
