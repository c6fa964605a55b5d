//! Integers that are known: those that a run gives in small tensors, such as the sizes of its images, and what operators make of them.
//! Sizes and decisions may rest on them, as on numbers of the host. All other values of tensors are unknown.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::Value;
use super::{Argument, Dims, DtypeArgument, TensorId};
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};
use crate::ops;

/// The most elements of a tensor whose numbers are kept.
const MOST: u64 = 1 << 20;

/// The most elements of a tensor of one number whose numbers are written out.
const FEW: u64 = 1 << 12;

/// Operators whose results are new memory, whatever they are given: what is written into those changes nothing else.
const NEW_MEMORY: [&str; 33] = [
    "add",
    "sub",
    "mul",
    "floor_divide",
    "remainder",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "bitwise_and",
    "bitwise_or",
    "bitwise_not",
    "logical_and",
    "logical_or",
    "logical_not",
    "sum",
    "prod",
    "cumsum",
    "any",
    "all",
    "max_of_all",
    "cat",
    "stack",
    "repeat",
    "flip",
    "index",
    "index_select",
    "nonzero",
    "constant_pad_nd",
    "zeros",
    "zeros_like",
];

/// Operators that leave all elements as they are, in their order.
const KEEP_THE_ORDER: [&str; 11] = [
    "as_input",
    "alias",
    "contiguous",
    "contiguous_clone",
    "clone",
    "detach",
    "view",
    "reshape",
    "unsqueeze",
    "squeeze",
    "flatten",
];

/// What is known, by tensor.
#[derive(Default)]
pub struct Numbers {
    known: FxHashMap<TensorId, Known>,
    /// The first of the tensors whose memory a tensor may share, of all that are known or made of such.
    kin: FxHashMap<TensorId, TensorId>,
}

/// What is known of one tensor.
#[derive(Clone, Debug)]
pub enum Known {
    /// Its numbers, in the order of its elements.
    Each(Rc<[i64]>),
    /// One number, which all of its elements are.
    All(i64),
}

/// Numbers in their places.
#[derive(Clone, Debug)]
struct Grid {
    sizes: Dims,
    numbers: Rc<[i64]>,
}

impl Grid {
    fn new(sizes: Dims, numbers: Vec<i64>) -> Option<Grid> {
        let count = sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size))?;
        (count == numbers.len() as u64 && count <= MOST).then(|| Grid { sizes, numbers: numbers.into() })
    }

    /// A tensor of other sizes, each of whose places takes the number at a place of this one.
    fn taken(&self, sizes: Dims, from: impl Fn(&[u64]) -> Option<Vec<u64>>) -> Option<Grid> {
        let mut numbers = Vec::new();
        for place in Places::of(&sizes)? {
            numbers.push(self.at(&from(&place)?)?);
        }
        Grid::new(sizes, numbers)
    }

    fn at(&self, place: &[u64]) -> Option<i64> {
        let mut flat = 0;
        for (index, size) in place.iter().zip(&self.sizes) {
            flat = flat * size + index;
        }
        self.numbers.get(flat as usize).copied()
    }

    /// The number that stands at a place of a tensor that this one is broadcast to.
    fn broadcast_at(&self, place: &[u64]) -> Option<i64> {
        let leading = place.len().checked_sub(self.sizes.len())?;
        let own: Vec<u64> =
            place[leading..].iter().zip(&self.sizes).map(|(index, size)| if *size == 1 { 0 } else { *index }).collect();
        self.at(&own)
    }

    fn reduced(&self, sizes: Dims, dims: &[usize], start: i64, add: impl Fn(i64, i64) -> Option<i64>) -> Option<Grid> {
        let kept: Vec<usize> = (0..self.sizes.len()).filter(|dim| !dims.contains(dim)).collect();
        let count: u64 = kept.iter().map(|dim| self.sizes[*dim]).product();
        let mut numbers = vec![start; count as usize];
        for (place, number) in Places::of(&self.sizes)?.zip(self.numbers.iter()) {
            let flat = kept.iter().fold(0, |flat, dim| flat * self.sizes[*dim] + place[*dim]);
            let slot = &mut numbers[flat as usize];
            *slot = add(*slot, *number)?;
        }
        Grid::new(sizes, numbers)
    }
}

/// All places of a tensor, in the order of its elements.
struct Places {
    sizes: Dims,
    next: Option<Vec<u64>>,
}

