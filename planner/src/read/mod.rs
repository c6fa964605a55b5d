//! Reads models: Hugging Face folders, safetensors headers, configurations.

pub mod gpus;
pub mod specs;
