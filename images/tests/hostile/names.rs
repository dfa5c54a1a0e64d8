//! Names, links and whiteouts that aim outside the tree.

use std::fs;

use tar::EntryType;

use super::{Make, refused, text, tree};
use crate::common::{Layer, mode};

pub(crate) const NAMES: &[Make] = &[
    |out| {
        let layer = Layer::new().file(out.join("kept").as_os_str().as_encoded_bytes(), b"inside");
        tree("an absolute name is one inside", vec![layer], |tree, out| {
            let inside = tree.root.join(text(out).trim_start_matches('/')).join("kept");
            assert_eq!(fs::read(inside).unwrap(), b"inside");
        })
    },
    |_| refused(".. in a name", Layer::new().file("a/../../b", b""), "a/../../b"),
    |_| refused(".. as a name", Layer::new().file("..", b""), "with .. in it"),
    |_| {
        let layer = Layer::new().dir("a").file("a/../../outside/kept", b"");
        refused(".. to the outside", layer, "with .. in it")
    },
    |_| refused("a zero byte in a name", Layer::new().file("a\0b", b""), "zero byte"),
    |out| {
        let layer = Layer::new().symlink("abs", text(out)).file("abs/kept", b"");
        refused("a write through an absolute link", layer, "leads to no directory")
    },
    |out| {
        let inner = text(out).trim_start_matches('/');
        let layer = Layer::new()
            .dir(inner)
            .symlink("abs", text(out))
            .file("abs/kept", b"inside")
            .hard_link("abs/linked", "abs/kept");
        tree("an absolute link ends inside where its target is there", vec![layer], |tree, out| {
            let inside = tree.root.join(text(out).trim_start_matches('/'));
            assert_eq!(fs::read(inside.join("linked")).unwrap(), b"inside");
        })
    },
    |_| {
        let layer = Layer::new().symlink("up", "../../../../../../../..").file("up/outside", b"1");
        tree("a link upwards ends at the root", vec![layer], |tree, _| {
            assert_eq!(fs::read(tree.root.join("outside")).unwrap(), b"1");
        })
    },
    |_| {
        let layer = Layer::new().symlink("a", "b").symlink("b", "../outside").file("a/kept", b"");
        refused("a chain of links", layer, "leads to no directory")
    },
    |_| refused("a link to itself", Layer::new().symlink("a", "a").file("a/x", b""), "openat2"),
    |out| {
        let layer =
            Layer::new().dir("d").file("d/kept", b"").symlink("d", text(out)).file("d/kept", b"");
        refused("a directory that becomes a link", layer, "leads to no directory")
    },
    |out| {
        let first = Layer::new().symlink("d", text(out));
        let second = Layer::new().file("d/kept", b"from the next layer");
        super::case(
            "a link of a lower layer",
            vec![first, second],
            super::Outcome::Refused("leads to no directory"),
        )
    },
    |_| {
        let layer = Layer::new().symlink("p", "/proc/self/root").file("p/tmp/x", b"");
        refused("a magic link of /proc", layer, "leads to no directory")
    },
    |_| refused("a file as a directory", Layer::new().file("f", b"").file("f/x", b""), "stands in"),
    |out| {
        let target = text(&out.join("kept")).to_owned();
        let layer = Layer::new().symlink("a", &target).member(
            EntryType::Regular,
            "a",
            "",
            b"new",
            &mode(0o777),
        );
        tree("a file over a link replaces the link", vec![layer], |tree, _| {
            assert_eq!(fs::read(tree.root.join("a")).unwrap(), b"new");
            assert!(fs::symlink_metadata(tree.root.join("a")).unwrap().is_file());
        })
    },
    |out| {
        let layer = Layer::new()
            .symlink("d", text(out))
            .member(EntryType::Directory, "d", "", b"", &mode(0o777))
            .symlink("f", text(&out.join("kept")))
            .member(EntryType::Fifo, "f", "", b"", &mode(0o777));
        tree("a directory or fifo over a link replaces the link", vec![layer], |tree, _| {
            assert!(fs::symlink_metadata(tree.root.join("d")).unwrap().is_dir());
            assert!(!fs::symlink_metadata(tree.root.join("f")).unwrap().is_symlink());
        })
    },
    |out| {
        let layer = Layer::new().hard_link("a", text(&out.join("kept")));
        refused("a hard link to the outside", layer, "hard link is not there")
    },
    |_| {
        let layer = Layer::new().hard_link("a", "../outside/kept");
        refused("a hard link upwards", layer, "with .. in it")
    },
    |out| {
        let layer = Layer::new().symlink("l", text(out)).hard_link("a", "l/kept");
        refused("a hard link through a link", layer, "hard link is not there")
    },
    |out| {
        let layer = Layer::new()
            .symlink("s", text(&out.join("kept")))
            .hard_link("h", "s")
            .file("h", b"new");
        tree("a hard link to a link, then written to", vec![layer], |tree, _| {
            assert!(fs::symlink_metadata(tree.root.join("s")).unwrap().is_symlink());
            assert_eq!(fs::read(tree.root.join("h")).unwrap(), b"new");
        })
    },
    |_| refused("a hard link to itself", Layer::new().hard_link("a", "a"), "link is not there"),
    |_| {
        let layer = Layer::new().dir("d").hard_link("a", "d");
        refused("a hard link to a directory", layer, "linkat failed")
    },
    |_| {
        let layer = Layer::new().symlink("./", "x");
        refused("a root that is a link", layer, "root of an image must be a directory")
    },
];

