//! Element types of tensors, as PyTorch names them.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// `torch.bool`, one byte an element.
    Bool,
    /// `torch.uint8`.
    U8,
    /// `torch.int8`.
    I8,
    /// `torch.int16`.
    I16,
    /// `torch.int32`.
    I32,
    /// `torch.int64`.
    I64,
    /// `torch.float8_e4m3fn` and its relatives, one byte an element.
    F8,
    /// `torch.float16`.
    F16,
    /// `torch.bfloat16`.
    BF16,
    /// `torch.float32`.
    F32,
    /// `torch.float64`.
    F64,
    /// `torch.complex64`: two numbers of 32 bits.
    C64,
}

/// Every type with its size in bytes and PyTorch's name for it.
const TYPES: [(Dtype, u64, &str); 12] = [
    (Dtype::Bool, 1, "bool"),
    (Dtype::U8, 1, "uint8"),
    (Dtype::I8, 1, "int8"),
    (Dtype::I16, 2, "int16"),
    (Dtype::I32, 4, "int32"),
    (Dtype::I64, 8, "int64"),
    (Dtype::F8, 1, "float8"),
    (Dtype::F16, 2, "float16"),
    (Dtype::BF16, 2, "bfloat16"),
    (Dtype::F32, 4, "float32"),
    (Dtype::F64, 8, "float64"),
    (Dtype::C64, 8, "complex64"),
];

impl Dtype {
    /// Bytes of one element.
    pub const fn size(self) -> u64 {
        TYPES[self as usize].1
    }

    /// Whether the elements are floating-point numbers, real or complex: autograd follows those.
    pub const fn is_floating(self) -> bool {
        matches!(self, Dtype::F8 | Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 | Dtype::C64)
    }

    /// The name that PyTorch gives it, without `torch.`.
    pub const fn name(self) -> &'static str {
        TYPES[self as usize].2
    }

    /// The type of that PyTorch name.
    pub fn named(name: &str) -> Option<Dtype> {
        TYPES.into_iter().find(|(_, _, known)| *known == name).map(|(dtype, _, _)| dtype)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
