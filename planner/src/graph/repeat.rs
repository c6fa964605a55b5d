//! Loops whose iterations are alike: two are unrolled and compared, the others follow from them and are written as one step.
//!
//! ```text
//! for token in range(4096):   iteration 1, iteration 2, then Repeat { the steps of iteration 2, 4093 times }
//! ```
//!
//! An iteration reads what it finds ([`State`]) and decides by integers ([`Decisions`]). Where two iterations in a row take the
//! same steps, integers and sizes grew by the same amounts in both, and each decision goes on as it did, the next iteration
//! takes those steps too, with integers and sizes grown once more. How far that holds is computed, not assumed: where a decision
//! turns (a window is full, a mask is needed), the repetition ends, and the loop is unrolled and watched anew.

use std::ops::Range;
use std::rc::Rc;

use indexmap::IndexMap;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::decisions::Decisions;
use super::machine::{Machine, Outcome};
use super::state::{Replacements, State};
use super::value::Value;
use super::{Argument, CallId, Checkpoint, CheckpointId, Dims, Op, OpId, RepeatId, Step, TensorId};
use crate::interpret::Frame;
use crate::ops;

/// By how much each of a tensor's sizes grows in an iteration.
pub type Growth = SmallVec<[i64; 5]>;

/// An iteration that happens again and again.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Its steps, as they were taken the last time before: a range of the program's.
    pub steps: Range<usize>,
    /// The calls among them.
    pub ops: Range<usize>,
    /// How often they are taken again.
    pub times: u64,
    /// What an iteration hands to the next: the tensor's name at the end of the one and at the beginning of the other.
    pub carried: Vec<(TensorId, TensorId)>,
    /// What the last iteration leaves: the tensor's name within it, and the name behind it.
    pub left: Vec<(TensorId, TensorId)>,
    /// Tensors whose sizes grow.
    pub sizes: Vec<(TensorId, Growth)>,
    /// Calls among whose arguments integers grow: by how much, in the order in which the integers stand there.
    pub integers: Vec<(OpId, Vec<i64>)>,
}

