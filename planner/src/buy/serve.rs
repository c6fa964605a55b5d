//! Serving as a run: generation in which the last token of each request fills its context.

use crate::model::Model;
use crate::run::{CacheKind, Mode, RunOptions};

/// Tokens of a request where none are given.
const CONTEXT: u64 = 2048;

/// Tokens of a prompt that engines run at once where none are given (vllm, engine/arg_utils.py, `get_batch_defaults`: of a
/// server on a GPU of 70 GiB or more; smaller ones take 2,048).
const CHUNK: u64 = 8192;

/// A context that new tokens alone would fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a context of {context} tokens has no room for a prompt and {new} new tokens")]
pub struct NoRoom {
    /// Its tokens.
    pub context: u64,
    /// The new ones.
    pub new: u64,
}

impl RunOptions {
    /// Generates for so many requests at once, with a context of so many tokens each; where none is given, of 2,048, or as many as
    /// the model has positions.
    ///
    /// # Errors
    /// A context with no room for a prompt.
    pub fn serve(&mut self, model: &Model, requests: u64, context: Option<u64>) -> Result<(), NoRoom> {
        let usual = || model.positions().map_or(CONTEXT, |most| most.min(CONTEXT));
        let (context, new) = (context.unwrap_or_else(usual), self.run().new_tokens);
        if context <= new {
            return Err(NoRoom { context, new });
        }
        self.mode = Some(Mode::Generate);
        self.batch = Some(requests);
        self.seq = Some(context - new);
        self.cache.get_or_insert(CacheKind::Paged);
        self.prefill_as_engines();
        Ok(())
    }

    /// Prefills in chunks where pages hold keys and values, as engines do.
    pub fn prefill_as_engines(&mut self) {
        if self.mode == Some(Mode::Generate) && self.cache == Some(CacheKind::Paged) {
            self.prefill_tokens.get_or_insert(CHUNK);
        }
    }
}
