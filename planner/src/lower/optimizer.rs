//! The optimizer's step: AdamW with foreach, PyTorch's default on CUDA (torch/optim/adam.py, `_multi_tensor_adam`).
//!
//! States are made at the first step, two a parameter, in the order of `model.parameters()`; the step counts live on the
//! host. Then, for each group of parameters of one type, `_foreach_sqrt` makes a temporary of every second moment, which
//! go together when the group is done; all else is in place.

use super::context::Context;
use super::tensor::Tensor;
use crate::dtype::Dtype;
use crate::schedule::Category;

/// `optimizer.step()`.
pub(crate) fn step(context: &mut Context) {
    let stepped: Vec<(Tensor, u32)> = context
        .trained
        .iter()
        .filter(|trained| trained.leaf.gradient.borrow().is_some())
        .map(|trained| (trained.tensor.clone(), trained.leaf.parameter))
        .collect();
    let category = std::mem::replace(&mut context.category, Category::OptimizerStates);
    for (tensor, parameter) in &stepped {
        if context.states.contains_key(parameter) {
            continue;
        }
        let outer = context.enter_module(context.graph.parameters[*parameter as usize].module);
        let states = [(); 2].map(|()| context.allocate_for("zeros_like", tensor.bytes(), Some(*parameter)));
        context.leave_module(outer);
        context.states.insert(*parameter, states.into_iter().collect());
    }
    context.category = Category::Temporaries;
    let mut dtypes: Vec<Dtype> = Vec::new();
    for (tensor, _) in &stepped {
        if !dtypes.contains(&tensor.dtype) {
            dtypes.push(tensor.dtype);
        }
    }
    for dtype in dtypes {
        let group = stepped.iter().filter(|(tensor, _)| tensor.dtype == dtype);
        let roots: Vec<_> = group
            .map(|(tensor, parameter)| {
                let outer = context.enter_module(context.graph.parameters[*parameter as usize].module);
                let root = context.allocate_for("_foreach_sqrt", tensor.bytes(), Some(*parameter));
                context.leave_module(outer);
                root
            })
            .collect();
        drop(roots);
    }
    context.category = category;
}
