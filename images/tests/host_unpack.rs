//! Unpack, judged by umoci; and several that unpack at once.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use berth_images::{ImageError, Limits, NoProgress, Store, Tree};
use common::{Layer, Layout, Meta, Pack, chain, import, mode, scratch, snapshot, store, unpack};
use tar::EntryType;

/// A vfs_cap_data of revision 2 (capability.h) whose bytes hold a newline.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn described(name: &str) -> Meta {
    Meta { xattrs: vec![(name.into(), b"1".to_vec())], ..mode(0o755) }
}

fn every_kind() -> Layer {
    let long = format!("deep/{}/{}", "n".repeat(120), "m".repeat(200));
    let owned =
        Meta { uid: 1001, gid: 2_000_000, mtime: "1234567890.123456789".into(), ..mode(0o640) };
    let marked = Meta { xattrs: vec![("trusted.berth".into(), b"link".to_vec())], ..mode(0o777) };
    let with_xattrs = Meta {
        mode: 0o4755,
        xattrs: vec![
            ("user.text".into(), b"plain".to_vec()),
            ("user.binary".into(), b"a\nb=c\0d\n".to_vec()),
            ("security.capability".into(), CAPABILITY.to_vec()),
        ],
        ..Meta::default()
    };
    Layer::new()
        .member(EntryType::Directory, "./", "", b"", &mode(0o755))
        .dir("usr/")
        .dir("usr/bin/")
        .member(EntryType::Directory, "tmp/", "", b"", &mode(0o1777))
        .member(EntryType::Regular, "usr/bin/tool", "", b"#!tool", &with_xattrs)
        .member(EntryType::Regular, "owned", "", &vec![7; 3_000_000], &owned)
        .member(
            EntryType::Regular,
            "before-1970",
            "",
            b"",
            &Meta { mtime: "-1.25".into(), ..mode(0o600) },
        )
        .symlink("bin", "usr/bin")
        .member(EntryType::Symlink, "marked-link", "/no/where", b"", &marked)
        .member(
            EntryType::Symlink,
            "dangling",
            "/no/where",
            b"",
            &Meta { uid: 5, gid: 6, ..mode(0o777) },
        )
        .hard_link("usr/bin/same", "usr/bin/tool")
        .hard_link("also", "bin/tool")
        .member(EntryType::Fifo, "fifo", "", b"", &mode(0o622))
        .member(EntryType::Char, "null", "", b"", &mode(0o666))
        .member(EntryType::Block, "block", "", b"", &Meta { gid: 6, ..mode(0o660) })
        .dir("deep")
        .dir(format!("deep/{}", "n".repeat(120)))
        .file(&long, b"long name")
        .dir("gone")
        .file("gone/a", b"a")
        .dir("opaque")
        .file("opaque/low", b"low")
        .file("replaced", b"old")
        .dir("becomes-file")
        .file("becomes-file/x", b"x")
        .file("becomes-dir", b"x")
        .member(EntryType::Directory, "retouched", "", b"", &described("user.old"))
}

fn second_layer() -> Layer {
    let retouched =
        Meta { uid: 3, mtime: "1500000000.5".into(), mode: 0o2750, ..described("user.new") };
    Layer::new()
        .whiteout("", "gone")
        .dir("opaque")
        .file("opaque/high", b"high")
        .file("opaque/.wh..wh..opq", b"")
        .file("replaced", b"new")
        .file("becomes-file", b"file")
        .dir("becomes-dir")
        .file("becomes-dir/y", b"y")
        .member(EntryType::Directory, "retouched", "", b"", &retouched)
        .file("bin/through-link", b"in usr/bin")
        .whiteout("usr/bin/", "same")
}

#[test]
fn a_tree_is_what_umoci_makes_of_the_same_layout() {
    common::require_root();
    common::require_tool("umoci");
    let scratch = scratch();
    let layers = [(Pack::Gzip, every_kind().finish()), (Pack::Plain, second_layer().finish())];
    let layout = Layout::write(&scratch.path().join("layout"), &layers);
    let bundle = scratch.path().join("bundle");
    let image = format!("{}:1", layout.path.display());
    common::run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let ours = snapshot(&unpack(&store(&scratch), &layout).root);
    let theirs = snapshot(&bundle.join("rootfs"));
    assert!(ours.len() > 20);
    assert_eq!(ours, theirs);
}

