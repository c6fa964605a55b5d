//! Python's own functions and the methods of its texts, lists and dictionaries, as imported sources call them. Lists and dictionaries do
//! not change here: `with_entry(entries, key, value)` gives another one, which the importer assigns in place of the first.

use super::DtypeArgument;
use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Builtin, Value};
use crate::interpret::nested::{CONFIGS, LISTS};
use crate::interpret::{Interpreter, Semantics};
use crate::read::spec::syntax::{Binary, Function, Parameter, Rest, Subscript};

/// The functions by name.
pub(super) const FUNCTIONS: &[(&str, Builtin)] = &[
    ("text", text),
    ("starts_with", |machine, given| compare_texts(machine, given, |text, part| text.starts_with(part))),
    ("ends_with", |machine, given| compare_texts(machine, given, |text, part| text.ends_with(part))),
    ("is_instance", is_instance),
    ("set_attribute", set_attribute),
    ("entry", entry),
    ("with_entry", with_entry),
    ("with_default", with_default),
    ("without_entry", without_entry),
    ("takes", takes),
    ("with_element", with_element),
    ("with_range", with_range),
    ("changed_fields", changed_fields),
    ("as_dictionary", as_dictionary),
    ("split_pattern", split_pattern),
    ("replaced_text", replaced_text),
    ("upper_case", |machine, given| change_text(machine, given, |text| text.to_uppercase())),
    ("is_digits", |machine, given| {
        let [text] = given.exactly(machine)?;
        let Value::Text(text) = &text else { return machine.error(format!("{} is no text", text.kind())) };
        Ok(Value::Bool(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())))
    }),
    ("is_subclass", is_subclass),
    ("filtered", filtered),
    ("power_of", |machine, given| {
        let [base, exponent] = given.exactly(machine)?;
        machine.binary(Binary::Power, base, exponent)
    }),
    ("settle_entry", settle_entry),
    ("no_grad_begins", |machine, _| machine.emit_named("set_grad_enabled", vec![Value::Bool(false)])),
    ("no_grad_ends", |machine, _| {
        let records = machine.records;
        machine.emit_named("set_grad_enabled", vec![Value::Bool(records)])
    }),
    ("grad_enabled", |machine, _| Ok(Value::Bool(machine.records))),
    ("identity", |machine, given| {
        let [value] = given.exactly(machine)?;
        Ok(value)
    }),
    ("copied", copied),
    ("finfo", |machine, given| {
        let limits = [("min", -3.4e38), ("max", 3.4e38), ("eps", 1e-6), ("tiny", 1e-38)];
        let mut said: Attributes = limits.into_iter().map(|(name, value)| (name.into(), Value::Float(value))).collect();
        if let Some(Value::Dtype(dtype)) = given.positional.first()
            && let DtypeArgument::Fixed(dtype) = machine.known_type(*dtype)
        {
            said.insert("bits".into(), Value::Int(8 * dtype.size() as i64));
        }
        Ok(Value::bag(said))
    }),
    ("formatted", formatted),
    ("dictionary", dictionary),
    ("joined", joined),
    ("place_in", place_in),
    ("known_numbers", super::numbers::known_numbers),
    ("numbered", super::numbers::numbered),
    ("all_are", super::numbers::all_are),
    ("iterator", iterator),
    ("next", next),
    ("groupby", groupby),
    ("joined_text", joined_text),
    ("config_of", config_of),
    ("split_text", split_text),
    ("lower_case", |machine, given| change_text(machine, given, |text| text.to_lowercase())),
    ("stripped", stripped),
    ("set_elements", set_elements),
    ("set_part", set_part),
    ("einsum", super::einsum::einsum),
    ("first", first),
    ("slice_of", slice_of),
    ("parameters_of", parameters_of),
    ("checkpointed_call", |machine, given| machine.checkpointed_call(given)),
    ("callable", |machine, given| {
        let [value] = given.exactly(machine)?;
        Ok(Value::Bool(match value {
            Value::Object(object) => object.module.is_some(),
            Value::Function(_) | Value::Method(..) | Value::Closure(..) | Value::Class(_) | Value::Builtin(_) => true,
            value => matches!(value, Value::Operator(_) | Value::TensorMethod(..) | Value::TensorFunction(..)),
        }))
    }),
    ("autocasts", |machine, _| Ok(Value::Bool(machine.autocasts))),
    ("items", items),
    ("values", |machine, given| parts(machine, given, |_, value| value.clone())),
    ("keys", |machine, given| parts(machine, given, |key, _| Value::Text(key.clone()))),
    ("list", list),
    ("sorted", sorted),
    ("reversed", reversed),
    ("total", total),
    ("any", |machine, given| some(machine, given, true)),
    ("every", |machine, given| some(machine, given, false)),
    ("product", product),
    ("distinct", distinct),
    ("truth", |machine, given| {
        let [value] = given.exactly(machine)?;
        machine.truth(&value).map(Value::Bool)
    }),
    ("absolute", |machine, given| round(machine, given, f64::abs)),
    ("ceil", |machine, given| round(machine, given, f64::ceil)),
    ("floor_of", |machine, given| round(machine, given, f64::floor)),
    ("round", rounded),
    ("root", |machine, given| real(machine, given, f64::sqrt)),
    ("logarithm", |machine, given| match <[Value; 2]>::try_from(given.positional.clone()) {
        Ok([value, base]) => {
            let number =
                |machine: &mut Machine, value| number(machine, Given { positional: vec![value], named: vec![] });
            Ok(Value::Float(number(machine, value)?.log(number(machine, base)?)))
        }
        Err(_) => real(machine, given, f64::ln),
    }),
    ("exponential", |machine, given| real(machine, given, f64::exp)),
    ("logarithm10", |machine, given| real(machine, given, f64::log10)),
    ("logarithm2", |machine, given| real(machine, given, f64::log2)),
];

