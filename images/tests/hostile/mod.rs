//! The table of hostile layers: name, layers, bounds, expected outcome.

mod content;
mod names;
mod streams;

use std::path::Path;

use berth_images::{Limits, Tree};

use crate::common::{Layer, Pack};

pub(crate) use content::{NODES, SIZES};
pub(crate) use names::{NAMES, WHITEOUTS};
pub(crate) use streams::STREAMS;

/// An image and what must become of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) layers: Vec<(Pack, Vec<u8>)>,
    pub(crate) limits: Limits,
    pub(crate) expected: Outcome,
}

/// What must become of an image.
pub(crate) enum Outcome {
    /// An error whose chain holds these words; no tree.
    Refused(&'static str),
    /// A tree, which the function looks at; it gets the directory outside too.
    Tree(fn(&Tree, &Path)),
}

/// Makes a case that aims at the directory it is given.
pub(crate) type Make = fn(&Path) -> Case;

fn case(name: &'static str, layers: Vec<Layer>, expected: Outcome) -> Case {
    let layers = layers.into_iter().map(|layer| (Pack::Plain, layer.finish())).collect();
    Case { name, layers, limits: Limits::default(), expected }
}

fn refused(name: &'static str, layer: Layer, words: &'static str) -> Case {
    case(name, vec![layer], Outcome::Refused(words))
}

fn tree(name: &'static str, layers: Vec<Layer>, check: fn(&Tree, &Path)) -> Case {
    case(name, layers, Outcome::Tree(check))
}

/// A path as text; those of tests are.
fn text(path: &Path) -> &str {
    path.to_str().expect("a test's scratch has a plain name")
}
