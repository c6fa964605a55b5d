//! Modules that hold modules: what goes through them, asks for one of them, or takes them apart (torch/nn/modules/container.py).

use std::rc::Rc;
use std::sync::Arc;

use super::machine::{Machine, Outcome};
use super::value::{Builtin, Object, Value};
use crate::dtype::Dtype;
use crate::interpret::{Interpreter, Semantics};

/// The functions by name.
pub(super) const FUNCTIONS: &[(&str, Builtin)] = &[
    // whether a tensor is known to be one of booleans
    ("is_boolean", |machine, given| {
        let [value] = given.exactly(machine)?;
        let Value::Tensor(tensor) = &value else { return Ok(Value::Bool(false)) };
        Ok(Value::Bool(machine.types.get(&tensor.tensor.get()) == Some(&Dtype::Bool)))
    }),
    ("children_of", |machine, given| {
        let [module] = given.exactly(machine)?;
        let children = children(machine, &module)?;
        machine.spend_elements(children.len())?;
        Ok(Value::sequence(children.into_iter().map(|(_, child)| child).collect()))
    }),
    ("named_children", |machine, given| {
        let [module] = given.exactly(machine)?;
        let children = children(machine, &module)?;
        machine.spend_elements(3 * children.len())?;
        let pair = |(name, child)| Value::sequence(vec![Value::Text(name), child]);
        Ok(Value::sequence(children.into_iter().map(pair).collect()))
    }),
    ("ordered_entries", |machine, given| match given.positional.is_empty() {
        true => Ok(Value::dictionary(given.named.into_iter().collect())),
        false => match &given.positional[..] {
            [entries @ Value::Dictionary(_)] => Ok(entries.clone()),
            _ => super::python::dictionary(machine, given),
        },
    }),
    ("fields_of", |machine, given| {
        let [value] = given.exactly(machine)?;
        match &value {
            Value::Object(object) if object.module.is_none() => {
                let fields: Vec<Value> = object.attributes.borrow().values().cloned().collect();
                machine.spend_elements(fields.len())?;
                Ok(Value::sequence(fields))
            }
            _ => Ok(Value::sequence(Vec::new())),
        }
    }),
    ("chained", |machine, given| {
        let mut all = Vec::new();
        for list in &given.positional {
            all.extend(machine.elements(list)?.iter().cloned());
            machine.spend_elements(all.len())?;
        }
        Ok(Value::sequence(all))
    }),
];

/// The children of a module with their names, in the order in which they were registered; those of a list of modules by number.
pub(super) fn children(machine: &Machine, module: &Value) -> Outcome<Vec<(Arc<str>, Value)>> {
    match module {
        Value::Object(object) if object.module.is_some() => Ok(of_object(object)),
        Value::Sequence(modules) => {
            let named = |(place, module): (usize, &Value)| (Arc::from(place.to_string()), module.clone());
            Ok(modules.iter().enumerate().map(named).collect())
        }
        other => machine.error(format!("{} has no modules", other.kind())),
    }
}

/// A module that holds modules with more of them behind its own, called by their numbers.
pub(super) fn longer(machine: &mut Machine, object: &Rc<Object>, more: &[Value]) -> Outcome<Value> {
    let attributes = object.attributes.borrow().clone();
    machine.spend_elements(attributes.len() + more.len())?;
    let longer = Rc::new(object.copied(attributes));
    longer.height.set(None);
    let (value, first) = (Value::Object(longer.clone()), of_object(object).len());
    for (place, module) in (first..).zip(more) {
        machine.set_attribute(&value, &place.to_string().into(), module.clone())?;
    }
    longer.settle();
    Ok(value)
}

fn of_object(object: &Rc<Object>) -> Vec<(Arc<str>, Value)> {
    let (owned, attributes) = (object.owned.borrow(), object.attributes.borrow());
    let elements = object.class.as_ref().map(|class| &class.elements);
    let mut all = Vec::new();
    for name in &owned.children {
        let Some(child) = attributes.get(name) else { continue };
        match (elements.and_then(|elements| elements.get(name)), child) {
            (Some((prefix, first)), Value::Sequence(children)) => {
                let named = children.iter().zip(*first..);
                all.extend(named.map(|(child, place)| (Arc::from(format!("{prefix}{place}")), child.clone())));
            }
            (_, Value::None) => {}
            _ => all.push((name.clone(), child.clone())),
        }
    }
    all
}

impl Machine {
    /// `container[place]`, of a module that holds modules.
    pub(super) fn child_at(&self, object: &Rc<Object>, place: &Value) -> Outcome<Value> {
        let children = of_object(object);
        match place {
            Value::Int(place) => {
                let number = if *place < 0 { place + children.len() as i64 } else { *place };
                match usize::try_from(number).ok().and_then(|number| children.get(number)) {
                    Some((_, child)) => Ok(child.clone()),
                    None => self.error(format!("a module with {} children has no child {place}", children.len())),
                }
            }
            Value::Text(name) => match children.iter().find(|(known, _)| known == name) {
                Some((_, child)) => Ok(child.clone()),
                None => self.error(format!("there is no module `{name}`")),
            },
            other => self.error(format!("{} names no child of a module", other.kind())),
        }
    }
}
