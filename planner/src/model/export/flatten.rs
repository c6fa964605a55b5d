//! The graph as a list of calls over numbered values; what belongs to a higher-order operator stands in its place.
//!
//! ```text
//! wrap_with_set_grad_enabled(False, submod, x)   ->   Grad(False)  mm  add  Grad(True)
//! ```
//!
//! A value is known once its call has been read, so a graph that uses one before (a cycle) is refused here.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use super::error::Problem;
use super::wire::{self, Argument, InputSpec, Node, OptionalTensor, OutputSpec, Size, SizeArgument, TensorMeta};
use crate::words::quote::quoted;

/// The most calls that a program may have.
pub const CALLS: usize = 400_000;

/// How deep higher-order operators may nest.
const DEPTH: usize = 16;

/// A tensor of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

impl ValueId {
    /// The position in the array that it numbers.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A call gives it.
    Computed,
    /// The model holds it: a parameter, a buffer or a constant, by its number.
    State(usize),
    /// The caller gives it.
    Input,
}

/// A tensor of the program with what the export says of it.
#[derive(Debug)]
pub struct Value<'a> {
    /// Its shape and type.
    pub meta: Option<&'a TensorMeta<'a>>,
    /// What it is.
    pub origin: Origin,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub enum Given<'a> {
    None,
    Tensor(ValueId),
    List(Vec<Given<'a>>),
    Int(i64),
    Size(&'a str),
    Float(f64),
    Bool(bool),
    Text(&'a str),
    Dtype(i64),
    /// What changes no memory: a layout, a device.
    Passed,
    /// What cannot be planned.
    Strange,
}

/// What a call gives.
#[derive(Clone, Debug)]
pub enum Gives {
    Nothing,
    One(ValueId),
    Several(Vec<Option<ValueId>>),
}

impl Gives {
    /// The tensors.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        let (one, several) = match self {
            Gives::Nothing => (None, &[][..]),
            Gives::One(value) => (Some(*value), &[][..]),
            Gives::Several(values) => (None, &values[..]),
        };
        one.into_iter().chain(several.iter().flatten().copied())
    }
}

/// What happens.
#[derive(Debug)]
pub enum Kind<'a> {
    /// An operator is called.
    Call { target: &'a str, arguments: Vec<(&'a str, Given<'a>)>, gives: Gives },
    /// Grad mode is set; None goes back to what the run has.
    Grad(Option<bool>),
    /// A region of autocast begins.
    EnterAutocast(bool),
    /// It ends.
    ExitAutocast,
}

/// A step of the program.
#[derive(Debug)]
pub struct Step<'a> {
    /// What happens.
    pub kind: Kind<'a>,
    /// The modules that are running, as the export writes it.
    pub modules: Option<&'a str>,
    /// The lines of Python.
    pub trace: Option<&'a str>,
}

/// What the model holds.
#[derive(Debug)]
pub struct State<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its tensor.
    pub value: ValueId,
    /// Whether it is a parameter.
    pub parameter: bool,
    /// Whether checkpoints hold it.
    pub stored: bool,
}

/// A program.
#[derive(Debug, Default)]
pub struct Program<'a> {
    /// The tensors, by [`ValueId`].
    pub values: Vec<Value<'a>>,
    /// What happens, in order.
    pub steps: Vec<Step<'a>>,
    /// What the model holds.
    pub states: Vec<State<'a>>,
    /// The tensors that the caller gives, with their names.
    pub inputs: Vec<(&'a str, ValueId)>,
    /// What it returns: tensors, and None for all else.
    pub outputs: Vec<Option<ValueId>>,
    /// The output that the export marks as the loss.
    pub loss: Option<usize>,
}

/// What names mean within a graph.
struct Scope<'a> {
    graph: &'a wire::Graph<'a>,
    values: FxHashMap<&'a str, ValueId>,
}

