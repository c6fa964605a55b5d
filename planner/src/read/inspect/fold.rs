//! Folds siblings that are alike.
//!
//! Two modules are alike if they have the same signature: a number that stands for their tensor's dtype and shape and for
//! their children's names and signatures. Signatures are handed out bottom-up, one for each distinct content, so that
//! comparing two modules takes one comparison, however large they are.

use std::collections::BTreeMap;

use super::tree::{Node, Segment};
use super::{Leaf, Module};

/// What makes two modules alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Signature(u32);

/// A range of indices, inclusive.
type Range = (u64, u64);
/// A tensor's kind; the children's names, indices and signatures.
type Content = (Option<Leaf>, Vec<(String, Vec<Range>, Signature)>);
type Signatures = BTreeMap<Content, Signature>;

/// Ranges that a folded module's name shows before it cuts them short.
const RANGES: usize = 4;

/// The tree with like siblings folded; the names of all modules below the root are set.
pub(super) fn fold(root: Node<'_>) -> Module {
    module(String::new(), root, &mut Signatures::new()).0
}

fn module(name: String, node: Node<'_>, signatures: &mut Signatures) -> (Module, Signature) {
    let mut children = children(node.children, signatures);
    children.iter_mut().for_each(|(child, _)| name_copies(child));
    let below = children.iter().map(|(child, signature)| (child.name.clone(), child.indices.clone(), *signature));
    let content = (node.tensor.clone(), below.collect());
    let next = Signature(signatures.len() as u32);
    let signature = *signatures.entry(content).or_insert(next);
    let children = children.into_iter().map(|(child, _)| child).collect();
    (Module { name, indices: Vec::new(), copies: 1, tensor: node.tensor, total: node.total, children }, signature)
}

/// A node's children, with each index that is like an earlier one absorbed by that; yet named after the first index.
fn children(nodes: BTreeMap<Segment<'_>, Node<'_>>, signatures: &mut Signatures) -> Vec<(Module, Signature)> {
    let mut children: Vec<(Module, Signature)> = Vec::new();
    let mut positions: BTreeMap<Signature, usize> = BTreeMap::new();
    for (segment, node) in nodes {
        let index = match segment {
            Segment::Name(part) => {
                children.push(module(part.to_string(), node, signatures));
                continue;
            }
            Segment::Index(index) => index,
        };
        let (mut child, signature) = module(index.to_string(), node, signatures);
        match positions.get(&signature).and_then(|position| children.get_mut(*position)) {
            Some((like, _)) => absorb(like, &child, index),
            None => {
                child.indices.push((index, index));
                positions.insert(signature, children.len());
                children.push((child, signature));
            }
        }
    }
    children
}

/// Adds the module at `index` to an earlier one that is alike.
fn absorb(like: &mut Module, other: &Module, index: u64) {
    like.copies += 1;
    add(like, other);
    match like.indices.last_mut() {
        Some((_, last)) if *last + 1 == index => *last = index,
        _ => like.indices.push((index, index)),
    }
}

/// Adds the totals of a module that is alike, throughout.
fn add(like: &mut Module, other: &Module) {
    like.total.add(other.total);
    for (like, other) in like.children.iter_mut().zip(&other.children) {
        add(like, other);
    }
}

/// Names a module after all indices that it stands for; one that stands for itself keeps its name and no indices.
fn name_copies(module: &mut Module) {
    if module.copies == 1 {
        module.indices.clear();
        return;
    }
    let range = |&(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let shown: Vec<String> = match (every(&module.indices), &module.indices[..]) {
        (Some(step), [(first, _), .., (last, _)]) if module.indices.len() > 2 => vec![format!("{first}-{last}:{step}")],
        (_, ranges) if ranges.len() <= RANGES => ranges.iter().map(range).collect(),
        (_, ranges) => ranges.iter().take(RANGES).map(range).chain(["...".to_string()]).collect(),
    };
    module.name = format!("[{}]", shown.join(","));
}

/// The step of indices that stand alone at equal distances.
fn every(indices: &[(u64, u64)]) -> Option<u64> {
    let [(first, _), (second, _), ..] = indices else { return None };
    let step = second - first;
    let equal = indices.windows(2).all(|pair| matches!(pair, [(a, end), (b, _)] if a == end && b - a == step));
    let last_alone = indices.last().is_some_and(|(first, last)| first == last);
    (equal && last_alone).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::inspect::Total;

    fn named(indices: &[(u64, u64)]) -> String {
        let (indices, total) = (indices.to_vec(), Total::default());
        let mut module = Module { name: "0".into(), indices, copies: 2, tensor: None, total, children: Vec::new() };
        name_copies(&mut module);
        module.name
    }

    #[test]
    fn folded_names() {
        assert_eq!(named(&[(0, 31)]), "[0-31]");
        assert_eq!(named(&[(0, 1), (3, 3)]), "[0-1,3]");
        assert_eq!(named(&[(1, 1), (3, 3)]), "[1,3]");
        assert_eq!(named(&[(1, 1), (3, 3), (5, 5)]), "[1-5:2]");
        assert_eq!(named(&[(1, 1), (3, 3), (5, 6)]), "[1,3,5-6]");
        assert_eq!(named(&[(0, 1), (3, 4), (6, 7), (9, 10), (12, 13)]), "[0-1,3-4,6-7,9-10,...]");
        assert_eq!(named(&[(0, 0), (u64::MAX, u64::MAX)]), "[0,18446744073709551615]");
    }
}
