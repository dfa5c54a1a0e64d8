//! Unpack, judged by umoci; and layers that mean harm.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;

use berth_images::{Image, ImageError, Limits, NoProgress, Store, Tree};
use common::{Layer, Layout, Meta, Pack, chain, mode, reference, scratch, snapshot, store};
use tar::EntryType;

fn import(store: &Store, layout: &Layout) -> Image {
    store
        .import(&layout.path, &reference(), &NoProgress)
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn unpack(store: &Store, layout: &Layout) -> Tree {
    let image = import(store, layout);
    store.unpack(&image, &NoProgress).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// Unpacks layers that must be refused, and gives the reason.
fn refused(layers: Vec<Layer>) -> String {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layers: Vec<_> = layers.into_iter().map(|layer| (Pack::Plain, layer.finish())).collect();
    let layout = Layout::write(&scratch.path().join("layout"), &layers);
    let image = import(&store, &layout);
    let error = store.unpack(&image, &NoProgress).expect_err("the layer was not refused");
    assert_eq!(store.tree(&image).unwrap(), None);
    assert_eq!(fs::read_dir(store.root().join("trees")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    chain(&error)
}

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
        .dir(&format!("deep/{}", "n".repeat(120)))
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
fn absolute_names_and_links_stay_inside() {
    common::require_root();
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let out = outside.to_str().unwrap();
    let layer = Layer::new()
        .file("/etc/absolute", b"1")
        .symlink("up", "../../../../../../../..")
        .file("up/through-up", b"2")
        .dir(&out[1..])
        .symlink("abs", out)
        .file("abs/written", b"3")
        .hard_link("abs/linked", "etc/absolute");
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.finish())]);
    let tree = unpack(&store(&scratch), &layout);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "written outside the tree");
    let inside = tree.root.join(&out[1..]);
    assert_eq!(fs::read(inside.join("written")).unwrap(), b"3");
    assert_eq!(fs::read(inside.join("linked")).unwrap(), b"1");
    assert_eq!(fs::read(tree.root.join("through-up")).unwrap(), b"2");
    assert_eq!(fs::read(tree.root.join("etc/absolute")).unwrap(), b"1");
}

#[test]
fn a_file_over_a_symbolic_link_replaces_the_link() {
    common::require_root();
    let scratch = scratch();
    let victim = scratch.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let target = victim.to_str().unwrap();
    let layer = Layer::new()
        .symlink("a", target)
        .member(EntryType::Regular, "a", "", b"new", &mode(0o777))
        .symlink("d", scratch.path().to_str().unwrap())
        .member(EntryType::Directory, "d", "", b"", &mode(0o777))
        .symlink("f", target)
        .member(EntryType::Fifo, "f", "", b"", &mode(0o777));
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.finish())]);
    let tree = unpack(&store(&scratch), &layout);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::read(tree.root.join("a")).unwrap(), b"new");
    assert!(fs::symlink_metadata(tree.root.join("d")).unwrap().is_dir());
}

#[test]
fn whiteouts_never_reach_outside() {
    common::require_root();
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    let out = outside.to_str().unwrap();
    let first = Layer::new().symlink("abs", out).symlink("up", "../../../../../..");
    let second = Layer::new()
        .whiteout("abs/", "kept")
        .file("abs/.wh..wh..opq", b"")
        .whiteout(&format!("up{out}/"), "kept");
    let layers = [(Pack::Plain, first.finish()), (Pack::Plain, second.finish())];
    let layout = Layout::write(&scratch.path().join("layout"), &layers);
    unpack(&store(&scratch), &layout);
    assert!(outside.join("kept").exists());
}

