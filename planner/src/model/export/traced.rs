//! What transformers does otherwise while it is traced: it makes masks that an eager run leaves out, and repeats the heads of keys
//! and values for them. What an eager run leaves out is left out here.
//!
//! ```text
//! mask = kv_position <= q_position          -> scaled_dot_product_attention(q, k, v, mask)          traced
//!                                              scaled_dot_product_attention(q, k, v, is_causal=True) eager
//! ```
//!
//! Only masks that are known from positions alone are meant, in transformers' own code (transformers 5.17.0, masking_utils.py,
//! `_ignore_causal_mask_sdpa` and `_ignore_bidirectional_mask_sdpa`; integrations/sdpa_attention.py, `use_gqa_in_sdpa`).

use rustc_hash::{FxHashMap, FxHashSet};

use super::flatten::{Given, Kind, Program, Step, ValueId};
use super::tree::each_tensor;

/// What is known of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// 0, 1, 2, ... along the dimension that is so many from the last.
    Positions(i64),
    /// 1 everywhere.
    Ones,
    /// 0, or False, everywhere.
    Zeros,
    /// True everywhere.
    True,
    /// True where the last dimension's position is not beyond that of the one before it.
    Causal,
}

/// The widest heads whose keys and values are shared by groups of queries (`use_gqa_in_sdpa`).
const WIDEST: i64 = 256;

/// Leaves out what an eager run leaves out.
pub fn leave_out(program: &mut Program<'_>) {
    let known = known(program);
    let makers = makers(program);
    let mut changed = false;
    for number in 0..program.steps.len() {
        let Some((mask, found)) = mask(&program.steps[number], &known) else { continue };
        if !makers.get(&mask).is_some_and(|maker| is_transformers(&program.steps[*maker])) {
            continue;
        }
        let heads = ["key", "value"].map(|name| shared_heads(program, &makers, number, name));
        let Kind::Call { arguments, .. } = &mut program.steps[number].kind else { continue };
        arguments.retain(|(name, _)| !matches!(*name, "attn_mask" | "is_causal"));
        arguments.push(("is_causal", Given::Bool(found == Known::Causal)));
        if let [Some(key), Some(value)] = heads {
            for (name, given) in arguments.iter_mut() {
                match *name {
                    "key" => *given = Given::Tensor(key),
                    "value" => *given = Given::Tensor(value),
                    _ => {}
                }
            }
            arguments.push(("enable_gqa", Given::Bool(true)));
        }
        changed = true;
    }
    if changed {
        drop_unused(program);
    }
}

fn is_transformers(step: &Step<'_>) -> bool {
    let place = step.trace.unwrap_or_default().rsplit("File \"").next().unwrap_or_default();
    place.split('"').next().is_some_and(|file| file.contains("transformers/"))
}

fn makers(program: &Program<'_>) -> FxHashMap<ValueId, usize> {
    let gives = |step: &Step<'_>| match &step.kind {
        Kind::Call { gives, .. } => gives.values().collect(),
        _ => Vec::new(),
    };
    let each = program.steps.iter().enumerate();
    each.flat_map(|(number, step)| gives(step).into_iter().map(move |value| (value, number))).collect()
}

/// The mask of a call of attention, and what is known of it.
fn mask(step: &Step<'_>, known: &FxHashMap<ValueId, Known>) -> Option<(ValueId, Known)> {
    let Kind::Call { target: "aten.scaled_dot_product_attention.default", arguments, .. } = &step.kind else {
        return None;
    };
    let (_, Given::Tensor(mask)) = arguments.iter().find(|(name, _)| *name == "attn_mask")? else { return None };
    let found = *known.get(mask)?;
    matches!(found, Known::True | Known::Causal).then_some((*mask, found))
}

fn argument<'p, 'a>(step: &'p Step<'a>, wanted: &str) -> Option<&'p Given<'a>> {
    let Kind::Call { arguments, .. } = &step.kind else { return None };
    arguments.iter().find(|(name, _)| *name == wanted).map(|(_, given)| given)
}

/// What `repeat_kv` repeats, where an argument of attention is its result: reshape of expand of unsqueeze.
fn shared_heads(
    program: &Program<'_>,
    makers: &FxHashMap<ValueId, usize>,
    number: usize,
    name: &str,
) -> Option<ValueId> {
    let mut at = match argument(&program.steps[number], name)? {
        Given::Tensor(value) => *value,
        _ => return None,
    };
    for wanted in ["aten.reshape.default", "aten.expand.default", "aten.unsqueeze.default"] {
        let step = &program.steps[*makers.get(&at)?];
        let Kind::Call { target, .. } = &step.kind else { return None };
        let Given::Tensor(from) = argument(step, "self").filter(|_| *target == wanted)? else { return None };
        at = *from;
    }
    let sizes = &program.values[at.index()].meta?.sizes;
    let width = super::sizes::fixed(sizes.last()?)?;
    (sizes.len() == 4 && width as i64 <= WIDEST).then_some(at)
}

