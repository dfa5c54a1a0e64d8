//! How a machine is driven: KVM where that works, software emulation elsewhere.
//!
//! That /dev/kvm is there says little: on a machine that is itself virtual it may start no
//! kernel. So the kernel is started once with it, without any disk, and KVM is taken only if
//! that gets as far as missing its root file system, within a time. The answer is kept until
//! the next boot of this machine.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::image::{self, Kernel};

/// Seconds for a kernel under KVM to miss its root file system; it takes one or two.
const TRIAL_SECONDS: &str = "20";
/// What a kernel says that has come as far as it can without a disk.
const NO_ROOT: &str = "VFS: Unable to mount root fs";

/// How a machine is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By the processor itself.
    Kvm,
    /// By software: some ten times slower.
    Emulation,
}

impl Accel {
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Of those that can run today's programs (x86-64-v2) the one with the least to
            // emulate: a boot takes two thirds of the time it takes with "max".
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "Nehalem"],
        }
    }

    /// What the kernel is told. An emulated processor gives nothing away that its kernel could
    /// keep, and each switch of page tables that tries costs dearly.
    pub(super) fn kernel_arguments(self) -> &'static str {
        match self {
            Self::Kvm => "",
            Self::Emulation => " mitigations=off",
        }
    }
}

/// Finds out what works here.
pub(super) fn find(kernel: &Kernel) -> Accel {
    if !Path::new("/dev/kvm").exists() {
        return Accel::Emulation;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let kept = image::place().join("accel");
    let known = fs::read_to_string(&kept).unwrap_or_default();
    let works = match known.split_once(' ') {
        Some((at, answer)) if at == boot.trim() => answer == "kvm",
        _ => {
            let works = kvm_starts(kernel);
            let answer = if works { "kvm" } else { "none" };
            fs::write(kept, format!("{} {answer}", boot.trim())).unwrap();
            works
        }
    };
    if works { Accel::Kvm } else { Accel::Emulation }
}

fn kvm_starts(kernel: &Kernel) -> bool {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", TRIAL_SECONDS, "qemu-system-x86_64", "-nodefaults"]);
    command.args(["-no-user-config", "-display", "none", "-no-reboot", "-m", "512"]);
    command.args(Accel::Kvm.arguments()).arg("-kernel").arg(&kernel.image);
    command.args(["-append", "console=ttyS0 panic=-1", "-serial", "stdio"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).contains(NO_ROOT)
}