impl Places {
    fn of(sizes: &Dims) -> Option<Places> {
        let count = sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size))?;
        let next = (count > 0).then(|| vec![0; sizes.len()]);
        (count <= MOST).then(|| Places { sizes: sizes.clone(), next })
    }
}

impl Iterator for Places {
    type Item = Vec<u64>;

    fn next(&mut self) -> Option<Vec<u64>> {
        let place = self.next.clone()?;
        let mut following = place.clone();
        let mut dim = following.len();
        self.next = loop {
            let Some(lower) = dim.checked_sub(1) else { break None };
            dim = lower;
            following[dim] += 1;
            if following[dim] < self.sizes[dim] {
                break Some(following);
            }
            following[dim] = 0;
        };
        Some(place)
    }
}

/// `numbered(made, data)`: the tensor that was made of a list of numbers, or of lists of them, or of tensors without dimensions.
pub(super) fn numbered(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [made, data] = given.exactly(machine)?;
    let Value::Tensor(reference) = &made else { return machine.error("a tensor has numbers") };
    let mut numbers = Vec::new();
    if machine.flattened(&data, &mut numbers) {
        let tensor = reference.tensor.get();
        machine.note_numbers(tensor, numbers);
    }
    Ok(made)
}

/// `all_are(tensor, number)`: the tensor, all of whose elements are that number, or compare with others as it does.
pub(super) fn all_are(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [made, number] = given.exactly(machine)?;
    let (Value::Tensor(reference), Value::Int(number)) = (&made, &number) else {
        return machine.error("all elements of a tensor are an integer");
    };
    let tensor = reference.tensor.get();
    machine.numbers.known.insert(tensor, Known::All(*number));
    machine.numbers.kin.insert(tensor, tensor);
    Ok(made)
}

/// `value.item()` and `value.tolist()`: numbers of the host are what they are, and so are those of tensors where they are known.
pub(super) fn known_numbers(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    let Value::Tensor(reference) = &value else { return Ok(value) };
    let tensor = reference.tensor.get();
    match machine.grid(&Argument::Tensor(tensor)) {
        Some(grid) => {
            machine.spend_elements(grid.numbers.len())?;
            grid.numbers.iter().for_each(|number| machine.decisions.exact(*number));
            if !machine.host.contains_key(&tensor) {
                machine.emit_named("read_on_host", vec![value.clone()])?;
            }
            Ok(nested(&grid.sizes, &grid.numbers))
        }
        None => machine.error("a tensor's values are not known, so no numbers are read from it"),
    }
}

fn nested(sizes: &[u64], numbers: &[i64]) -> Value {
    match sizes {
        [] => numbers.first().map_or(Value::None, |number| Value::Int(*number)),
        [0, ..] => Value::sequence(Vec::new()),
        [size, rest @ ..] => {
            let each = numbers.len() / *size as usize;
            Value::sequence((0..*size as usize).map(|at| nested(rest, &numbers[at * each..(at + 1) * each])).collect())
        }
    }
}

impl Machine {
    /// Collects the numbers of nested lists; whether all are known.
    fn flattened(&self, data: &Value, numbers: &mut Vec<i64>) -> bool {
        match data {
            Value::Int(number) => numbers.push(*number),
            Value::Bool(flag) => numbers.push(i64::from(*flag)),
            Value::Tensor(reference) => match self.grid(&Argument::Tensor(reference.tensor.get())) {
                Some(grid) if grid.numbers.len() == 1 => numbers.push(grid.numbers[0]),
                _ => return false,
            },
            Value::Sequence(parts) => return parts.iter().all(|part| self.flattened(part, numbers)),
            _ => return false,
        }
        true
    }

    pub(super) fn note_numbers(&mut self, tensor: TensorId, numbers: Vec<i64>) {
        if let Some(grid) = Grid::new(self.shape(tensor).clone(), numbers) {
            self.numbers.known.insert(tensor, Known::Each(grid.numbers));
            self.numbers.kin.insert(tensor, tensor);
        }
    }

    /// What is known of one tensor is known of a copy.
    pub(super) fn copy_numbers(&mut self, from: TensorId, to: TensorId) {
        if let Some(numbers) = self.numbers.known.get(&from).cloned() {
            self.numbers.known.insert(to, numbers);
            self.numbers.kin.insert(to, to);
        }
    }

    /// The one number of a tensor, where it is known.
    pub(super) fn known_number(&self, tensor: TensorId) -> Option<i64> {
        match self.numbers.known.get(&tensor)? {
            Known::Each(numbers) => match &**numbers {
                [number] => Some(*number),
                _ => None,
            },
            Known::All(number) => (self.shape(tensor).iter().product::<u64>() == 1).then_some(*number),
        }
    }

