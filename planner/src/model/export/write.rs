//! Calls of modules become functions of the spec language: what Python's names hold they hold, and all else goes after its
//! last use.
//!
//! ```text
//! conv2d = aten.conv2d(x, p_conv1_weight)        %1 = conv2d(p0, self.weight, None, 1, 0, 1, 1)
//! relu   = aten.relu(conv2d)                     %2 = relu(%1)
//!                                                del %1
//! ```

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::arguments::{self, Place};
use super::body::Body;
use super::code::{Code, at_nowhere, attribute, binary, call, int, list, literal, named, statement, text};
use super::error::Problem;
use super::flatten::{Gives, Kind, Origin, Program, Step, ValueId};
use super::modules::{Modules, split};
use super::names::{self, Line};
use super::tree::{Calls, Item, each_tensor};
use super::{Facts, sizes};
use crate::ops::OPAQUE;
use crate::ops::aten::{SAME, computes_nothing, overload_of};
use crate::read::spec::syntax::*;

/// The most ways in which the calls of one module may differ.
const WAYS: usize = 500;

/// The `forward` of a module, and which of its ways each of its calls goes.
pub struct Forward {
    /// The function.
    pub function: Function,
    /// The way of each call; empty where all go the same.
    pub ways: FxHashMap<usize, usize>,
}

/// What is written about.
pub struct Writer<'p, 'a> {
    pub program: &'p Program<'a>,
    pub calls: &'p Calls<'a>,
    pub modules: &'p Modules,
    pub facts: &'p Facts,
    /// The ways of calls that are written already: those within others come first.
    pub ways: FxHashMap<usize, usize>,
}

impl<'p, 'a> Writer<'p, 'a> {
    /// Writes the `forward` of a module from its calls.
    ///
    /// # Errors
    /// What cannot be planned, or is more than any module does.
    pub fn forward(&mut self, path: &'a str, calls: &[usize], file: &Arc<str>) -> Result<Forward, Problem> {
        let mut code = Code::default();
        let way = (calls.len() > 1).then(|| code.number("way"));
        let inputs: Vec<NameId> = match path {
            "" => self.program.inputs.iter().map(|(name, _)| code.number(&input_name(name))).collect(),
            _ => {
                let most = calls.iter().map(|call| self.calls.calls[*call].takes.len()).max().unwrap_or(0);
                (0..most).map(|number| code.number(&format!("%in{number}"))).collect()
            }
        };
        let mut written: Vec<Vec<Statement>> = Vec::new();
        let mut known: FxHashMap<String, usize> = FxHashMap::default();
        let mut ways = FxHashMap::default();
        for call in calls {
            let body = self.body(*call, path, &inputs, &mut code)?;
            let key = if way.is_some() { shape_of(&body) } else { String::new() };
            let number = *known.entry(key).or_insert(written.len());
            ways.insert(*call, number);
            if number == written.len() {
                written.push(body);
            }
            if written.len() > WAYS {
                return Err(Problem::new(format!("`{path}` runs in more than {WAYS} ways")));
            }
        }
        let none = || Some(literal(Literal::None));
        let mut parameters: Vec<Parameter> =
            inputs.iter().map(|name| Parameter { name: *name, default: none(), rest: Rest::One }).collect();
        let body = match way {
            Some(way) if written.len() > 1 => {
                parameters.insert(0, Parameter { name: way, default: None, rest: Rest::One });
                let is = |number: usize| binary(Binary::Equal, named(way), int(number as i64));
                let branches = written.into_iter().enumerate().map(|(number, body)| (is(number), body)).collect();
                vec![statement(StatementKind::If(branches, Vec::new()), 0)]
            }
            _ => {
                ways.clear();
                written.into_iter().next().unwrap_or_default()
            }
        };
        if code.overflowed {
            return Err(Problem::new(format!("`{path}` keeps more tensors at once than any module does")));
        }
        let name = format!("{}.forward", if path.is_empty() { "model" } else { path });
        Ok(Forward { function: code.function(name, file.clone(), parameters, body), ways })
    }