/// Flattens the graph.
///
/// # Errors
/// A value that is used before it is given; an operator over graphs that cannot be planned; more calls than any program has.
pub fn flatten<'a>(module: &'a wire::GraphModule<'a>) -> Result<Program<'a>, Problem> {
    let mut program = Program::default();
    let mut scope = Scope { graph: &module.graph, values: FxHashMap::default() };
    for spec in &module.signature.input_specs {
        program.receive(spec, &mut scope)?;
    }
    program.graph(&mut scope, None, 0)?;
    for (number, spec) in module.signature.output_specs.iter().enumerate() {
        let value = match spec {
            OutputSpec::UserOutput(wire::ArgumentOf { arg: Argument::AsTensor(tensor) }) => Some(&tensor.name.0),
            OutputSpec::LossOutput(tensor) => {
                program.loss = Some(number);
                Some(&tensor.arg.name.0)
            }
            OutputSpec::UserOutput(_) => None,
            _ => continue,
        };
        let value = value.map(|name| scope.find(name, None)).transpose()?;
        program.outputs.push(value);
    }
    Ok(program)
}

impl<'a> Scope<'a> {
    fn find(&self, name: &str, node: Option<usize>) -> Result<ValueId, Problem> {
        self.values.get(name).copied().ok_or_else(|| Problem {
            node: node.map(|node| node + 1),
            message: format!("{} is used, but nothing before gives it", quoted(name)),
        })
    }
}

