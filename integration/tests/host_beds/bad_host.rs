//! A host that lacks what a goal needs: a port, a disk, its own data, an image. Nothing is
//! touched, the reason is told, and it goes on by itself once that is mended.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

use berth_integration::{Bed, Entry, Options, cgroup, image, proc};
use berth_model::{
    EntryKey,
    status::{InstanceState, Phase},
};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use serde_json::json;

use super::send;

#[test]
fn a_port_or_data_of_a_stranger_is_not_touched() {
    let bed = Bed::new();
    let stranger = TcpListener::bind(("127.0.0.1", bed.port(1))).unwrap();
    let entry = |number: u16| Entry::master(&format!("c{number}-db1"), bed.port(number));
    let keep = entry(0);
    bed.goal("keep.json", std::slice::from_ref(&keep));

    let taken = entry(1);
    bed.goal("taken.json", std::slice::from_ref(&taken));
    let unmarked = entry(2);
    let foreign = bed.instance_dir(&unmarked.key()).join("mysql");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("ibdata1"), "precious").unwrap();
    bed.goal("unmarked.json", std::slice::from_ref(&unmarked));

    bed.await_blocked(&taken.key(), &format!("port {} is in use by a stranger", bed.port(1)));
    bed.await_blocked(&unmarked.key(), "not this instance's data and is not touched");
    bed.await_state(&keep.key(), InstanceState::Master);
    for blocked in [&taken, &unmarked] {
        let leaves = cgroup::leaves(bed.name());
        assert!(!leaves.contains(&blocked.key().to_string()), "{leaves:?}");
    }
    assert!(!bed.instance_dir(&taken.key()).exists());
    assert_eq!(fs::read_to_string(foreign.join("ibdata1")).unwrap(), "precious");
    assert_eq!(fs::read_dir(bed.instance_dir(&unmarked.key())).unwrap().count(), 1);
    let shown = String::from_utf8_lossy(&bed.berth(&["status"]).stdout).into_owned();
    assert!(shown.contains("is in use by a stranger"), "{shown}");

    // Mended, both go on by themselves.
    drop(stranger);
    fs::rename(bed.instance_dir(&unmarked.key()), bed.dir().join("moved-away")).unwrap();
    bed.await_converged(&[keep.clone(), taken.clone(), unmarked]);
    stopped(&bed, &taken, 1);
    data_of_another_is_not_served(&bed, &taken, &keep);
    data_of_another_owner_is_not_served(&bed, &taken);
    data_that_vanish_are_not_made_anew(&bed, &keep);
}

/// Stops an instance by its goal.
fn stopped(bed: &Bed, entry: &Entry, number: u16) {
    let file = if number == 0 { "keep.json" } else { "taken.json" };
    bed.goal(file, &[entry.clone().state("stopped")]);
    bed.await_state(&entry.key(), InstanceState::Down);
}

fn data_of_another_is_not_served(bed: &Bed, entry: &Entry, other: &Entry) {
    let marker = bed.instance_dir(&entry.key()).join("marker.json");
    let own = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, own.replace(entry.key().as_str(), other.key().as_str())).unwrap();
    bed.goal("taken.json", std::slice::from_ref(entry));
    bed.await_blocked(&entry.key(), &format!("it is the data of {}", other.key()));
    // Also when it is to be removed: it isn't its own.
    bed.goal("taken.json", &[entry.clone().state("removed")]);
    bed.await_blocked(&entry.key(), &format!("it is the data of {}", other.key()));
    for damaged in ["{", "{}", ""] {
        fs::write(&marker, damaged).unwrap();
        bed.await_instance(&entry.key(), "blocked by a damaged marker", |instance| {
            instance.phase == Phase::Blocked
                && instance.blocked.as_ref().is_some_and(|why| !why.contains("the data of"))
        });
    }
    assert!(bed.instance_dir(&entry.key()).join("mysql/ibdata1").exists());
    bed.goal("taken.json", &[entry.clone().state("stopped")]);
    fs::write(&marker, own).unwrap();
    bed.await_state(&entry.key(), InstanceState::Down);
}

fn data_of_another_owner_is_not_served(bed: &Bed, entry: &Entry) {
    let data = bed.instance_dir(&entry.key()).join("mysql");
    let owner = fs::metadata(&data).map(|meta| {
        use std::os::unix::fs::MetadataExt;
        (meta.uid(), meta.gid())
    });
    let owner = owner.unwrap();
    chown(&data, Some(12_345), Some(12_345)).unwrap();
    bed.goal("taken.json", std::slice::from_ref(entry));
    bed.await_blocked(&entry.key(), "is owned by 12345:12345");
    chown(&data, Some(owner.0), Some(owner.1)).unwrap();
    bed.await_state(&entry.key(), InstanceState::Master);
}

fn data_that_vanish_are_not_made_anew(bed: &Bed, entry: &Entry) {
    bed.sql(&entry.key(), "CREATE DATABASE precious");
    let dir = bed.instance_dir(&entry.key());
    let away = bed.dir().join("unmounted");
    // Under a server that runs: nothing is done to it.
    let pid = bed.pid(&entry.key());
    fs::rename(&dir, &away).unwrap();
    bed.await_blocked(&entry.key(), "its container runs, but");
    assert!(proc::lives(pid));
    // Without a server, as after a reboot with a disk that isn't mounted.
    send(pid, Signal::SIGKILL);
    bed.await_blocked(&entry.key(), "it had data in");
    assert!(!dir.exists(), "nothing is made in its place");
    fs::rename(&away, &dir).unwrap();
    bed.await_state(&entry.key(), InstanceState::Master);
    assert_eq!(bed.sql(&entry.key(), "SHOW DATABASES LIKE 'precious'"), "precious");
}