    /// How many elements of a mask are true, where that is known.
    pub(super) fn known_count(&self, mask: TensorId) -> Option<i64> {
        Some(match self.numbers.known.get(&mask)? {
            Known::Each(numbers) => numbers.iter().filter(|number| **number != 0).count() as i64,
            Known::All(0) => 0,
            Known::All(_) => self.shape(mask).iter().product::<u64>() as i64,
        })
    }

    /// Whether the numbers of any tensor are known.
    pub(super) fn knows_numbers(&self) -> bool {
        !self.numbers.known.is_empty()
    }

    /// What an operator makes of known numbers; none where it is given others.
    pub(super) fn computed(&self, name: &str, arguments: &[Argument], shapes: &[Dims]) -> Vec<Option<Known>> {
        if let Some(number) = self.same(name, arguments, shapes) {
            return shapes.iter().map(|_| Some(Known::All(number))).collect();
        }
        let grids = match (name, shapes) {
            ("split", _) => self.split(arguments, shapes),
            ("unbind", _) => self.unbound(arguments, shapes),
            (_, [shape]) => self.single(name, arguments, shape).map(|grid| vec![grid]),
            _ => None,
        };
        grids.unwrap_or_default().into_iter().map(|grid| Some(Known::Each(grid.numbers))).collect()
    }

