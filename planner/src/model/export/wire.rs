//! The JSON of an exported program, as torch/_export/serde/schema.py of PyTorch 2.8 to 2.11 defines it: what of it is used.
//!
//! Unions are objects with one key. Keys that nobody needs are passed over, so that later minor versions are read too.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A text that borrows from the file where it has no escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// `ExportedProgram`
#[derive(Debug, Deserialize)]
pub struct ExportedProgram<'a> {
    #[serde(borrow)]
    pub graph_module: GraphModule<'a>,
    #[serde(default)]
    pub schema_version: Option<SchemaVersion>,
    #[serde(default)]
    pub range_constraints: FxHashMap<String, RangeConstraint>,
}

/// `SchemaVersion`
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SchemaVersion {
    pub major: u64,
    pub minor: u64,
}

/// `RangeConstraint`
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RangeConstraint {
    #[serde(default)]
    pub min_val: Option<i64>,
    #[serde(default)]
    pub max_val: Option<i64>,
}

/// `GraphModule`
#[derive(Debug, Deserialize)]
pub struct GraphModule<'a> {
    #[serde(borrow)]
    pub graph: Graph<'a>,
    #[serde(borrow)]
    pub signature: Signature<'a>,
    #[serde(default, borrow)]
    pub module_call_graph: Vec<ModuleCall<'a>>,
}

/// `ModuleCallEntry`
#[derive(Debug, Deserialize)]
pub struct ModuleCall<'a> {
    #[serde(borrow)]
    pub fqn: Text<'a>,
    #[serde(default, borrow)]
    pub signature: Option<CallSignature<'a>>,
}

/// `ModuleCallSignature`
#[derive(Debug, Deserialize)]
pub struct CallSignature<'a> {
    #[serde(default, borrow)]
    pub out_spec: Option<Text<'a>>,
}

/// `Graph`
#[derive(Debug, Deserialize)]
pub struct Graph<'a> {
    #[serde(borrow)]
    pub inputs: Vec<Argument<'a>>,
    #[serde(borrow)]
    pub outputs: Vec<Argument<'a>>,
    #[serde(borrow)]
    pub nodes: Vec<Node<'a>>,
    #[serde(borrow)]
    pub tensor_values: FxHashMap<Cow<'a, str>, TensorMeta<'a>>,
    #[serde(default, borrow)]
    pub sym_int_values: FxHashMap<Cow<'a, str>, Size<'a>>,
}

/// `Node`
#[derive(Debug, Deserialize)]
pub struct Node<'a> {
    #[serde(borrow)]
    pub target: Text<'a>,
    #[serde(borrow)]
    pub inputs: Vec<NamedArgument<'a>>,
    #[serde(borrow)]
    pub outputs: Vec<Argument<'a>>,
    #[serde(default, borrow)]
    pub metadata: Metadata<'a>,
}

/// What of a node's metadata is used.
#[derive(Debug, Default, Deserialize)]
pub struct Metadata<'a> {
    #[serde(default, borrow)]
    pub stack_trace: Option<Text<'a>>,
    #[serde(default, borrow)]
    pub nn_module_stack: Option<Text<'a>>,
}

/// `NamedArgument`
#[derive(Debug, Deserialize)]
pub struct NamedArgument<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub arg: Argument<'a>,
}

/// `TensorArgument`, and all else that is nothing but a name.
#[derive(Debug, Deserialize)]
pub struct Named<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
}

/// `SymIntArgument`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeArgument<'a> {
    #[serde(borrow)]
    AsName(Text<'a>),
    AsInt(i64),
}

/// `OptionalTensorArgument`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionalTensor<'a> {
    #[serde(borrow)]
    AsTensor(Named<'a>),
    AsNone(IgnoredAny),
}