    fn body(
        &self,
        number: usize,
        path: &'a str,
        inputs: &[NameId],
        code: &mut Code,
    ) -> Result<Vec<Statement>, Problem> {
        let call = &self.calls.calls[number];
        let taken: Vec<ValueId> = match number {
            0 => self.program.inputs.iter().map(|(_, value)| *value).collect(),
            _ => call.takes.iter().copied().collect(),
        };
        let places = taken.iter().copied().zip(inputs.iter().copied()).collect();
        let mut last = self.last_uses(number);
        let own = last.keys().copied().collect();
        last.extend(call.gives.iter().map(|value| (*value, usize::MAX)));
        if number == 0 {
            last.extend(self.program.outputs.iter().flatten().map(|value| (*value, usize::MAX)));
        }
        let statements = Vec::new();
        let inputs = taken.iter().copied().collect();
        let mut body = Body { code, path, statements, places, last, own, inputs, pending: None, node: 0 };
        for (place, item) in call.items.iter().enumerate() {
            let line = self.line(*item, call.depth);
            body.begin(line);
            match item {
                Item::Step(step) => self.step(&mut body, *step, place)?,
                Item::Call(inner) => self.inner(&mut body, *inner, place),
            }
        }
        body.flush();
        body.node = self.program.steps.len();
        let results: Vec<ValueId> = call.gives.iter().copied().collect();
        let returned = if number == 0 { self.outputs(&mut body) } else { body.several(&results) };
        body.add(StatementKind::Return(returned));
        let Body { statements, places, inputs, .. } = body;
        let mut left: Vec<NameId> =
            places.into_iter().filter(|(value, _)| !inputs.contains(value)).map(|(_, place)| place).collect();
        left.sort_unstable_by_key(|place| place.0);
        left.into_iter().for_each(|place| code.give_back(place));
        Ok(statements)
    }

    /// What the model returns, by number; the loss by its name too.
    fn outputs(&self, body: &mut Body<'_, 'a>) -> Option<Expression> {
        let mut outputs = Vec::new();
        for (number, value) in self.program.outputs.iter().enumerate() {
            let Some(value) = value else { continue };
            let expression = self.tensor(*value, body.path, &body.places, body.code);
            if Some(number) == self.facts.scores {
                outputs.push(Argument::Named("scores".into(), expression.clone()));
            }
            let name = if Some(number) == self.facts.loss { "loss".to_owned() } else { format!("output_{number}") };
            outputs.push(Argument::Named(name.into(), expression));
        }
        let output = Box::new(body.code.name("Output"));
        Some(at_nowhere(ExpressionKind::Call(output, outputs)))
    }