    /// The number that all elements of a result are, where those of what it is made of are one number.
    fn same(&self, name: &str, arguments: &[Argument], shapes: &[Dims]) -> Option<i64> {
        let number = |argument: Option<&Argument>| match argument? {
            Argument::Tensor(tensor) => match self.numbers.known.get(tensor)? {
                Known::All(number) => Some(*number as f64),
                Known::Each(_) => self.known_number(*tensor).map(|number| number as f64),
            },
            Argument::Int(number) => Some(*number as f64),
            Argument::Float(number) => Some(*number),
            Argument::Bool(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        };
        let Some(Argument::Tensor(tensor)) = arguments.first() else { return None };
        let Some(Known::All(first)) = self.numbers.known.get(tensor) else { return None };
        match name {
            name if KEEP_THE_ORDER.contains(&name) => Some(*first),
            "select" | "slice" | "transpose" | "permute" | "expand" | "repeat" | "flip" | "split" | "unbind"
            | "windows_along" | "masked_index" | "any" | "all" | "max_of_all" => Some(*first),
            "to" | "long" | "int" | "float" => {
                let is_bool = matches!(arguments.get(1), Some(Argument::Dtype(dtype)) if self.known_type(*dtype) == DtypeArgument::Fixed(Dtype::Bool));
                Some(if is_bool { i64::from(*first != 0) } else { *first })
            }
            "logical_not" => Some(i64::from(*first == 0)),
            "bitwise_not" if self.types.get(tensor) == Some(&Dtype::Bool) => Some(i64::from(*first == 0)),
            "bitwise_or" => Some(*first | number(arguments.get(1))? as i64),
            "bitwise_and" => Some(*first & number(arguments.get(1))? as i64),
            "sum" => {
                let count: u64 = self.shape(*tensor).iter().product();
                let results: u64 = shapes.first()?.iter().product();
                first.checked_mul(i64::try_from(count.checked_div(results)?).ok()?)
            }
            _ => compared(name, *first as f64, number(arguments.get(1))?).map(i64::from),
        }
    }

    /// Notes what an operator made; what it wrote into is not known any more.
    pub(super) fn note_computed(
        &mut self,
        name: &str,
        arguments: &[Argument],
        outputs: &[TensorId],
        computed: Vec<Option<Known>>,
    ) {
        let given: Vec<TensorId> = arguments.iter().flat_map(super::tensors_of).collect();
        let kin = given.iter().find_map(|tensor| self.numbers.kin.get(tensor)).copied();
        if name.ends_with('_')
            && let Some(written) = given.first().and_then(|tensor| self.numbers.kin.get(tensor)).copied()
        {
            if self.writes_the_same(name, &given) {
                return;
            }
            let Numbers { known, kin } = &mut self.numbers;
            known.retain(|tensor, _| kin.get(tensor) != Some(&written));
            kin.extend(outputs.iter().map(|output| (*output, written)));
            return;
        }
        if kin.is_none() && computed.is_empty() {
            return;
        }
        for (place, output) in outputs.iter().enumerate() {
            let own = if NEW_MEMORY.contains(&name) { *output } else { kin.unwrap_or(*output) };
            self.numbers.kin.insert(*output, own);
            if let Some(Some(numbers)) = computed.get(place) {
                self.numbers.known.insert(*output, numbers.clone());
            }
        }
    }

    /// Whether a copy writes the number that all elements are anyway.
    fn writes_the_same(&self, name: &str, given: &[TensorId]) -> bool {
        let [to, from] = given else { return false };
        match (self.numbers.known.get(to), self.numbers.known.get(from)) {
            (Some(Known::All(to)), Some(Known::All(from))) => name.starts_with("copy_") && to == from,
            _ => false,
        }
    }

    /// Notes what `arange` gives, which has no tensor to begin with.
    fn ranged(&self, arguments: &[Argument], shape: &Dims) -> Option<Grid> {
        let (start, step) = match arguments {
            [Argument::Int(_), Argument::None, Argument::Int(1), ..] => (0, 1),
            [Argument::Int(start), Argument::Int(_), Argument::Int(step), ..] => (*start, *step),
            _ => return None,
        };
        let count = i64::try_from(*shape.first()?).ok().filter(|count| *count <= MOST as i64)?;
        Grid::new(shape.clone(), (0..count).map(|place| start + place * step).collect())
    }

    fn grid(&self, argument: &Argument) -> Option<Grid> {
        match argument {
            Argument::Tensor(tensor) => {
                let sizes = self.shape(*tensor).clone();
                match self.numbers.known.get(tensor)? {
                    Known::Each(numbers) => Some(Grid { sizes, numbers: numbers.clone() }),
                    Known::All(number) => {
                        let count = sizes.iter().product::<u64>();
                        (count <= FEW).then(|| Grid { sizes, numbers: vec![*number; count as usize].into() })
                    }
                }
            }
            Argument::Int(number) => Grid::new(Dims::new(), vec![*number]),
            Argument::Bool(flag) => Grid::new(Dims::new(), vec![i64::from(*flag)]),
            _ => None,
        }
    }

    fn single(&self, name: &str, arguments: &[Argument], shape: &Dims) -> Option<Grid> {
        if name == "arange" {
            return self.ranged(arguments, shape);
        }
        let int = |place: usize| match arguments.get(place) {
            Some(Argument::Int(number)) => Some(*number),
            _ => None,
        };
        if matches!(name, "cat" | "stack") {
            return self.joined(name, arguments.first()?, int(1)?, shape);
        }
        let first = self.grid(arguments.first()?)?;
        let rank = first.sizes.len();
        let dim = |place: usize| dimension(int(place)?, rank);
        match name {
            "to" | "long" | "int" if !self.is_integer(name, arguments) => None,
            "to" | "long" | "int" => Some(Grid { sizes: shape.clone(), numbers: first.numbers }),
            name if KEEP_THE_ORDER.contains(&name) => Some(Grid { sizes: shape.clone(), numbers: first.numbers }),
            "select" => {
                let (dim, index) = (dim(1)?, int(2)?);
                let index = u64::try_from(if index < 0 { index + first.sizes[dim] as i64 } else { index }).ok()?;
                first.taken(shape.clone(), |place| {
                    let mut from = place.to_vec();
                    from.insert(dim, index);
                    Some(from)
                })
            }
            "slice" => {
                let (dim, start, step) = (dim(1)?, u64::try_from(int(2)?).ok()?, u64::try_from(int(4)?).ok()?);
                first.taken(shape.clone(), |place| {
                    let mut from = place.to_vec();
                    from[dim] = start + from[dim] * step;
                    Some(from)
                })
            }
            "transpose" => {
                let (a, b) = (dim(1)?, dim(2)?);
                first.taken(shape.clone(), |place| {
                    let mut from = place.to_vec();
                    from.swap(a, b);
                    Some(from)
                })
            }
            "permute" => {
                let dims = dims_of(arguments.get(1)?, rank)?;
                first.taken(shape.clone(), |place| {
                    let mut from = vec![0; rank];
                    dims.iter().zip(place).for_each(|(dim, index)| from[*dim] = *index);
                    Some(from)
                })
            }
            "flip" => {
                let dims = dims_of(arguments.get(1)?, rank)?;
                let sizes = first.sizes.clone();
                first.taken(shape.clone(), |place| {
                    let mut from = place.to_vec();
                    dims.iter().for_each(|dim| from[*dim] = sizes[*dim] - 1 - from[*dim]);
                    Some(from)
                })
            }
            "expand" => {
                let numbers: Option<Vec<i64>> = Places::of(shape)?.map(|place| first.broadcast_at(&place)).collect();
                Grid::new(shape.clone(), numbers?)
            }
            "repeat" => {
                let (added, sizes) = (shape.len().checked_sub(rank)?, first.sizes.clone());
                first.taken(shape.clone(), |place| {
                    Some(place[added..].iter().zip(&sizes).map(|(index, size)| index % size.max(&1)).collect())
                })
            }
            "index" => match (arguments.get(1), int(2)) {
                (Some(Argument::List(indices)), Some(dim)) => match &indices[..] {
                    [index] => self.indexed(&first, usize::try_from(dim).ok()?, index, shape),
                    _ => None,
                },
                _ => None,
            },
            "index_select" => self.indexed(&first, dim(1)?, arguments.get(2)?, shape),
            "nonzero" => {
                let places = Places::of(&first.sizes)?.zip(first.numbers.iter());
                let found = places.filter(|(_, number)| **number != 0);
                Grid::new(shape.clone(), found.flat_map(|(place, _)| place).map(|index| index as i64).collect())
            }
            "constant_pad_nd" => padded(&first, arguments, shape),
            "neg" | "logical_not" => {
                let of =
                    |number: &i64| if name == "neg" { number.checked_neg() } else { Some(i64::from(*number == 0)) };
                Grid::new(shape.clone(), first.numbers.iter().map(of).collect::<Option<_>>()?)
            }
            "sum" | "prod" | "any" | "all" | "max_of_all" => {
                let dims = match arguments.get(1) {
                    None | Some(Argument::None) => (0..rank).collect(),
                    Some(dims) => dims_of(dims, rank)?,
                };
                match name {
                    "sum" => first.reduced(shape.clone(), &dims, 0, i64::checked_add),
                    "prod" => first.reduced(shape.clone(), &dims, 1, i64::checked_mul),
                    "any" => first.reduced(shape.clone(), &dims, 0, |a, b| Some(i64::from(a != 0 || b != 0))),
                    "all" => first.reduced(shape.clone(), &dims, 1, |a, b| Some(i64::from(a != 0 && b != 0))),
                    _ => first.reduced(shape.clone(), &dims, i64::MIN, |a, b| Some(a.max(b))),
                }
            }
            "cumsum" => {
                let dim = dim(1)?;
                let mut numbers = first.numbers.to_vec();
                let inner: u64 = first.sizes[dim + 1..].iter().product();
                for (flat, place) in Places::of(&first.sizes)?.enumerate() {
                    if place[dim] > 0 {
                        numbers[flat] = numbers[flat].checked_add(numbers[flat - inner as usize])?;
                    }
                }
                Grid::new(shape.clone(), numbers)
            }
            _ => self.paired(name, &first, arguments, shape),
        }
    }

    /// Whether a cast gives integers.
    fn is_integer(&self, name: &str, arguments: &[Argument]) -> bool {
        match arguments.get(1) {
            Some(Argument::Dtype(dtype)) => match self.known_type(*dtype) {
                DtypeArgument::Fixed(dtype) => !dtype.is_floating(),
                _ => false,
            },
            _ => name != "to",
        }
    }

    fn paired(&self, name: &str, first: &Grid, arguments: &[Argument], shape: &Dims) -> Option<Grid> {
        let second = self.grid(arguments.get(1)?)?;
        let truth = |flag: bool| Some(i64::from(flag));
        let make = |a: i64, b: i64| match name {
            "add" => a.checked_add(b),
            "sub" => a.checked_sub(b),
            "mul" => a.checked_mul(b),
            "floor_divide" if b > 0 => Some(a.div_euclid(b)),
            "remainder" if b > 0 => Some(a.rem_euclid(b)),
            "bitwise_and" => Some(a & b),
            "bitwise_or" => Some(a | b),
            "logical_and" => truth(a != 0 && b != 0),
            "logical_or" => truth(a != 0 || b != 0),
            _ => compared(name, a, b).map(i64::from),
        };
        let numbers: Option<Vec<i64>> =
            Places::of(shape)?.map(|place| make(first.broadcast_at(&place)?, second.broadcast_at(&place)?)).collect();
        Grid::new(shape.clone(), numbers?)
    }

    fn joined(&self, name: &str, list: &Argument, dim: i64, shape: &Dims) -> Option<Grid> {
        let Argument::List(parts) = list else { return None };
        let parts: Vec<Grid> = parts.iter().map(|part| self.grid(part)).collect::<Option<_>>()?;
        let dim = dimension(dim, shape.len())?;
        let numbers: Option<Vec<i64>> = Places::of(shape)?
            .map(|mut place| {
                if name == "stack" {
                    let part = place.remove(dim);
                    return parts.get(part as usize)?.at(&place);
                }
                for part in &parts {
                    if place[dim] < part.sizes[dim] {
                        return part.at(&place);
                    }
                    place[dim] -= part.sizes[dim];
                }
                None
            })
            .collect();
        Grid::new(shape.clone(), numbers?)
    }

    /// `x[indices]` of one tensor of indices.
    fn indexed(&self, x: &Grid, dim: usize, index: &Argument, shape: &Dims) -> Option<Grid> {
        let index = self.grid(index)?;
        let (rank, size) = (index.sizes.len(), *x.sizes.get(dim)? as i64);
        x.taken(shape.clone(), |place| {
            let chosen = index.at(&place[dim..dim + rank])?;
            let chosen = u64::try_from(if chosen < 0 { chosen + size } else { chosen }).ok()?;
            Some([&place[..dim], &[chosen], &place[dim + rank..]].concat())
        })
    }

    fn split(&self, arguments: &[Argument], shapes: &[Dims]) -> Option<Vec<Grid>> {
        let whole = self.grid(arguments.first()?)?;
        let Some(Argument::Int(dim)) = arguments.get(2) else { return None };
        let dim = dimension(*dim, whole.sizes.len())?;
        let mut start = 0;
        let mut part = |shape: &Dims| {
            let from = start;
            start += shape[dim];
            whole.taken(shape.clone(), |place| {
                let mut place = place.to_vec();
                place[dim] += from;
                Some(place)
            })
        };
        shapes.iter().map(&mut part).collect()
    }

    fn unbound(&self, arguments: &[Argument], shapes: &[Dims]) -> Option<Vec<Grid>> {
        let whole = self.grid(arguments.first()?)?;
        let Some(Argument::Int(dim)) = arguments.get(1) else { return None };
        let dim = dimension(*dim, whole.sizes.len())?;
        let part = |(at, shape): (usize, &Dims)| {
            whole.taken(shape.clone(), |place| {
                let mut place = place.to_vec();
                place.insert(dim, at as u64);
                Some(place)
            })
        };
        shapes.iter().enumerate().map(part).collect()
    }
}

fn padded(x: &Grid, arguments: &[Argument], shape: &Dims) -> Option<Grid> {
    let Some(Argument::List(pad)) = arguments.get(1) else { return None };
    let fill = match arguments.get(2) {
        Some(Argument::Int(number)) => *number,
        Some(Argument::Float(number)) if *number == number.trunc() => *number as i64,
        None | Some(Argument::None) => 0,
        _ => return None,
    };
    let rank = x.sizes.len();
    let before = |dim: usize| match pad.get(2 * (rank - 1 - dim)) {
        Some(Argument::Int(number)) => *number,
        _ => 0,
    };
    let numbers: Option<Vec<i64>> = Places::of(shape)?
        .map(|place| {
            let mut from = Vec::with_capacity(rank);
            for (dim, index) in place.iter().enumerate() {
                match u64::try_from(*index as i64 - before(dim)) {
                    Ok(index) if index < x.sizes[dim] => from.push(index),
                    _ => return Some(fill),
                }
            }
            x.at(&from)
        })
        .collect();
    Grid::new(shape.clone(), numbers?)
}

fn dimension(dim: i64, rank: usize) -> Option<usize> {
    ops::dimension(dim, rank).ok()
}

/// What an operator that compares two numbers answers.
fn compared<T: PartialOrd>(name: &str, a: T, b: T) -> Option<bool> {
    Some(match name {
        "eq" => a == b,
        "ne" => a != b,
        "lt" => a < b,
        "le" => a <= b,
        "gt" => a > b,
        "ge" => a >= b,
        _ => return None,
    })
}

fn dims_of(argument: &Argument, rank: usize) -> Option<Vec<usize>> {
    match argument {
        Argument::Int(dim) => Some(vec![dimension(*dim, rank)?]),
        Argument::List(dims) => dims
            .iter()
            .map(|dim| match dim {
                Argument::Int(dim) => dimension(*dim, rank),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