/// `inspect.signature(x).parameters`: the names of what a function takes, or a call of an object.
fn parameters_of(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    let function = match &value {
        Value::Function(function) | Value::Method(_, function) => Some(function.clone()),
        Value::Object(object) => object.method("__call__").or_else(|| object.method("forward")).cloned(),
        _ => None,
    };
    let Some(function) = function else {
        return machine.error(format!("what {} takes is not known", value.kind()));
    };
    let named = |parameter: &Parameter| Value::Text(function.names[usize::from(parameter.name.0)].as_ref().into());
    Ok(Value::sequence(function.parameters.iter().map(named).collect()))
}

/// `f"layer_{i}"` is `text(["layer_", i])`.
fn text(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [parts] = given.exactly(machine)?;
    let shown = super::builtins::show(&parts);
    machine.spend(shown.len())?;
    Ok(Value::Text(shown.into()))
}

fn compare_texts(machine: &mut Machine, given: Given, compare: fn(&str, &str) -> bool) -> Outcome<Value> {
    let [text, part] = given.exactly(machine)?;
    match (&text, &part) {
        (Value::Text(text), Value::Text(part)) => Ok(Value::Bool(compare(text, part))),
        _ => machine.error("texts are compared here"),
    }
}

/// `text.strip()`, or `text.strip(characters)`
fn stripped(machine: &mut Machine, mut given: Given) -> Outcome<Value> {
    let characters = if given.positional.len() == 2 { given.positional.pop() } else { None };
    match characters {
        Some(Value::Text(characters)) => {
            change_text(machine, given, |text| text.trim_matches(|c| characters.contains(c)).to_owned())
        }
        None => change_text(machine, given, |text| text.trim().to_owned()),
        Some(other) => machine.error(format!("{} is no text", other.kind())),
    }
}

fn change_text(machine: &mut Machine, given: Given, change: impl Fn(&str) -> String) -> Outcome<Value> {
    let [text] = given.exactly(machine)?;
    let Value::Text(text) = &text else { return machine.error(format!("{} is no text", text.kind())) };
    machine.spend(text.len())?;
    Ok(Value::Text(change(text).into()))
}

/// `text.split(sign)`, or at blanks.
fn split_text(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let (Some(Value::Text(text)), sign) = (arguments.next(), arguments.next()) else {
        return machine.error("a text is split");
    };
    machine.spend_elements(text.len())?;
    let parts = match &sign {
        Some(Value::Text(sign)) if !sign.is_empty() => {
            let most = match arguments.next() {
                Some(Value::Int(most)) if most >= 0 => most as usize + 1,
                _ => usize::MAX,
            };
            text.splitn(most, &**sign).map(|part| Value::Text(part.into())).collect()
        }
        _ => text.split_whitespace().map(|part| Value::Text(part.into())).collect(),
    };
    Ok(Value::sequence(parts))
}

