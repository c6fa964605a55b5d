//! A body that is being written: where tensors are kept, what a line's names hold, what goes.

use rustc_hash::{FxHashMap, FxHashSet};

use super::code::{Code, list, literal, named, statement};
use super::flatten::{Kind, ValueId};
use super::names::{self, Line};
use crate::read::spec::syntax::*;

/// A line of Python whose calls are under way.
pub struct Pending<'a> {
    place: &'a str,
    binding: Option<names::Binding<'a>>,
    /// What its calls gave.
    made: Vec<ValueId>,
    /// What the last of them gave.
    results: Vec<ValueId>,
    dying: Vec<ValueId>,
}

/// A body that is being written.
pub struct Body<'c, 'a> {
    pub code: &'c mut Code,
    pub path: &'a str,
    pub statements: Vec<Statement>,
    pub places: FxHashMap<ValueId, NameId>,
    /// The item that uses each value last.
    pub last: FxHashMap<ValueId, usize>,
    /// What the body itself uses, and does not just hand on.
    pub own: FxHashSet<ValueId>,
    /// What came in, which the caller holds.
    pub inputs: FxHashSet<ValueId>,
    pub pending: Option<Pending<'a>>,
    pub node: usize,
}

impl<'a> Body<'_, 'a> {
    pub fn add(&mut self, kind: StatementKind) {
        self.statements.push(statement(kind, self.node));
    }

    /// Where a value is kept.
    pub fn place(&mut self, value: ValueId) -> NameId {
        let place = self.code.local();
        self.places.insert(value, place);
        place
    }

    /// Where a result is kept, or what nobody uses is put.
    pub fn place_or_spare(&mut self, value: &Option<ValueId>) -> Target {
        Target::Name(match value {
            Some(value) => self.place(*value),
            None => self.code.number("%none"),
        })
    }

    /// The values as a function returns them.
    pub fn several(&mut self, values: &[ValueId]) -> Option<Expression> {
        let mut all: Vec<Expression> =
            values.iter().filter_map(|value| self.places.get(value)).map(|place| named(*place)).collect();
        match all.len() {
            0 => None,
            1 => all.pop(),
            _ => Some(list(all)),
        }
    }

    /// A change of grad mode or of autocast.
    pub fn mode(&mut self, kind: &Kind<'_>) -> Expression {
        let flag = |flag: bool| literal(Literal::Bool(flag));
        match kind {
            Kind::EnterAutocast(enabled) => self.code.call("enter_autocast", vec![flag(*enabled)]),
            Kind::Grad(Some(enabled)) => self.code.call("set_grad_enabled", vec![flag(*enabled)]),
            Kind::Grad(None) => {
                let records = self.code.symbol("_records");
                self.code.call("set_grad_enabled", vec![records])
            }
            Kind::Call { .. } | Kind::ExitAutocast => self.code.call("exit_autocast", Vec::new()),
        }
    }

    /// Begins an item in a line of Python: another line ends the one before.
    pub fn begin(&mut self, line: Option<Line<'a>>) {
        let place = line.map_or("", |line| line.place);
        if self.pending.as_ref().is_some_and(|pending| pending.place != place || place.is_empty()) {
            self.flush();
        }
        if self.pending.is_none() {
            let binding = line.and_then(|line| names::binding(line.text));
            self.pending = Some(Pending { place, binding, made: Vec::new(), results: Vec::new(), dying: Vec::new() });
        }
    }

    /// Ends an item: what is used for the last time goes, but what a name is about to hold.
    pub fn end(&mut self, place: usize, used: &[ValueId], results: &[ValueId]) {
        let dies = |value: &ValueId| self.last.get(value).is_none_or(|last| *last == place);
        let (dead, unused): (Vec<ValueId>, Vec<ValueId>) =
            (used.iter().copied().filter(dies).collect(), results.iter().copied().filter(dies).collect());
        let one_call = match &mut self.pending {
            Some(pending) if pending.binding.is_some() && !results.is_empty() => {
                let before = std::mem::replace(&mut pending.dying, unused);
                pending.results = results.to_vec();
                pending.made.extend(results);
                self.let_go(&before);
                self.pending
                    .as_ref()
                    .and_then(|pending| pending.binding.as_ref())
                    .is_some_and(|binding| binding.one_call)
            }
            _ => {
                self.let_go(&unused);
                false
            }
        };
        self.let_go(&dead);
        if one_call {
            self.flush();
        }
    }

    /// Values that nothing uses any more.
    fn let_go(&mut self, values: &[ValueId]) {
        let mut names = Vec::new();
        for value in values {
            let is_input = self.inputs.contains(value);
            if let Some(place) = self.places.get(value).copied().filter(|_| !is_input) {
                self.places.remove(value);
                self.code.give_back(place);
                names.push(place);
            }
        }
        if !names.is_empty() {
            self.add(StatementKind::Delete(names));
        }
    }

    /// What the names of a line hold: one name what its last call gave, several what it made and later lines use.
    fn held<'n>(
        &self,
        binding: &names::Binding<'n>,
        made: &[ValueId],
        results: &[ValueId],
    ) -> Vec<(&'n str, Expression)> {
        let kept = |values: &[ValueId], own: bool| -> Vec<Expression> {
            let kept = values.iter().filter(|value| !own || self.own.contains(*value));
            kept.filter_map(|value| self.places.get(value)).map(|place| named(*place)).collect()
        };
        match &binding.names[..] {
            [name] => {
                let own = kept(results, true);
                let mut values = if own.is_empty() { kept(results, false) } else { own };
                let value = if values.len() == 1 { values.pop() } else { Some(list(values)) };
                value.map(|value| (*name, value)).into_iter().collect()
            }
            names => {
                let values = kept(made, true);
                let fits = values.len() == names.len() || values.len() == 1;
                names.iter().copied().zip(values).filter(|_| fits).collect()
            }
        }
    }

    /// Ends a line of Python: its names hold what its last call gave.
    pub fn flush(&mut self) {
        let Some(Pending { binding, made, results, dying, .. }) = self.pending.take() else { return };
        if let Some(binding) = binding {
            for (name, value) in self.held(&binding, &made, &results) {
                let name = self.code.number(&format!("py {name}"));
                self.add(StatementKind::Assign(Target::Name(name), value));
            }
        }
        self.let_go(&dying);
    }
}
