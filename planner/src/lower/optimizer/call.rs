//! Calls, comprehensions and indices in an optimizer's code.

use super::machine::{Frame, Machine, Outcome};
use super::value::{Given, Value};
use crate::read::spec::syntax::*;

impl Machine<'_> {
    /// The name of a comprehension is its own, as in Python.
    pub(super) fn comprehension(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        c: &Comprehension,
    ) -> Outcome<Value> {
        let source = self.evaluate(function, frame, &c.source)?;
        let outer = frame.clone();
        let mut collected = Vec::new();
        for element in source.elements()?.iter() {
            self.assign(function, frame, &c.target, element.clone())?;
            let counts = match &c.condition {
                None => true,
                Some(condition) => self.evaluate(function, frame, condition)?.truth()?,
            };
            if counts {
                collected.push(self.evaluate(function, frame, &c.element)?);
            }
        }
        *frame = outer;
        Ok(Value::list(collected))
    }

    pub(super) fn call(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        callee: &Expression,
        a: &[Argument],
    ) -> Outcome<Value> {
        match &callee.kind {
            ExpressionKind::Name(name) => {
                let given = self.arguments(function, frame, a)?;
                let name = &function.names[usize::from(name.0)];
                match self.optimizer.function(name) {
                    Some(called) => self.call_function(&called, given),
                    None => self.call_builtin(name, given),
                }
            }
            ExpressionKind::Attribute(owner, name) => {
                let owner = self.evaluate(function, frame, owner)?;
                let mut given = self.arguments(function, frame, a)?;
                given.positional.insert(0, owner);
                self.call_operator(name, given)
            }
            _ => Err("only functions can be called".to_owned()),
        }
    }

    pub(super) fn arguments(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        arguments: &[Argument],
    ) -> Outcome<Given> {
        let mut given = Given::default();
        for argument in arguments {
            match argument {
                Argument::Plain(value) => given.positional.push(self.evaluate(function, frame, value)?),
                Argument::Named(name, value) => {
                    given.named.push((name.clone(), self.evaluate(function, frame, value)?));
                }
                Argument::Spread(_) | Argument::SpreadNamed(_) => return Err("optimizers spread nothing".to_owned()),
            }
        }
        Ok(given)
    }

    pub(super) fn index(
        &mut self,
        f: &Function,
        frame: &mut Frame,
        owner: &Expression,
        items: &[Subscript],
    ) -> Outcome<Value> {
        let owner = self.evaluate(f, frame, owner)?;
        let elements = owner.elements()?;
        let mut place = |machine: &mut Self, e: &Expression| -> Outcome<usize> {
            let number = machine.evaluate(f, frame, e)?.number()?;
            let from = if number < 0.0 { elements.len() as f64 } else { 0.0 };
            Ok((number + from).max(0.0) as usize)
        };
        match items {
            [Subscript::At(at)] => {
                let at = place(self, at)?;
                elements.get(at).cloned().ok_or_else(|| format!("a list of {} has no element {at}", elements.len()))
            }
            [Subscript::Range(start, end)] => {
                let start = start.as_ref().map_or(Ok(0), |start| place(self, start))?;
                let end = end.as_ref().map_or(Ok(elements.len()), |end| place(self, end))?.min(elements.len());
                Ok(Value::list(elements[start.min(end)..end].to_vec()))
            }
            _ => Err("one index is expected".to_owned()),
        }
    }
}