/// `isinstance(value, (int, list))` is `is_instance(value, ["int", "list"])`.
fn is_instance(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value, kinds] = given.exactly(machine)?;
    for kind in machine.elements(&kinds)?.iter() {
        let Value::Text(kind) = kind else { return machine.error("a kind is a text") };
        let is = match &value {
            Value::Bool(_) => matches!(&**kind, "bool" | "int"),
            Value::Int(_) => &**kind == "int",
            Value::Float(_) => &**kind == "float",
            Value::Text(_) => &**kind == "str",
            Value::Sequence(_) => {
                matches!(&**kind, "list" | "tuple" | "Tuple" | "ModuleList" | "Iterable" | "Sequence")
            }
            Value::Class(_) => matches!(&**kind, "type" | "Callable"),
            Value::Function(_) | Value::Closure(..) => matches!(&**kind, "FunctionType" | "Callable"),
            Value::Method(..) | Value::Builtin(_) | Value::Operator(_) => &**kind == "Callable",
            Value::Dictionary(_) => &**kind == "dict",
            Value::Tensor(_) => &**kind == "Tensor",
            Value::Object(object) if &**kind == "Module" && object.module.is_some() => true,
            Value::Object(object) => match &object.class {
                // caches derive from Cache, as their names say (cache_utils.py)
                Some(class) => class.name == *kind || (&**kind == "Cache" && class.name.ends_with("Cache")),
                None => kind.contains("Output"),
            },
            _ => false,
        };
        if is {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// `setattr(owner, name, value)`
fn set_attribute(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [owner, name, value] = given.exactly(machine)?;
    let Value::Text(name) = name else { return machine.error("an attribute's name is a text") };
    machine.set_attribute(&owner, &name, value)?;
    Ok(Value::None)
}

fn entries_of(machine: &Machine, value: &Value) -> Outcome<Attributes> {
    match value {
        Value::Dictionary(entries) => Ok((***entries).clone()),
        Value::Object(object) if object.class.is_none() => Ok(object.attributes.borrow().clone()),
        Value::Object(object) if object.module.is_some() => {
            Ok(super::containers::children(machine, value)?.into_iter().collect())
        }
        Value::None => Ok(Attributes::default()),
        other => machine.error(format!("{} has no entries", other.kind())),
    }
}

/// `entries.get(key, default)`, and `entries.pop(key, default)` where the entry does no harm.
fn entry(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [entries, key, default] = given.exactly(machine)?;
    let key = key_of(machine, &key)?;
    Ok(match &entries {
        Value::Dictionary(entries) => entries.get(&key).cloned(),
        Value::Object(object) if object.class.is_none() => object.attributes.borrow().get(&key).cloned(),
        other => return machine.error(format!("{} has no entries", other.kind())),
    }
    .unwrap_or(default))
}

/// `entries[key] = value`, as another dictionary.
fn with_entry(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [entries, key, value] = given.exactly(machine)?;
    if let (Value::Sequence(values), Value::Int(place)) = (&entries, &key) {
        let mut changed = (***values).clone();
        let place = if *place < 0 { place + changed.len() as i64 } else { *place };
        return match usize::try_from(place).ok().and_then(|place| changed.get_mut(place)) {
            Some(element) => {
                *element = value;
                machine.spend_elements(changed.len())?;
                Ok(Value::sequence(changed))
            }
            None => machine.error(format!("a list of {} has no element {place}", changed.len())),
        };
    }
    if let Value::Object(object) = &entries
        && object.module.is_some()
    {
        // a dictionary of modules, as another object of the same module
        let key = key_of(machine, &key)?;
        let attributes = object.attributes.borrow().clone();
        machine.spend_elements(attributes.len())?;
        let changed = std::rc::Rc::new(object.copied(attributes));
        changed.height.set(None);
        machine.set_attribute(&Value::Object(changed.clone()), &key, value)?;
        changed.settle();
        return Ok(Value::Object(changed));
    }
    if let (Value::Tensor(_), Value::Int(_)) = (&entries, &key) {
        // a number fills the place, which takes nothing
        return match &value {
            Value::Tensor(_) => machine.emit_named("copy_select_", vec![entries, Value::Int(0), key, value]),
            _ => Ok(entries),
        };
    }
    if let (Value::Tensor(_), Value::Tensor(_)) = (&entries, &key) {
        machine.emit_named("index_put_", vec![entries.clone(), key, value])?;
        return Ok(entries);
    }
    if let Value::Object(object) = &entries
        && object.method("__setitem__").is_some()
    {
        machine.call_named(object, "__setitem__", vec![key, value])?;
        return Ok(entries);
    }
    let key = key_of(machine, &key)?;
    let mut changed = entries_of(machine, &entries)?;
    machine.spend_elements(changed.len())?;
    changed.insert(key, value);
    Ok(Value::dictionary(changed))
}

/// `entries.setdefault(key, value)`, as another dictionary.
fn with_default(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [entries, key, value] = given.exactly(machine)?;
    let key = key_of(machine, &key)?;
    let mut changed = entries_of(machine, &entries)?;
    machine.spend_elements(changed.len())?;
    changed.entry(key).or_insert(value);
    Ok(Value::dictionary(changed))
}

/// `entries.pop(key)`, as another dictionary.
fn without_entry(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [entries, key] = given.exactly(machine)?;
    let key = key_of(machine, &key)?;
    let mut changed = entries_of(machine, &entries)?;
    machine.spend_elements(changed.len())?;
    changed.shift_remove(&key);
    Ok(Value::dictionary(changed))
}

/// `values[place] = value` of a list that others hold too: the tensor that stands there is another one for all of them.
fn with_element(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values, place, value] = given.exactly(machine)?;
    let (Value::Sequence(list), Value::Int(number)) = (&values, &place) else {
        return with_entry(machine, Given { positional: vec![values, place, value], named: Vec::new() });
    };
    let number = if *number < 0 { number + list.len() as i64 } else { *number };
    let element = usize::try_from(number).ok().and_then(|number| list.get(number));
    match (element, &value) {
        (Some(Value::Tensor(old)), Value::Tensor(new)) => {
            let is_alone = |held: &std::rc::Rc<_>| std::rc::Rc::strong_count(held) == 1;
            let is_known = old.tape.is_some() == new.tape.is_some();
            if !is_alone(old) || !is_alone(new) || !is_known {
                return machine
                    .error("a list that others hold is changed, which is known of tensors that stand in it alone");
            }
            old.tensor.swap(&new.tensor);
            drop(value);
            Ok(values)
        }
        _ => machine.error("a list that others hold is changed, which is known of tensors alone"),
    }
}

/// `values[from:to] = others`: of a list, another list; of a tensor, that part is written.
fn with_range(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values, from, to, others] = given.exactly(machine)?;
    let Value::Sequence(list) = &values else {
        let is_whole = |bound: &Value| (!matches!(bound, Value::None)).then(|| bound.clone());
        let range = Subscript::Range(is_whole(&from), is_whole(&to), None);
        let part = machine.subscript(values.clone(), vec![range])?;
        machine.emit_named("copy_", vec![part, others])?;
        return Ok(values);
    };
    let count = list.len() as i64;
    let place = |bound: &Value, otherwise: i64| match bound {
        Value::Int(place) if *place < 0 => (place + count).clamp(0, count),
        Value::Int(place) => (*place).clamp(0, count),
        _ => otherwise,
    };
    let (from, to) = (place(&from, 0), place(&to, count));
    let (from, to) = (from as usize, to.max(from) as usize);
    let others = machine.elements(&others)?;
    machine.spend_elements(list.len() + others.len())?;
    Ok(Value::sequence(list[..from].iter().chain(others.iter()).chain(&list[to..]).cloned().collect()))
}

