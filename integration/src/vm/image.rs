//! The root disk of machines: Debian, from packages, made once and kept until what it is made
//! from changes.
//!
//! It is of the same release as this machine, so that the program that is built here finds the
//! libraries there that it was linked with.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use super::tools;
use crate::program;

/// What a database host has, and what scenarios look at it with.
const PACKAGES: &str = "ca-certificates,dbus,dmsetup,e2fsprogs,fdisk,fio,initramfs-tools,\
     iperf3,iproute2,iputils-ping,jq,kmod,less,libseccomp2,libssl3,linux-image-cloud-amd64,lvm2,\
     mariadb-client-core,mdadm,openvswitch-switch,procps,qemu-guest-agent,systemd,\
     systemd-sysv,udev,xfsprogs";
/// The size of the root disk.
const SIZE: &str = "3G";
/// The name of the host.
pub const HOST: &str = "dbhost01";

/// Files that the packages don't bring.
const FILES: [(&str, &str); 8] = [
    ("etc/hostname", "dbhost01\n"),
    ("etc/hosts", "127.0.0.1 localhost\n10.0.2.15 dbhost01\n"),
    // A fixed one, not an empty file: no first boot, which would enable all units anew.
    ("etc/machine-id", "6265727468766d2d6d616368696e6521\n"),
    (
        "etc/fstab",
        "/dev/vda / ext4 defaults 0 1\n\
         LABEL=berth-data /var/lib/berth ext4 defaults 0 2\n\
         LABEL=berth-share /mnt/share ext4 ro,nofail 0 0\n",
    ),
    (
        "etc/systemd/network/10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\n",
    ),
    (
        "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf",
        "[Service]\nExecStart=\n\
         ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 %I linux\n",
    ),
    ("etc/systemd/journald.conf.d/berth-vm.conf", "[Journal]\nStorage=persistent\n"),
    // Otherwise it writes down each question whether a command has ended.
    ("etc/systemd/system/qemu-guest-agent.service.d/quiet.conf", "[Service]\nLogLevelMax=notice\n"),
];

/// Units that a machine that lives for minutes has no use for.
const MASKED: [&str; 7] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
];

/// Run in the tree, `$1`, when all packages are there: an initial file system that has what this
/// machine's root disk needs. Debian's has drivers for every array, which take seconds at boot.
const SMALL_INITRD: &str = "cd \"$1/usr/share/initramfs-tools\" && \
     rm -f hooks/mdadm hooks/lvm2 scripts/local-*/mdadm scripts/local-*/lvm2 && \
     echo MODULES=list > \"$1/etc/initramfs-tools/conf.d/berth-vm\" && \
     printf 'virtio_pci\\nvirtio_blk\\next4\\n' > \"$1/etc/initramfs-tools/modules\" && \
     chroot \"$1\" update-initramfs -u";

/// A kernel outside its disk, as qemu starts it.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its initial file system.
    pub initrd: PathBuf,
}

/// What a machine begins with.
#[derive(Debug)]
pub struct Base {
    /// The root disk; machines get copies.
    pub root: PathBuf,
    /// Its kernel.
    pub kernel: Kernel,
}

/// The directory in which images are kept.
#[must_use]
pub fn place() -> PathBuf {
    program::target_dir().join("berth-vm")
}

/// The image, made if it is missing (two minutes).
///
/// # Panics
/// It can't be made.
#[must_use]
pub fn base() -> Base {
    let dir = place().join(format!("base-{:016x}", inputs()));
    let kernel = Kernel { image: dir.join("vmlinuz"), initrd: dir.join("initrd.img") };
    let base = Base { root: dir.join("root.img"), kernel };
    if !base.root.exists() {
        eprintln!("making the image of the virtual machine from Debian's packages (two minutes)");
        forget("base-");
        fs::create_dir_all(&dir).unwrap();
        build(&base, &dir.join("tree"));
    }
    base
}

/// A number that changes when anything does that the image is made from.
fn inputs() -> u64 {
    let mut hasher = DefaultHasher::new();
    (PACKAGES, SIZE, FILES, MASKED, SMALL_INITRD, suite()).hash(&mut hasher);
    hasher.finish()
}

/// Removes the images of this kind that were made from other inputs.
pub(super) fn forget(prefix: &str) {
    for entry in fs::read_dir(place()).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let gone =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// This machine's release, such as `bookworm` (os-release(5)).
fn suite() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    found.expect("a Debian release with a code name").trim_matches('"').to_owned()
}

fn build(base: &Base, tree: &Path) {
    let mirror = berth_images::machine_mirror(Path::new("/etc/apt")).unwrap();
    let suite = suite();
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let source = format!("deb [signed-by={keyring}] {mirror} {suite} main");
    // In a mount namespace of its own: what it mounts in the tree goes with it, even when it is
    // killed, so that the tree can be removed without reaching anything else.
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "mmdebstrap"]);
    command.args(["--quiet", "--variant=minbase", "--mode=root"]);
    command.arg(format!("--customize-hook={SMALL_INITRD}"));
    command.args([&format!("--include={PACKAGES}"), &suite]);
    let _ = fs::remove_dir_all(tree);
    tools::run(command.arg(tree).arg(source));
    for (path, text) in FILES {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap_or(tree)).unwrap();
        fs::write(path, text).unwrap();
    }
    for unit in MASKED {
        tools::link(tree, &format!("etc/systemd/system/{unit}"), "/dev/null");
    }
    let wants = "etc/systemd/system/multi-user.target.wants";
    tools::link(
        tree,
        &format!("{wants}/systemd-networkd.service"),
        "/lib/systemd/system/systemd-networkd.service",
    );
    // The switch is started by the scenarios that need it: it takes seconds at boot.
    for unit in ["openvswitch-switch.service", "ovs-vswitchd.service"] {
        let _ = fs::remove_file(tree.join(wants).join(unit));
    }
    for dir in ["var/lib/berth", "mnt/share", "var/log/journal"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
    }
    take_out(&tree.join("boot"), "vmlinuz-", &base.kernel.image);
    take_out(&tree.join("boot"), "initrd.img-", &base.kernel.initrd);
    tools::make(tree, &base.root, "berth-root", SIZE);
    fs::remove_dir_all(tree).unwrap();
}

/// Copies the one file whose name begins so.
fn take_out(dir: &Path, prefix: &str, to: &Path) {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let mut found = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    let entry = found.next().unwrap_or_else(|| panic!("no {prefix}… in {}", dir.display()));
    fs::copy(entry.path(), to).unwrap();
}
