//! Matrix products: matmul, linear, addmm, and what they are made of.

use smallvec::{SmallVec, smallvec};

use super::call::{broadcast, one as one_shape};
use super::elementwise::{Arithmetic, record_arithmetic, sum_of};
use super::operands::one;
use super::views::{contiguous, expand, reshape, transpose, transposed, unsafe_view, view};
use super::{Autocast, Call, Class, Lowered, Multiplied, Operands, Returns, Row, Shapes};
use crate::dtype::Dtype;
use crate::graph::Dims;
use crate::lower::autograd::Gradients;
use crate::lower::checkpoint::Saved;
use crate::lower::context::Context;
use crate::lower::tensor::{Tensor, TensorData, contiguous_strides};
use crate::versions::Change;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "matmul",
        signature: "input, other",
        returns: Returns::One,
        source: "aten/src/ATen/native/LinearAlgebra.cpp, matmul and should_fold",
        class: Class::Product { left: 0, right: Some(1), of: Multiplied::Matrices },
        autocast: Autocast::Lower,
        savable: &["bmm.default", "mm.default"],
        aten: &[
            ("matmul.default", "self, other", ""),
            ("mm.default", "self, mat2", ""),
            ("bmm.default", "self, mat2", ""),
        ],
        shapes: |call| one_shape(product_shape(call.shape(0)?, call.shape(1)?)?),
        lower: |context, a| one(matmul(context, a.tensor(0)?, a.tensor(1)?)?),
    },
    Row {
        name: "linear",
        signature: "input, weight, bias=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/Linear.cpp, linear",
        class: Class::Product { left: 0, right: Some(1), of: Multiplied::Matrices },
        autocast: Autocast::Lower,
        savable: &[],
        aten: &[("linear.default", "input, weight!, bias=None", "")],
        shapes: linear_shape,
        lower: linear,
    },
    Row {
        name: "addmm",
        signature: "input, mat1, mat2",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Blas.cpp, addmm_out_cuda_impl",
        class: Class::Product { left: 1, right: Some(2), of: Multiplied::Matrices },
        autocast: Autocast::Lower,
        savable: &["addmm.default"],
        aten: &[("addmm.default", "self, mat1, mat2", "alpha, beta")],
        shapes: |call| one_shape(product_shape(call.shape(1)?, call.shape(2)?)?),
        lower: |context, a| one(addmm(context, a.tensor(0)?, a.tensor(1)?, a.tensor(2)?)),
    },
    Row {
        name: "baddbmm",
        signature: "input, batch1, batch2, alpha=1.0, beta=1.0",
        returns: Returns::One,
        source: "aten/src/ATen/native/cuda/Blas.cpp, baddbmm_out_cuda",
        class: Class::Product { left: 1, right: Some(2), of: Multiplied::Matrices },
        autocast: Autocast::Lower,
        savable: &["baddbmm.default"],
        aten: &[("baddbmm.default", "self, batch1, batch2, alpha=1.0, beta=1.0", "")],
        shapes: |call| one_shape(product_shape(call.shape(1)?, call.shape(2)?)?),
        lower: baddbmm,
    },
    // What autocast makes of the operand of a product; nothing without autocast.
    Row {
        name: "cast_to_multiply",
        signature: "input",
        returns: Returns::One,
        source: "aten/src/ATen/autocast_mode.cpp, cached_cast",
        class: Class::Moves,
        autocast: Autocast::Lower,
        savable: &[],
        aten: &[],
        shapes: |call| one_shape(call.shape(0)?.clone()),
        lower: |_, a| one(a.tensor(0)?.clone()),
    },
    Row {
        name: "solve_triangular",
        signature: "input, other, upper=None, left=None, unitriangular=None",
        returns: Returns::One,
        source: "aten/src/ATen/native/BatchLinearAlgebra.cpp, linalg_solve_triangular_out; cuda/linalg/BatchLinearAlgebra.cpp, triangular_solve_kernel; FunctionsManual.cpp, linalg_solve_triangular_backward",
        class: Class::Product { left: 0, right: Some(1), of: Multiplied::Matrices },
        autocast: Autocast::Keeps,
        savable: &[],
        aten: &[],
        shapes: |call| {
            let (a, b) = (call.shape(0)?, call.shape(1)?);
            product_shape(a, b)?;
            one_shape(b.clone())
        },
        lower: solve_triangular,
    },
];

// ---- shapes -------------------------------------------------------------------------------------------------------