/// `dataclasses.replace(value, **fields)`: a copy with these fields.
fn changed_fields(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [Value::Object(object)] = &given.positional[..] else { return machine.error("an object is copied here") };
    let attributes = object.attributes.borrow().clone();
    machine.spend_elements(attributes.len())?;
    let changed = std::rc::Rc::new(object.copied(attributes));
    changed.height.set(None);
    let value = Value::Object(changed.clone());
    for (name, field) in given.named {
        machine.set_attribute(&value, &name, field)?;
    }
    changed.settle();
    Ok(value)
}

/// `dataclasses.asdict(value)`: the fields by name, those of objects within it too.
fn as_dictionary(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    machine.spend(1)?;
    let within = |machine: &mut Machine, value: &Value| {
        as_dictionary(machine, Given { positional: vec![value.clone()], named: Vec::new() })
    };
    match &value {
        Value::Object(object) if object.module.is_none() => {
            let fields = object.attributes.borrow().clone();
            let mut entries = Attributes::default();
            for (name, field) in &fields {
                entries.insert(name.clone(), within(machine, field)?);
            }
            Ok(Value::dictionary(entries))
        }
        Value::Sequence(values) => {
            let values: Outcome<Vec<Value>> = values.iter().map(|value| within(machine, value)).collect();
            Ok(Value::sequence(values?))
        }
        _ => Ok(value),
    }
}

