//! A config's class: its entries with their defaults, and what it computes of them.

use std::rc::Rc;

use indexmap::IndexMap;
use python_ast::{Expr, Number, Operator, Parameters, Stmt, UnaryOp};

use crate::auto;
use crate::classes::{Lineage, Method, MethodKind};
use crate::family::{Family, Import};
use crate::meaning::{Meaning, World};
use crate::source::{Fault, text, texts};
use crate::translate::Code;

/// The config's class of an architecture: `config: LlamaConfig` or `config_class = LlamaConfig` in one of its classes.
///
/// # Errors
/// A file that is no Python.
pub fn class_of(world: &World, lineage: &Lineage) -> Result<Option<Rc<Lineage>>, Fault> {
    for (place, named) in [lineage.annotation("config"), lineage.attribute("config_class")].into_iter().flatten() {
        let module = &lineage.classes[place].module;
        let Some(dotted) = world.dotted(module, named, &|_| false) else { continue };
        if let Some(Meaning::Class(defined)) = world.definition(&dotted)? {
            return Lineage::of(world, &defined.module, &defined.class).map(|lineage| Some(Rc::new(lineage)));
        }
    }
    Ok(None)
}

/// Reads the entries, those of bases first.
pub fn read(import: &Import, config: &Rc<Lineage>, family: &mut Family) {
    let (defaults, aliases) = entries(import, config, JSON);
    family.defaults.extend(defaults);
    family.aliases.extend(aliases);
}

/// The code that makes a config within a config of its entries, as a function of what is given.
///
/// # Errors
/// A file that is no Python.
pub fn made(import: &mut Import, config: &Rc<Lineage>) -> Result<Code, Fault> {
    let (defaults, aliases) = entries(import, config, PYTHON);
    let defaults: Vec<String> = defaults.iter().map(|(name, value)| format!("{name:?}: {value}")).collect();
    let aliases: Vec<String> = aliases.iter().map(|(alias, entry)| format!("{alias:?}: {entry:?}")).collect();
    let mut lines =
        vec![format!("config = config_of({{{}}}, {{{}}}, given, outer)", defaults.join(", "), aliases.join(", "))];
    lines.extend(derive(import, config)?);
    lines.push("return config".to_owned());
    Ok(Code { parameters: "given, outer".to_owned(), lines })
}

/// What a constructor's parameters are where nothing is given, as JSON; one without a default has none.
pub fn defaults(parameters: &Parameters) -> Vec<(String, String)> {
    let value = |default: &Expr| plain(default, JSON).unwrap_or_else(|| JSON[0].to_owned());
    let parameters = parameters.iter_non_variadic_params().skip(1);
    let named = parameters.map(|parameter| (parameter.name().to_string(), parameter.default.as_deref().map(value)));
    named.map(|(name, value)| (name, value.unwrap_or_else(|| JSON[0].to_owned()))).collect()
}

type Entries = IndexMap<String, String>;

/// The entries with their defaults, in these words, and other names of entries.
fn entries(import: &Import, config: &Rc<Lineage>, words: Words) -> (Entries, Entries) {
    let (mut defaults, mut aliases) = (Entries::new(), Entries::new());
    for defined in config.classes.iter().rev() {
        for statement in &defined.class.body {
            let (target, value) = match statement {
                Stmt::AnnAssign(assign) => match &assign.value {
                    Some(value) => (&*assign.target, &**value),
                    None => continue,
                },
                Stmt::Assign(assign) => match assign.targets.first() {
                    Some(target) => (target, &*assign.value),
                    None => continue,
                },
                _ => continue,
            };
            let Expr::Name(name) = target else { continue };
            let name = name.id.as_str();
            if name == "attribute_map" {
                if let Expr::Dict(entries) = value {
                    aliases.extend(texts(entries));
                }
                continue;
            }
            if import.world.names.ignored_entries.contains(name) || name.starts_with("__") {
                continue;
            }
            if let Some(value) = plain(value, words) {
                defaults.insert(name.to_owned(), value);
            }
        }
    }
    // a config that is written as a constructor: its parameters are the entries
    if let Some(init) = config.method("__init__", 0) {
        for parameter in init.function().parameters.iter_non_variadic_params() {
            if let Some(value) = parameter.default.as_deref().and_then(|default| plain(default, words)) {
                defaults.insert(parameter.name().to_string(), value);
            }
        }
    }
    (defaults, aliases)
}

