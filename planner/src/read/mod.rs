//! Reads models: Hugging Face folders, safetensors headers, configurations; and specs.

pub mod checkpoint;
pub mod config;
pub mod environment;
pub mod gpus;
pub mod header;
pub mod inspect;
pub mod optimizers;
pub mod profiles;
pub mod run_file;
pub mod spec;
pub mod specs;
pub mod yaml;