/// `re.split(pattern, text)`: what lies between the places that match, with what their groups hold.
fn split_pattern(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [pattern, text] = given.exactly(machine)?;
    let (Value::Text(pattern), Value::Text(text)) = (&pattern, &text) else {
        return machine.error("a text is split at a pattern");
    };
    let Ok(pattern) = regex::Regex::new(pattern) else {
        return machine.error("this regular expression is not known");
    };
    machine.spend_elements(text.len())?;
    let (mut parts, mut from) = (Vec::new(), 0);
    for found in pattern.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        parts.push(Value::Text(text[from..whole.start()].into()));
        let groups = found.iter().skip(1);
        parts.extend(groups.map(|group| group.map_or(Value::None, |group| Value::Text(group.as_str().into()))));
        from = whole.end();
    }
    parts.push(Value::Text(text[from..].into()));
    Ok(Value::sequence(parts))
}

/// `text.format(values)`: each pair of braces holds the next value.
fn formatted(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut values = given.positional.into_iter();
    let Some(Value::Text(text)) = values.next() else { return machine.error("a text is filled in") };
    let mut filled = String::new();
    let mut parts = text.split("{}");
    filled += parts.next().unwrap_or_default();
    for part in parts {
        let Some(value) = values.next() else { return machine.error("a text has more places than there are values") };
        filled += &super::builtins::show(&value);
        filled += part;
        machine.spend(filled.len())?;
    }
    Ok(Value::Text(filled.into()))
}

/// `text.replace(old, new)`
fn replaced_text(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [text, old, new] = given.exactly(machine)?;
    let (Value::Text(text), Value::Text(old), Value::Text(new)) = (&text, &old, &new) else {
        return machine.error("a part of a text is replaced by a text");
    };
    machine.spend(text.len().saturating_mul(new.len() + 1))?;
    Ok(Value::Text(text.replace(&**old, new).into()))
}

/// `issubclass(class, kinds)`, with all that derives from the kinds.
fn is_subclass(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [class, kinds] = given.exactly(machine)?;
    let Value::Class(class) = &class else { return Ok(Value::Bool(false)) };
    let is_it = |kind: &Value| matches!(kind, Value::Text(kind) if *kind == class.name);
    Ok(Value::Bool(machine.elements(&kinds)?.iter().any(is_it)))
}

/// `filter(function, values)`; without a function, what is true.
fn filtered(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [function, values] = given.exactly(machine)?;
    let mut kept = Vec::new();
    for value in machine.elements(&values)?.iter() {
        let answer = match &function {
            Value::None => value.clone(),
            function => machine.call(function.clone(), Given { positional: vec![value.clone()], named: Vec::new() })?,
        };
        if machine.truth(&answer)? {
            kept.push(value.clone());
        }
    }
    machine.spend_elements(kept.len())?;
    Ok(Value::sequence(kept))
}

/// Whether a function or a class takes an argument of that name: Python raises a TypeError where one does not.
fn takes(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [function, name] = given.exactly(machine)?;
    let Value::Text(name) = name else { return machine.error("an argument's name is a text") };
    let has = |function: &Function| {
        let named = |parameter: &Parameter| *function.names[usize::from(parameter.name.0)] == *name;
        function.parameters.iter().any(|parameter| match parameter.rest {
            Rest::One => named(parameter),
            Rest::Named => true,
            Rest::Positional => false,
        })
    };
    Ok(Value::Bool(match &function {
        Value::Class(class) => has(&class.constructor),
        Value::Function(function) | Value::Method(_, function) | Value::Closure(function, _) => has(function),
        // functools.partial takes what its function takes
        Value::Object(object) => {
            let inner = object.attributes.borrow().get("func").cloned();
            match inner {
                Some(inner) => {
                    return takes(machine, Given { positional: vec![inner, Value::Text(name)], named: Vec::new() });
                }
                None => false,
            }
        }
        other => return machine.error(format!("what {} takes is not known", other.kind())),
    }))
}

/// `copy.copy(value)` and `copy.deepcopy(value)`: what changes is a bag of attributes alone, such as a config; all else never does.
fn copied(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [value] = given.exactly(machine)?;
    match &value {
        Value::Object(object)
            if object.module.is_none() && object.class.as_ref().is_some_and(|c| !c.name.ends_with("Cache")) =>
        {
            let attributes = object.attributes.borrow().clone();
            machine.spend_elements(attributes.len())?;
            Ok(Value::Object(std::rc::Rc::new(object.copied(attributes))))
        }
        Value::Object(bag) if bag.class.is_none() => {
            let attributes = bag.attributes.borrow().clone();
            machine.spend_elements(attributes.len())?;
            Ok(Value::bag(attributes))
        }
        Value::Object(object) if object.module.is_some() => machine.deep_copy(&value),
        Value::Object(_) => machine.error("a copy of a cache is not known"),
        _ => Ok(value),
    }
}