fn product_shape(a: &[u64], b: &[u64]) -> Result<Dims, String> {
    let fail = || format!("shapes {a:?} and {b:?} cannot be multiplied");
    if a.len() < 2 || b.len() < 2 || a[a.len() - 1] != b[b.len() - 2] {
        return Err(fail());
    }
    let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2]).map_err(|_| fail())?;
    shape.push(a[a.len() - 2]);
    shape.push(b[b.len() - 1]);
    Ok(shape)
}

fn linear_shape(call: &Call) -> Shapes {
    let (input, weight) = (call.shape(0)?, call.shape(1)?);
    match (input.split_last(), &weight[..]) {
        (Some((last, leading)), [outputs, inputs]) if last == inputs => {
            one_shape(leading.iter().copied().chain([*outputs]).collect())
        }
        _ => Err(format!("an input of shape {input:?} does not fit a weight of shape {weight:?}")),
    }
}

// ---- products of two matrices ---------------------------------------------------------------------------------------

/// cuBLAS takes a matrix whose rows or columns lie without gaps; another one is copied first
/// (aten/src/ATen/native/cuda/Blas.cpp, `prepare_matrix_for_cublas`).
fn prepared(context: &mut Context, x: &Tensor) -> Option<Tensor> {
    let [rows, columns] = x.sizes[..] else { return None };
    let [down, across] = x.strides[..] else { return None };
    let fits = x.is_dense() || (down == 1 && across >= rows.max(1)) || (across == 1 && down >= columns.max(1));
    (!fits).then(|| context.empty("clone", &x.sizes, x.dtype))
}

/// mm outside autograd.
fn plain_mm(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    context.aten("mm", |context| {
        let output = context.empty("mm", &[a.sizes[0], b.sizes[1]], a.dtype);
        if output.count() > 0 {
            let copies = [prepared(context, a), prepared(context, b)];
            context.use_blas();
            drop(copies);
        }
        output
    })
}

fn t(x: &Tensor) -> Tensor {
    transposed(x, 0, 1)
}

fn is_column_major(x: &Tensor) -> bool {
    x.strides[0] == 1 && x.strides[1] == x.sizes[0]
}

/// The layout of an operand, which decides the layout of its gradient.
#[derive(Clone, Copy)]
struct ColumnMajor(bool);

/// FunctionsManual.cpp, `mm_mat1_backward`.
fn mat1_gradient(context: &mut Context, g: &Tensor, mat2: &Tensor, layout: ColumnMajor) -> Tensor {
    if layout.0 { t(&plain_mm(context, mat2, &t(g))) } else { plain_mm(context, g, &t(mat2)) }
}

/// FunctionsManual.cpp, `mm_mat2_backward`.
fn mat2_gradient(context: &mut Context, g: &Tensor, mat1: &Tensor, layout: ColumnMajor) -> Tensor {
    if layout.0 { t(&plain_mm(context, &t(g), mat1)) } else { plain_mm(context, &t(mat1), g) }
}

/// What backward of a product keeps: each operand where the other needs a gradient.
struct Factors {
    mat1: Option<Saved>,
    mat2: Option<Saved>,
    layouts: (ColumnMajor, ColumnMajor),
}

impl Factors {
    fn save(context: &mut Context, mat1: &Tensor, mat2: &Tensor) -> Factors {
        Factors {
            mat1: mat2.requires_grad().then(|| context.save(mat1)),
            mat2: mat1.requires_grad().then(|| context.save(mat2)),
            layouts: (ColumnMajor(is_column_major(mat1)), ColumnMajor(is_column_major(mat2))),
        }
    }

    /// Both operands, before either gradient is made.
    fn get(&self, context: &mut Context) -> (Option<Tensor>, Option<Tensor>) {
        let mat1 = self.mat1.as_ref().map(|saved| saved.get(context));
        (mat1, self.mat2.as_ref().map(|saved| saved.get(context)))
    }
}

/// `mm`; backward makes the gradient of `mat2` before that of `self`.
pub(crate) fn mm(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    let factors = context.records(&[a, b]).then(|| Factors::save(context, a, b));
    let output = plain_mm(context, a, b);
    if let Some(factors) = factors {
        context.record(
            "MmBackward0",
            &[Some(a), Some(b)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let (mat1, mat2) = factors.get(context);
                let second = mat1.as_ref().map(|mat1| mat2_gradient(context, g, mat1, factors.layouts.1));
                smallvec![mat2.as_ref().map(|mat2| mat1_gradient(context, g, mat2, factors.layouts.0)), second]
            }),
        );
    }
    output
}