impl Repeat {
    /// Lets the integers of a call grow by so many iterations.
    pub fn grow(op: &mut Op, by: &[i64], iterations: i64) {
        if by.is_empty() {
            return;
        }
        fn integers<'a>(argument: &'a mut Argument, found: &mut Vec<&'a mut i64>) {
            match argument {
                Argument::Int(number) => found.push(number),
                Argument::List(items) => items.iter_mut().for_each(|item| integers(item, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        op.arguments.iter_mut().for_each(|argument| integers(argument, &mut found));
        found.into_iter().zip(by).for_each(|(number, by)| *number += by * iterations);
    }
}

/// Sizes after so many iterations; None where one would be negative.
pub fn grown(sizes: &[u64], by: &[i64], iterations: u64) -> Option<Dims> {
    let grown = |(size, by): (&u64, &i64)| size.checked_add_signed(by.checked_mul(iterations as i64)?);
    sizes.iter().zip(by).map(grown).collect()
}

/// A loop of the run's own that is watched.
#[derive(Default)]
pub struct Watched {
    /// The beginnings of the last two iterations.
    heads: Vec<Head>,
    failures: u32,
    given_up: bool,
    watching: Option<Watching>,
}

/// While it lives, decisions are noted.
struct Watching(Rc<Decisions>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.unwatch();
    }
}

/// The beginning of an iteration.
struct Head {
    steps: usize,
    ops: usize,
    decisions: usize,
    state: State,
}

/// Loops of fewer iterations are not watched: two have to be unrolled, the first differs, and each is compared.
const WORTH: usize = 6;

/// A loop is watched no longer after so many iterations in a row that did not follow from those before.
const PATIENCE: u32 = 16;

impl Machine {
    /// Comes before an iteration of a loop, of which so many are left: how many of them have been written as one step.
    ///
    /// # Errors
    /// A program that will have far too many calls.
    pub(super) fn watch(&mut self, frame: &mut Frame<'_, Value>, watched: &mut Watched, left: usize) -> Outcome<usize> {
        if watched.given_up || (watched.heads.is_empty() && left < WORTH) || !self.pending.is_empty() {
            return Ok(0);
        }
        let decisions = &self.decisions;
        watched.watching.get_or_insert_with(|| {
            decisions.watch();
            Watching(decisions.clone())
        });
        let head = Head {
            steps: self.tape.count(),
            ops: self.ops.len(),
            decisions: self.decisions.count(),
            state: self.state_of(frame),
        };
        if let [first, second] = &watched.heads[..]
            && let Some(found) = (Three { machine: self, first, second, third: &head }).alike(left as u64)
        {
            let times = found.times;
            let before = watched.heads.swap_remove(1);
            self.call_again(found.ops.len() as u64, times)?;
            self.repeat(frame, head.state, before.state, found);
            *watched = Watched::default();
            return Ok(times as usize);
        }
        if watched.heads.len() == 2 {
            watched.heads.remove(0);
            watched.failures += 1;
        }
        watched.heads.push(head);
        if watched.failures > PATIENCE {
            *watched = Watched { given_up: true, ..Watched::default() };
        }
        Ok(0)
    }

    /// Writes the repetition, and goes to the state behind it.
    fn repeat(&mut self, frame: &mut Frame<'_, Value>, now: State, before: State, mut found: Repeat) {
        for step in self.tape.steps(found.steps.clone()) {
            if let Step::Enter(module) = step {
                self.modules[module.index()].calls += found.times as u32;
            }
        }
        let go_on = |(now, before): (&i64, &i64)| now + (now - before) * found.times as i64;
        let integers: Vec<i64> = now.integers.iter().zip(&before.integers).map(go_on).collect();
        let sizes: FxHashMap<TensorId, &Growth> = found.sizes.iter().map(|(tensor, by)| (*tensor, by)).collect();
        let mut names: IndexMap<TensorId, TensorId> = IndexMap::new();
        let mut tensors = Vec::with_capacity(now.tensors.len());
        for (tensor, shape) in &now.tensors {
            let behind = sizes.get(tensor).and_then(|by| grown(shape, by, found.times));
            tensors.push(match behind {
                None => *tensor,
                Some(shape) => *names.entry(*tensor).or_insert_with(|| {
                    self.shapes.push(shape);
                    TensorId(self.shapes.len() as u32 - 1)
                }),
            });
        }
        found.left = names.into_iter().collect();
        self.replace(frame, Replacements { integers: &integers, tensors: &tensors });
        self.tape.record(Step::Repeat(RepeatId(self.repeats.len() as u32)));
        self.repeats.push(found);
    }
}

/// Three beginnings in a row, and so two iterations.
struct Three<'a> {
    machine: &'a Machine,
    first: &'a Head,
    second: &'a Head,
    third: &'a Head,
}

impl Three<'_> {
    /// The second iteration as one that happens again, where it follows from the first how; at most so often.
    fn alike(&self, most: u64) -> Option<Repeat> {
        let (first, second, third) = (self.first, self.second, self.third);
        let same_length = |of: fn(&Head) -> usize| of(second) - of(first) == of(third) - of(second);
        let alike = [|head: &Head| head.steps, |head: &Head| head.ops, |head: &Head| head.decisions];
        if !alike.into_iter().all(same_length)
            || !first.state.is_like(&second.state)
            || !second.state.is_like(&third.state)
        {
            return None;
        }
        let integers = [&first.state, &second.state, &third.state].map(|state| &state.integers[..]);
        let [one, two, three] = integers;
        let steady = |at: usize| Some(two[at].checked_sub(one[at])? == three[at].checked_sub(two[at])?);
        if !(0..one.len()).all(|at| steady(at) == Some(true)) {
            return None;
        }
        let mut names = Names::of(&first.state, &second.state)?;
        let mut integers = Vec::new();
        let earlier = self.machine.tape.steps(first.steps..second.steps);
        let later = self.machine.tape.steps(second.steps..third.steps);
        for (earlier, later) in earlier.iter().zip(&later) {
            self.same_step(*earlier, *later, &mut names, &mut integers)?;
        }
        let grown = integers.len();
        // regions run again in the reverse of their order
        for (earlier, later) in earlier.iter().zip(&later).rev() {
            if let (Step::EnterCheckpoint(earlier), Step::EnterCheckpoint(later)) = (earlier, later) {
                self.same_region(*earlier, *later, &mut names, &mut integers)?;
            }
        }
        if integers.len() > grown {
            return None;
        }
        for (earlier, later) in earlier.iter().zip(&later) {
            if let (Step::EnterCall(earlier), Step::EnterCall(later)) = (earlier, later) {
                self.same_call(*earlier, *later, &names)?;
            }
        }
        let sizes = self.sizes(&names)?;
        let decided = self.decide(most);
        let ops = second.ops..third.ops;
        let times = self.shapes_hold_for(&ops, &sizes, &integers, decided);
        let handed = |(from, to): (&(TensorId, Dims), &(TensorId, Dims))| (from.0 != to.0).then_some((from.0, to.0));
        let mut carried: Vec<_> = third.state.tensors.iter().zip(&second.state.tensors).filter_map(handed).collect();
        carried.sort();
        carried.dedup();
        let sizes = sizes.into_iter().collect();
        let steps = second.steps..third.steps;
        (times > 1).then(|| Repeat { steps, ops, times, carried, left: Vec::new(), sizes, integers })
    }

