//! Values that a file computes when it is imported, of numbers, texts, lists and dictionaries alone: `default_cfgs` of timm.

use std::rc::Rc;

use indexmap::IndexMap;
use python_ast::{Expr, Number, Parameters, Stmt, StmtFunctionDef, UnaryOp};
use serde_json::{Map, Value, json};

use crate::meaning::{Meaning, World};
use crate::source::Module;

/// Locals of a function that is evaluated.
type Locals = IndexMap<String, Value>;

/// How many calls may lie within each other.
const DEPTH: usize = 16;

/// The value of an expression at the top of a file; what is no number, text, list or dictionary is null in it. None where it cannot be told.
pub fn evaluated(world: &World, module: &Rc<Module>, expression: &Expr) -> Option<Value> {
    Evaluator { world, module, depth: 0 }.value(expression, &Locals::new())
}

struct Evaluator<'a> {
    world: &'a World,
    module: &'a Rc<Module>,
    depth: usize,
}

impl Evaluator<'_> {
    fn value(&self, expression: &Expr, locals: &Locals) -> Option<Value> {
        Some(match expression {
            Expr::NoneLiteral(_) => Value::Null,
            Expr::BooleanLiteral(flag) => Value::Bool(flag.value),
            Expr::StringLiteral(text) => Value::String(text.value.to_str().to_owned()),
            Expr::NumberLiteral(number) => match &number.value {
                Number::Int(int) => json!(int.as_i64()?),
                Number::Float(float) => json!(*float),
                Number::Complex { .. } => return None,
            },
            Expr::UnaryOp(operation) if operation.op == UnaryOp::USub => {
                match self.value(&operation.operand, locals)? {
                    Value::Number(number) if number.is_i64() => json!(-number.as_i64()?),
                    Value::Number(number) => json!(-number.as_f64()?),
                    _ => return None,
                }
            }
            Expr::Tuple(tuple) => self.list(&tuple.elts, locals),
            Expr::List(list) => self.list(&list.elts, locals),
            Expr::Dict(dictionary) => {
                let mut entries = Map::new();
                for item in &dictionary.items {
                    match &item.key {
                        Some(key) => {
                            let Some(Value::String(key)) = self.value(key, locals) else { continue };
                            entries.insert(key, self.value(&item.value, locals).unwrap_or(Value::Null));
                        }
                        None => match self.value(&item.value, locals)? {
                            Value::Object(spread) => entries.extend(spread),
                            _ => return None,
                        },
                    }
                }
                Value::Object(entries)
            }
            Expr::Call(call) => {
                let mut named = Map::new();
                for keyword in &call.arguments.keywords {
                    match &keyword.arg {
                        Some(name) => {
                            let value = self.value(&keyword.value, locals).unwrap_or(Value::Null);
                            named.insert(name.to_string(), value);
                        }
                        None => match self.value(&keyword.value, locals)? {
                            Value::Object(spread) => named.extend(spread),
                            _ => return None,
                        },
                    }
                }
                if matches!(&*call.func, Expr::Name(name) if name.id.as_str() == "dict") {
                    let mut entries = match call.arguments.args.first().map(|first| self.value(first, locals)) {
                        None => Map::new(),
                        Some(Some(Value::Object(entries))) => entries,
                        _ => return None,
                    };
                    entries.extend(named);
                    return Some(Value::Object(entries));
                }
                let given: Vec<Value> = call
                    .arguments
                    .args
                    .iter()
                    .map(|argument| self.value(argument, locals).unwrap_or(Value::Null))
                    .collect();
                let dotted = self.world.dotted(self.module, &call.func, &|_| false)?;
                match self.world.definition(&dotted).ok()?? {
                    Meaning::Function(module, function) if self.depth < DEPTH => {
                        let within = Evaluator { world: self.world, module: &module, depth: self.depth + 1 };
                        within.call(&function, given, named)?
                    }
                    _ => return None,
                }
            }
            Expr::Name(name) => match locals.get(name.id.as_str()) {
                Some(value) => value.clone(),
                None => {
                    let dotted = self.world.dotted(self.module, expression, &|_| false)?;
                    match self.world.definition(&dotted).ok()?? {
                        Meaning::Value(module, value) if self.depth < DEPTH => {
                            let within = Evaluator { world: self.world, module: &module, depth: self.depth + 1 };
                            within.value(&value, &Locals::new())?
                        }
                        _ => return None,
                    }
                }
            },
            _ => return None,
        })
    }

    fn list(&self, elements: &[Expr], locals: &Locals) -> Value {
        Value::Array(elements.iter().map(|element| self.value(element, locals).unwrap_or(Value::Null)).collect())
    }

    /// What a function of assignments returns.
    fn call(&self, function: &StmtFunctionDef, given: Vec<Value>, named: Map<String, Value>) -> Option<Value> {
        let mut locals = self.bound(&function.parameters, given, named)?;
        for statement in &function.body {
            match statement {
                Stmt::Return(returned) => return self.value(returned.value.as_deref()?, &locals),
                Stmt::Assign(assign) => {
                    if let [Expr::Name(name)] = &assign.targets[..] {
                        let value = self.value(&assign.value, &locals)?;
                        locals.insert(name.id.to_string(), value);
                    }
                }
                Stmt::Expr(_) => {}
                _ => return None,
            }
        }
        None
    }

    fn bound(&self, parameters: &Parameters, given: Vec<Value>, mut named: Map<String, Value>) -> Option<Locals> {
        let mut locals = Locals::new();
        let mut given = given.into_iter();
        for parameter in parameters.iter_non_variadic_params() {
            let name = parameter.name().to_string();
            let value = match given.next().or_else(|| named.remove(&name)) {
                Some(value) => value,
                None => self.value(parameter.default.as_deref()?, &Locals::new()).unwrap_or(Value::Null),
            };
            locals.insert(name, value);
        }
        if let Some(rest) = &parameters.kwarg {
            locals.insert(rest.name.to_string(), Value::Object(named));
        }
        Some(locals)
    }
}
