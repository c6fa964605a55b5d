//! The forward program of a model: as text, as a picture in Graphviz's language, as JSON; and the operators that are known.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use super::SCHEMA;
use super::table::{Align, list};
use crate::graph::{Argument, DtypeArgument, Graph, Op, Step};
use crate::ops;
use crate::ops::aten::{SAME, overloads};

use Align::{Left, Right};

/// `memplan graph --json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct GraphReport {
    pub schema: u32,
    pub model: String,
    pub module: String,
    pub operators: Vec<OperatorCall>,
}

/// An operator's call.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct OperatorCall {
    pub id: u32,
    pub operator: &'static str,
    pub module: String,
    pub arguments: Vec<Value>,
    pub outputs: Vec<Tensor>,
    /// The tensors that Python lets go of before the next operator.
    pub dropped: Vec<u32>,
}

/// A tensor.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct Tensor {
    pub tensor: u32,
    pub shape: Vec<u64>,
}

/// The part of a graph that is shown: the operators of a module and those within it, in the first forward of a run.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What the user called the model.
    pub model: &'a str,
    /// The program.
    pub graph: &'a Graph,
    /// The module's path; empty for all.
    pub module: &'a str,
}

impl Part<'_> {
    /// Whether any operator is shown.
    pub fn is_empty(&self) -> bool {
        self.steps().is_empty()
    }

    fn path(&self, op: &Op) -> &str {
        &self.graph.modules[op.module.index()].path
    }

    fn lies_within(&self, op: &Op) -> bool {
        let path = self.path(op);
        let within = path == self.module || path.strip_prefix(self.module).is_some_and(|rest| rest.starts_with('.'));
        self.module.is_empty() || within
    }

    /// The operators of the first forward, each with the tensors that go after it.
    fn steps(&self) -> Vec<(u32, &Op, Vec<u32>)> {
        let mut shown: Vec<(u32, &Op, Vec<u32>)> = Vec::new();
        let (mut within, mut marks) = (false, 0);
        for step in &self.graph.steps {
            match step {
                Step::Op(id) => {
                    let op = &self.graph.ops[id.index()];
                    match op.operator.name {
                        // the first phase is loading, the second the forward
                        ops::MARK if marks > 0 => break,
                        ops::MARK => marks += 1,
                        ops::LOAD | ops::MAKE_OPTIMIZER | ops::SET_GRAD_ENABLED => {}
                        _ => {
                            within = self.lies_within(op);
                            shown.extend(within.then(|| (id.0, op, Vec::new())));
                        }
                    }
                }
                Step::Drop(tensor, _) => {
                    if let Some((_, _, dropped)) = shown.last_mut().filter(|_| within) {
                        dropped.push(tensor.0);
                    }
                }
                _ => {}
            }
        }
        shown
    }
}

/// The operators in order, a line each, under the modules that call them.
pub fn text(part: &Part<'_>) -> String {
    let mut text = String::new();
    let mut module = None;
    for (_, op, _) in part.steps() {
        let path = part.path(op);
        if module != Some(path) {
            let _ = writeln!(text, "{}", if path.is_empty() { "the model" } else { path });
            module = Some(path);
        }
        let outputs = op.outputs.iter().map(|id| format!("t{} {:?}", id.0, part.graph.shapes[id.index()].to_vec()));
        let outputs = outputs.collect::<Vec<_>>().join(", ");
        let arguments = op.arguments.iter().map(written).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "  {outputs} = {}({arguments})", op.operator.name);
    }
    text
}

