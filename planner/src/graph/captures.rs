//! Hidden states that hooks of transformers' models keep while a forward runs (transformers 5.24, utils/output_capturing.py).

use std::sync::Arc;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Object, Value};
use crate::interpret::Semantics;

/// What a model's forward was asked for.
#[derive(Debug)]
pub struct Capture {
    /// The classes whose calls are captured.
    classes: Vec<Arc<str>>,
    /// Whether the input of the first is captured too.
    initial: bool,
    /// The places that are kept; all where None is given.
    chosen: Option<Vec<i64>>,
    states: Vec<Value>,
}

impl Capture {
    fn add(&mut self, state: Value) {
        let place = self.states.len() as i64;
        let is_kept = self.chosen.as_ref().is_none_or(|chosen| chosen.contains(&place));
        self.states.push(if is_kept { state } else { Value::None });
    }
}

/// `captured(config, wanted, class, initial, tie, forward)`: what a model's forward gives, with its hidden states where they are wanted:
/// all of them, or those of some places.
pub(super) fn captured(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [config, wanted, class, initial, tie, forward] = given.exactly(machine)?;
    let (initial, tie) = (machine.truth(&initial)?, machine.truth(&tie)?);
    let is_wanted = !matches!(wanted, Value::None | Value::Bool(false));
    let capture = match (is_wanted, class) {
        (false, _) => None,
        (true, class) => {
            let chosen = machine.chosen(&config, &wanted, initial)?;
            let classes = named(&class);
            if classes.is_empty() {
                return machine.error("the hidden states of this model are not planned");
            }
            Some(Capture { classes, initial, chosen, states: Vec::new() })
        }
    };
    machine.captures.push(capture);
    let outputs = machine.call(forward, Given { positional: Vec::new(), named: Vec::new() })?;
    let Some(Capture { mut states, .. }) = machine.captures.pop().flatten() else { return Ok(outputs) };
    if let Value::Object(bag) = &outputs
        && tie
        && !matches!(states.last(), None | Some(Value::None))
    {
        let attributes = bag.attributes.borrow();
        let last = attributes.get("vision_hidden_states").or_else(|| attributes.get("last_hidden_state"));
        if let (Some(last), Some(place)) = (last, states.last_mut()) {
            *place = last.clone();
        }
    }
    machine.set_attribute(&outputs, &"hidden_states".into(), Value::sequence(states))?;
    Ok(outputs)
}

/// The names of one class, or of several.
fn named(class: &Value) -> Vec<Arc<str>> {
    match class {
        Value::Text(name) => vec![name.clone()],
        Value::Sequence(names) => names.iter().flat_map(named).collect(),
        _ => Vec::new(),
    }
}

/// What a forward gave, without its hidden states unless they were asked for.
pub(super) fn without_hidden_states(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [outputs, asked] = given.exactly(machine)?;
    match &outputs {
        Value::Object(bag) if bag.class.is_none() && !machine.truth(&asked)? => {
            let mut left = bag.attributes.borrow().clone();
            left.insert("hidden_states".into(), Value::None);
            Ok(Value::bag(left))
        }
        _ => Ok(outputs),
    }
}

impl Machine {
    /// The places that are asked for, from the front (`resolve_hidden_states_indices`).
    fn chosen(&self, config: &Value, wanted: &Value, initial: bool) -> Outcome<Option<Vec<i64>>> {
        let places: Vec<i64> = match wanted {
            Value::Int(place) => vec![*place],
            Value::Sequence(places) => places
                .iter()
                .filter_map(|place| if let Value::Int(place) = place { Some(*place) } else { None })
                .collect(),
            _ => return Ok(None),
        };
        let layers = match config {
            Value::Object(config) => config.attributes.borrow().get("num_hidden_layers").cloned(),
            _ => None,
        };
        let Some(Value::Int(layers)) = layers else {
            return self.error("hidden states are chosen by place where the config has num_hidden_layers");
        };
        let count = layers + i64::from(initial);
        Ok(Some(places.into_iter().map(|place| if place < 0 { place + count } else { place }).collect()))
    }

    /// Captures the call of a module that has returned.
    pub(super) fn capture(&mut self, object: &Object, arguments: &[Value], result: &Value) {
        let Some(Some(capture)) = self.captures.last_mut() else { return };
        if object.class.as_ref().is_none_or(|class| !capture.classes.contains(&class.name)) {
            return;
        }
        if capture.initial && capture.states.is_empty() {
            capture.add(arguments.first().cloned().unwrap_or(Value::None));
        }
        match result {
            Value::Sequence(values) => {
                if let Some(first) = values.first().filter(|value| !matches!(value, Value::None)) {
                    capture.add(first.clone());
                }
            }
            Value::None => {}
            state => capture.add(state.clone()),
        }
    }
}