/// What the config computes when it is made: `__post_init__` of its class and its bases, properties that models read.
///
/// # Errors
/// A file that is no Python.
pub fn derive(import: &mut Import, config: &Rc<Lineage>) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    let aliases = entries(import, config, JSON).1;
    if let Some(entry) = aliases.get("layer_types") {
        lines.push(format!("config._layer_types_name = {entry:?}"));
    }
    for sub in auto::sub_configs(&import.world, config)? {
        let key = &sub.key;
        let function = import.want_config(&sub.config);
        if let Some(model_type) = &sub.model_type {
            lines.push(format!(
                "require(entry(config.{key} or {{}}, \"model_type\", {model_type:?}) == {model_type:?}, [\"{key} of the type \", entry(config.{key} or {{}}, \"model_type\", None), \" is not read here: {model_type} is\"])"
            ));
        }
        let made = format!("config.{key} = {function}(config.{key}, config)");
        match sub.optional {
            true => lines.extend([format!("if config.{key} is not None:"), format!("  {made}")]),
            false => lines.push(made),
        }
    }
    if let Some(method) = config.method("convert_rope_params_to_dict", 0).filter(|method| is_of_a_model(config, method))
    {
        import.want_in_place_of("convert_rope", config, &method);
    }
    // a config that is written as a constructor
    if let Some(init) = config.method("__init__", 0).filter(|method| is_of_a_model(config, method)) {
        lines.push(format!("{}(config)", import.want_config_method(config, &init)));
    }
    match config.method("__post_init__", 0) {
        Some(method) => lines.push(format!("{}(config)", import.want_config_method(config, &method))),
        None => lines.push("settle_config(config)".to_owned()),
    }
    if let Some(method) = config.method("validate_architecture", 0).filter(|method| is_of_a_model(config, method)) {
        lines.push(format!("{}(config)", import.want_config_method(config, &method)));
    }
    let needed: Vec<String> = import.needed.iter().map(|name| aliases.get(name).unwrap_or(name).clone()).collect();
    for name in needed {
        if let Some(method) = config.method(&name, 0)
            && method.kind() == MethodKind::Property
            && is_of_a_model(config, &method)
            && !import.world.names.ignored_entries.contains(&name)
        {
            lines.push(format!("config.{name} = {}(config)", import.want_config_method(config, &method)));
        }
    }
    Ok(lines)
}

/// Whether a method stands in a model's own file, and not in what all configs derive from.
fn is_of_a_model(config: &Lineage, method: &Method) -> bool {
    !config.classes[method.place].module.name.starts_with("transformers.")
        || config.classes[method.place].module.name.contains(".models.")
}

/// What nothing, yes and no are called.
type Words = [&'static str; 3];

const JSON: Words = ["null", "true", "false"];

/// As specs write them.
const PYTHON: Words = ["None", "True", "False"];

/// A plain value in these words; of `field(default=3)` and `interval(...)(default=3)` the default.
fn plain(value: &Expr, words: Words) -> Option<String> {
    Some(match value {
        Expr::NoneLiteral(_) => words[0].into(),
        Expr::BooleanLiteral(flag) => words[if flag.value { 1 } else { 2 }].into(),
        Expr::NumberLiteral(number) => match &number.value {
            Number::Int(int) => int.as_i64()?.to_string(),
            Number::Float(float) => format!("{float:?}"),
            Number::Complex { .. } => return None,
        },
        Expr::UnaryOp(operation) if operation.op == UnaryOp::USub => format!("-{}", plain(&operation.operand, words)?),
        Expr::BinOp(operation) => {
            let (left, right) = (plain(&operation.left, words)?, plain(&operation.right, words)?);
            let whole = |text: &str| text.parse::<i64>().ok();
            match (operation.op, whole(&left), whole(&right)) {
                (Operator::Mult, Some(a), Some(b)) => a.checked_mul(b)?.to_string(),
                (Operator::Pow, Some(a), Some(b)) => a.checked_pow(u32::try_from(b).ok()?)?.to_string(),
                (Operator::Div, ..) => format!("{:?}", left.parse::<f64>().ok()? / right.parse::<f64>().ok()?),
                _ => return None,
            }
        }
        Expr::StringLiteral(text) => format!("{:?}", text.value.to_str()),
        Expr::List(list) => sequence(&list.elts, words)?,
        Expr::Tuple(tuple) => sequence(&tuple.elts, words)?,
        Expr::Dict(entries) => {
            let pairs: Option<Vec<String>> = entries
                .items
                .iter()
                .map(|item| Some(format!("{:?}: {}", text(item.key.as_ref()?)?, plain(&item.value, words)?)))
                .collect();
            format!("{{{}}}", pairs?.join(", "))
        }
        // a config's file has no other number as large
        Expr::Call(call) if matches!(&*call.func, Expr::Name(name) if name.id.as_str() == "float") => {
            match text(call.arguments.args.first()?)?.as_str() {
                "inf" => "1e308".into(),
                "-inf" => "-1e308".into(),
                _ => return None,
            }
        }
        Expr::Call(call) => {
            if let Some(default) = call.arguments.find_keyword("default") {
                return plain(&default.value, words);
            }
            match &call.arguments.find_keyword("default_factory")?.value {
                Expr::Lambda(lambda) => plain(&lambda.body, words)?,
                Expr::Name(name) if name.id.as_str() == "list" => "[]".into(),
                Expr::Name(name) if name.id.as_str() == "dict" => "{}".into(),
                _ => return None,
            }
        }
        _ => return None,
    })
}

fn sequence(elements: &[Expr], words: Words) -> Option<String> {
    let elements: Option<Vec<String>> = elements.iter().map(|element| plain(element, words)).collect();
    Some(format!("[{}]", elements?.join(", ")))
}
