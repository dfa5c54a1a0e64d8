//! Random layers against a model of the image specification: what is in the
//! tree must not depend on the order in which a layer lists whiteouts.
#![allow(clippy::unwrap_used, reason = "helpers of tests, outside the test functions")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use berth_images::{NoProgress, Store};
use common::{Layer, Layout, Pack, reference, scratch};
use proptest::prelude::*;
use tar::EntryType;

/// What a layer says of a path. Content and mode tell layers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    File(u8),
    Directory(u32),
    Symlink(u8),
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u8>, Node),
    Whiteout(Vec<u8>),
    Opaque(Vec<u8>),
}

type Tree = BTreeMap<Vec<u8>, Node>;

/// A directory that nobody described.
const IMPLICIT: Node = Node::Directory(0o755);

fn below(path: &[u8], ancestor: &[u8]) -> bool {
    path.len() > ancestor.len() && path.starts_with(ancestor)
}

/// The specification, set by set: a layer is an upper tree of its own and a
/// set of hidden paths; neither knows the order of the other.
fn apply(lower: &Tree, steps: &[Step]) -> Option<Tree> {
    let mut upper = Tree::new();
    let mut described = BTreeSet::new();
    for step in steps {
        let Step::Put(path, node) = step else {
            continue;
        };
        for length in 1..path.len() {
            let parent = path[..length].to_vec();
            let there = upper.get(&parent).or_else(|| lower.get(&parent));
            match there {
                Some(Node::Directory(_)) | None => {
                    upper.entry(parent).or_insert(IMPLICIT);
                }
                // A layer that uses a file or link as a directory is refused,
                // or follows the link: not what is tested here.
                Some(_) => return None,
            }
        }
        if !matches!(node, Node::Directory(_)) {
            upper.retain(|other, _| !below(other, path));
            described.retain(|other: &Vec<u8>| !below(other, path));
        }
        upper.insert(path.clone(), node.clone());
        described.insert(path.clone());
    }
    let hidden = |path: &Vec<u8>| {
        steps.iter().any(|step| match step {
            Step::Whiteout(gone) => path == gone || below(path, gone),
            Step::Opaque(directory) => below(path, directory),
            Step::Put(over, Node::File(_) | Node::Symlink(_)) => below(path, over),
            Step::Put(..) => false,
        })
    };
    let mut merged: Tree = lower
        .iter()
        .filter(|(path, _)| !hidden(path))
        .map(|(p, n)| (p.clone(), n.clone()))
        .collect();
    for (path, node) in upper {
        let keeps_lower =
            !described.contains(&path) && matches!(merged.get(&path), Some(Node::Directory(_)));
        if !keeps_lower {
            merged.insert(path, node);
        }
    }
    Some(merged)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(b"abc".to_vec()), 1..4)
}

fn step() -> impl Strategy<Value = Step> {
    let node = prop_oneof![
        any::<u8>().prop_map(Node::File),
        (0u32..8).prop_map(|bits| Node::Directory(0o700 | bits)),
        any::<u8>().prop_map(Node::Symlink),
    ];
    prop_oneof![
        6 => (path(), node).prop_map(|(path, node)| Step::Put(path, node)),
        2 => path().prop_map(Step::Whiteout),
        1 => path().prop_map(Step::Opaque),
    ]
}

fn text(path: &[u8]) -> String {
    path.iter().map(|name| char::from(*name).to_string()).collect::<Vec<_>>().join("/")
}

fn layer(steps: &[Step]) -> Vec<u8> {
    let mut layer = Layer::new();
    for step in steps {
        layer = match step {
            Step::Put(path, Node::File(content)) => layer.file(text(path), &[*content]),
            Step::Put(path, Node::Directory(mode)) => {
                layer.member(EntryType::Directory, text(path), "", b"", &common::mode(*mode))
            }
            Step::Put(path, Node::Symlink(to)) => layer.symlink(text(path), &format!("/x{to}")),
            Step::Whiteout(path) => {
                let (name, parents) = path.split_last().unwrap();
                let parent = parents.iter().map(|name| format!("{}/", char::from(*name)));
                layer.whiteout(&parent.collect::<String>(), &char::from(*name).to_string())
            }
            Step::Opaque(path) => layer.file(format!("{}/.wh..wh..opq", text(path)), b""),
        };
    }
    layer.finish()
}

fn read(root: &Path) -> Tree {
    common::snapshot(root)
        .into_keys()
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| {
            let full = root.join(&path);
            let metadata = fs::symlink_metadata(&full).unwrap();
            let node = if metadata.is_dir() {
                Node::Directory(std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777)
            } else if metadata.is_symlink() {
                let target = fs::read_link(&full).unwrap();
                Node::Symlink(target.to_str().unwrap()[2..].parse().unwrap())
            } else {
                Node::File(fs::read(&full).unwrap()[0])
            };
            (path.to_str().unwrap().bytes().filter(|byte| *byte != b'/').collect(), node)
        })
        .collect()
}

fn expected(layers: &[Vec<Step>]) -> Option<Tree> {
    layers.iter().try_fold(Tree::new(), |lower, steps| apply(&lower, steps))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]
    #[test]
    fn a_tree_is_what_the_specification_says(
        layers in prop::collection::vec(prop::collection::vec(step(), 1..8), 1..4)
    ) {
        common::require_root();
        let expected = expected(&layers);
        prop_assume!(expected.is_some());
        let scratch = scratch();
        let store = Store::open(scratch.path().join("store")).unwrap();
        let blobs: Vec<_> = layers.iter().map(|steps| (Pack::Plain, layer(steps))).collect();
        let layout = Layout::write(&scratch.path().join("layout"), &blobs);
        let image = store.import(&layout.path, &reference(), &NoProgress).unwrap();
        let tree = store.unpack(&image, &NoProgress).map_err(|error| {
            TestCaseError::fail(common::chain(&error))
        })?;
        prop_assert_eq!(Some(read(&tree.root)), expected);
    }
}