    /// The line of Python that an item runs in.
    fn line(&self, item: Item, depth: usize) -> Option<Line<'a>> {
        let step = match item {
            Item::Step(step) => step,
            Item::Call(call) => self.first_step(call),
        };
        let Step { modules, trace, .. } = &self.program.steps[step];
        names::line(*trace, depth, modules.map_or(1, |modules| modules.matches(';').count() + 1))
    }

    fn first_step(&self, mut call: usize) -> usize {
        loop {
            match self.calls.calls[call].items.first() {
                Some(Item::Step(step)) => return *step,
                Some(Item::Call(inner)) => call = *inner,
                None => return 0,
            }
        }
    }

    fn last_uses(&self, number: usize) -> FxHashMap<ValueId, usize> {
        let call = &self.calls.calls[number];
        let mut last = FxHashMap::default();
        for (place, item) in call.items.iter().enumerate() {
            match item {
                Item::Call(inner) => last.extend(self.calls.calls[*inner].takes.iter().map(|value| (*value, place))),
                Item::Step(step) => {
                    if let Kind::Call { target, arguments, .. } = &self.program.steps[*step].kind
                        && !computes_nothing(target)
                    {
                        let mut note = |value| {
                            last.insert(value, place);
                        };
                        arguments.iter().for_each(|(_, argument)| each_tensor(argument, &mut note));
                    }
                }
            }
        }
        last
    }

    /// A tensor where the module at `path` runs: what it holds itself, what the model holds, a local.
    fn tensor(&self, value: ValueId, path: &str, places: &FxHashMap<ValueId, NameId>, code: &mut Code) -> Expression {
        match (self.program.values[value.index()].origin, places.get(&value)) {
            (Origin::State(number), _) => {
                let (owner, name) = split(self.facts.held(number, path, self.program));
                let near = Modules::lies_in(owner, path) || owner == path;
                let (base, from) = if near { ("self", path) } else { ("_model", "") };
                let base = code.name(base);
                attribute(self.modules.reach(base, from, owner), name)
            }
            (_, Some(place)) => named(*place),
            // an input that nobody brings here: the model's own frame knows it
            (_, None) => literal(Literal::None),
        }
    }

    fn step(&self, body: &mut Body<'_, 'a>, number: usize, place: usize) -> Result<(), Problem> {
        body.node = number;
        let (target, given, gives) = match &self.program.steps[number].kind {
            Kind::Call { target, arguments, gives } => (*target, arguments, gives),
            other => {
                let expression = body.mode(other);
                body.add(StatementKind::Evaluate(expression));
                return Ok(());
            }
        };
        if computes_nothing(target) {
            return Ok(());
        }
        let expression = self.known(body, target, given, number);
        let results: Vec<ValueId> = gives.values().collect();
        let targets = match (&expression, gives) {
            (None, _) => Target::Sequence(results.iter().map(|value| Target::Name(body.place(*value))).collect()),
            (_, Gives::Nothing) => Target::Sequence(Vec::new()),
            (_, Gives::One(value)) => Target::Name(body.place(*value)),
            (_, Gives::Several(values)) => {
                Target::Sequence(values.iter().map(|value| body.place_or_spare(value)).collect())
            }
        };
        let expression = match expression {
            Some(expression) => expression,
            None => self.opaque(body, target, number, &results)?,
        };
        body.add(match (&targets, gives) {
            (Target::Sequence(targets), Gives::Nothing) if targets.is_empty() => StatementKind::Evaluate(expression),
            _ => StatementKind::Assign(targets, expression),
        });
        body.end(place, &self.used(number), &results);
        Ok(())
    }

    /// The call of an operator that is known; None of one that is not.
    fn known(
        &self,
        body: &mut Body<'_, 'a>,
        target: &str,
        given: &[(&str, super::flatten::Given<'a>)],
        number: usize,
    ) -> Option<Expression> {
        let trace = self.program.steps[number].trace.unwrap_or_default();
        let line = trace.rsplit('\n').next().unwrap_or_default();
        let Body { places, code, path, .. } = body;
        let mut tensor = |value: ValueId, code: &mut Code| self.tensor(value, path, places, code);
        let mut place = Place {
            weights: self.facts.weights,
            exported_training: self.facts.training,
            names_float32: line.contains("float32") || line.contains(".float()"),
            tensor: &mut tensor,
        };
        let overload = overload_of(target)?;
        let arguments = arguments::arguments(overload, given, &mut place, code)?;
        if overload.callee == SAME { arguments.into_iter().next() } else { Some(code.call(overload.callee, arguments)) }
    }

    /// An operator that is not known, with what the export says of its results.
    fn opaque(
        &self,
        body: &mut Body<'_, 'a>,
        target: &str,
        number: usize,
        results: &[ValueId],
    ) -> Result<Expression, Problem> {
        let (mut shapes, mut types) = (Vec::new(), Vec::new());
        for result in results {
            let meta = self.program.values[result.index()].meta;
            let meta =
                meta.ok_or_else(|| Problem::at(number, format!("{target} is not known, nor the shape it gives")))?;
            let shape = meta.sizes.iter().map(|size| sizes::written(size, body.code)).collect::<Result<_, _>>();
            shapes.push(list(shape.map_err(|message| Problem::at(number, message))?));
            let dtype = arguments::dtype(meta.dtype).filter(|dtype| *dtype != self.facts.weights);
            types.push(body.code.name(dtype.map_or("weights_dtype", |dtype| dtype.name())));
        }
        let used = self.used(number);
        let inputs = used.iter().map(|value| self.tensor(*value, body.path, &body.places, body.code)).collect();
        Ok(body.code.call(OPAQUE, vec![text(target), list(inputs), list(shapes), list(types)]))
    }

    /// The tensors that a step uses, those that the model holds among them.
    fn used(&self, number: usize) -> Vec<ValueId> {
        let mut used = Vec::new();
        if let Kind::Call { arguments, .. } = &self.program.steps[number].kind {
            arguments.iter().for_each(|(_, argument)| each_tensor(argument, &mut |value| used.push(value)));
        }
        used
    }

    /// The call of a module within.
    fn inner(&self, body: &mut Body<'_, 'a>, number: usize, place: usize) {
        let inner = &self.calls.calls[number];
        body.node = self.first_step(number);
        let from = if Modules::lies_in(inner.path, body.path) { ("self", body.path) } else { ("_model", "") };
        let base = body.code.name(from.0);
        let module = self.modules.reach(base, from.1, inner.path);
        let way = self.ways.get(&number).map(|way| int(*way as i64));
        let takes = inner.takes.iter().map(|value| self.tensor(*value, body.path, &body.places, body.code));
        let given: Vec<Expression> = way.into_iter().chain(takes.collect::<Vec<_>>()).collect();
        let expression = call(module, given);
        let results: Vec<ValueId> = inner.gives.iter().copied().collect();
        let mut targets: Vec<Target> = results.iter().map(|value| Target::Name(body.place(*value))).collect();
        body.add(match targets.len() {
            0 => StatementKind::Evaluate(expression),
            1 => StatementKind::Assign(targets.swap_remove(0), expression),
            _ => StatementKind::Assign(Target::Sequence(targets), expression),
        });
        let used: Vec<ValueId> = inner.takes.iter().copied().collect();
        body.end(place, &used, &results);
    }
}

/// What an input is called where the model takes it: nothing that code could mean otherwise.
pub fn input_name(name: &str) -> String {
    format!("input {name}")
}

/// What a body does, without the places of its calls: bodies of the same are one.
fn shape_of(body: &[Statement]) -> String {
    let kinds: Vec<&StatementKind> = body.iter().map(|statement| &statement.kind).collect();
    format!("{kinds:?}")
}
