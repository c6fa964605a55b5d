//! The walk over functions, statements and expressions.

use super::nested::HIGHEST;
use super::{Frame, Given, Locals, Outcome, Semantics};
use crate::read::spec::syntax::*;
use crate::trace::LettingGo;

/// The deepest nesting of running statements and expressions, those of callees included: far beyond any spec, well within
/// the stack.
const DEPTH: usize = 600;

/// The most statements and expressions that are evaluated, a list's elements and a text's bytes counted in, and what calls of
/// operators need left out: far more than any spec needs, and over within a minute.
const STEPS: usize = 1 << 28;

/// What an element of a list counts for: it takes memory for as long as the list is there.
const ELEMENT: usize = 16;

/// Where code goes behind a statement.
pub enum Flow<V> {
    /// To the next one.
    On,
    /// To the next iteration of the loop around it.
    Continue,
    /// Behind the loop around it.
    Break,
    /// Back to the caller.
    Return(V),
}

impl<M: Semantics> Interpreter for M {}

/// Runs code by what the machine says of values.
pub trait Interpreter: Semantics {
    // ---- functions ----------------------------------------------------------------------------------------------

    /// Calls a function; its frame takes the arguments over.
    fn call_function(&mut self, function: &Function, given: Given<Self::Value>) -> Outcome<Self> {
        self.spend(function.names.len())?;
        let mut frame = Frame::new(function);
        self.bind(&mut frame, given)?;
        self.run(frame)
    }

    /// Puts arguments into the frame of the function that they are for. Defaults see no locals.
    fn bind(&mut self, frame: &mut Locals<'_, Self>, given: Given<Self::Value>) -> Outcome<Self, ()> {
        let function = frame.function;
        let name_of = |parameter: &Parameter| &function.names[usize::from(parameter.name.0)];
        let plain = || function.parameters.iter().filter(|parameter| parameter.rest == Rest::One);
        let Given { mut positional, named } = given;
        let placed = function.parameters.iter().take_while(|parameter| parameter.rest == Rest::One);
        let takes_more = function.parameters.iter().find(|parameter| parameter.rest == Rest::Positional);
        let count = placed.clone().count();
        match takes_more {
            Some(parameter) => {
                let more = positional.split_off(count.min(positional.len()));
                self.spend_elements(more.len())?;
                *frame.slot(parameter.name) = Some(self.bounded(Self::sequence(more))?);
            }
            None if positional.len() > count => {
                return self.error(format!("{} takes {count} arguments, not {}", function.name, positional.len()));
            }
            None => {}
        }
        for (parameter, value) in placed.zip(positional) {
            *frame.slot(parameter.name) = Some(value);
        }
        let mut rest = Vec::new();
        for (name, value) in named {
            match plain().find(|parameter| *name_of(parameter) == name) {
                Some(parameter) if frame.slot(parameter.name).is_some() => {
                    return self.error(format!("{} is given `{name}` twice", function.name));
                }
                Some(parameter) => *frame.slot(parameter.name) = Some(value),
                None => rest.push((name, value)),
            }
        }
        for parameter in &function.parameters {
            if parameter.rest == Rest::Named {
                let entries = rest.drain(..).map(|(name, value)| (Self::literal(&Literal::Text(name)), value));
                *frame.slot(parameter.name) = Some(self.dictionary(entries.collect())?);
            } else if frame.slot(parameter.name).is_none() {
                let Some(default) = &parameter.default else {
                    return self.error(format!("{} lacks its argument `{}`", function.name, name_of(parameter)));
                };
                *frame.slot(parameter.name) = Some(self.evaluate(&mut Frame::new(function), default)?);
            }
        }
        match rest.first() {
            Some((name, _)) => self.error(format!("{} has no parameter `{name}`", function.name)),
            None => Ok(()),
        }
    }

    /// Runs a function whose frame is filled; gives what it returns, after its locals are gone.
    fn run(&mut self, mut frame: Locals<'_, Self>) -> Outcome<Self> {
        let function = frame.function;
        let outer = self.place();
        self.enter(function);
        let returned = match self.block(&mut frame, &function.body)? {
            Flow::Return(value) => Some(value),
            _ => None,
        };
        self.spend(returned.as_ref().map_or(0, |value| Self::extent(value).count))?;
        for number in 0..frame.slots.len() {
            let Some(value) = frame.slots[number].take().filter(Self::can_hold_memory) else { continue };
            self.reach(frame.standing(Some(NameId(number as u16)), LettingGo::Returned));
            drop(value);
        }
        self.go_to(outer);
        Ok(returned.unwrap_or_else(|| Self::literal(&Literal::None)))
    }

