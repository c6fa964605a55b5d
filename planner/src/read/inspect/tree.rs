//! The tree of a checkpoint's names, yet unfolded.

use std::collections::BTreeMap;

use super::{Leaf, Total};
use crate::read::checkpoint::{Checkpoint, StoredTensor};

/// The most segments of a name. What is beyond stays one segment: a hostile name is all dots.
const DEEPEST: usize = 24;

/// A segment of a name, ordered as people do: numbers by value, then all else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment<'name> {
    /// A whole number as Python writes it.
    Index(u64),
    /// All else.
    Name(&'name str),
}

/// A name's place, with all that is below.
#[derive(Debug, Default)]
pub(super) struct Node<'name> {
    pub tensor: Option<Leaf>,
    pub total: Total,
    pub children: BTreeMap<Segment<'name>, Node<'name>>,
}

/// Puts every tensor at its place and adds it to all modules above.
pub(super) fn tree(checkpoint: &Checkpoint) -> Node<'_> {
    let mut root = Node::default();
    for (name, tensor) in &checkpoint.tensors {
        insert(&mut root, name, tensor);
    }
    root
}

fn insert<'name>(root: &mut Node<'name>, name: &'name str, tensor: &StoredTensor) {
    let total = Total { tensors: 1, parameters: tensor.elements(), bytes: tensor.bytes };
    root.total.add(total);
    let mut node = root;
    for part in name.splitn(DEEPEST, '.') {
        node = node.children.entry(segment(part)).or_default();
        node.total.add(total);
    }
    node.tensor = Some(Leaf { dtype: tensor.dtype, shape: tensor.shape.clone() });
}

fn segment(part: &str) -> Segment<'_> {
    let canonical = part == "0" || !part.starts_with(['0', '+']);
    match part.parse() {
        Ok(index) if canonical => Segment::Index(index),
        _ => Segment::Name(part),
    }
}