/// `kwargs.setdefault(key, value)` of a config: the entry has that value where none is given.
fn settle_entry(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [owner, key, value] = given.exactly(machine)?;
    let (Value::Object(object), Value::Text(key)) = (&owner, key) else {
        return machine.error("a config is settled here");
    };
    if !object.attributes.borrow().contains_key(&key) {
        machine.set_attribute(&owner, &key, value)?;
    }
    Ok(Value::None)
}

/// `{key: value for ...}` of the pairs.
pub(super) fn dictionary(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [pairs] = given.exactly(machine)?;
    let mut entries = Attributes::default();
    for pair in machine.elements(&pairs)?.iter() {
        let elements = machine.elements(pair)?;
        let [key, value] = &elements[..] else {
            return machine.error("a dictionary is made of keys that are texts, and values");
        };
        let Some(key) = key.key() else {
            return machine.error("a dictionary is made of keys that are texts, and values");
        };
        entries.insert(key, value.clone());
    }
    Ok(Value::dictionary(entries))
}

/// `sign.join(texts)`
fn joined_text(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [sign, texts] = given.exactly(machine)?;
    let mut joined = String::new();
    for (place, text) in machine.elements(&texts)?.iter().enumerate() {
        if place > 0 {
            joined += &super::builtins::show(&sign);
        }
        joined += &super::builtins::show(text);
        machine.spend(joined.len())?;
    }
    Ok(Value::Text(joined.into()))
}

/// `{**a, **b}` of the list of dictionaries: later entries win.
fn joined(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [parts] = given.exactly(machine)?;
    let mut all = Attributes::default();
    for part in machine.elements(&parts)?.iter() {
        let part = match part {
            // `dict(pairs)`
            Value::Sequence(_) => &dictionary(machine, Given { positional: vec![part.clone()], named: Vec::new() })?,
            part => part,
        };
        let entries = entries_of(machine, part)?;
        machine.spend_elements(entries.len())?;
        all.extend(entries);
    }
    Ok(Value::dictionary(all))
}

/// `x[:, at] = value` in a dimension, where `at` is a number, a range or a tensor: the tensor, at a new place of the autograd graph.
fn set_part(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [tensor, dim, at, value] = given.exactly(machine)?;
    if let Value::Int(_) = at {
        return machine.emit_named("copy_select_", vec![tensor, dim, at, value]);
    }
    if machine.is_mask(&at) {
        if !matches!(dim, Value::Int(0)) {
            return machine.error("a mask stands for the first dimensions here");
        }
        let (_, count) = machine.counted_mask(&at)?;
        return machine.emit_named("masked_put_", vec![tensor, at, Value::Int(count), value]);
    }
    let Value::Int(place) = dim else { return machine.error("a dimension is a number") };
    let count = match &tensor {
        Value::Tensor(reference) => machine.shape(reference.tensor.get()).len() as i64,
        other => return machine.error(format!("{} has no parts", other.kind())),
    };
    let place = if place < 0 { place + count } else { place };
    let all = || Subscript::Range(None, None, None);
    let mut subscripts: Vec<Subscript<Value>> = (0..place).map(|_| all()).collect();
    subscripts.push(Subscript::At(at));
    let part = machine.subscript(tensor.clone(), subscripts)?;
    machine.emit_named("copy_", vec![part, value])?;
    Ok(tensor)
}

/// `x[i, j] = value`: written in place.
fn set_elements(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [tensor, places, value] = given.exactly(machine)?;
    let places = machine.elements(&places)?;
    if places.iter().any(|place| matches!(place, Value::Tensor(_))) {
        machine.emit_named("index_put_", vec![tensor, places[0].clone(), value])?;
    } else {
        let part = machine.subscript(tensor, places.iter().cloned().map(Subscript::At).collect())?;
        machine.emit_named("copy_", vec![part, value])?;
    }
    Ok(Value::None)
}

