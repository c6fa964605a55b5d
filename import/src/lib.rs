//! Reads the Python source of a model and writes it as a spec of memplan. The source is read, never run.
//!
//! ```text
//! modeling_x.py, configuration_x.py and what they import   source.rs, meaning.rs
//! model.py with a class of torch.nn                        plain.rs, plain.yaml
//! a file of torchvision or timm                            torchvision.rs, timm.rs, timm.yaml, values.rs
//!      -> classes with what they inherit                   classes.rs
//!      -> functions, line by line                          translate.rs, names.yaml
//!      -> a family: all that its architectures use         family.rs, config.rs, auto.rs
//!      -> specs/models/x.yaml                              write.rs
//! ```
//!
//! What cannot be said is named with file and line ([`Fault`]), and stands in the spec as a `require` that refuses a run which
//! comes to it.

mod auto;
pub mod classes;
mod config;
pub mod diffusers;
pub mod family;
pub mod marks;
pub mod meaning;
pub mod names;
pub mod plain;
pub mod source;
pub mod timm;
pub mod torchvision;
mod translate;
mod values;
mod weights;
mod write;

pub use family::Import;
pub use meaning::World;
pub use names::Names;
pub use source::{Fault, Sources};

/// The stack that reading takes at most: sources may nest as deep as their checks allow.
const STACK: usize = 256 << 20;

/// Does work that reads sources, on a stack that is deep enough for it.
///
/// # Errors
/// The operating system gives no thread.
pub fn on_a_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        Ok(reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
