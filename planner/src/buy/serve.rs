//! Serving as a run: generation in which the last token of each request fills its context.

use crate::run::{Mode, RunOptions};

/// Tokens of a request where none are given.
const CONTEXT: u64 = 2048;

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
    /// Generates for so many requests at once, with a context of so many tokens each.
    ///
    /// # Errors
    /// A context with no room for a prompt.
    pub fn serve(&mut self, requests: u64, context: Option<u64>) -> Result<(), NoRoom> {
        let (context, new) = (context.unwrap_or(CONTEXT), self.run().new_tokens);
        if context <= new {
            return Err(NoRoom { context, new });
        }
        self.mode = Some(Mode::Generate);
        self.batch = Some(requests);
        self.seq = Some(context - new);
        Ok(())
    }
}