/// The data flow in Graphviz's language: operators, and the tensors that go from one to another.
pub fn dot(part: &Part<'_>) -> String {
    let mut text = String::from("digraph model {\n  node [shape=box, fontname=monospace];\n");
    let mut makers: BTreeMap<u32, u32> = BTreeMap::new();
    for (id, op, _) in part.steps() {
        let place = quoted(part.path(op));
        let _ = writeln!(text, "  op{id} [label=\"{}\\n{place}\"];", op.operator.name);
        for tensor in op.arguments.iter().flat_map(crate::graph::tensors_of) {
            if let Some(maker) = makers.get(&tensor.0) {
                let shape = part.graph.shapes[tensor.index()].to_vec();
                let _ = writeln!(text, "  op{maker} -> op{id} [label=\"{shape:?}\"];");
            }
        }
        makers.extend(op.outputs.iter().map(|output| (output.0, id)));
    }
    text.push_str("}\n");
    text
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// The same as data.
pub fn json(part: &Part<'_>) -> GraphReport {
    let call = |(id, op, dropped): (u32, &Op, Vec<u32>)| OperatorCall {
        id,
        operator: op.operator.name,
        module: part.path(op).to_owned(),
        arguments: op.arguments.iter().map(value).collect(),
        outputs: op
            .outputs
            .iter()
            .map(|id| Tensor { tensor: id.0, shape: part.graph.shapes[id.index()].to_vec() })
            .collect(),
        dropped,
    };
    let operators = part.steps().into_iter().map(call).collect();
    GraphReport { schema: SCHEMA, model: part.model.to_owned(), module: part.module.to_owned(), operators }
}

fn value(argument: &Argument) -> Value {
    match argument {
        Argument::None => Value::Null,
        Argument::Bool(flag) => (*flag).into(),
        Argument::Int(number) => (*number).into(),
        Argument::Float(number) => (*number).into(),
        Argument::Tensor(tensor) => serde_json::json!({ "tensor": tensor.0 }),
        Argument::List(items) => items.iter().map(value).collect(),
        other => written(other).into(),
    }
}

fn written(argument: &Argument) -> String {
    match argument {
        Argument::None => "None".to_owned(),
        Argument::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Argument::Int(number) => number.to_string(),
        Argument::Float(number) => format!("{number:?}"),
        Argument::Text(text) => format!("{text:?}"),
        Argument::Dtype(DtypeArgument::Fixed(dtype)) => dtype.to_string(),
        Argument::Dtype(DtypeArgument::Weights) => "weights_dtype".to_owned(),
        Argument::Dtype(DtypeArgument::Of(tensor)) => format!("t{}.dtype", tensor.0),
        Argument::Tensor(tensor) => format!("t{}", tensor.0),
        Argument::List(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
    }
}

/// `memplan ops --format json`.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct OperatorsReport {
    pub schema: u32,
    pub operators: Vec<OperatorLine>,
    /// The overloads of ATen that an export may call, and what each is here.
    pub overloads: Vec<OverloadLine>,
}

/// An operator of the table.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct OperatorLine {
    pub name: &'static str,
    pub parameters: Vec<&'static str>,
    pub overloads: usize,
    pub source: &'static str,
}

/// An overload of ATen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the keys say it")]
pub struct OverloadLine {
    pub name: &'static str,
    /// The operator, or the function of specs/library/aten.yaml; None where it gives its argument back.
    pub is: Option<&'static str>,
}

/// The operators that are known, by name, with how many overloads each stands for and what it was read from.
pub fn operators() -> OperatorsReport {
    let mut names: Vec<_> = ops::all().values().collect();
    names.sort_by_key(|operator| operator.name);
    let overloads = overloads();
    let lines = names.into_iter().map(|operator| OperatorLine {
        name: operator.name,
        parameters: operator.parameters.iter().map(|parameter| parameter.name).collect(),
        overloads: overloads.iter().filter(|overload| overload.callee == operator.name).count(),
        source: operator.source,
    });
    let is = |callee: &'static str| (callee != SAME).then_some(callee);
    let all = overloads.iter().map(|overload| OverloadLine { name: overload.name, is: is(overload.callee) });
    OperatorsReport { schema: SCHEMA, operators: lines.collect(), overloads: all.collect() }
}

/// The same as text.
pub fn operators_text() -> String {
    let report = operators();
    let mut rows = vec![["operator", "overloads", "source"].map(String::from)];
    rows.extend(report.operators.iter().map(|line| {
        let overloads = if line.overloads == 0 { String::new() } else { line.overloads.to_string() };
        [line.name.to_owned(), overloads, line.source.to_owned()]
    }));
    let composed = report.overloads.iter().filter(|line| line.is.is_some_and(|name| name.starts_with("aten_"))).count();
    format!(
        "{} operators, {} overloads of ATen in exports, {composed} of them composed in specs/library/aten.yaml\n\n{}",
        report.operators.len(),
        report.overloads.len(),
        list([Left, Right, Left], &rows)
    )
}