    fn same_step(
        &self,
        earlier: Step,
        later: Step,
        names: &mut Names,
        integers: &mut Vec<(OpId, Vec<i64>)>,
    ) -> Option<()> {
        match (earlier, later) {
            (Step::Op(earlier), Step::Op(id)) => {
                let (earlier, later) = (&self.machine.ops[earlier.index()], &self.machine.ops[id.index()]);
                let mut growth = Vec::new();
                let grow = |a: i64, b: i64| b.checked_sub(a).map(|by| growth.push(by)).is_some();
                if earlier.module != later.module || !earlier.is_like(later, |a, b| names.agree(a, b), grow) {
                    return None;
                }
                if growth.iter().any(|by| *by != 0) {
                    integers.push((id, growth));
                }
                earlier.outputs.iter().zip(&later.outputs).try_for_each(|(a, b)| names.add(*a, *b))
            }
            (Step::Drop(a, here), Step::Drop(b, there)) => (here == there && names.agree(a, b)).then_some(()),
            (Step::EnterCall(_), Step::EnterCall(_)) | (Step::ExitCall(_), Step::ExitCall(_)) => Some(()),
            (Step::Enter(a), Step::Enter(b)) | (Step::Exit(a), Step::Exit(b)) => (a == b).then_some(()),
            (Step::EnterCheckpoint(_), Step::EnterCheckpoint(_)) => Some(()),
            (Step::ExitCheckpoint(_), Step::ExitCheckpoint(_)) => Some(()),
            _ => None,
        }
    }