pub(crate) const WHITEOUTS: &[Make] = &[
    |out| {
        let first = Layer::new().symlink("abs", text(out)).symlink("up", "../../../../../..");
        let second = Layer::new()
            .whiteout("abs/", "kept")
            .file("abs/.wh..wh..opq", b"")
            .whiteout(&format!("up{}/", text(out)), "kept")
            .file("up/.wh..wh..opq", b"");
        tree("whiteouts through links", vec![first, second], |tree, _| {
            // The last one hides all of the root, links and all.
            assert_eq!(fs::read_dir(&tree.root).unwrap().count(), 0);
        })
    },
    |_| refused("a whiteout of .", Layer::new().file(".wh..", b""), "a whiteout must name"),
    |_| refused("a whiteout of ..", Layer::new().file(".wh...", b""), "a whiteout must name"),
    |_| refused("a whiteout of nothing", Layer::new().file(".wh.", b""), "a whiteout must name"),
    |_| {
        let layer = Layer::new().file("a/../.wh.kept", b"");
        refused("a whiteout upwards", layer, "with .. in it")
    },
    |_| {
        let layer = Layer::new().file(".wh.a/b", b"");
        refused("a whiteout as a directory", layer, "can't be a directory")
    },
    |_| opaque("opaque first", |layer| layer.file("d/.wh..wh..opq", b"").file("d/new", b"")),
    |_| opaque("opaque last", |layer| layer.file("d/new", b"").file("d/.wh..wh..opq", b"")),
    |_| {
        opaque("opaque before its directory", |layer| {
            layer.file("d/.wh..wh..opq", b"").dir("d").file("d/new", b"")
        })
    },
    |_| {
        opaque("opaque twice", |layer| {
            let layer = layer.file("d/.wh..wh..opq", b"").file("d/new", b"");
            layer.file("d/.wh..wh..opq", b"")
        })
    },
];

fn opaque(name: &'static str, upper: fn(Layer) -> Layer) -> super::Case {
    let lower = Layer::new().dir("d").file("d/old", b"").dir("d/sub").file("d/sub/old", b"");
    tree(name, vec![lower, upper(Layer::new())], |tree, _| {
        let names: Vec<_> = fs::read_dir(tree.root.join("d")).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(tree.root.join("d/new").exists());
    })
}