/// What is known of the elements of tensors that are made of positions.
fn known(program: &Program<'_>) -> FxHashMap<ValueId, Known> {
    let mut known = FxHashMap::default();
    for step in &program.steps {
        let Kind::Call { target, arguments, gives: super::flatten::Gives::One(result) } = &step.kind else { continue };
        let given = |wanted: &str| arguments.iter().find(|(name, _)| *name == wanted).map(|(_, given)| given);
        let of = |wanted: &str| match given(wanted) {
            Some(Given::Tensor(value)) => known.get(value).copied(),
            _ => None,
        };
        let number = |wanted: &str| match given(wanted) {
            Some(Given::Int(number)) => Some(*number),
            _ => None,
        };
        let dims = |value: ValueId| program.values[value.index()].meta.map_or(0, |meta| meta.sizes.len() as i64);
        let found = match (*target, of("self"), of("other"), number("other")) {
            ("aten.arange.default", ..) => Some(Known::Positions(0)),
            ("aten.add.Tensor" | "aten.add.Scalar", found, _, Some(0)) => found,
            ("aten.unsqueeze.default", Some(Known::Positions(axis)), ..) => number("dim").map(|dim| {
                let dim = if dim < 0 { dim + dims(*result) } else { dim };
                Known::Positions(axis + i64::from(dims(*result) - 1 - dim <= axis))
            }),
            ("aten.ge.Scalar", Some(Known::Positions(_)), _, Some(..=0)) => Some(Known::True),
            ("aten.le.Tensor", Some(Known::Positions(0)), Some(Known::Positions(1)), _) => Some(Known::Causal),
            ("aten.new_ones.default" | "aten.ones.default", ..) => {
                matches!(given("dtype"), Some(Given::Dtype(12))).then_some(Known::True)
            }
            ("aten.__and__.Tensor" | "aten.bitwise_and.Tensor", Some(Known::True), Some(other), _) => Some(other),
            ("aten.__and__.Tensor" | "aten.bitwise_and.Tensor", Some(own), Some(Known::True), _) => Some(own),
            // positions of one sequence are one apart, so that no other begins (`find_packed_sequence_indices`)
            ("aten.diff.default", Some(Known::Positions(0)), ..) => Some(Known::Ones),
            ("aten.ne.Scalar", Some(Known::Ones), _, Some(1)) => Some(Known::Zeros),
            ("aten.cumsum.default" | "aten.index.Tensor", Some(Known::Zeros), ..) => Some(Known::Zeros),
            ("aten.eq.Tensor", Some(Known::Zeros), Some(Known::Zeros), _) => Some(Known::True),
            ("aten.to.dtype" | "aten.to.dtype_layout" | "aten.to.device", found, ..) => found,
            ("aten.expand.default" | "aten.alias.default" | "aten.contiguous.default", found, ..) => found,
            _ => None,
        };
        if let Some(found) = found {
            known.insert(*result, found);
        }
    }
    known
}

/// Takes out the calls whose results nothing uses any more; they are all without effects.
fn drop_unused(program: &mut Program<'_>) {
    let known = known(program);
    let mut used: FxHashSet<ValueId> = program.outputs.iter().flatten().copied().collect();
    let mut kept = vec![true; program.steps.len()];
    for (number, step) in program.steps.iter().enumerate().rev() {
        let Kind::Call { target, arguments, gives } = &step.kind else { continue };
        let repeats = matches!(
            *target,
            "aten.reshape.default"
                | "aten.expand.default"
                | "aten.unsqueeze.default"
                | "aten.slice.Tensor"
                | "aten.sub.Tensor"
        );
        let mask = gives.values().any(|value| known.contains_key(&value)) || repeats;
        let is_dead = mask && is_transformers(step) && gives.values().all(|value| !used.contains(&value));
        kept[number] = !is_dead || computes_for_others(target);
        if kept[number] {
            let mut note = |value| {
                used.insert(value);
            };
            arguments
                .iter()
                .filter(|_| !target.contains("_assert"))
                .for_each(|(_, argument)| each_tensor(argument, &mut note));
        }
    }
    let mut kept = kept.into_iter();
    program.steps.retain(|_| kept.next().unwrap_or(true));
}

/// Whether a call is there for what it checks.
fn computes_for_others(target: &str) -> bool {
    target.contains("_assert")
}