    /// Whether a checkpointed call is the same, and so is its second run.
    fn same_region(
        &self,
        earlier: CheckpointId,
        later: CheckpointId,
        names: &mut Names,
        integers: &mut Vec<(OpId, Vec<i64>)>,
    ) -> Option<()> {
        let (a, b) = (&self.machine.checkpoints[earlier.index()], &self.machine.checkpoints[later.index()]);
        let ahead = |of: &Checkpoint, id: CheckpointId| of.last.map(|last| last.0 - id.0);
        if a.module != b.module || a.saves != b.saves || ahead(a, earlier) != ahead(b, later) {
            return None;
        }
        for (a, b) in [(&a.recompute, &b.recompute), (&a.release, &b.release)] {
            if a.len() != b.len() {
                return None;
            }
            a.iter().zip(b).try_for_each(|(a, b)| self.same_step(*a, *b, names, integers))?;
        }
        let same = |a: &[TensorId], b: &[TensorId]| names.agree_on_all(a, b);
        let reentrant = match (&a.reentrant, &b.reentrant) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                same(&a.inputs, &b.inputs) && same(&a.results, &b.results) && same(&a.recomputed, &b.recomputed)
            }
            _ => false,
        };
        (reentrant && same(&a.arguments, &b.arguments)).then_some(())
    }

    fn same_call(&self, earlier: CallId, later: CallId, names: &Names) -> Option<()> {
        let (a, b) = (&self.machine.calls[earlier.index()], &self.machine.calls[later.index()]);
        let same = names.agree_on_all(&a.arguments, &b.arguments) && names.agree_on_all(&a.results, &b.results);
        (a.module == b.module && same).then_some(())
    }

    /// By how much the sizes of tensors grow that an iteration makes or finds.
    fn sizes(&self, names: &Names) -> Option<IndexMap<TensorId, Growth>> {
        let mut sizes = IndexMap::new();
        let mut note = |tensor: TensorId, earlier: &Dims, later: &Dims| {
            let by = growth(earlier, later)?;
            if by.iter().any(|by| *by != 0) {
                match sizes.insert(tensor, by.clone()) {
                    Some(known) if known != by => return None,
                    _ => {}
                }
            }
            Some(())
        };
        let shape = |tensor: &TensorId| self.machine.shape(*tensor);
        for (earlier, later) in &names.later {
            if earlier != later {
                note(*later, shape(earlier), shape(later))?;
            }
        }
        for ((second, earlier), (third, later)) in self.second.state.tensors.iter().zip(&self.third.state.tensors) {
            if !names.agree(*second, *third) {
                return None;
            }
            if second != third {
                note(*second, earlier, later)?;
                note(*third, earlier, later)?;
            }
        }
        Some(sizes)
    }

    /// For how many iterations all decisions go on as they did.
    fn decide(&self, most: u64) -> u64 {
        let decisions = &self.machine.decisions;
        let earlier = decisions.between(self.first.decisions, self.second.decisions);
        let later = decisions.between(self.second.decisions, self.third.decisions);
        let mut seen = FxHashSet::default();
        let distinct = earlier.into_iter().zip(later).filter(|pair| seen.insert(*pair));
        distinct.fold(most, |most, (earlier, later)| later.holds_for(earlier, most))
    }

    /// For how many iterations operators give what the growing sizes foretell.
    fn shapes_hold_for(
        &self,
        ops: &Range<usize>,
        sizes: &IndexMap<TensorId, Growth>,
        integers: &[(OpId, Vec<i64>)],
        most: u64,
    ) -> u64 {
        let integers: FxHashMap<usize, &[i64]> = integers.iter().map(|(id, by)| (id.index(), &by[..])).collect();
        let mut seen = FxHashSet::default();
        let mut most = most;
        for number in ops.clone() {
            let op = &self.machine.ops[number];
            let mut tensors: Vec<TensorId> = op.arguments.iter().flat_map(super::tensors_of).collect();
            let inputs = tensors.len();
            tensors.extend(&op.outputs);
            let by = integers.get(&number).copied();
            if by.is_none() && !tensors.iter().any(|tensor| sizes.contains_key(tensor)) {
                continue;
            }
            let shapes: Vec<&Dims> = tensors.iter().map(|tensor| self.machine.shape(*tensor)).collect();
            let growth: Vec<Option<&Growth>> = tensors.iter().map(|tensor| sizes.get(tensor)).collect();
            let mut call = op.clone();
            let numbered = tensors[..inputs].iter().enumerate();
            call.rename(&numbered.map(|(number, tensor)| (*tensor, TensorId(number as u32))).collect());
            if !seen.insert(format!("{} {:?} {shapes:?} {growth:?} {by:?}", op.operator.name, call.arguments)) {
                continue;
            }
            let at = |iterations: u64| -> Option<Vec<Dims>> {
                let each = shapes.iter().zip(&growth);
                each.map(|(shape, by)| by.map_or(Some((*shape).clone()), |by| grown(shape, by, iterations))).collect()
            };
            most = (1..=most)
                .find(|iterations| {
                    by.into_iter().for_each(|by| Repeat::grow(&mut call, by, 1));
                    let Some(shapes) = at(*iterations) else { return true };
                    let given = (op.operator.shapes)(&ops::Call::new(&shapes[..inputs], &call.arguments));
                    !given.is_ok_and(|given| given[..] == shapes[inputs..] && shapes[inputs..].iter().all(is_possible))
                })
                .map_or(most, |first| first - 1);
        }
        most
    }
}

/// Whether memory could hold a tensor of that shape.
fn is_possible(shape: &Dims) -> bool {
    super::call::most_bytes(shape).is_some()
}

fn growth(earlier: &Dims, later: &Dims) -> Option<Growth> {
    if earlier.len() != later.len() {
        return None;
    }
    Some(earlier.iter().zip(later).map(|(earlier, later)| *later as i64 - *earlier as i64).collect())
}

/// Which tensor of an iteration is which of the next: one to one. What has no other name is the same in both.
struct Names {
    later: IndexMap<TensorId, TensorId, FxBuildHasher>,
    taken: FxHashSet<TensorId>,
}

impl Names {
    /// What two iterations find at their beginnings.
    fn of(earlier: &State, later: &State) -> Option<Names> {
        let mut names = Names { later: IndexMap::default(), taken: FxHashSet::default() };
        let mut found = earlier.tensors.iter().zip(&later.tensors);
        found.try_for_each(|((earlier, _), (later, _))| names.add(*earlier, *later))?;
        Some(names)
    }

    fn add(&mut self, earlier: TensorId, later: TensorId) -> Option<()> {
        match self.later.get(&earlier) {
            Some(known) => (*known == later).then_some(()),
            None if self.taken.insert(later) => {
                self.later.insert(earlier, later);
                Some(())
            }
            None => None,
        }
    }

    fn agree(&self, earlier: TensorId, later: TensorId) -> bool {
        *self.later.get(&earlier).unwrap_or(&earlier) == later
    }

    fn agree_on_all(&self, earlier: &[TensorId], later: &[TensorId]) -> bool {
        earlier.len() == later.len() && earlier.iter().zip(later).all(|(earlier, later)| self.agree(*earlier, *later))
    }
}
