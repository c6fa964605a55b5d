//! The model's parameters and buffers on the device, and their gradients.

use std::rc::Rc;

use super::autograd::{Edge, Leaf};
use super::context::Context;
use super::tensor::{Tensor, TensorData, contiguous_strides};
use crate::schedule::Category;

/// A parameter that is trained.
pub struct Trained {
    /// Its memory.
    pub tensor: Tensor,
    /// Where its gradient gathers.
    pub leaf: Rc<Leaf>,
}

/// Allocates parameters and buffers one by one, children before parents, as `model.to(device)` does.
pub(crate) fn load(context: &mut Context) {
    let graph = context.graph.clone();
    let category = context.category;
    let mut trained = Vec::new();
    for (number, parameter) in graph.parameters.iter().enumerate() {
        let number = number as u32;
        context.category = if parameter.buffer { Category::Buffers } else { Category::Parameters };
        let dtype = parameter.dtype.unwrap_or(context.settings.weights);
        let outer = context.enter_module(parameter.module);
        let bytes = parameter.shape.iter().product::<u64>() * dtype.size();
        let storage = context.allocate_for("load", bytes, Some(number));
        context.leave_module(outer);
        let strides = contiguous_strides(&parameter.shape);
        let tensor = TensorData::new(storage, dtype, parameter.shape.clone(), strides.clone());
        let chosen = context.settings.trainable.as_ref().is_none_or(|names| names.is_match(&parameter.name));
        if context.settings.training && !parameter.buffer && dtype.is_floating() && chosen {
            let (sizes, module) = (parameter.shape.clone(), parameter.module);
            let leaf = Rc::new(Leaf { parameter: number, sizes, strides, dtype, module, gradient: Default::default() });
            tensor.gradient.replace(Edge::Leaf(leaf.clone()));
            trained.push((parameter.place, Trained { tensor: tensor.clone(), leaf }));
        }
        context.loaded.push((parameter.tensor, tensor));
    }
    trained.sort_by_key(|(place, _)| *place);
    context.trained = trained.into_iter().map(|(_, trained)| trained).collect();
    super::parallel::after_load(context);
    context.category = category;
}

/// `optimizer.zero_grad(set_to_none=True)`.
pub(crate) fn zero_grad(context: &mut Context) {
    for trained in &context.trained {
        let gradient = trained.leaf.gradient.borrow_mut().take();
        drop(gradient);
    }
}
