//! Operators that the table lacks: outputs as the export describes them, and what backward may keep bounded from above.
//!
//! ```text
//! forward    the outputs                                      known from the export
//! saved      all inputs and outputs                           no formula of derivatives.yaml keeps more tensors of the program
//! backward   a gradient for each input that needs one         known; what kernels take beside them is not
//! ```

use smallvec::SmallVec;

use super::call::several;
use super::{Autocast, Call, Class, Lowered, Operand, Operands, Returns, Row, Shapes};
use crate::bytes::Bytes;
use crate::dtype::Dtype;
use crate::graph::{Argument, Dims, Graph, TensorId};
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::tensor::Tensor;

/// What an operator that is not known is called by.
pub const OPAQUE: &str = "opaque";

pub(super) const ROWS: &[Row] = &[Row {
    name: OPAQUE,
    signature: "name, inputs, sizes, dtypes",
    returns: Returns::Tuple,
    source: "a bound: tools/autograd/derivatives.yaml keeps inputs, outputs and what a kernel gives beside them",
    class: Class::Elements,
    autocast: Autocast::Keeps,
    savable: &[],
    aten: &[],
    shapes,
    lower,
}];

fn shapes(call: &Call) -> Shapes {
    let wrong = || "the sizes of an unknown operator are lists of lists".to_owned();
    let Argument::List(outputs) = call.argument(2) else { return Err(wrong()) };
    let size = |size: &Argument| match size {
        Argument::Int(size) => u64::try_from(*size).map_err(|_| format!("{size} is no size")),
        _ => Err(wrong()),
    };
    let sizes = outputs.iter().map(|output| match output {
        Argument::List(sizes) => sizes.iter().map(size).collect::<Result<Dims, _>>(),
        _ => Err(wrong()),
    });
    several(sizes.collect::<Result<Vec<_>, _>>()?)
}

fn lower(context: &mut Context, operands: &Operands) -> Lowered {
    let inputs = operands.tensors(1)?;
    let (Operand::List(sizes), Operand::List(dtypes)) = (operands.at(2), operands.at(3)) else {
        return Err("an unknown operator lists sizes and types".to_owned());
    };
    let mut outputs: SmallVec<[Tensor; 2]> = SmallVec::new();
    for (place, dtype) in dtypes.iter().enumerate().take(sizes.len()) {
        let sizes = Operands([sizes[place].clone()].into_iter().collect()).ints(0)?;
        let sizes: Dims = sizes.into_iter().map(i64::unsigned_abs).collect();
        let dtype = if let Operand::Dtype(dtype) = dtype { *dtype } else { context.settings.weights };
        outputs.push(context.empty(OPAQUE, &sizes, dtype));
    }
    if context.records(&inputs) {
        record(context, &inputs, &outputs);
    }
    Ok(outputs)
}

fn record(context: &mut Context, inputs: &[&Tensor], outputs: &[Tensor]) {
    let saved: Vec<_> = inputs.iter().copied().chain(outputs).map(|tensor| context.save(tensor)).collect();
    let wanted: Vec<Option<(Dims, Dtype)>> =
        inputs.iter().map(|input| input.requires_grad().then(|| (input.sizes.clone(), input.dtype))).collect();
    let edges: Vec<Option<&Tensor>> = inputs.iter().map(|input| Some(*input)).collect();
    let results: Vec<&Tensor> = outputs.iter().collect();
    let apply = move |context: &mut Context, gradients: &mut [Option<Tensor>]| {
        if gradients.iter().all(Option::is_none) {
            return Gradients::new();
        }
        let _saved: Vec<Tensor> = saved.iter().map(|saved| saved.get(context)).collect();
        let mut gradient = |wanted: &Option<(Dims, Dtype)>| {
            wanted.as_ref().map(|(sizes, dtype)| context.empty("opaque_backward", sizes, *dtype))
        };
        wanted.iter().map(&mut gradient).collect()
    };
    context.record("OpaqueBackward0", &edges, &results, Box::new(apply));
}

/// An operator that the table lacks, in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// How often it is called in a forward.
    pub calls: u64,
    /// The bytes of its inputs and outputs, all calls together, at so many bytes an element: what may be held of them without
    /// need, and what kernels may take beside.
    pub bytes: Bytes,
}

/// The operators of a program that the table lacks, in the order of their first call; of a program whose forward runs so many
/// times, those of one.
pub fn unknown(graph: &Graph, element: u64, times: u64) -> Vec<Unknown> {
    let mut found: indexmap::IndexMap<&str, Unknown> = indexmap::IndexMap::new();
    for op in graph.ops.iter().filter(|op| op.operator.name == OPAQUE) {
        let Some(Argument::Text(name)) = op.arguments.first() else { continue };
        let elements = |tensor: &TensorId| graph.shapes[tensor.index()].iter().product::<u64>();
        let inputs = op.arguments.iter().flat_map(crate::graph::tensors_of);
        let all: u64 = inputs.chain(op.outputs.iter().copied()).map(|tensor| elements(&tensor)).sum();
        let entry = found.entry(name).or_insert_with(|| Unknown { name: name.to_string(), calls: 0, bytes: Bytes(0) });
        entry.calls += 1;
        entry.bytes = Bytes(entry.bytes.0.saturating_add(all.saturating_mul(element)));
    }
    let once = |mut unknown: Unknown| {
        unknown.calls /= times.max(1);
        unknown.bytes.0 /= times.max(1);
        unknown
    };
    found.into_values().map(once).collect()
}
