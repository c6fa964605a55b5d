//! What CUDA kernels need beside their inputs and outputs: temporaries whose sizes follow from shapes and the device.

pub mod attention;