#[test]
fn hostile_members_are_refused_and_named() {
    let victim = "../../../../../../etc/hostname";
    for (layer, words) in [
        (Layer::new().file("a/../../b", b""), "a/../../b"),
        (Layer::new().file("..", b""), "with .. in it"),
        (Layer::new().hard_link("a", victim), "with .. in it"),
        (Layer::new().hard_link("a", "/none"), "the target of the hard link is not there"),
        (Layer::new().symlink("l", "/none").hard_link("a", "l/x"), "hard link is not there"),
        (Layer::new().hard_link("a", "a"), "hard link is not there"),
        (Layer::new().file(".wh...", b""), "a whiteout must name"),
        (Layer::new().file(".wh.", b""), "a whiteout must name"),
        (Layer::new().file("a\0b", b""), "zero byte"),
        (Layer::new().symlink("./", "x"), "root of an image must be a directory"),
        (Layer::new().symlink("l", "/none").file("l/x", b""), "leads to no directory"),
        (Layer::new().file("f", b"").file("f/x", b""), "it stands in a file"),
        (
            Layer::new().file(&"d/".repeat(600), b"").file(&format!("{}f", "d/".repeat(600)), b""),
            "512 deep",
        ),
        (Layer::new().member(EntryType::GNUSparse, "s", "", b"", &mode(0o600)), "sparse"),
    ] {
        let error = refused(vec![layer]);
        assert!(error.contains(words), "expected {words:?} in {error:?}");
    }
}

#[test]
fn attributes_of_the_host_are_left_to_it() {
    common::require_root();
    let scratch = scratch();
    let marks = Meta {
        xattrs: vec![
            ("trusted.overlay.opaque".into(), b"y".to_vec()),
            ("user.overlay.whiteout".into(), b"y".to_vec()),
            ("user.kept".into(), b"y".to_vec()),
        ],
        ..mode(0o755)
    };
    let layer = Layer::new().member(EntryType::Directory, "d", "", b"", &marks);
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.finish())]);
    let tree = unpack(&store(&scratch), &layout);
    let names: Vec<_> = xattr::list(tree.root.join("d")).unwrap().collect();
    assert_eq!(names, ["user.kept"]);
}

#[test]
fn bombs_are_stopped() {
    common::require_root();
    for (limits, words) in [
        (Limits { entries: 2, ..Limits::default() }, "more than 2 entries"),
        (Limits { unpacked_bytes: 1 << 20, ..Limits::default() }, "more than 1048576 bytes"),
        (Limits { layers: 0, ..Limits::default() }, "more than 0 layers"),
    ] {
        let scratch = scratch();
        // The bounds of this store, after an import under the usual ones.
        let layer = Layer::new().dir("a").dir("b").file("zeros", &vec![0; 4 << 20]);
        let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Gzip, layer.finish())]);
        let image = import(&store(&scratch), &layout);
        let tight = Store::open_with(scratch.path().join("store"), limits).unwrap();
        let error = chain(&tight.unpack(&image, &NoProgress).unwrap_err());
        assert!(error.contains(words), "expected {words:?} in {error:?}");
        assert_eq!(tight.tree(&image).unwrap(), None);
    }
}

#[test]
fn a_blob_damaged_in_the_store_is_found_while_it_streams() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layer = Layer::new().file("a", &vec![1; 100_000]).finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Plain, layer.clone())]);
    let image = import(&store, &layout);
    let blob = store.root().join("blobs/sha256").join(layout.layers[0].hex());
    let mut damaged = layer.clone();
    damaged[50_000] ^= 1;
    for bytes in [&damaged[..], &layer[..60_000]] {
        fs::write(&blob, bytes).unwrap();
        let error = store.unpack(&image, &NoProgress).unwrap_err();
        let named = chain(&error).contains(&layout.layers[0].hex());
        assert!(named, "{}", chain(&error));
        assert_eq!(store.tree(&image).unwrap(), None);
    }
    // Other bytes that unpack to the same: a gzip header's time.
    let mut dated = Pack::Gzip.pack(&layer);
    dated[4] ^= 1;
    fs::write(&blob, &dated).unwrap();
    let error = store.unpack(&image, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::WrongDigest { .. }), "{}", chain(&error));
    // A new import puts it right.
    import(&store, &layout);
    assert!(store.unpack(&image, &NoProgress).unwrap().root.join("a").exists());
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_no_tree() {
    common::require_root();
    let scratch = scratch();
    let store = store(&scratch);
    let layer = Layer::new().file("a", b"").finish();
    let layout = Layout::write(&scratch.path().join("layout"), &[(Pack::Gzip, layer)]);
    let mut image = import(&store, &layout);
    // An import would have refused it; a store may be older than its checks.
    image.layers[0].diff_id = layout.manifest;
    let error = store.unpack(&image, &NoProgress).unwrap_err();
    assert!(matches!(error, ImageError::WrongDiffId { .. }), "{}", chain(&error));
    assert_eq!(store.tree(&image).unwrap(), None);
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