impl<'a> Program<'a> {
    fn value(&mut self, name: &'a str, origin: Origin, scope: &mut Scope<'a>) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { meta: scope.graph.tensor_values.get(name), origin });
        scope.values.insert(name, id);
        id
    }

    fn receive(&mut self, spec: &'a InputSpec<'a>, scope: &mut Scope<'a>) -> Result<(), Problem> {
        let (arg, name, parameter, stored) = match spec {
            InputSpec::Parameter(spec) => (&spec.arg, &spec.parameter_name, true, true),
            InputSpec::Buffer(spec) => (&spec.arg, &spec.buffer_name, false, spec.persistent),
            InputSpec::TensorConstant(spec) => (&spec.arg, &spec.tensor_constant_name, false, false),
            InputSpec::UserInput(wire::ArgumentOf { arg: Argument::AsTensor(tensor) }) => {
                let value = self.value(&tensor.name.0, Origin::Input, scope);
                self.inputs.push((&tensor.name.0, value));
                return Ok(());
            }
            InputSpec::CustomObj(_) => return Err(Problem::new("objects of custom classes cannot be planned")),
            InputSpec::UserInput(_) | InputSpec::Token(_) | InputSpec::ConstantInput(_) => return Ok(()),
        };
        let value = self.value(&arg.name.0, Origin::State(self.states.len()), scope);
        if self.values[value.index()].meta.is_none() {
            return Err(Problem::new(format!("{} has no shape", quoted(&name.0))));
        }
        self.states.push(State { name: &name.0, value, parameter, stored });
        Ok(())
    }

    /// The calls of a graph; `grad` is what grad mode was set to around it.
    fn graph(&mut self, scope: &mut Scope<'a>, grad: Option<bool>, depth: usize) -> Result<(), Problem> {
        for node in &scope.graph.nodes {
            let number = self.steps.len();
            if number >= CALLS {
                return Err(Problem::new(format!("it has more than {CALLS} calls")));
            }
            let target = target(&node.target.0);
            let inner = node.inputs.iter().position(|input| matches!(input.arg, Argument::AsGraph(_)));
            match inner {
                Some(place) => self.higher_order(node, target, place, scope, grad, depth)?,
                None => {
                    let arguments =
                        node.inputs.iter().map(|input| Ok((&*input.name.0, given(&input.arg, scope, number)?)));
                    let arguments = arguments.collect::<Result<_, Problem>>()?;
                    let gives = self.gives(&node.outputs, scope);
                    self.push(Kind::Call { target, arguments, gives }, node);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind<'a>, node: &'a Node<'a>) {
        let text = |text: &'a Option<wire::Text<'a>>| text.as_ref().map(|text| &*text.0);
        let (modules, trace) = (text(&node.metadata.nn_module_stack), text(&node.metadata.stack_trace));
        self.steps.push(Step { kind, modules, trace });
    }

    fn gives(&mut self, outputs: &'a [Argument<'a>], scope: &mut Scope<'a>) -> Gives {
        match outputs {
            [] => Gives::Nothing,
            [Argument::AsTensor(tensor)] => Gives::One(self.value(&tensor.name.0, Origin::Computed, scope)),
            outputs => {
                let mut values = Vec::new();
                for output in outputs {
                    match output {
                        Argument::AsTensor(tensor) => values.push(Some(&tensor.name.0)),
                        Argument::AsTensors(tensors) => {
                            values.extend(tensors.iter().map(|tensor| Some(&tensor.name.0)))
                        }
                        Argument::AsOptionalTensor(OptionalTensor::AsTensor(tensor)) => {
                            values.push(Some(&tensor.name.0))
                        }
                        Argument::AsOptionalTensors(tensors) => {
                            values.extend(tensors.iter().map(|tensor| match tensor {
                                OptionalTensor::AsTensor(tensor) => Some(&tensor.name.0),
                                OptionalTensor::AsNone(_) => None,
                            }))
                        }
                        Argument::AsSymInt(_)
                        | Argument::AsSymInts(_)
                        | Argument::AsSymBool(_)
                        | Argument::AsSymFloat(_) => {
                            return Gives::Nothing;
                        }
                        _ => values.push(None),
                    }
                }
                let values = values
                    .into_iter()
                    .map(|name| name.map(|name: &'a Cow<'a, str>| self.value(name, Origin::Computed, scope)));
                Gives::Several(values.collect())
            }
        }
    }

    /// Puts the calls of an operator's graph in its place.
    fn higher_order(
        &mut self,
        node: &'a Node<'a>,
        target: &'a str,
        place: usize,
        outer: &mut Scope<'a>,
        grad: Option<bool>,
        depth: usize,
    ) -> Result<(), Problem> {
        let number = self.steps.len();
        let fail = |message: String| Err(Problem::at(number, message));
        let graphs = node.inputs.iter().filter(|input| matches!(input.arg, Argument::AsGraph(_))).count();
        let Argument::AsGraph(inner) = &node.inputs[place].arg else { return Ok(()) };
        if graphs > 1 || depth >= DEPTH {
            return fail(format!(
                "{} decides as it runs which graph it runs, or nests deeper than {DEPTH}",
                quoted(target)
            ));
        }
        let flags: Vec<bool> = node.inputs[..place].iter().filter_map(|input| flag(&input.arg)).collect();
        let mut scope = Scope { graph: &inner.graph, values: FxHashMap::default() };
        let arguments = &node.inputs[place + 1..];
        for (input, argument) in inner.graph.inputs.iter().zip(arguments) {
            if let (Argument::AsTensor(input), Argument::AsTensor(argument)) = (input, &argument.arg) {
                scope.values.insert(&input.name.0, outer.find(&argument.name.0, Some(number))?);
            }
        }
        let (enter, exit, within) = match (target, &flags[..]) {
            ("higher_order.wrap_with_set_grad_enabled", [enabled, ..]) => {
                (Some(Kind::Grad(Some(*enabled))), Some(Kind::Grad(grad)), Some(*enabled))
            }
            ("higher_order.wrap_with_autocast", [enabled, ..]) => {
                (Some(Kind::EnterAutocast(*enabled)), Some(Kind::ExitAutocast), grad)
            }
            ("higher_order.invoke_subgraph" | "higher_order.wrap" | "higher_order.hints_wrapper", _) => {
                (None, None, grad)
            }
            _ => return fail(format!("{} runs a graph in a way that is not known", quoted(target))),
        };
        if let Some(kind) = enter {
            self.push(kind, node);
        }
        self.graph(&mut scope, within, depth + 1)?;
        if let Some(kind) = exit {
            self.push(kind, node);
        }
        let names = node.outputs.iter().flat_map(tensor_names);
        for (name, result) in names.zip(inner.graph.outputs.iter().flat_map(tensor_names)) {
            let value = scope.find(result, Some(number))?;
            outer.values.insert(name, value);
        }
        Ok(())
    }
}

/// The names of the tensors in an output.
fn tensor_names<'a>(argument: &'a Argument<'a>) -> Vec<&'a str> {
    match argument {
        Argument::AsTensor(tensor) => vec![&tensor.name.0],
        Argument::AsTensors(tensors) => tensors.iter().map(|tensor| &*tensor.name.0).collect(),
        _ => Vec::new(),
    }
}

fn flag(argument: &Argument<'_>) -> Option<bool> {
    match argument {
        Argument::AsBool(flag) => Some(*flag),
        _ => None,
    }
}

/// `torch.ops.aten.add.Tensor` without its beginning.
fn target(name: &str) -> &str {
    name.strip_prefix("torch.ops.").unwrap_or(name)
}

fn given<'a>(argument: &'a Argument<'a>, scope: &Scope<'a>, node: usize) -> Result<Given<'a>, Problem> {
    let tensor = |name: &str| scope.find(name, Some(node)).map(Given::Tensor);
    let optional = |tensor_: &OptionalTensor<'a>| match tensor_ {
        OptionalTensor::AsTensor(named) => tensor(&named.name.0),
        OptionalTensor::AsNone(_) => Ok(Given::None),
    };
    Ok(match argument {
        Argument::AsNone(_) => Given::None,
        Argument::AsTensor(named) => tensor(&named.name.0)?,
        Argument::AsTensors(all) => {
            Given::List(all.iter().map(|named| tensor(&named.name.0)).collect::<Result<_, _>>()?)
        }
        Argument::AsOptionalTensors(all) => Given::List(all.iter().map(optional).collect::<Result<_, _>>()?),
        Argument::AsOptionalTensor(one) => optional(one)?,
        Argument::AsInt(number) => Given::Int(*number),
        Argument::AsInts(numbers) => Given::List(numbers.iter().map(|number| Given::Int(*number)).collect()),
        Argument::AsFloat(number) => Given::Float(number.0),
        Argument::AsFloats(numbers) => Given::List(numbers.iter().map(|number| Given::Float(number.0)).collect()),
        Argument::AsString(text) => Given::Text(&text.0),
        Argument::AsSymInt(one) => size(one, scope, node)?,
        Argument::AsSymInts(all) => {
            Given::List(all.iter().map(|one| size(one, scope, node)).collect::<Result<_, _>>()?)
        }
        Argument::AsScalarType(number) => Given::Dtype(*number),
        Argument::AsBool(flag) => Given::Bool(*flag),
        Argument::AsBools(flags) => Given::List(flags.iter().map(|flag| Given::Bool(*flag)).collect()),
        Argument::AsLayout(_) | Argument::AsDevice(_) => Given::Passed,
        Argument::AsMemoryFormat(format) => Given::Int(*format),
        _ => Given::Strange,
    })
}

fn size<'a>(argument: &'a SizeArgument<'a>, scope: &Scope<'a>, node: usize) -> Result<Given<'a>, Problem> {
    let name = match argument {
        SizeArgument::AsInt(number) => return Ok(Given::Int(*number)),
        SizeArgument::AsName(name) => &name.0,
    };
    match scope.graph.sym_int_values.get(name) {
        Some(Size::AsInt(number)) => Ok(Given::Int(*number)),
        Some(Size::AsExpr(expression)) => Ok(Given::Size(&expression.expr_str.0)),
        None => Err(Problem::at(node, format!("the size {} is not given", quoted(name)))),
    }
}