/// `Argument`
#[expect(clippy::enum_variant_names, reason = "the schema's names")]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Argument<'a> {
    AsNone(IgnoredAny),
    #[serde(borrow)]
    AsTensor(Named<'a>),
    AsTensors(Vec<Named<'a>>),
    AsInt(i64),
    AsInts(Vec<i64>),
    AsFloat(Number),
    AsFloats(Vec<Number>),
    AsString(Text<'a>),
    AsStrings(IgnoredAny),
    AsSymInt(SizeArgument<'a>),
    AsSymInts(Vec<SizeArgument<'a>>),
    AsScalarType(i64),
    AsMemoryFormat(i64),
    AsLayout(IgnoredAny),
    AsDevice(IgnoredAny),
    AsBool(bool),
    AsBools(Vec<bool>),
    AsSymBool(IgnoredAny),
    AsSymBools(IgnoredAny),
    AsGraph(Box<GraphArgument<'a>>),
    AsOptionalTensors(Vec<OptionalTensor<'a>>),
    AsOptionalTensor(OptionalTensor<'a>),
    AsCustomObj(IgnoredAny),
    AsOperator(IgnoredAny),
    AsSymFloat(IgnoredAny),
    AsSymFloats(IgnoredAny),
    AsComplex(IgnoredAny),
    AsNestedTensors(IgnoredAny),
    AsIntLists(IgnoredAny),
    AsStringToArgument(IgnoredAny),
}

/// A number, or what JSON has no number for, as a text (`"Infinity"`).
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        Ok(Number(match Form::deserialize(deserializer)? {
            Form::Number(number) => number,
            Form::Text(text) => text.replace("Infinity", "inf").parse().map_err(serde::de::Error::custom)?,
        }))
    }
}

/// `GraphArgument`
#[derive(Debug, Deserialize)]
pub struct GraphArgument<'a> {
    #[serde(borrow)]
    pub graph: Graph<'a>,
}

/// `TensorMeta`
#[derive(Debug, Deserialize)]
pub struct TensorMeta<'a> {
    pub dtype: i64,
    #[serde(borrow)]
    pub sizes: Vec<Size<'a>>,
    #[serde(default)]
    pub requires_grad: bool,
}

/// `SymInt`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size<'a> {
    AsInt(i64),
    #[serde(borrow)]
    AsExpr(SizeExpression<'a>),
}

/// `SymExpr`
#[derive(Debug, Deserialize)]
pub struct SizeExpression<'a> {
    #[serde(borrow)]
    pub expr_str: Text<'a>,
    #[serde(default)]
    pub hint: Option<Hint>,
}

/// `SymExprHint`
#[expect(clippy::enum_variant_names, reason = "the schema's names")]
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    AsInt(i64),
    AsBool(IgnoredAny),
    AsFloat(IgnoredAny),
}

/// `GraphSignature`
#[derive(Debug, Deserialize)]
pub struct Signature<'a> {
    #[serde(borrow)]
    pub input_specs: Vec<InputSpec<'a>>,
    #[serde(borrow)]
    pub output_specs: Vec<OutputSpec<'a>>,
}

/// `InputSpec`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec<'a> {
    #[serde(borrow)]
    UserInput(ArgumentOf<'a>),
    Parameter(ParameterSpec<'a>),
    Buffer(BufferSpec<'a>),
    TensorConstant(ConstantSpec<'a>),
    CustomObj(IgnoredAny),
    Token(IgnoredAny),
    ConstantInput(IgnoredAny),
}

/// `UserInputSpec`, `UserOutputSpec`
#[derive(Debug, Deserialize)]
pub struct ArgumentOf<'a> {
    #[serde(borrow)]
    pub arg: Argument<'a>,
}

/// `LossOutputSpec`
#[derive(Debug, Deserialize)]
pub struct NamedOf<'a> {
    #[serde(borrow)]
    pub arg: Named<'a>,
}

/// `InputToParameterSpec`
#[derive(Debug, Deserialize)]
pub struct ParameterSpec<'a> {
    #[serde(borrow)]
    pub arg: Named<'a>,
    #[serde(borrow)]
    pub parameter_name: Text<'a>,
}

/// `InputToBufferSpec`
#[derive(Debug, Deserialize)]
pub struct BufferSpec<'a> {
    #[serde(borrow)]
    pub arg: Named<'a>,
    #[serde(borrow)]
    pub buffer_name: Text<'a>,
    pub persistent: bool,
}

/// `InputToTensorConstantSpec`
#[derive(Debug, Deserialize)]
pub struct ConstantSpec<'a> {
    #[serde(borrow)]
    pub arg: Named<'a>,
    #[serde(borrow)]
    pub tensor_constant_name: Text<'a>,
}

/// `OutputSpec`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputSpec<'a> {
    #[serde(borrow)]
    UserOutput(ArgumentOf<'a>),
    LossOutput(NamedOf<'a>),
    BufferMutation(IgnoredAny),
    GradientToParameter(IgnoredAny),
    GradientToUserInput(IgnoredAny),
    UserInputMutation(IgnoredAny),
    ParameterMutation(IgnoredAny),
    Token(IgnoredAny),
}

/// `PayloadConfig`: the archive's table of weights (torch/export/pt2_archive/_package.py).
#[derive(Debug, Default, Deserialize)]
pub struct WeightsTable<'a> {
    #[serde(borrow)]
    pub config: FxHashMap<Cow<'a, str>, Payload<'a>>,
}

/// `PayloadMeta`: two names of one path are one tensor.
#[derive(Debug, Deserialize)]
pub struct Payload<'a> {
    #[serde(borrow)]
    pub path_name: Text<'a>,
}
