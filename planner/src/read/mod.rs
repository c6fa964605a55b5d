//! Reads models: Hugging Face folders, safetensors headers, configurations; and specs. What is read may be anything: no index
//! and no slice is taken for granted.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod checkpoint;
pub mod config;
pub mod environment;
pub mod foreign;
pub mod gpus;
pub mod header;
pub mod inspect;
pub mod optimizers;
pub mod profiles;
pub mod run_file;
pub mod spec;
pub mod specs;
pub mod yaml;
