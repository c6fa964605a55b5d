//! Reads models: Hugging Face folders, safetensors headers, configurations.