/// A config within a config: its defaults, other names of its entries, what is given, and the config around it, whose entries of the run it has as
/// well.
fn config_of(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [defaults, aliases, given, outer] = given.exactly(machine)?;
    let (mut entries, aliases) = (entries_of(machine, &defaults)?, entries_of(machine, &aliases)?);
    entries.extend(entries_of(machine, &outer)?.into_iter().filter(|(key, _)| key.starts_with('_')));
    for (key, value) in entries_of(machine, &given)? {
        let key = match aliases.get(&key) {
            Some(Value::Text(meant)) => meant.clone(),
            _ => key,
        };
        entries.insert(key, value);
    }
    for (alias, meant) in &aliases {
        if let Value::Text(meant) = meant
            && let Some(value) = entries.get(meant).cloned()
        {
            entries.insert(alias.clone(), value);
        }
    }
    machine.spend_elements(entries.len())?;
    let levels = outer.extent().height.saturating_sub(LISTS + 1);
    Ok(Value::config(entries, levels.min(CONFIGS)))
}

/// `list.index(value)`
fn place_in(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [list, wanted] = given.exactly(machine)?;
    for (place, value) in machine.elements(&list)?.iter().enumerate() {
        machine.spend(1)?;
        let is_it = machine.binary(Binary::Equal, value.clone(), wanted.clone())?;
        if machine.truth(&is_it)? {
            return Ok(Value::Int(place as i64));
        }
    }
    machine.error("the list has no such element")
}

/// `next(iter(values))`, or what is given besides where there is none.
fn first(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let (Some(values), otherwise) = (arguments.next(), arguments.next()) else {
        return machine.error("a list is asked for its first element");
    };
    match (machine.elements(&values)?.first().cloned(), otherwise) {
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => machine.error("an empty list has no first element"),
    }
}

/// `slice(stop)`, `slice(start, stop, step)`: an object that a subscript takes for a range.
fn slice_of(_: &mut Machine, given: Given) -> Outcome<Value> {
    let mut arguments = given.positional;
    if arguments.len() == 1 {
        arguments.insert(0, Value::None);
    }
    arguments.resize(3, Value::None);
    let names = ["start", "stop", "step"].map(std::sync::Arc::from);
    Ok(Value::bag(names.into_iter().zip(arguments).collect()))
}

fn items(machine: &mut Machine, given: Given) -> Outcome<Value> {
    parts(machine, given, |key, value| Value::sequence(vec![Value::Text(key.clone()), value.clone()]))
}

fn parts(machine: &mut Machine, given: Given, part: fn(&std::sync::Arc<str>, &Value) -> Value) -> Outcome<Value> {
    let [entries] = given.exactly(machine)?;
    let entries = entries_of(machine, &entries)?;
    machine.spend_elements(3 * entries.len())?;
    Ok(Value::sequence(entries.iter().map(|(key, value)| part(key, value)).collect()))
}

/// `list(values)` and `tuple(values)`
fn list(machine: &mut Machine, given: Given) -> Outcome<Value> {
    if given.positional.is_empty() {
        return Ok(Value::sequence(Vec::new()));
    }
    let [values] = given.exactly(machine)?;
    Ok(Value::Sequence(machine.elements(&values)?))
}

/// `iter(values)`: an object that remembers how far it was gone through.
fn iterator(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values] = given.exactly(machine)?;
    let elements = machine.elements(&values)?;
    let parts = [("elements".into(), Value::Sequence(elements)), ("place".into(), Value::Int(0))];
    Ok(Value::bag(parts.into_iter().collect()))
}

/// `next(iterator)`
fn next(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [iterator] = given.exactly(machine)?;
    let elements = machine.attribute(&iterator, &"elements".into())?;
    let place = machine.attribute(&iterator, &"place".into())?;
    let (Value::Sequence(elements), Value::Int(place)) = (elements, place) else {
        return machine.error("next takes what iter gave");
    };
    let Some(element) = usize::try_from(place).ok().and_then(|place| elements.get(place)) else {
        return machine.error("next was asked for more than there is");
    };
    machine.set_attribute(&iterator, &"place".into(), Value::Int(place + 1))?;
    Ok(element.clone())
}

/// `itertools.groupby(values, key)`: the key and the elements of each run of elements with the same key.
fn groupby(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values, key] = given.exactly(machine)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for value in machine.elements(&values)?.iter() {
        let found = machine.call(key.clone(), Given { positional: vec![value.clone()], named: Vec::new() })?;
        let is_same = match groups.last() {
            Some((last, _)) => {
                let equal = machine.binary(Binary::Equal, found.clone(), last.clone())?;
                machine.truth(&equal)?
            }
            None => false,
        };
        match groups.last_mut() {
            Some((_, group)) if is_same => group.push(value.clone()),
            _ => groups.push((found, vec![value.clone()])),
        }
    }
    Ok(Value::sequence(
        groups.into_iter().map(|(key, group)| Value::sequence(vec![key, Value::sequence(group)])).collect(),
    ))
}

