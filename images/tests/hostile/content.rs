//! Special nodes and attributes; sizes and counts.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use berth_images::Limits;
use tar::EntryType;

use super::{Case, Make, Outcome, refused, tree};
use crate::common::{Layer, Meta, Pack, header, mode};

fn with(name: &str, value: &[u8]) -> Meta {
    Meta { xattrs: vec![(name.into(), value.to_vec())], ..mode(0o755) }
}

pub(crate) const NODES: &[Make] = &[
    |_| {
        // The helpers' device is 1:3. A container's root is read-only, and its
        // cgroup lets it open no device that the runtime does not name.
        let layer = Layer::new().member(EntryType::Char, "char", "", b"", &mode(0o666)).member(
            EntryType::Block,
            "block",
            "",
            b"",
            &mode(0o660),
        );
        tree("device nodes are made, out of others' reach", vec![layer], |tree, _| {
            let device = fs::symlink_metadata(tree.root.join("char")).unwrap();
            assert!(device.file_type().is_char_device() && device.rdev() == 0x103);
            let device = fs::symlink_metadata(tree.root.join("block")).unwrap();
            assert!(device.file_type().is_block_device() && device.mode() & 0o7777 == 0o660);
        })
    },
    |_| {
        let owned = Meta { uid: 1001, gid: 1001, ..mode(0o6755) };
        let layer = Layer::new().member(EntryType::Regular, "program", "", b"x", &owned);
        tree("set-id bits are kept, out of others' reach", vec![layer], |tree, _| {
            let program = fs::metadata(tree.root.join("program")).unwrap();
            assert_eq!((program.mode() & 0o7777, program.uid()), (0o6755, 1001));
        })
    },
    |_| {
        let layer = Layer::new()
            .member(EntryType::Directory, "d", "", b"", &with("trusted.overlay.opaque", b"y"))
            .member(EntryType::Directory, "e", "", b"", &with("user.overlay.whiteout", b"y"))
            .member(EntryType::Directory, "f", "", b"", &with("security.selinux", b"y"))
            .member(EntryType::Directory, "g", "", b"", &with("user.kept", b"y"));
        tree("attributes of the host are left to it", vec![layer], |tree, _| {
            let names = |name: &str| xattr::list(tree.root.join(name)).unwrap().collect::<Vec<_>>();
            assert!(["d", "e", "f"].iter().all(|name| names(name).is_empty()));
            assert_eq!(names("g"), ["user.kept"]);
        })
    },
    |_| {
        let layer = Layer::new().member(
            EntryType::Regular,
            "a",
            "",
            b"",
            &with("user.large", &vec![1; 80 << 10]),
        );
        refused("an attribute larger than the kernel takes", layer, "fsetxattr failed")
    },
    |_| {
        let layer = Layer::new().member(EntryType::Fifo, "etc/passwd", "", b"", &mode(0o644));
        tree("a fifo where a file is looked for", vec![layer], |tree, _| {
            // An error, where a reader that waits for a writer would hang.
            tree.user("mysql").unwrap_err();
        })
    },
    |_| {
        let meta = Meta { uid: 1 << 33, ..Meta::default() };
        let mut head = header(EntryType::Regular, 0, &meta);
        head.set_path("a").unwrap();
        refused("an owner that is no 32-bit number", Layer::new().raw(head, b""), "out of range")
    },
    |_| {
        let name: &[u8] = b"not-\xff\xfe-utf8\n";
        let layer = Layer::new().file(name, b"1");
        tree("a name that is not UTF-8", vec![layer], |tree, _| {
            let path = tree.root.join(OsStr::from_bytes(b"not-\xff\xfe-utf8\n"));
            assert_eq!(fs::read(path).unwrap(), b"1");
        })
    },
    |_| {
        let layer = Layer::new()
            .file("a", b"first")
            .file("a", b"second")
            .dir("b")
            .file("b/x", b"")
            .file("b", b"file")
            .symlink("c", "a")
            .dir("c")
            .file("c/x", b"");
        tree("of entries with one name the last counts", vec![layer], |tree, _| {
            assert_eq!(fs::read(tree.root.join("a")).unwrap(), b"second");
            assert_eq!(fs::read(tree.root.join("b")).unwrap(), b"file");
            assert!(tree.root.join("c/x").exists());
        })
    },
];

