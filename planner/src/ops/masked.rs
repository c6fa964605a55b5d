//! Tensors under a mask of which it is known how many elements are true: `masked_scatter`, `x[mask]` and `x[mask] = values`.

use smallvec::smallvec;

use super::call::{broadcast, one as one_shape};
use super::elementwise::first_shape;
use super::indexing::{added_at, copied_whole, filled, flat_places};
use super::operands::one;
use super::routing::nonzero_of;
use super::views::expanded;
use super::{Autocast, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::kernels::cub::{self, Width};
use crate::lower::tensor::Tensor;

const SOURCE: &str = "aten/src/ATen/native/IndexingUtils.h, expandTensors: a mask stands for its nonzero, which goes when the operator ends (2.15)";

pub(super) const ROWS: &[Row] = &[
    // As many elements of the mask are true as the source has: what PyTorch refuses (fewer) and what it passes over (more) is not planned.
    Row {
        name: "masked_scatter",
        signature: "input, mask, source",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorAdvancedIndexing.cpp, masked_scatter; cuda/IndexKernel.cpp, masked_scatter__cuda; FunctionsManual.cpp and \
                 TensorAdvancedIndexing.cpp, masked_scatter_backward (2.15)",
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[("masked_scatter.default", "self, mask, source", "")],
        shapes: |call| {
            let sizes = broadcast(call.shape(0)?, call.shape(1)?)?;
            let (given, places) = (call.shape(2)?.iter().product::<u64>(), sizes.iter().product::<u64>());
            if given > places {
                return Err(format!(
                    "{given} elements do not go into {places} places: a sequence needs room for what its images or sounds become (seq)"
                ));
            }
            one_shape(sizes)
        },
        lower: masked_scatter,
    },
    Row {
        name: "masked_index",
        signature: "input, mask, count",
        returns: Returns::One,
        source: SOURCE,
        class: Class::Picks,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| chosen(call.shape(0)?, call.shape(1)?, call.int(2)?),
        lower: masked_index,
    },
    Row {
        name: "masked_put_",
        signature: "input, mask, count, values",
        returns: Returns::One,
        source: SOURCE,
        class: Class::InPlace,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: first_shape,
        lower: masked_put,
    },
];

fn chosen(x: &[u64], mask: &[u64], count: i64) -> Shapes {
    let fits = x.len() >= mask.len() && x[..mask.len()] == *mask;
    match u64::try_from(count) {
        Ok(count) if fits => one_shape(std::iter::once(count).chain(x[mask.len()..].iter().copied()).collect()),
        _ => Err(format!("a mask of shape {mask:?} does not fit a tensor of shape {x:?}")),
    }
}

/// `x[mask]`: the mask's places are found, and backward finds them again.
fn masked_index(context: &mut Context, a: &Operands) -> Lowered {
    let (x, mask) = (a.tensor(0)?, a.tensor(1)?);
    let count = u64::try_from(a.int(2)?).map_err(|_| "fewer than no elements".to_owned())?;
    let saved = context.records(&[x]).then(|| context.save(mask));
    let places = nonzero_of(context, mask, count);
    let sizes: Dims = std::iter::once(count).chain(x.sizes[mask.sizes.len()..].iter().copied()).collect();
    let output = context.empty("index", &sizes, x.dtype);
    drop(places);
    let Some(saved) = saved else { return one(output) };
    let sizes = x.sizes.clone();
    context.record(
        "IndexBackward0",
        &[Some(x)],
        &[&output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let mask = saved.get(context);
            let zeros = context.empty("new_zeros", &sizes, g.dtype);
            let places = nonzero_of(context, &mask, count);
            let linear = flat_places(context, count, mask.sizes.len());
            drop(places);
            added_at(context, g, linear, (1, &sizes[..mask.sizes.len()]));
            smallvec![Some(zeros)]
        }),
    );
    one(output)
}

/// `x[mask] = values`: the gradient goes on with zeros in those places, which are the values' own.
fn masked_put(context: &mut Context, a: &Operands) -> Lowered {
    let (x, mask, values) = (a.tensor(0)?, a.tensor(1)?, a.tensor(3)?);
    let count = u64::try_from(a.int(2)?).map_err(|_| "fewer than no elements".to_owned())?;
    if x.dtype != values.dtype {
        return Err("Index put requires the source and destination dtypes match".to_owned());
    }
    let saved = context.records(&[x, values]).then(|| context.save(mask));
    drop(nonzero_of(context, mask, count));
    let Some(saved) = saved else { return one(x.clone()) };
    let wanted = [x, values].map(|tensor| tensor.requires_grad());
    let sizes = values.sizes.clone();
    context.record(
        "IndexPutBackward0",
        &[Some(x), Some(values)],
        &[x],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let mask = saved.get(context);
            let of_input = wanted[0].then(|| {
                let zeros = context.empty("zeros", &sizes, g.dtype);
                let copy = context.empty_like("clone", g);
                drop(nonzero_of(context, &mask, count));
                drop(zeros);
                copy
            });
            let of_values = wanted[1].then(|| {
                let places = nonzero_of(context, &mask, count);
                let picked = context.empty("index", &sizes, g.dtype);
                drop(places);
                picked
            });
            smallvec![of_input, of_values]
        }),
    );
    one(x.clone())
}

/// A contiguous copy, in whose places where the mask is true stand the source's elements, found by a sum over the mask.
fn masked_scatter(context: &mut Context, a: &Operands) -> Lowered {
    let (x, mask, source) = (a.tensor(0)?, a.tensor(1)?, a.tensor(2)?);
    let sizes = broadcast(&x.sizes, &mask.sizes)?;
    let wanted: Vec<i64> = sizes.iter().map(|size| *size as i64).collect();
    let mask = expanded(mask, &wanted)?;
    let saved = context.records(&[x, source]).then(|| context.save(&mask));
    let output = context.aten("masked_scatter", |context| {
        let output = context.empty("clone", &sizes, x.dtype);
        let before = context.empty("masked_scatter_", &sizes, Dtype::I64);
        let whole = copied_whole(context, &mask);
        let temporary = cub::scan(context.device.rules, Width::Eight, output.count());
        drop(context.empty("masked_scatter_", &[temporary], Dtype::U8));
        drop((copied_whole(context, source), whole, before));
        output
    });
    let Some(saved) = saved else { return one(output) };
    let wanted = [x, source].map(|tensor| tensor.requires_grad());
    let source_sizes = source.sizes.clone();
    context.record(
        "MaskedScatterBackward0",
        &[Some(x), Some(source)],
        &[&output],
        Box::new(move |context, g| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let mask = saved.get(context);
            let of_input = wanted[0].then(|| filled(context, g));
            let of_source = wanted[1].then(|| selected(context, g, &mask, &source_sizes));
            smallvec![of_input, of_source]
        }),
    );
    one(output)
}

/// `masked_select`, of as many elements as these sizes have.
fn selected(context: &mut Context, x: &Tensor, mask: &Tensor, sizes: &[u64]) -> Tensor {
    let places = nonzero_of(context, mask, sizes.iter().product());
    let chosen = context.empty("masked_select", sizes, x.dtype);
    drop(places);
    chosen
}
