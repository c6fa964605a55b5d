//! Loads the tensors of a checkpoint that stores weights quantised, in the order of `from_pretrained`.
//!
//! ```text
//! warm up   one block of the size of the model, let go at once
//! load      for each parameter what the file holds of it; what only its making needs goes once it is made
//! then      what the file lacks, then buffers that no file holds; second copies of what is tied go
//! ```
//!
//! Read from transformers 5.17.0, core_model_loading.py (`convert_and_load_state_dict_in_model`, without threads, whose order
//! is not defined) and modeling_utils.py (`_move_missing_keys_from_meta_to_device`).

use std::rc::Rc;

use super::context::Context;
use super::parameters;
use super::tensor::Storage;
use crate::graph::{Origin, Role};
use crate::trace::Category;

/// The storages of the parameters that are loaded so, by their position; None for all others.
pub(super) fn load(context: &mut Context) -> Vec<Option<Rc<Storage>>> {
    let graph = context.graph.clone();
    let mut storages: Vec<Option<Rc<Storage>>> = vec![None; graph.parameters.len()];
    let Some(loading) = &graph.loading else { return storages };
    drop(context.counted_as(Category::Parameters, |context| context.allocate("warmup", loading.warmup.0)));
    let (mut passing, mut copies) = (Vec::new(), Vec::new());
    let mut last = None;
    for piece in &loading.pieces {
        if last.replace(piece.parameter).is_some_and(|last| last != piece.parameter) {
            passing.clear();
        }
        let Some(parameter) = graph.parameters.get(piece.parameter as usize) else { continue };
        let owner = matches!(piece.role, Role::Itself | Role::Beside).then_some(piece.parameter);
        let load = |context: &mut Context| context.allocate_for("load", piece.bytes.0, owner);
        let storage = parameters::loaded_for(context, parameter, load);
        match piece.role {
            Role::Itself => storages[piece.parameter as usize] = Some(storage),
            Role::Beside => context.libraries.quantization.push(storage),
            Role::Passing => passing.push(storage),
            Role::Loading => copies.push(storage),
        }
    }
    drop(passing);
    let missing = |stored: bool| {
        let listed = graph.parameters.iter().enumerate();
        listed.filter(move |(_, parameter)| parameter.origin == Origin::Model && parameter.stored == stored)
    };
    for (number, parameter) in missing(true).chain(missing(false)) {
        if storages[number].is_none() {
            let dtype = parameter.dtype.unwrap_or(context.settings.weights);
            storages[number] = Some(parameters::allocate(context, number, dtype));
        }
    }
    storages
}
