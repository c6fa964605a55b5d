//! What CUDA kernels need beside their inputs and outputs: temporaries whose sizes follow from shapes and the device.

pub mod attention;
pub mod cub;
pub mod embedding;
pub mod facts;
pub mod foreach;
pub mod four_bit;
pub mod grouped;
pub mod index_put;
pub mod layer_norm;
pub mod layout;
pub mod memory_format;
pub mod reduce;
pub mod reduction_space;
pub mod sort;
pub mod step;
