//! Complex numbers, as rotary embeddings have them: pairs of floats seen as one number, and products of such numbers.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::operands::one;
use super::views::contiguous;
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::lower::autograd::Gradients;
use crate::lower::context::Context;
use crate::lower::tensor::{Tensor, TensorData};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "polar",
        signature: "abs, angle",
        returns: Returns::One,
        source: "aten/src/ATen/native/TensorFactories.cpp, polar",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| one_shape(call.shape(0)?.clone()),
        lower: polar,
    },
    view("view_as_complex", complex_shape, |context, a| seen(context, a, "ViewAsComplexBackward0", [complex, real])),
    view("view_as_real", real_shape, |context, a| seen(context, a, "ViewAsRealBackward0", [real, complex])),
];

const fn view(name: &'static str, shapes: fn(&Call) -> Shapes, lower: super::Lower) -> Row {
    Row {
        name,
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/native/ComplexHelper.h, view_as_real and view_as_complex",
        class: Class::Moves,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes,
        lower,
    }
}

fn complex_shape(call: &Call) -> Shapes {
    match &call.shape(0)?[..] {
        [sizes @ .., 2] => one_shape(sizes.into()),
        _ => Err("view_as_complex takes pairs: a last dimension of 2".to_owned()),
    }
}

fn real_shape(call: &Call) -> Shapes {
    let mut shape = call.shape(0)?.clone();
    shape.push(2);
    one_shape(shape)
}

fn polar(context: &mut Context, operands: &Operands) -> Lowered {
    let (abs, angle) = (operands.tensor(0)?, operands.tensor(1)?);
    if context.records(&[abs, angle]) {
        return Err("the gradient of polar is not known".to_owned());
    }
    if abs.dtype != Dtype::F32 {
        return Err("polar is known of float32 alone".to_owned());
    }
    one(context.empty("polar", &abs.sizes, Dtype::C64))
}

/// Pairs as complex numbers.
fn complex(x: &Tensor) -> Result<Tensor, String> {
    let (sizes, strides) = (&x.sizes[..x.sizes.len() - 1], &x.strides[..x.sizes.len() - 1]);
    let is_pair = x.dtype == Dtype::F32 && x.strides.last() == Some(&1) && strides.iter().all(|stride| stride % 2 == 0);
    if !is_pair {
        return Err("view_as_complex takes pairs of float32 that lie side by side".to_owned());
    }
    let strides = strides.iter().map(|stride| stride / 2).collect();
    Ok(TensorData::new(x.storage.clone(), Dtype::C64, sizes.into(), strides))
}

/// Complex numbers as pairs.
fn real(x: &Tensor) -> Result<Tensor, String> {
    if x.dtype != Dtype::C64 {
        return Err("view_as_real takes complex numbers".to_owned());
    }
    let (mut sizes, mut strides) = (x.sizes.clone(), x.strides.clone());
    strides.iter_mut().for_each(|stride| *stride *= 2);
    sizes.push(2);
    strides.push(1);
    Ok(TensorData::new(x.storage.clone(), Dtype::F32, sizes, strides))
}

/// The same memory seen as other numbers. Backward sees a contiguous gradient the other way round (derivatives.yaml).
fn seen(context: &mut Context, operands: &Operands, node: &'static str, [there, back]: [See; 2]) -> Lowered {
    let x = operands.tensor(0)?;
    let output = there(x)?;
    if context.records(&[x]) {
        context.record(
            node,
            &[Some(x)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                smallvec![back(&contiguous(context, g)).ok()]
            }),
        );
    }
    one(output)
}

type See = fn(&Tensor) -> Result<Tensor, String>;
