//! Matrix products that are timed: types and shapes.

use planner::dtype::Dtype;
use planner::time::Unit;

/// What a product is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// float64
    Fp64,
    /// float32
    Fp32,
    /// float32, multiplied in TensorFloat-32
    Tf32,
    /// float16
    Fp16,
    /// bfloat16
    Bf16,
    /// int8, summed in int32
    Int8,
}

/// A type: its name in profiles, the bytes of a factor's element and of a result's, the unit it runs on, and the oldest
/// compute capability that has it (cuBLAS's documentation, cublasGemmEx: bfloat16 and TensorFloat-32 are Ampere's).
type Row = (Element, &'static str, u64, u64, Unit, (i32, i32));

const ELEMENTS: [Row; 6] = [
    (Element::Fp64, "fp64", 8, 8, Unit::Product(Dtype::F64), (0, 0)),
    (Element::Fp32, "fp32", 4, 4, Unit::Product(Dtype::F32), (0, 0)),
    (Element::Tf32, "tf32", 4, 4, Unit::TensorFloat, (8, 0)),
    (Element::Fp16, "fp16", 2, 2, Unit::Product(Dtype::F16), (5, 3)),
    (Element::Bf16, "bf16", 2, 2, Unit::Product(Dtype::BF16), (8, 0)),
    (Element::Int8, "int8", 1, 4, Unit::Product(Dtype::I8), (6, 1)),
];

/// Rows, columns and inner sizes: squares, a few tokens by a wide layer, a narrow inner size, as attention has.
const SHAPES: [[u64; 3]; 9] = [
    [256, 256, 256],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [4096, 16, 4096],
    [16384, 128, 4096],
    [4096, 4096, 64],
    [4096, 8192, 1024],
];

impl Element {
    fn row(self) -> Row {
        ELEMENTS[self as usize]
    }

    /// Its name in profiles.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Bytes of a factor's element.
    pub fn size(self) -> u64 {
        self.row().2
    }

    /// What it runs on.
    pub fn unit(self) -> Unit {
        self.row().4
    }

    /// The types that a GPU multiplies.
    pub fn of(compute_capability: (i32, i32)) -> impl Iterator<Item = Element> {
        ELEMENTS.into_iter().filter(move |row| compute_capability >= row.5).map(|row| row.0)
    }

    /// The unit that a profile names.
    pub fn unit_named(name: &str) -> Option<Unit> {
        ELEMENTS.iter().find(|row| row.1 == name).map(|row| row.4)
    }
}

/// A product of [rows, inner] by [inner, columns].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// What it is computed in.
    pub element: Element,
    /// Rows of the result.
    pub rows: u64,
    /// Columns of the result.
    pub columns: u64,
    /// What is summed over.
    pub inner: u64,
}

impl Product {
    /// The products that are timed for a type. Of the types with an eighth of the others' rate the largest is left out.
    pub fn grid(element: Element) -> impl Iterator<Item = Product> {
        let most = if matches!(element, Element::Fp64 | Element::Fp32) { 4096 } else { u64::MAX };
        let shapes = SHAPES.into_iter().filter(move |[rows, columns, inner]| *rows.max(columns).max(inner) <= most);
        shapes.map(move |[rows, columns, inner]| Product { element, rows, columns, inner })
    }

    /// Its operations.
    pub fn flops(&self) -> u64 {
        2 * self.rows * self.columns * self.inner
    }

    /// Bytes of both factors.
    pub fn factors(&self) -> u64 {
        (self.rows + self.columns) * self.inner * self.element.size()
    }

    /// Bytes of the result.
    pub fn result(&self) -> u64 {
        self.rows * self.columns * self.element.row().3
    }

    /// The square product whose result takes no more than so many bytes, its factors so many: what a replay runs in place of
    /// a planned one.
    pub fn within(element: Element, result: u64, factors: u64) -> Option<Product> {
        let side = (result / element.row().3).isqrt().min(8192) / 16 * 16;
        let inner = (factors / element.size() / (2 * side.max(1))).min(1024) / 16 * 16;
        (side > 0 && inner > 0).then_some(Product { element, rows: side, columns: side, inner })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_types_say() {
        for (place, (element, name, ..)) in ELEMENTS.into_iter().enumerate() {
            assert_eq!((element as usize, element.name()), (place, name));
            assert_eq!(Element::unit_named(name), Some(element.unit()));
        }
    }

    #[test]
    fn older_gpus_have_fewer_types() {
        let names = |capability| Element::of(capability).map(Element::name).collect::<Vec<_>>().join(" ");
        assert_eq!(names((9, 0)), "fp64 fp32 tf32 fp16 bf16 int8");
        assert_eq!(names((7, 5)), "fp64 fp32 fp16 int8");
    }

    #[test]
    fn a_replayed_product_stays_within_its_memory() {
        for (result, factors) in
            [(1 << 20, 1 << 30), (5000, 1 << 20), (1 << 34, 1 << 20), (100, 100), (0, 0), (1 << 20, 4096)]
        {
            let Some(product) = Product::within(Element::Bf16, result, factors) else { continue };
            assert!(product.result() <= result && product.factors() <= factors, "{product:?}");
        }
        assert!(Product::within(Element::Bf16, 1 << 20, 1 << 30).is_some());
        assert!(Product::within(Element::Bf16, 100, 100).is_none());
    }
}