/// Whether cuBLASLt adds a whole matrix, in half precision.
fn is_added_by_lt(context: &Context, addend: &Tensor, output: &Tensor) -> bool {
    let half = matches!(addend.dtype, Dtype::F16 | Dtype::BF16);
    let rules = context.device.rules;
    rules.has(Change::MatricesAddedByLt) && half && addend.sizes == output.sizes && addend.is_contiguous()
}

/// addmm outside autograd: through cuBLASLt where the bias can be added by its epilogue.
fn plain_addmm(context: &mut Context, bias: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    let output = context.empty("addmm", &[a.sizes[0], b.sizes[1]], a.dtype);
    let epilogue = bias.sizes[..] == [b.sizes[1]] && bias.is_contiguous();
    let fused = (epilogue || is_added_by_lt(context, bias, &output)) && b.sizes[0] > 1 && b.sizes[1] > 1;
    let copies = [prepared(context, a), prepared(context, b)];
    if fused {
        context.use_blas_lt();
    } else {
        context.use_blas();
    }
    drop(copies);
    output
}

/// `addmm`; backward makes `mat1`, `mat2`, `self`.
pub(crate) fn addmm(context: &mut Context, bias: &Tensor, a: &Tensor, b: &Tensor) -> Tensor {
    let factors = context.records(&[bias, a, b]).then(|| Factors::save(context, a, b));
    let output = context.aten("addmm", |context| plain_addmm(context, bias, a, b));
    if let Some(factors) = factors {
        let needs_bias = bias.requires_grad();
        context.record(
            "AddmmBackward0",
            &[Some(bias), Some(a), Some(b)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let (mat1, mat2) = factors.get(context);
                let first = mat2.as_ref().map(|mat2| mat1_gradient(context, g, mat2, factors.layouts.0));
                let second = mat1.as_ref().map(|mat1| mat2_gradient(context, g, mat1, factors.layouts.1));
                smallvec![needs_bias.then(|| g.clone()), first, second]
            }),
        );
    }
    output
}

// ---- batches --------------------------------------------------------------------------------------------------------

/// A batch of matrices that cuBLAS cannot take is copied first (`prepare_batch_matrix_for_cublas`).
fn prepared_batch(context: &mut Context, x: &Tensor, rows: u64, columns: u64) -> Option<Tensor> {
    let [_, down, across] = x.strides[..] else { return None };
    let fits = (across == 1 && down >= columns.max(1))
        || (down == 1 && across >= rows.max(1))
        || (x.is_contiguous() && down != 0 && across != 0);
    (!fits).then(|| context.empty("clone", &x.sizes, x.dtype))
}

/// bmm outside autograd. Over an inner size of 1 a kernel of Triton's multiplies, where Triton is installed, which it is beside
/// PyTorch's wheels (torch/_native/ops/bmm_outer_product/triton_impl.py).
fn plain_bmm(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    if a.sizes[2] == 1 && context.device.rules.has(Change::OuterProductsWithoutBlas) {
        return context.empty("bmm", &[a.sizes[0], a.sizes[1], b.sizes[2]], a.dtype);
    }
    batched(context, a, b)
}

/// `bmm` and `baddbmm` by cuBLAS.
fn batched(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    let output = context.empty("bmm", &[a.sizes[0], a.sizes[1], b.sizes[2]], a.dtype);
    if output.count() > 0 {
        let copies =
            [prepared_batch(context, b, b.sizes[1], b.sizes[2]), prepared_batch(context, a, a.sizes[1], a.sizes[2])];
        context.use_blas();
        drop(copies);
    }
    output
}

/// `bmm`; backward makes the gradient of `mat2` before that of `self`.
fn bmm(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    let factors = context.records(&[a, b]).then(|| Factors::save(context, a, b));
    let output = context.aten("bmm", |context| plain_bmm(context, a, b));
    if let Some(factors) = factors {
        context.record(
            "BmmBackward0",
            &[Some(a), Some(b)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let (a, b) = factors.get(context);
                let second = a.as_ref().map(|a| plain_bmm(context, &transposed(a, 1, 2), g));
                let first = b.as_ref().map(|b| plain_bmm(context, g, &transposed(b, 1, 2)));
                smallvec![first, second]
            }),
        );
    }
    output
}