    /// Puts a value into a local's slot; what was there goes.
    fn set(&mut self, frame: &mut Locals<'_, Self>, name: NameId, value: Option<Self::Value>) {
        let how = if value.is_some() { LettingGo::Bound } else { LettingGo::Deleted };
        let old = std::mem::replace(frame.slot(name), value);
        if let Some(old) = old.filter(Self::can_hold_memory) {
            let outer = self.place();
            self.reach(frame.standing(Some(name), how));
            drop(old);
            self.go_to(outer);
        }
    }

    /// Runs something one level deeper.
    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Outcome<Self, T>) -> Outcome<Self, T> {
        if *self.depth() >= DEPTH {
            return self.error(format!("calls and expressions nest deeper than {DEPTH} levels"));
        }
        self.spend(1)?;
        *self.depth() += 1;
        let result = run(self);
        *self.depth() -= 1;
        result
    }

    /// Counts what is evaluated, and stops what goes on and on.
    fn spend(&mut self, steps: usize) -> Outcome<Self, ()> {
        let spent = self.spent();
        *spent = spent.saturating_add(steps);
        if *spent > STEPS { self.error(format!("it goes on for more than {STEPS} steps")) } else { Ok(()) }
    }

    /// Counts the elements of a list that is made.
    fn spend_elements(&mut self, count: usize) -> Outcome<Self, ()> {
        self.spend(count.saturating_mul(ELEMENT))
    }

    // ---- statements ---------------------------------------------------------------------------------------------

    /// Runs statements, one after the other until one of them goes elsewhere.
    fn block(&mut self, frame: &mut Locals<'_, Self>, statements: &[Statement]) -> Outcome<Self, Flow<Self::Value>> {
        for statement in statements {
            frame.line = statement.at.line;
            self.reach(frame.standing(None, LettingGo::Expression));
            match self.deeper(|machine| machine.statement(frame, statement)) {
                Ok(Flow::On) => {}
                Err(error) => return Err(self.placed(error, &frame.function.file, statement.at)),
                elsewhere => return elsewhere,
            }
        }
        Ok(Flow::On)
    }

    fn statement(&mut self, frame: &mut Locals<'_, Self>, statement: &Statement) -> Outcome<Self, Flow<Self::Value>> {
        match &statement.kind {
            StatementKind::Evaluate(expression) => drop(self.evaluate(frame, expression)?),
            StatementKind::Assign(target, expression) => {
                let value = self.value_for(frame, target, expression)?;
                self.assign(frame, target, value)?;
            }
            StatementKind::Update(Target::Name(name), operator, expression) => {
                let old = self.name(frame, *name)?;
                let new = self.evaluate(frame, expression)?;
                let updated = self.update(*operator, old, new)?;
                self.set(frame, *name, Some(updated));
            }
            StatementKind::Update(Target::Attribute(owner, name), operator, expression) => {
                let owner = self.evaluate(frame, owner)?;
                let old = self.attribute(&owner, name)?;
                let new = self.evaluate(frame, expression)?;
                let value = self.update(*operator, old, new)?;
                self.set_attribute(&owner, name, value)?;
            }
            StatementKind::Update(Target::Sequence(_) | Target::Rest(_), ..) => {
                return self.error("a sequence cannot be updated");
            }
            StatementKind::Return(None) => return Ok(Flow::Return(Self::literal(&Literal::None))),
            StatementKind::Return(Some(expression)) => return self.evaluate(frame, expression).map(Flow::Return),
            StatementKind::Continue => return Ok(Flow::Continue),
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::If(branches, otherwise) => {
                for (condition, body) in branches {
                    if self.holds(frame, condition)? {
                        return self.block(frame, body);
                    }
                }
                return self.block(frame, otherwise);
            }
            StatementKind::For(target, source, body) => {
                let source = self.evaluate(frame, source)?;
                let elements = self.elements(&source)?;
                let (mut progress, mut at) = (Self::Loop::default(), 0);
                while at < elements.len() {
                    at += self.iterate(frame, &mut progress, &elements, at)?;
                    let Some(element) = elements.get(at) else { break };
                    self.assign(frame, target, element.clone())?;
                    match self.block(frame, body)? {
                        Flow::On | Flow::Continue => at += 1,
                        Flow::Break => break,
                        returned => return Ok(returned),
                    }
                }
            }
            StatementKind::Delete(names) => names.iter().for_each(|name| self.set(frame, *name, None)),
        }
        Ok(Flow::On)
    }

    fn assign(&mut self, frame: &mut Locals<'_, Self>, target: &Target, value: Self::Value) -> Outcome<Self, ()> {
        match target {
            Target::Name(name) => self.set(frame, *name, Some(value)),
            Target::Attribute(owner, name) => {
                let owner = self.evaluate(frame, owner)?;
                self.set_attribute(&owner, name, value)?;
            }
            Target::Rest(name) => self.set(frame, *name, Some(value)),
            Target::Sequence(targets) => {
                let elements = self.elements(&value)?;
                drop(value);
                if let Some(place) = targets.iter().position(|target| matches!(target, Target::Rest(_))) {
                    return self.assign_with_rest(frame, targets, place, &elements);
                }
                if elements.len() != targets.len() {
                    return self.error(format!("{} names cannot take {} values", targets.len(), elements.len()));
                }
                for (target, element) in targets.iter().zip(elements.iter()) {
                    self.assign(frame, target, element.clone())?;
                }
            }
        }
        Ok(())
    }

    /// `a, *b, c = elements`, where the rest stands at a place.
    fn assign_with_rest(
        &mut self,
        frame: &mut Locals<'_, Self>,
        targets: &[Target],
        place: usize,
        elements: &[Self::Value],
    ) -> Outcome<Self, ()> {
        let Some(rest) = (elements.len() + 1).checked_sub(targets.len()) else {
            return self.error(format!("{} names cannot take {} values", targets.len() - 1, elements.len()));
        };
        self.spend_elements(rest)?;
        let middle = self.bounded(Self::sequence(elements[place..place + rest].to_vec()))?;
        let (before, after) = (&elements[..place], &elements[place + rest..]);
        let values = before.iter().cloned().chain([middle]).chain(after.iter().cloned());
        for (target, value) in targets.iter().zip(values.collect::<Vec<_>>()) {
            self.assign(frame, target, value)?;
        }
        Ok(())
    }

    // ---- expressions --------------------------------------------------------------------------------------------

    fn evaluate(&mut self, frame: &mut Locals<'_, Self>, e: &Expression) -> Outcome<Self> {
        self.deeper(|machine| machine.expression(frame, e))
    }

    /// A value that was made of others, if it is not too high.
    fn bounded(&self, made: Self::Value) -> Outcome<Self> {
        match Self::extent(&made).height {
            ..=HIGHEST => Ok(made),
            _ => self.error(format!("lists, dictionaries and objects nest deeper than {HIGHEST} levels")),
        }
    }

    fn expression(&mut self, frame: &mut Locals<'_, Self>, e: &Expression) -> Outcome<Self> {
        match &e.kind {
            ExpressionKind::Literal(literal) => Ok(Self::literal(literal)),
            ExpressionKind::Name(name) => self.name(frame, *name),
            ExpressionKind::Attribute(owner, name) => {
                let owner = self.evaluate(frame, owner)?;
                self.attribute(&owner, name)
            }
            ExpressionKind::Index(owner, subscripts) => {
                let owner = self.evaluate(frame, owner)?;
                let subscripts = self.subscripts(frame, subscripts)?;
                self.index(owner, subscripts)
            }
            ExpressionKind::Call(callee, arguments) => {
                let callee = self.callee(frame, callee)?;
                let given = self.arguments(frame, arguments)?;
                let made = self.call(callee, given)?;
                self.bounded(made)
            }
            ExpressionKind::Unary(operator, operand) => {
                let operand = self.evaluate(frame, operand)?;
                self.unary(*operator, operand)
            }
            ExpressionKind::Binary(operator, left, right) => {
                let left = self.evaluate(frame, left)?;
                let right = self.evaluate(frame, right)?;
                self.binary(*operator, left, right)
            }
            ExpressionKind::And(left, right) | ExpressionKind::Or(left, right) => {
                let left = self.evaluate(frame, left)?;
                if self.truth(&left)? == matches!(e.kind, ExpressionKind::Or(..)) {
                    return Ok(left);
                }
                drop(left);
                self.evaluate(frame, right)
            }
            ExpressionKind::Choice(parts) => {
                let [condition, value, otherwise] = &**parts;
                let chosen = if self.holds(frame, condition)? { value } else { otherwise };
                self.evaluate(frame, chosen)
            }
            ExpressionKind::Sequence(elements) => {
                let elements = self.arguments(frame, elements)?.positional;
                self.spend_elements(elements.len())?;
                self.bounded(Self::sequence(elements))
            }
            ExpressionKind::Comprehension(comprehension) => self.comprehension(frame, comprehension),
            ExpressionKind::Named(name, value) => {
                let value = self.evaluate(frame, value)?;
                self.set(frame, *name, Some(value.clone()));
                Ok(value)
            }
            ExpressionKind::Lambda(function, around) => {
                self.spend(function.names.len())?;
                let mut slots = vec![None; function.names.len()];
                for (outer, inner) in around {
                    slots[usize::from(inner.0)] = frame.slots[usize::from(outer.0)].clone();
                }
                let made = self.closure(function, slots)?;
                self.bounded(made)
            }
            ExpressionKind::Dictionary(entries) => {
                let mut pairs = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    pairs.push((self.evaluate(frame, key)?, self.evaluate(frame, value)?));
                }
                let made = self.dictionary(pairs)?;
                self.bounded(made)
            }
        }
    }

    fn name(&mut self, frame: &Locals<'_, Self>, name: NameId) -> Outcome<Self> {
        let number = usize::from(name.0);
        match &frame.slots[number] {
            Some(value) => Ok(value.clone()),
            None => self.global(&frame.function.names[number]),
        }
    }

    /// Whether a condition is true; its value is gone before anything rests on it.
    fn holds(&mut self, frame: &mut Locals<'_, Self>, condition: &Expression) -> Outcome<Self, bool> {
        let value = self.evaluate(frame, condition)?;
        self.truth(&value)
    }

    fn comprehension(&mut self, frame: &mut Locals<'_, Self>, c: &Comprehension) -> Outcome<Self> {
        let source = self.evaluate(frame, &c.source)?;
        self.spend(frame.slots.len())?;
        let outer = frame.slots.clone();
        let mut collected = Vec::new();
        for element in self.elements(&source)?.iter() {
            self.assign(frame, &c.target, element.clone())?;
            if c.condition.as_ref().map_or(Ok(true), |condition| self.holds(frame, condition))? {
                self.spend_elements(1)?;
                collected.push(self.evaluate(frame, &c.element)?);
            }
        }
        frame.slots = outer;
        self.bounded(Self::sequence(collected))
    }

    fn subscripts(
        &mut self,
        frame: &mut Locals<'_, Self>,
        subscripts: &[Subscript],
    ) -> Outcome<Self, Vec<Subscript<Self::Value>>> {
        let mut value = |e: &Expression| self.evaluate(frame, e);
        let evaluated = subscripts.iter().map(|subscript| {
            Ok(match subscript {
                Subscript::At(place) => Subscript::At(value(place)?),
                Subscript::Range(start, end, step) => {
                    let start = start.as_ref().map(&mut value).transpose()?;
                    let end = end.as_ref().map(&mut value).transpose()?;
                    Subscript::Range(start, end, step.as_ref().map(&mut value).transpose()?)
                }
                Subscript::Ellipsis => Subscript::Ellipsis,
            })
        });
        evaluated.collect()
    }

    /// The arguments of a call, or the elements of a sequence. All that lies within them counts: calls may go through it.
    fn arguments(&mut self, frame: &mut Locals<'_, Self>, arguments: &[Argument]) -> Outcome<Self, Given<Self::Value>> {
        let mut given = Given { positional: Vec::with_capacity(arguments.len()), named: Vec::new() };
        for argument in arguments {
            match argument {
                Argument::Plain(value) => given.positional.push(self.evaluate(frame, value)?),
                Argument::Named(name, value) => given.named.push((name.clone(), self.evaluate(frame, value)?)),
                Argument::Spread(values) => {
                    let values = self.evaluate(frame, values)?;
                    let elements = self.elements(&values)?;
                    self.spend(elements.len())?;
                    given.positional.extend(elements.iter().cloned());
                }
                Argument::SpreadNamed(entries) => {
                    let entries = self.evaluate(frame, entries)?;
                    given.named.extend(self.entries(&entries)?);
                }
            }
        }
        let values = given.positional.iter().chain(given.named.iter().map(|(_, value)| value));
        let count = values.fold(0usize, |count, value| count.saturating_add(Self::extent(value).count));
        self.spend(count)?;
        Ok(given)
    }
}