#[test]
fn a_full_disk_is_told() {
    let mut bed = Bed::with(&Options { template: false, ..Options::default() });
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("berth-test"), &bed.data_dir(), Some("tmpfs"), flags, Some("size=300m")).unwrap();
    bed.start_agent();
    let entry = Entry::master("full-db1", bed.port(0));
    bed.goal("full.json", std::slice::from_ref(&entry));
    let told = bed.await_blocked(&entry.key(), "MiB free, expected at least");
    assert!(told.blocked.unwrap().contains(&bed.data_dir().display().to_string()));
    assert!(!bed.instance_dir(&entry.key()).exists());
    // A limit on a disk that is none.
    bed.goal("full.json", &[entry.data("io", json!({"write_bps": "1MiB/s"}))]);
    bed.await_instance(&key("full-db1"), "blocked", |instance| instance.phase == Phase::Blocked);
}

fn key(name: &str) -> EntryKey {
    berth_integration::goal::key(name)
}

#[test]
fn an_image_that_is_missing_damaged_or_no_servers_is_told() {
    let mut bed = Bed::with(&Options { template: false, own_images: true, ..Options::default() });
    let layout = tiny_image(bed.dir());
    let import = ["image", "import", &layout.display().to_string(), "--tag", "tiny/none:1"];
    let output = bed.berth(&import);
    assert!(output.status.success(), "{output:?}");
    bed.start_agent();
    let with_image = |number: u16, name: &str, image: &str| {
        Entry::master(name, bed.port(number)).data("image", json!(image))
    };
    let missing = Entry::master("missing-db1", bed.port(0));
    let none = with_image(1, "none-db1", "tiny/none:1");
    let misspelt = with_image(2, "misspelt-db1", "Not An Image");
    for entry in [&missing, &none, &misspelt] {
        bed.goal(&format!("{}.json", entry.key()), std::slice::from_ref(entry));
    }
    bed.await_blocked(&missing.key(), &format!("image {} is not on this host", image::REFERENCE));
    bed.await_blocked(&none.key(), "has no mysqld");
    bed.await_status("the name that is none is told", |status| {
        let refused = status.refusals.iter().any(|refusal| refusal.to_string().contains("Not An"));
        let blocked = status.instances.get(&misspelt.key()).and_then(|i| i.blocked.clone());
        refused || blocked.is_some_and(|why| why.contains("Not An"))
    });
    for entry in [&missing, &none, &misspelt] {
        assert!(!bed.instance_dir(&entry.key()).exists());
    }
    assert_eq!(cgroup::leaves(bed.name()), Vec::<String>::new());
}

#[test]
fn a_damaged_layer_is_found_before_it_is_used() {
    let mut bed = Bed::with(&Options { template: false, own_images: true, ..Options::default() });
    let layout = tiny_image(bed.dir());
    let name = "tiny/damaged:1";
    let output = bed.berth(&["image", "import", &layout.display().to_string(), "--tag", name]);
    assert!(output.status.success(), "{output:?}");
    let layer = largest_blob(&bed.dir().join("images/blobs"));
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    bed.start_agent();
    let entry = Entry::master("damaged-db1", bed.port(0)).data("image", json!(name));
    bed.goal("damaged.json", std::slice::from_ref(&entry));
    let told = bed.await_instance(&entry.key(), "blocked by its image", |instance| {
        instance.blocked.as_ref().is_some_and(|why| why.contains("unpack"))
    });
    eprintln!("a damaged layer: {:?}", told.blocked);
    let digest = layer.file_name().unwrap().to_string_lossy().into_owned();
    assert!(told.blocked.unwrap().contains(&digest), "the reason must name the blob");
    assert!(!bed.instance_dir(&entry.key()).exists());
    let trees = fs::read_dir(bed.dir().join("images/trees")).into_iter().flatten().count();
    assert_eq!(trees, 0, "nothing of it is unpacked");
}

/// An OCI layout with an image that holds no server, made by another tool.
pub(super) fn tiny_image(dir: &Path) -> PathBuf {
    let content = dir.join("content");
    fs::create_dir(&content).unwrap();
    // A multiple of 512 bytes: umoci 0.4.7 does not fill the last block of a layer.
    let line = |number: u32| format!("{:07x}\n", number.wrapping_mul(2_654_435_761) >> 4);
    let text: String = (0..20_480).map(line).collect();
    fs::write(content.join("file"), text).unwrap();
    let layout = dir.join("layout");
    let image = format!("{}:tiny", layout.display());
    let umoci = |arguments: &[&str]| {
        let output = Command::new("umoci").args(arguments).output();
        let output = output.expect("umoci is missing: install umoci");
        assert!(output.status.success(), "umoci {arguments:?}: {output:?}");
    };
    umoci(&["init", "--layout", &layout.display().to_string()]);
    umoci(&["new", "--image", &image]);
    umoci(&["insert", "--image", &image, &content.display().to_string(), "/content"]);
    layout
}

fn largest_blob(dir: &Path) -> PathBuf {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            match entry.metadata().unwrap() {
                meta if meta.is_dir() => dirs.push(entry.path()),
                meta => found.push((meta.len(), entry.path())),
            }
        }
    }
    found.into_iter().max().expect("a blob").1
}