#[test]
fn compression_makes_no_difference() {
    common::require_root();
    let mut trees = Vec::new();
    let scratch = scratch();
    for (name, pack) in [("plain", Pack::Plain), ("gzip", Pack::Gzip), ("zstd", Pack::Zstd)] {
        let store = Store::open(scratch.path().join(name).join("store")).unwrap();
        let layout = Layout::write(
            &scratch.path().join(name).join("layout"),
            &[(pack, every_kind().finish())],
        );
        trees.push(snapshot(&unpack(&store, &layout).root));
    }
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
}

#[test]
fn many_unpackers_make_one_tree() {
    common::require_root();
    let scratch = scratch();
    let layer = Layer::new().file("a", &vec![1; 4_000_000]).finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Gzip, layer)]);
    let image = import(&store(&scratch), &layout);
    let barrier = Barrier::new(8);
    let trees: Vec<Tree> = std::thread::scope(|scope| {
        let unpackers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    // A store of its own, as another process has.
                    let store = store(&scratch);
                    barrier.wait();
                    store.unpack(&image, &NoProgress).unwrap()
                })
            })
            .collect();
        unpackers.into_iter().map(|unpacker| unpacker.join().unwrap()).collect()
    });
    assert!(trees.iter().all(|tree| *tree == trees[0]));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let before = inode(&trees[0].root);
    store(&scratch).unpack(&image, &NoProgress).unwrap();
    assert_eq!(inode(&trees[0].root), before, "unpacked again");
    assert_eq!(fs::read_dir(scratch.path().join("store/tmp")).unwrap().count(), 0);
}

#[test]
fn waiting_for_another_unpacker_ends() {
    common::require_root();
    let scratch = scratch();
    let layer = Layer::new().file("a", b"").finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer)]);
    let image = import(&store(&scratch), &layout);
    let limits = Limits { unpack_wait: std::time::Duration::from_millis(50), ..Limits::default() };
    let hasty = Store::open_with(scratch.path().join("store"), limits).unwrap();
    let lock = fs::File::create(scratch.path().join("store/locks").join(image.config_digest.hex()));
    let lock = nix::fcntl::Flock::lock(lock.unwrap(), nix::fcntl::FlockArg::LockExclusive).unwrap();
    let error = hasty.unpack(&image, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::Locked { .. }), "{}", chain(&error));
    drop(lock);
    hasty.unpack(&image, &NoProgress).unwrap();
}

#[test]
fn users_and_programs_are_found_within_the_tree() {
    common::require_root();
    let scratch = scratch();
    let passwd =
        b"root:x:0:0:root:/root:/bin/sh\n# not a line\nmysql:x:1001:1002::/var/lib/mysql:/x\n";
    let layer = Layer::new()
        .file("usr/etc/passwd", passwd)
        .symlink("etc", "/usr/etc")
        .symlink("usr/bin", "/opt/bin")
        .member(EntryType::Regular, "opt/bin/tool", "", b"", &mode(0o755))
        .file("usr/sbin/plain", b"")
        .dir("usr/sbin/directory")
        .symlink("usr/sbin/host-sh", "../../../../../../../../bin/sh");
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.finish())]);
    let tree = unpack(&store(&scratch), &layout);
    let user = tree.user("mysql").unwrap().unwrap();
    assert_eq!((user.uid, user.gid, user.home.to_str()), (1001, 1002, Some("/var/lib/mysql")));
    assert_eq!(tree.user("nobody").unwrap(), None);
    assert_eq!(tree.find_executable("tool").unwrap(), Some("/usr/bin/tool".into()));
    for absent in ["plain", "directory", "host-sh", "mysqld", "../opt/bin/tool", ""] {
        assert_eq!(tree.find_executable(absent).unwrap(), None, "{absent}");
    }
}
