//! Instances on disks of their own that fill up, can't be written, don't answer, or go away:
//! what is told, what goes on beside them, and how they come back. The disks are file systems
//! of ext4 in files, by loop devices.

use std::{
    fs::{self, File},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use berth_integration::{Bed, Entry, Options, PATIENCE, proc, until};
use berth_model::{
    EntryKey,
    status::{DiskKind, InstanceState, InstanceStatus, Phase},
};
use nix::{
    fcntl::{FallocateFlags, fallocate},
    sys::{
        signal::Signal,
        stat::Mode,
        statvfs::{FsFlags, statvfs},
    },
    unistd::mkfifo,
};
use serde_json::json;

use super::send;

/// Room for a server's data, and for what making it needs at least.
const DISK_BYTES: u64 = 1200 << 20;

/// A file system in a file, to be mounted at an instance's directory.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn make(bed: &Bed, key: &EntryKey) -> Self {
        let image = bed.dir().join(format!("{key}.img"));
        File::create(&image).unwrap().set_len(DISK_BYTES).unwrap();
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-m", "0"]).arg(&image));
        let disk = Self { image, at: bed.instance_dir(key) };
        fs::create_dir(&disk.at).unwrap();
        disk.mount();
        disk
    }

    fn mount(&self) {
        let options = ["-o", "loop,errors=remount-ro"];
        run(Command::new("mount").args(options).arg(&self.image).arg(&self.at));
    }

    fn unmount(&self) {
        run(Command::new("umount").arg(&self.at));
        self.await_release();
    }

    /// The kernel gives a file system up a little after its last mount, which may be that of a
    /// container that has just ended; until then another mount would find it as it was.
    fn await_release(&self) {
        let free = until(PATIENCE, || {
            let output = Command::new("losetup").arg("-j").arg(&self.image).output().unwrap();
            output.stdout.is_empty().then_some(())
        });
        assert!(free.is_some(), "something holds the file system of {}", self.image.display());
    }

    fn remount(&self, options: &str) {
        run(Command::new("mount").args(["-o", options]).arg(&self.at));
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Leaves so much room for others than root, or less.
    fn fill(&self, left: u64) {
        let room = statvfs(&self.at).unwrap();
        let free = room.blocks_available() * room.fragment_size();
        let file = File::create(self.filler()).unwrap();
        let length = i64::try_from(free - left).unwrap();
        fallocate(&file, FallocateFlags::empty(), 0, length).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    /// The device, by another tool.
    fn device(&self) -> String {
        let at = self.at.display().to_string();
        let output = Command::new("findmnt").args(["-n", "-o", "SOURCE", &at]).output().unwrap();
        let source = String::from_utf8(output.stdout).unwrap();
        source.trim().trim_start_matches("/dev/").to_owned()
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {error}", output.status);
}

/// Two servers that have nothing to do with each other, the first on a disk of its own.
struct Scene {
    bed: Bed,
    disk: Disk,
    entries: [Entry; 2],
}

impl Scene {
    fn new() -> Self {
        let mut bed = Bed::with(&Options::default());
        let entries =
            [Entry::master("own-db1", bed.port(0)), Entry::master("other-db1", bed.port(1))];
        let disk = Disk::make(&bed, &entries[0].key());
        bed.start_agent();
        bed.goal("all.json", &entries);
        bed.await_converged(&entries);
        let scene = Self { bed, disk, entries };
        let table = "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY, b LONGBLOB)";
        for entry in &scene.entries {
            scene.bed.sql(&entry.key(), table);
        }
        scene
    }

    fn key(&self) -> EntryKey {
        self.entries[0].key()
    }

    fn blocked(&self, why: &str) -> InstanceStatus {
        let told = self.bed.await_blocked(&self.key(), why);
        eprintln!("told: {}", told.blocked.as_deref().unwrap_or_default());
        self.the_other_goes_on();
        told
    }

    /// The other instance is converged and commits, and the status is told in time.
    fn the_other_goes_on(&self) {
        let key = self.entries[1].key();
        let begun = Instant::now();
        let other = self.bed.status().instances[&key].clone();
        eprintln!("figure: status answers beside it in {:?}", begun.elapsed());
        assert_eq!(other.phase, Phase::Converged, "{other:?}");
        self.bed.sql(&key, "REPLACE INTO app.t VALUES (1, REPEAT('a', 1000))");
    }

    fn comes_back(&self) {
        self.bed.await_state(&self.key(), InstanceState::Master);
        self.bed.sql(&self.key(), "REPLACE INTO app.t VALUES (0, 'written again')");
    }
}

#[test]
fn a_disk_of_an_instances_own_fails_alone() {
    let mut scene = Scene::new();
    it_is_named(&scene);
    it_fills_up(&scene);
    its_server_ends_while_it_is_full(&scene);
    it_is_mounted_read_only(&scene);
    its_file_system_fails(&scene);
    it_does_not_answer(&mut scene);
    it_is_not_mounted(&scene);
    it_is_removed(&scene);
}

fn it_is_named(scene: &Scene) {
    let (bed, key) = (&scene.bed, scene.key());
    let disk = bed.status().instances[&key].disk.clone().expect("its disk");
    let device = disk.device.clone().expect("its device");
    assert_eq!((&device.name, device.kind), (&scene.disk.device(), DiskKind::Disk));
    let number = fs::read_to_string(format!("/sys/block/{}/dev", device.name)).unwrap();
    assert_eq!(device.number, number.trim());
    assert_eq!((disk.file_system.as_str(), disk.read_only), ("ext4", false));
    assert_eq!(disk.path, scene.disk.at.display().to_string());
    assert_eq!(disk.mount_point, disk.path);
    assert!(disk.total_bytes < DISK_BYTES && disk.free_bytes < disk.total_bytes);
    let other = bed.status().instances[&scene.entries[1].key()].disk.clone().unwrap();
    assert_ne!(other.device, disk.device);
    let shown = bed.berth(&["status", key.as_str()]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("{} ({}, disk), ext4", device.name, device.number)), "{shown}");
    let limited = scene.entries[0].clone().data("io", json!({ "write_bps": "200MiB/s" }));
    bed.goal("all.json", &[limited, scene.entries[1].clone()]);
    bed.await_instance(&key, "a limit on its own disk", |instance| {
        instance.phase == Phase::Converged
    });
    let set = until(PATIENCE, || {
        let usage = bed.status().instances[&key].usage.clone();
        usage.io_max.starts_with(&format!("{} wbps", device.number)).then_some(())
    });
    assert!(set.is_some(), "{:?}", bed.status().instances[&key].usage.io_max);
    bed.goal("all.json", &scene.entries);
    bed.await_converged(&scene.entries);
}

fn it_fills_up(scene: &Scene) {
    let key = scene.key();
    let pid = scene.bed.pid(&key);
    scene.disk.fill(6 << 20);
    let told = scene.blocked("is full, with");
    assert_eq!(told.state, InstanceState::Master);
    scene.disk.make_room();
    scene.comes_back();
    assert_eq!(scene.bed.pid(&key), pid, "the server was left alone");
}

fn its_server_ends_while_it_is_full(scene: &Scene) {
    let key = scene.key();
    scene.disk.fill(1 << 20);
    scene.blocked("is full, with");
    let pid = scene.bed.pid(&key);
    send(pid, Signal::SIGKILL);
    let told = scene.blocked("so no server is started on it; make room");
    let exit = told.last_exit.unwrap();
    assert!(exit.contains("is full, with"), "{exit}");
    eprintln!("its server ended by {exit}");
    scene.disk.make_room();
    scene.comes_back();
}

fn it_is_mounted_read_only(scene: &Scene) {
    let key = scene.key();
    // As the host sees it; the server's own mount of the same file system stays as it was.
    scene.disk.remount("remount,bind,ro");
    scene.blocked("is mounted read-only under its server");
    assert!(scene.bed.status().instances[&key].disk.as_ref().unwrap().read_only);
    send(scene.bed.pid(&key), Signal::SIGKILL);
    let told = scene.blocked("is mounted read-only, so no server is started on it");
    assert!(told.last_exit.unwrap().contains("is read-only"));
    scene.disk.remount("remount,bind,rw");
    scene.comes_back();
}

/// As after an error of the disk: the kernel lets nothing be written any more.
fn its_file_system_fails(scene: &Scene) {
    let (bed, key) = (&scene.bed, scene.key());
    let trigger = format!("/sys/fs/ext4/{}/trigger_fs_error", scene.disk.device());
    fs::write(&trigger, "berth's test").unwrap();
    let flags = statvfs(&scene.disk.at).unwrap().flags();
    eprintln!("after its error statvfs says read-only: {}", flags.contains(FsFlags::ST_RDONLY));
    let refused = berth_agent::data::refuses_writes(&scene.disk.at);
    assert!(refused, "what is in use no more is known whatever its mount says");
    scene.blocked("read-only");
    let wrote = bed.ask(&key, "REPLACE INTO app.t VALUES (0, 'to a failed disk')");
    eprintln!("a write to a failed file system: {wrote:?}");
    if let Some(pid) =
        bed.document().unwrap().instances[&key].container.as_ref().and_then(|c| c.pid)
        && proc::lives(pid)
    {
        send(pid, Signal::SIGKILL);
    }
    let told = scene.blocked("no server is started on it");
    eprintln!("its server ended by {}", told.last_exit.unwrap_or_default());
    scene.disk.unmount();
    // Ends with 1 when it has corrected something, fsck(8).
    let checked = Command::new("e2fsck").args(["-f", "-y"]).arg(&scene.disk.image).output();
    assert!(checked.unwrap().status.code().is_some_and(|code| code <= 1));
    scene.disk.mount();
    scene.comes_back();
}

/// A marker that is a FIFO hangs whoever reads it, as a disk that does not answer would.
fn it_does_not_answer(scene: &mut Scene) {
    let key = scene.key();
    let [marker, kept, pipe] =
        ["marker.json", "marker.kept", "pipe"].map(|n| scene.disk.at.join(n));
    let pid = scene.bed.pid(&key);
    fs::rename(&marker, &kept).unwrap();
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    fs::hard_link(&pipe, &marker).unwrap();
    let told = scene.blocked("its disk has not answered for");
    assert_eq!(told.state, InstanceState::Master, "its server still answers");
    scene.bed.end_agent(Signal::SIGTERM);
    let begun = Instant::now();
    scene.bed.start_agent();
    eprintln!("figure: an agent starts beside a disk that hangs in {:?}", begun.elapsed());
    let told = scene.blocked("its disk has not answered for");
    assert_eq!((told.retry, told.crashes), (None, told.crashes));
    fs::rename(&kept, &marker).unwrap();
    release(&pipe);
    fs::remove_file(&pipe).unwrap();
    scene.comes_back();
    assert_eq!(scene.bed.pid(&key), pid, "the server was left alone");
}

/// Whoever waits for a writer gets one, that says nothing.
fn release(pipe: &Path) {
    let writer = File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(pipe);
    drop(writer.expect("someone waits for a writer"));
}

fn it_is_not_mounted(scene: &Scene) {
    let key = scene.key();
    send(scene.bed.agent().pid(), Signal::SIGSTOP);
    send(scene.bed.pid(&key), Signal::SIGKILL);
    let gone = until(PATIENCE, || {
        let unmounted = Command::new("umount").arg(&scene.disk.at).output().unwrap();
        unmounted.status.success().then_some(())
    });
    assert!(gone.is_some(), "it can't be unmounted");
    scene.disk.await_release();
    send(scene.bed.agent().pid(), Signal::SIGCONT);
    scene.blocked("none is mounted there now; mount it");
    assert_eq!(fs::read_dir(&scene.disk.at).unwrap().count(), 0, "nothing is made in its place");
    scene.disk.mount();
    scene.comes_back();
}

fn it_is_removed(scene: &Scene) {
    let (bed, key) = (&scene.bed, scene.key());
    let [own, other] = &scene.entries;
    bed.goal("all.json", &[own.clone().state("removed"), other.clone()]);
    scene.blocked("unmount it (`umount ");
    assert_eq!(bed.trash(), Vec::<PathBuf>::new());
    scene.disk.unmount();
    bed.await_state(&key, InstanceState::Removed);
    scene.disk.mount();
    assert!(bed.marker(&key).is_some() && scene.disk.at.join("mysql/app/t.ibd").exists());
    scene.the_other_goes_on();
}