/// `baddbmm`: its input is ignored (beta = 0) or copied into the result first; backward makes the gradient of `batch1` first, multiplies each
/// by alpha where it is not 1 (FunctionsManual.cpp, `maybe_multiply`), and hands the input's gradient on.
fn baddbmm(context: &mut Context, operands: &Operands) -> Lowered {
    let (a, b) = (operands.tensor(1)?, operands.tensor(2)?);
    let scaled = operands.float(3).is_some_and(|alpha| alpha != 1.0);
    let added = operands.float(4).is_some_and(|beta| beta != 0.0);
    let addend = operands.optional(0).filter(|_| added);
    if addend.is_some_and(|addend| addend.requires_grad()) && operands.float(4) != Some(1.0) {
        return Err("baddbmm that scales an addend that needs a gradient is not known".to_owned());
    }
    let inputs: SmallVec<[&Tensor; 3]> = [a, b].into_iter().chain(addend).collect();
    let factors = context.records(&inputs).then(|| Factors::save(context, a, b));
    let output = context.aten("baddbmm", |context| batched(context, a, b));
    if let Some(factors) = factors {
        let follows = addend.is_some_and(|addend| addend.requires_grad());
        context.record(
            "BaddbmmBackward0",
            &[addend, Some(a), Some(b)],
            &[&output],
            Box::new(move |context, g| {
                let Some(g) = &g[0] else { return Gradients::new() };
                let times_alpha = |context: &mut Context, product: Tensor| {
                    if scaled { context.empty_like("mul", &product) } else { product }
                };
                let (a, b) = factors.get(context);
                let first = b.as_ref().map(|b| plain_bmm(context, g, &transposed(b, 1, 2)));
                let first = first.map(|product| times_alpha(context, product));
                let second = a.as_ref().map(|a| plain_bmm(context, &transposed(a, 1, 2), g));
                smallvec![follows.then(|| g.clone()), first, second.map(|product| times_alpha(context, product))]
            }),
        );
    }
    one(output)
}

/// The solution of triangular systems outside autograd: in batches, by pointers to each matrix, unless there are few and large ones.
fn solved(context: &mut Context, a: &Tensor, b: &Tensor) -> Tensor {
    let op = "linalg_solve_triangular";
    // cuBLAS writes columns
    let mut strides = contiguous_strides(&b.sizes);
    if let [.., rows, _] = b.sizes[..] {
        let last = strides.len();
        (strides[last - 2], strides[last - 1]) = (1, rows);
    }
    let output = context.empty_strided(op, b.sizes.clone(), strides, b.dtype);
    let size = a.sizes.last().copied().unwrap_or(1);
    let count = a.count() / (size * size).max(1);
    let pointers = (count > 8 || size < 64).then(|| [(); 2].map(|()| context.empty("arange", &[count], Dtype::I64)));
    context.use_blas();
    if let Some([first, second]) = pointers {
        drop(second);
        drop(first);
    }
    output
}

/// Backward solves the turned systems for the gradient, and multiplies it by the result for that of the matrices.
fn solve_triangular(context: &mut Context, operands: &Operands) -> Lowered {
    let (a, b) = (operands.tensor(0)?, operands.tensor(1)?);
    let records = context.records(&[a, b]);
    let saved = records.then(|| context.save(a));
    let output = context.aten("linalg_solve_triangular", |context| solved(context, a, b));
    if let Some(saved) = saved {
        let result = context.save(&output);
        let wanted = [a, b].map(|tensor| tensor.requires_grad());
        let apply = move |context: &mut Context, g: &mut [Option<Tensor>]| {
            let Some(g) = &g[0] else { return Gradients::new() };
            let a = saved.get(context);
            let result = result.get(context);
            let second = solved(context, &a, g);
            let last = a.sizes.len();
            let first = wanted[0].then(|| -> Result<Tensor, String> {
                let product = matmul(context, &second, &transposed(&result, last - 2, last - 1))?;
                let negative = context.empty_like("neg", &product);
                drop(product);
                Ok(context.empty_like("tril", &negative))
            });
            smallvec![first.and_then(Result::ok), wanted[1].then_some(second)]
        };
        context.record("LinalgSolveTriangularBackward0", &[Some(a), Some(b)], &[&output], Box::new(apply));
    }
    one(output)
}

// ---- matmul and linear ------------------------------------------------------------------------------------------------

