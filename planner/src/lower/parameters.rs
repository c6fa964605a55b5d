//! The model's parameters and buffers on the device, and their gradients.

use std::rc::Rc;

use super::autograd::{Edge, Leaf};
use super::context::Context;
use super::tensor::{Storage, Tensor, TensorData, contiguous_strides};
use super::{loading, magnitude, quantized};
use crate::dtype::Dtype;
use crate::graph::{Origin, Parameter};
use crate::trace::Category;

/// A parameter that is trained.
pub struct Trained {
    /// Its memory.
    pub tensor: Tensor,
    /// Where its gradient gathers.
    pub leaf: Rc<Leaf>,
}

/// Allocates parameters and buffers one by one, children before parents, as `model.to(device)` does; then adapters, which
/// are made in the type of what they adapt, and copies of modules that are trained whole; then the adapters become float32
/// together (peft 0.21.2, tuners/tuners_utils.py, `inject_adapter` and `cast_adapter_dtype`).
pub(crate) fn load(context: &mut Context) {
    let graph = context.graph.clone();
    let weights = context.settings.weights;
    let mut loaded = loading::load(context);
    let comes_sharded = super::parallel::brings_parameters(context);
    let storages: Vec<Rc<Storage>> = (0..graph.parameters.len())
        .map(|number| match loaded[number].take() {
            Some(storage) => storage,
            None if comes_sharded => context.memory.log.nothing(),
            None => place(context, number, weights),
        })
        .collect();
    let mut trained = Vec::new();
    for (number, (parameter, first)) in graph.parameters.iter().zip(storages).enumerate() {
        let dtype = parameter.dtype.unwrap_or(weights);
        let storage = match parameter.origin {
            Origin::Adapter { first: made } if !comes_sharded && made.unwrap_or(weights) != Dtype::F32 => {
                allocate(context, number, dtype)
            }
            Origin::Magnitude { .. } if !comes_sharded && weights != Dtype::F32 => allocate(context, number, dtype),
            _ => first,
        };
        let strides = contiguous_strides(&parameter.shape);
        let tensor = TensorData::new(storage, dtype, parameter.shape.clone(), strides.clone());
        if dtype.is_floating() && parameter.needs_gradient(context.settings.trainable.as_ref()) {
            let (sizes, module, number) = (parameter.shape.clone(), parameter.module, number as u32);
            let (gradient, variable) = Default::default();
            let leaf = Leaf { parameter: number, sizes, strides, dtype, module, gradient, variable };
            let leaf = Rc::new(leaf);
            tensor.gradient.replace(Edge::Leaf(leaf.clone()));
            if context.settings.training {
                trained.push((parameter.place, Trained { tensor: tensor.clone(), leaf }));
            }
        }
        context.program.loaded.push((parameter.tensor, tensor));
    }
    trained.sort_by_key(|(place, _)| *place);
    context.training.trained = trained.into_iter().map(|(_, trained)| trained).collect();
    context.counted_as(Category::Communication, super::parallel::after_load);
}

/// The memory of a parameter as it comes to the device.
fn place(context: &mut Context, number: usize, weights: Dtype) -> Rc<Storage> {
    let graph = context.graph.clone();
    let parameter = &graph.parameters[number];
    match parameter.origin {
        Origin::Model | Origin::Copied => allocate(context, number, parameter.dtype.unwrap_or(weights)),
        Origin::Adapter { first } => allocate(context, number, first.unwrap_or(weights)),
        Origin::Magnitude { transposed } => {
            loaded_for(context, parameter, |context| magnitude::load(context, number, transposed))
        }
        Origin::Quantized(form) => {
            let load = |context: &mut Context| quantized::load(context, number as u32, &parameter.shape, form);
            loaded_for(context, parameter, load)
        }
    }
}

pub(super) fn allocate(context: &mut Context, number: usize, dtype: Dtype) -> Rc<Storage> {
    let graph = context.graph.clone();
    let parameter: &Parameter = &graph.parameters[number];
    let bytes = parameter.shape.iter().product::<u64>() * dtype.size();
    loaded_for(context, parameter, |context| context.allocate_for("load", bytes, Some(number as u32)))
}

/// Runs something that loads a parameter or buffer.
pub(super) fn loaded_for<T>(context: &mut Context, parameter: &Parameter, load: impl FnOnce(&mut Context) -> T) -> T {
    let category = if parameter.buffer { Category::Buffers } else { Category::Parameters };
    context.within(parameter.module, |context| context.counted_as(category, load))
}

/// `optimizer.zero_grad(set_to_none=True)`.
pub(crate) fn zero_grad(context: &mut Context) {
    for trained in &context.training.trained {
        let gradient = trained.leaf.gradient.borrow_mut().take();
        drop(gradient);
    }
}