/// `set(values)`: each once, in the order in which they come first.
fn distinct(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut seen: Vec<Value> = Vec::new();
    if let Some(values) = given.positional.first() {
        for value in machine.elements(values)?.iter() {
            machine.spend(seen.len())?;
            let list = Value::sequence(seen.clone());
            let is_in = machine.binary(Binary::In, value.clone(), list)?;
            if !machine.truth(&is_in)? {
                seen.push(value.clone());
            }
        }
    }
    Ok(Value::sequence(seen))
}

fn sorted(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values] = given.exactly(machine)?;
    let mut sorted: Vec<Value> = Vec::new();
    for value in machine.elements(&values)?.iter() {
        let mut place = sorted.len();
        while place > 0 {
            let less = machine.binary(Binary::Less, value.clone(), sorted[place - 1].clone())?;
            if !machine.truth(&less)? {
                break;
            }
            machine.spend(1)?;
            place -= 1;
        }
        sorted.insert(place, value.clone());
    }
    Ok(Value::sequence(sorted))
}

fn reversed(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values] = given.exactly(machine)?;
    let values = machine.elements(&values)?;
    machine.spend_elements(values.len())?;
    Ok(Value::sequence(values.iter().rev().cloned().collect()))
}

/// `sum(values)`
fn total(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let mut arguments = given.positional.into_iter();
    let (Some(values), first) = (arguments.next(), arguments.next()) else {
        return machine.error("sum takes a list");
    };
    let mut sum = first.unwrap_or(Value::Int(0));
    for value in machine.elements(&values)?.iter() {
        machine.spend(1)?;
        sum = machine.binary(Binary::Add, sum, value.clone())?;
    }
    Ok(sum)
}

/// `math.prod(values)`
fn product(machine: &mut Machine, given: Given) -> Outcome<Value> {
    let [values] = given.exactly(machine)?;
    let mut product = Value::Int(1);
    for value in machine.elements(&values)?.iter() {
        machine.spend(1)?;
        product = machine.binary(Binary::Multiply, product, value.clone())?;
    }
    Ok(product)
}

/// `any(values)` where `wanted` is true, `all(values)` where it is false.
fn some(machine: &mut Machine, given: Given, wanted: bool) -> Outcome<Value> {
    let [values] = given.exactly(machine)?;
    for value in machine.elements(&values)?.iter() {
        if machine.truth(value)? == wanted {
            return Ok(Value::Bool(wanted));
        }
    }
    Ok(Value::Bool(!wanted))
}

fn number(machine: &mut Machine, given: Given) -> Outcome<f64> {
    let [value] = given.exactly(machine)?;
    match value {
        Value::Int(number) => {
            machine.decisions.exact(number);
            Ok(number as f64)
        }
        Value::Float(number) => Ok(number),
        Value::Bool(flag) => Ok(f64::from(u8::from(flag))),
        known if let Some(number) = machine.index_number(&known) => Ok(number as f64),
        other => machine.error(format!("{} is no number", other.kind())),
    }
}

fn round(machine: &mut Machine, given: Given, round: fn(f64) -> f64) -> Outcome<Value> {
    Ok(Value::Int(round(number(machine, given)?) as i64))
}

/// `round(number)` is an integer, `round(number, digits)` is not.
fn rounded(machine: &mut Machine, mut given: Given) -> Outcome<Value> {
    let digits = match given.positional.len() {
        2 => given.positional.pop(),
        _ => None,
    };
    match digits {
        Some(Value::Int(digits @ 0..=15)) => {
            let shift = 10f64.powi(digits as i32);
            Ok(Value::Float((number(machine, given)? * shift).round_ties_even() / shift))
        }
        None | Some(Value::None) => round(machine, given, f64::round_ties_even),
        Some(other) => machine.error(format!("{} is no number of digits", other.kind())),
    }
}

fn real(machine: &mut Machine, given: Given, function: fn(f64) -> f64) -> Outcome<Value> {
    Ok(Value::Float(function(number(machine, given)?)))
}

/// A key of a dictionary, as a text.
fn key_of(machine: &Machine, key: &Value) -> Outcome<std::sync::Arc<str>> {
    key.key().map_or_else(|| machine.error(format!("{} is no key", key.kind())), Ok)
}
