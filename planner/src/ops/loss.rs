//! Losses.

use smallvec::smallvec;

use super::call::one as one_shape;
use super::elementwise::{elementwise, promote};
use super::normalize::normalized;
use super::operands::one;
use super::reduce::{reduce, whole_scratch};
use super::{Autocast, Call, Class, Lowered, Operands, Returns, Row, Shapes};
use crate::graph::Dims;
use crate::lower::autocast::cast_argument;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::kernels::reduce::Reduction;
use crate::lower::tensor::{Tensor, TensorData};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "cross_entropy",
        signature: "input, target",
        returns: Returns::One,
        source: "aten/src/ATen/native/LossNLL.cpp, cross_entropy_loss; cuda/Loss.cu, NLLLoss2d.cu",
        class: Class::Elements,
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[(
            "cross_entropy_loss.default",
            "self, target",
            "weight=None, reduction=1, ignore_index, label_smoothing=0.0",
        )],
        shapes: cross_entropy_shape,
        lower: cross_entropy,
    },
    Row {
        name: "mse_loss",
        signature: "input, target",
        returns: Returns::One,
        source: "aten/src/ATen/native/Loss.cpp, mse_loss_out",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &[],
        aten: &[("mse_loss.default", "self, target", "reduction=1")],
        shapes: like_target_shape,
        lower: mse_loss,
    },
    Row {
        name: "binary_cross_entropy_with_logits",
        signature: "input, target",
        returns: Returns::One,
        source: "aten/src/ATen/native/Loss.cpp; torch/csrc/autograd/FunctionsManual.cpp",
        class: Class::Elements,
        autocast: Autocast::Full,
        savable: &[],
        aten: &[(
            "binary_cross_entropy_with_logits.default",
            "self, target",
            "weight=None, pos_weight=None, reduction=1",
        )],
        shapes: like_target_shape,
        lower: binary_cross_entropy,
    },
];

fn cross_entropy_shape(call: &Call) -> Shapes {
    let (input, target) = (call.shape(0)?, call.shape(1)?);
    match (&input[..], &target[..]) {
        ([rows, _], [labels]) if rows == labels => one_shape(Dims::new()),
        ([images, _, height, width], [labels, rows, columns])
            if images == labels && height == rows && width == columns =>
        {
            one_shape(Dims::new())
        }
        _ => Err(format!("scores of shape {input:?} do not fit labels of shape {target:?}")),
    }
}

/// The mean over rows: log-softmax, then the negative log-likelihood, which gives the loss and the total weight.
fn cross_entropy(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, target) = (operands.tensor(0)?, operands.tensor(1)?);
    let names = ["_log_softmax", "LogSoftmaxBackward0", "_log_softmax_backward_data"];
    let scores = normalized(context, input, input.dtype, names);
    // the inner `nll_loss` is on autocast's list of float32 operators; `log_softmax` is asked for its input's type
    let scores = cast_argument(context, Autocast::Full, &scores);
    let saved = context.records(&[&scores]).then(|| [&scores, target].map(|tensor| context.save(tensor)));
    let (first, second) =
        (context.empty("nll_loss_forward", &[], scores.dtype), context.empty("nll_loss_forward", &[], scores.dtype));
    // of images the total weight is made first (cuda/NLLLoss2d.cu, nll_loss2d_forward_out_cuda_template)
    let of_images = scores.sizes.len() > 2;
    let (loss, total_weight) = if of_images { (second, first) } else { (first, second) };
    if let Some([saved_scores, saved_target]) = saved {
        let saved = [saved_scores, saved_target, context.save(&total_weight)];
        record_nll(context, &scores, saved, &loss);
    }
    one(loss)
}

fn record_nll(context: &mut Context, scores: &Tensor, saved: [Saved; 3], loss: &Tensor) {
    context.record(
        "NllLossBackward0",
        &[Some(scores)],
        &[loss],
        Box::new(move |context, g| {
            if g[0].is_none() {
                return Gradients::new();
            }
            let [scores, _target, _total_weight] = [0, 1, 2].map(|number: usize| saved[number].get(context));
            smallvec![Some(context.empty_like("nll_loss_backward", &scores))]
        }),
    );
}

fn like_target_shape(call: &Call) -> Shapes {
    let (input, target) = (call.shape(0)?, call.shape(1)?);
    if input != target {
        return Err(format!("scores of shape {input:?} do not fit labels of shape {target:?}"));
    }
    one_shape(Dims::new())
}

/// The mean of the squares: the result is made unreduced, then resized, which keeps its memory; beside it the squares.
fn mse_loss(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, target) = (operands.tensor(0)?, operands.tensor(1)?);
    let dtype = promote(input.dtype, target.dtype);
    let saved = context.records(&[input]).then(|| [input, target].map(|tensor| context.save(tensor)));
    let unreduced = elementwise(context, "mse_loss", &[input, target], dtype);
    let squares = elementwise(context, "mse_loss", &[input, target], dtype);
    whole_scratch(context, "mean", Reduction::Mean, &squares);
    drop(squares);
    let loss = TensorData::new(unreduced.storage.clone(), dtype, Dims::new(), Dims::new());
    drop(unreduced);
    if let Some(saved) = saved {
        context.record(
            "MseLossBackward0",
            &[Some(input)],
            &[&loss],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let [input, target] = [0, 1].map(|number: usize| saved[number].get(context));
                smallvec![Some(elementwise(context, "mse_loss_backward", &[&input, &target, g], input.dtype))]
            }),
        );
    }
    one(loss)
}

/// The mean over all scores of (1 - target) * x - log_sigmoid(x), the last two steps in place.
/// Backward: (sigmoid(x) - target) * grad / n, all but the sigmoid in place.
fn binary_cross_entropy(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, target) = (operands.tensor(0)?, operands.tensor(1)?);
    let saved = context.records(&[input]).then(|| [input, target].map(|tensor| context.save(tensor)));
    let log_sigmoid = elementwise(context, "log_sigmoid_forward", &[input], input.dtype);
    let entropy = elementwise(context, "rsub", &[target], target.dtype);
    let marks: Vec<bool> = entropy.sizes.iter().map(|_| true).collect();
    let loss = reduce(context, "mean", Reduction::Mean, &entropy, &marks, false, entropy.dtype);
    drop(entropy);
    drop(log_sigmoid);
    if let Some(saved) = saved {
        context.record(
            "BinaryCrossEntropyWithLogitsBackward0",
            &[Some(input)],
            &[&loss],
            Box::new(move |context, g| {
                if g[0].is_none() {
                    return Gradients::new();
                }
                let [input, _target] = [0, 1].map(|number: usize| saved[number].get(context));
                smallvec![Some(elementwise(context, "sigmoid", &[&input], input.dtype))]
            }),
        );
    }
    one(loss)
}