/// Whether the larger operand is folded into one matrix (`should_fold`). It always is for a smaller one that requires a
/// gradient, which a parameter and its views do under `no_grad` too, though nothing is recorded then.
fn folds(context: &Context, a: &Tensor, b: &Tensor) -> bool {
    let first_larger = a.sizes.len() >= b.sizes.len();
    let (large, small) = if first_larger { (a, b) } else { (b, a) };
    if large.sizes.len() < 3 || small.sizes.len() > 2 {
        return false;
    }
    let parameter = !context.grad_enabled() && small.base.as_ref().is_some_and(|base| base.requires_grad());
    if parameter || small.requires_grad() {
        return true;
    }
    if a.sizes.len() == 2 {
        return false;
    }
    if large.count() == 0 {
        return true;
    }
    (0..large.sizes.len() - 2).all(|dim| large.strides[dim] == large.strides[dim + 1] * large.sizes[dim + 1])
}

/// `matmul` of operands with at least two dimensions.
pub(crate) fn matmul(context: &mut Context, a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    if a.sizes.len() == 2 && b.sizes.len() == 2 {
        return Ok(mm(context, a, b));
    }
    if folds(context, a, b) {
        return fold(context, a, b);
    }
    let batch = broadcast(&a.sizes[..a.sizes.len() - 2], &b.sizes[..b.sizes.len() - 2])?;
    let count: u64 = batch.iter().product();
    let mut flat = |x: &Tensor| {
        let matrix = &x.sizes[x.sizes.len() - 2..];
        let wanted: Vec<i64> = batch.iter().chain(matrix).map(|size| *size as i64).collect();
        let expanded = expand(context, x, &wanted)?;
        Ok::<_, String>(reshape(context, &expanded, &[count, matrix[0], matrix[1]]))
    };
    let (flat_a, flat_b) = (flat(a)?, flat(b)?);
    let product = bmm(context, &flat_a, &flat_b);
    let mut sizes = batch;
    sizes.push(flat_a.sizes[1]);
    sizes.push(flat_b.sizes[2]);
    Ok(unsafe_view(context, &product, &sizes))
}

fn fold(context: &mut Context, a: &Tensor, b: &Tensor) -> Result<Tensor, String> {
    let swapped = b.sizes.len() > a.sizes.len();
    let (large, small) =
        if swapped { (transpose(context, b, -1, -2)?, transpose(context, a, 0, 1)?) } else { (a.clone(), b.clone()) };
    let (last, leading) = large.sizes.split_last().ok_or("a product of scalars")?;
    let folded = reshape(context, &large, &[leading.iter().product(), *last]);
    let product = mm(context, &folded, &small);
    let mut sizes = Dims::from(leading);
    sizes.push(small.sizes[1]);
    let output = unsafe_view(context, &product, &sizes);
    // a matrix before a batch: the product is turned, and copied
    if swapped { transpose(context, &output, -1, -2).map(|turned| contiguous(context, &turned)) } else { Ok(output) }
}

fn linear(context: &mut Context, operands: &Operands) -> Lowered {
    let (input, weight) = (operands.tensor(0)?, operands.tensor(1)?);
    one(linear_of(context, input, weight, operands.optional(2))?)
}

/// `linear`, whoever calls it.
pub(super) fn linear_of(
    context: &mut Context,
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, String> {
    let Some(bias) = bias else {
        let turned = transpose(context, weight, 0, 1)?;
        return matmul(context, input, &turned);
    };
    if input.sizes.len() == 2 {
        let turned = transpose(context, weight, 0, 1)?;
        return Ok(addmm(context, bias, input, &turned));
    }
    let (width, leading) = input.sizes.split_last().ok_or("a product of scalars")?;
    if input.is_contiguous() && leading.len() >= 2 {
        let flat = reshape(context, input, &[leading.iter().product(), *width]);
        let turned = transpose(context, weight, 0, 1)?;
        let product = addmm(context, bias, &flat, &turned);
        let sizes: Vec<i64> = leading.iter().chain(&weight.sizes[..1]).map(|size| *size as i64).collect();
        return view(context, &product, &sizes);
    }
    let turned = transpose(context, weight, 0, 1)?;
    let product = matmul(context, input, &turned)?;
    Ok(if context.dispatches() { sum_of(context, &product, bias) } else { add_in_place(context, &product, bias) })
}

/// `output.add_(bias)`: the same memory, a new place in the autograd graph.
fn add_in_place(context: &mut Context, x: &Tensor, bias: &Tensor) -> Tensor {
    let output = TensorData::new(x.storage.clone(), x.dtype, x.sizes.clone(), x.strides.clone());
    if context.records(&[x, bias]) {
        record_arithmetic(context, Arithmetic::Add, (Some(x), Some(bias)), [None, None], &output);
    }
    output
}
