//! Streams that two readers could read differently.

use std::fs;

use tar::EntryType;

use super::{Case, Make, Outcome, refused, tree};
use crate::common::{Layer, Meta, Pack, header, mode};

/// A small archive with one file, to be hidden in another.
fn smuggled() -> Vec<u8> {
    Layer::new().member(EntryType::Regular, "smuggled", "", b"", &mode(0o4755)).finish()
}

fn plain(layer: Vec<u8>) -> Vec<(Pack, Vec<u8>)> {
    vec![(Pack::Plain, layer)]
}

fn only_outer(name: &'static str, layers: Vec<(Pack, Vec<u8>)>) -> Case {
    let expected = Outcome::Tree(|tree, _| {
        assert!(tree.root.join("outer").is_file());
        assert!(!tree.root.join("smuggled").exists(), "content was read as headers");
        assert_eq!(fs::read_dir(&tree.root).unwrap().count(), 1);
    });
    Case { name, layers, limits: berth_images::Limits::default(), expected }
}

pub(crate) const STREAMS: &[Make] = &[
    |_| {
        // CVE-2025-62518: a reader that goes by the header's 0 sees a member.
        let inner = smuggled();
        let layer = Layer::new()
            .pax(&[("path", "outer".to_owned()), ("size", inner.len().to_string())])
            .raw(header(EntryType::Regular, 0, &Meta::default()), &inner);
        only_outer("a pax size with a header's of 0", plain(layer.finish()))
    },
    |_| {
        // The other way round: the header's size would skip the member.
        let inner = Layer::new().file("seen", b"").finish();
        let layer = Layer::new()
            .pax(&[("path", "outer"), ("size", "0")])
            .raw(header(EntryType::Regular, inner.len(), &Meta::default()), &inner);
        tree("a pax size of 0 with a larger header's", vec![layer], |tree, _| {
            assert_eq!(fs::metadata(tree.root.join("outer")).unwrap().len(), 0);
            assert!(tree.root.join("seen").exists());
        })
    },
    |_| {
        let inner = smuggled();
        let layer = Layer::new()
            .pax(&[("size", "0".to_owned()), ("size", inner.len().to_string())])
            .pax(&[("path", "outer")])
            .raw(header(EntryType::Regular, 0, &Meta::default()), &inner);
        only_outer("two pax sizes, of which the last counts", plain(layer.finish()))
    },
    |_| {
        let mut layer = Layer::new().file("outer", b"").finish();
        layer.extend(smuggled());
        only_outer("an archive behind the archive's end", plain(layer))
    },
    |_| {
        let (first, second) = (Layer::new().file("outer", b"").finish(), smuggled());
        let mut members = Pack::Gzip.pack(&first);
        members.extend(Pack::Gzip.pack(&second));
        // Both members are the layer's plain bytes; the archive ends in the first.
        let whole = [first, second].concat();
        let name = "two gzip members, an archive in each";
        only_outer(name, vec![(Pack::Made(members), whole)])
    },
    |_| {
        let layer = Layer::new()
            .pax(&[("path", "outer"), ("SCHILY.xattr.user.a", "\n99 path=smuggled\n")])
            .raw(header(EntryType::Regular, 0, &Meta::default()), b"");
        only_outer("a pax value that looks like records", plain(layer.finish()))
    },
    |_| {
        let layer = Layer::new().pax(&[("path", "a")]);
        refused("extensions of nothing", layer, "extensions without a member")
    },
    |_| {
        let mut layer = Layer::new().file("a", &[1; 2000]).finish();
        layer.truncate(2600);
        Case {
            name: "a stream cut off in a file",
            layers: plain(layer),
            limits: berth_images::Limits::default(),
            expected: Outcome::Refused("cannot read"),
        }
    },
    |_| {
        let mut layer = Layer::new().file("a", b"1").file("b", b"2").finish();
        // In the first file's own header, behind its extension's two blocks.
        layer[2 * 512 + 10] ^= 0x10;
        Case {
            name: "a damaged header",
            layers: plain(layer),
            limits: berth_images::Limits::default(),
            expected: Outcome::Refused("checksum mismatch"),
        }
    },
];