fn bounded(
    name: &'static str,
    layers: Vec<(Pack, Vec<u8>)>,
    limits: Limits,
    words: &'static str,
) -> Case {
    Case { name, layers, limits, expected: Outcome::Refused(words) }
}

/// 64 MiB of zeros, which compress to next to nothing.
fn bomb(name: &'static str, pack: Pack) -> Case {
    let layer = Layer::new().file("zeros", &vec![0; 64 << 20]).finish();
    assert!(pack.pack(&layer).len() < 1 << 20);
    let limits = Limits { unpacked_bytes: 16 << 20, ..Limits::default() };
    bounded(name, vec![(pack, layer)], limits, "more than 16777216 bytes unpacked")
}

pub(crate) const SIZES: &[Make] = &[
    |_| bomb("a bomb of gzip", Pack::Gzip),
    |_| bomb("a bomb of zstd", Pack::Zstd),
    |_| {
        // 512 MB of headers that take some 50 KB.
        let mut head = header(EntryType::Regular, 0, &Meta::default());
        head.set_path("a").unwrap();
        head.set_cksum();
        let layer = head.as_bytes().repeat(1_000_000);
        let limits = Limits { entries: 5_000, ..Limits::default() };
        bounded("a million entries", vec![(Pack::Zstd, layer)], limits, "more than 5000 entries")
    },
    |_| {
        let layers = (0..9).map(|_| (Pack::Plain, Layer::new().dir("a").finish())).collect();
        let limits = Limits { layers: 8, ..Limits::default() };
        bounded("too many layers", layers, limits, "more than 8 layers")
    },
    |_| {
        let mut head = header(EntryType::Regular, 0, &Meta::default());
        head.set_path("sparse").unwrap();
        head.set_size(1 << 62);
        refused("a huge file that is not there", Layer::new().raw(head, b""), "cannot read")
    },
    |_| {
        let layer = Layer::new()
            .pax(&[("size", u64::MAX.to_string()), ("path", "a".to_owned())])
            .raw(header(EntryType::Regular, 0, &Meta::default()), b"");
        refused("a size next to overflow", layer, "size out of range")
    },
    |_| {
        let layer = Layer::new().member(EntryType::GNUSparse, "s", "", b"", &mode(0o600));
        refused("a sparse file of old GNU tar", layer, "sparse members are not read")
    },
    |_| {
        let layer = Layer::new()
            .pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "1099511627776")])
            .raw(header(EntryType::Regular, 0, &Meta::default()), b"");
        refused("a sparse file of pax", layer, "sparse members are not read")
    },
    |_| {
        let (fits, path) = ("n".repeat(255), format!("{}f", "d/".repeat(500)));
        let layer = Layer::new().file(&fits, b"1").file(&path, b"2");
        tree("the longest names that fit", vec![layer], |tree, _| {
            assert_eq!(fs::read(tree.root.join("n".repeat(255))).unwrap(), b"1");
            let deep = tree.root.join(format!("{}f", "d/".repeat(500)));
            assert_eq!(fs::read(deep).unwrap(), b"2");
        })
    },
    |_| refused("a long name", Layer::new().file("n".repeat(256), b""), "more than 255 bytes"),
    |_| refused("a long path", Layer::new().file("d/".repeat(2048), b""), "more than 4095 bytes"),
    |_| {
        let layer = Layer::new().file(format!("{}f", "d/".repeat(600)), b"");
        refused("deep directories", layer, "512 deep")
    },
    |_| {
        let long = vec![b'n'; 2 << 20];
        let head = header(EntryType::GNULongName, long.len(), &Meta::default());
        let layer = Layer::new().raw(head, &long).file("a", b"");
        refused("a name of 2 MiB", layer, "more than 1 MiB")
    },
];
