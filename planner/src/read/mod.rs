//! Reads models: Hugging Face folders, safetensors headers, configurations.

pub mod checkpoint;
pub mod config;
pub mod header;
pub mod inspect;
pub mod quote;
