//! Lowers a forward program to what PyTorch's dispatcher, autograd engine and optimizers would allocate and free.

pub mod device;
pub mod kernels;
