//! Which row of the table, or which function of specs/library/aten.yaml, an ATen overload is: one line an overload.
//!
//! ```text
//! "conv2d.default"   conv2d   "input, weight, bias=None, stride:one=1, ..."   ""
//!                             arguments in the row's order, by ATen's names    what changes no memory
//! name=3      3 where the call leaves it out      name:one     a list of equal numbers, of which one is given
//! name!       a tensor, never None                name:train   whether the model is in training mode
//! name:rate   a rate of dropout, 0 without training
//! ```
//!
//! What changes no memory may be asked for: `transposed=False`. A call that does not fit its line is as one that no line knows.
//! Signatures are those of aten/src/ATen/native/native_functions.yaml of PyTorch 2.11.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

/// (overload, row or function, its arguments, what changes no memory)
type Line = (&'static str, &'static str, &'static str, &'static str);

const LINES: &[Line] = &[
    // ---- arithmetic
    ("add.Tensor", "add", "self, other", "alpha"),
    ("add.Scalar", "add", "self, other", "alpha"),
    ("add_.Tensor", "add_", "self, other", "alpha"),
    ("add_.Scalar", "add_", "self, other", "alpha"),
    ("sub.Tensor", "sub", "self, other", "alpha"),
    ("sub.Scalar", "sub", "self, other", "alpha"),
    ("rsub.Scalar", "sub", "other, self", "alpha"),
    ("rsub.Tensor", "sub", "other, self", "alpha"),
    ("mul.Tensor", "mul", "self, other", ""),
    ("mul.Scalar", "mul", "self, other", ""),
    ("mul_.Tensor", "mul_", "self, other", ""),
    ("div.Tensor", "div", "self, other", ""),
    ("div.Scalar", "div", "self, other", ""),
    ("div_.Tensor", "div_", "self, other", ""),
    ("div.Tensor_mode", "floor_divide", "self, other", "rounding_mode=floor"),
    ("floor_divide.default", "floor_divide", "self, other", ""),
    ("pow.Tensor_Scalar", "pow", "self, exponent", ""),
    ("minimum.default", "minimum", "self, other", ""),
    ("eq.Tensor", "eq", "self, other", ""),
    ("eq.Scalar", "eq", "self, other", ""),
    ("ne.Tensor", "ne", "self, other", ""),
    ("ne.Scalar", "ne", "self, other", ""),
    ("lt.Tensor", "lt", "self, other", ""),
    ("lt.Scalar", "lt", "self, other", ""),
    ("le.Tensor", "le", "self, other", ""),
    ("le.Scalar", "le", "self, other", ""),
    ("gt.Tensor", "gt", "self, other", ""),
    ("gt.Scalar", "gt", "self, other", ""),
    ("ge.Tensor", "ge", "self, other", ""),
    ("ge.Scalar", "ge", "self, other", ""),
    ("__and__.Tensor", "bitwise_and", "self, other", ""),
    ("__or__.Tensor", "bitwise_or", "self, other", ""),
    ("bitwise_and.Tensor", "bitwise_and", "self, other", ""),
    ("bitwise_or.Tensor", "bitwise_or", "self, other", ""),
    ("bitwise_not.default", "bitwise_not", "self", ""),
    ("where.self", "where", "condition, self, other", ""),
    ("where.ScalarOther", "where", "condition, self, other", ""),
    ("where.ScalarSelf", "where", "condition, self, other", ""),
    // ---- casts and copies
    ("to.dtype", "to", "self, dtype", "non_blocking, copy=False, memory_format"),
    (
        "to.dtype_layout",
        "to",
        "self, dtype=None",
        "layout, device, pin_memory, non_blocking, copy=False, memory_format",
    ),
    ("to.device", "to", "self, dtype", "device, non_blocking, copy=False, memory_format"),
    ("to.other", "aten_type_as", "self, other", "non_blocking, copy=False, memory_format"),
    ("type_as.default", "aten_type_as", "self, other", ""),
    ("_to_copy.default", "to", "self, dtype=None", "layout, device, pin_memory, non_blocking, memory_format"),
    ("clone.default", "clone", "self", "memory_format"),
    ("contiguous.default", "contiguous", "self", "memory_format=1"),
    ("lift_fresh_copy.default", "clone", "self", ""),
    ("copy_.default", "copy_", "self, src", "non_blocking"),
    // ---- functions of one tensor
    ("neg.default", "neg", "self", ""),
    ("abs.default", "abs", "self", ""),
    ("log.default", "log", "self", ""),
    ("exp.default", "exp", "self", ""),
    ("rsqrt.default", "rsqrt", "self", ""),
    ("sqrt.default", "sqrt", "self", ""),
    ("cos.default", "cos", "self", ""),
    ("sin.default", "sin", "self", ""),
    ("erf.default", "erf", "self", ""),
    ("tanh.default", "tanh", "self", ""),
    ("sigmoid.default", "sigmoid", "self", ""),
    ("relu.default", "relu", "self", ""),
    ("relu_.default", "relu_", "self", ""),
    ("relu6.default", "relu6", "self", ""),
    ("hardtanh.default", "relu6", "self", "min_val, max_val"),
    ("hardtanh_.default", "relu6_", "self", "min_val, max_val"),
    ("leaky_relu.default", "leaky_relu", "self", "negative_slope"),
    ("elu.default", "elu", "self", "alpha, scale, input_scale"),
    ("silu.default", "silu", "self", ""),
    ("silu_.default", "silu_", "self", ""),
    ("mish.default", "mish", "self", ""),
    ("softplus.default", "softplus", "self", "beta, threshold"),
    ("hardswish.default", "hardswish", "self", ""),
    ("hardswish_.default", "hardswish_", "self", ""),
    ("hardsigmoid.default", "hardsigmoid", "self", ""),
    ("gelu.default", "gelu", "self", "approximate"),
    ("clamp.default", "clamp", "self, min=None, max=None", ""),
    ("prelu.default", "prelu", "self, weight", ""),
    ("dropout.default", "dropout", "input, p, train:train", ""),
    ("dropout_.default", "aten_dropout_", "self, p, train:train", ""),
    ("native_dropout.default", "aten_native_dropout", "input, p, train:train", ""),
    // ---- products
    ("linear.default", "linear", "input, weight!, bias=None", ""),
    ("matmul.default", "matmul", "self, other", ""),
    ("mm.default", "matmul", "self, mat2", ""),
    ("bmm.default", "matmul", "self, mat2", ""),
    ("addmm.default", "addmm", "self, mat1, mat2", "alpha, beta"),
    ("baddbmm.default", "baddbmm", "self, batch1, batch2, alpha=1.0", "beta"),
    ("embedding.default", "embedding", "indices, weight", "padding_idx, scale_grad_by_freq=False, sparse=False"),
    (
        "scaled_dot_product_attention.default",
        "scaled_dot_product_attention",
        "query, key, value, attn_mask=None, dropout_p:rate=0.0, is_causal=False, enable_gqa=False",
        "scale",
    ),
    // ---- images
    ("conv2d.default", "conv2d", "input, weight, bias=None, stride:one=1, padding:one=0, dilation:one=1, groups=1", ""),
    (
        "convolution.default",
        "conv2d",
        "input, weight, bias, stride:one, padding:one, dilation:one, groups",
        "transposed=False, output_padding",
    ),
    (
        "batch_norm.default",
        "batch_norm",
        "input, weight!, bias!, running_mean!, running_var!, training:train",
        "momentum, eps, cudnn_enabled",
    ),
    (
        "max_pool2d.default",
        "aten_max_pool2d",
        "self, kernel_size:one, stride:one=None, padding:one=0",
        "dilation=1, ceil_mode=False",
    ),
    (
        "avg_pool2d.default",
        "aten_avg_pool2d",
        "self, kernel_size:one, stride:one=None, padding:one=0",
        "ceil_mode=False, count_include_pad, divisor_override",
    ),
    ("adaptive_avg_pool2d.default", "adaptive_avg_pool2d", "self, output_size:one", ""),
    ("pad.default", "constant_pad_nd", "self, pad", "mode=constant, value"),
    ("constant_pad_nd.default", "constant_pad_nd", "self, pad", "value"),
    // ---- norms, sums, losses
    ("layer_norm.default", "layer_norm", "input, weight!, bias=None", "normalized_shape, eps, cudnn_enable"),
    ("native_layer_norm.default", "aten_native_layer_norm", "input, weight!, bias=None", "normalized_shape, eps"),
    ("softmax.int", "softmax", "self, dim, dtype=None", ""),
    ("_softmax.default", "softmax", "self, dim", "half_to_float=False"),
    ("mean.dim", "mean", "self, dim, keepdim=False", "dtype=None"),
    ("mean.default", "aten_mean", "self", "dtype=None"),
    ("sum.dim_IntList", "sum", "self, dim, keepdim=False, dtype=None", ""),
    ("sum.default", "aten_sum", "self, dtype=None", ""),
    ("all.default", "all", "self", ""),
    ("cumsum.default", "cumsum", "self, dim, dtype=None", ""),
    ("diff.default", "aten_diff", "self, n=1, dim=-1, prepend=None", "append=None"),
    (
        "cross_entropy_loss.default",
        "cross_entropy",
        "self, target",
        "weight=None, reduction=1, ignore_index, label_smoothing=0.0",
    ),
    ("mse_loss.default", "mse_loss", "self, target", "reduction=1"),
    (
        "binary_cross_entropy_with_logits.default",
        "binary_cross_entropy_with_logits",
        "self, target",
        "weight=None, pos_weight=None, reduction=1",
    ),
    // ---- indices
    ("index.Tensor", "index", "self, indices!", ""),
    ("gather.default", "gather", "self, dim, index", "sparse_grad=False"),
    ("masked_fill.Scalar", "masked_fill", "self, mask, value", ""),
    ("masked_fill_.Scalar", "masked_fill_", "self, mask, value", ""),
    ("roll.default", "roll", "self, shifts, dims", ""),
    // ---- new tensors
    ("arange.default", "arange", "end", "dtype=5, layout, device, pin_memory"),
    ("arange.start", "aten_arange", "start, end", "dtype=5, layout, device, pin_memory"),
    ("arange.start_step", "aten_arange", "start, end, step=1", "dtype=5, layout, device, pin_memory"),
    ("zeros.default", "aten_new", "size, dtype=None", "layout, device, pin_memory"),
    ("ones.default", "aten_new", "size, dtype=None", "layout, device, pin_memory"),
    ("empty.memory_format", "aten_new", "size, dtype=None", "layout, device, pin_memory, memory_format"),
    ("full.default", "aten_new", "size, dtype=None", "fill_value, layout, device, pin_memory"),
    ("rand.default", "aten_new", "size, dtype=None", "layout, device, pin_memory"),
    ("randn.default", "aten_new", "size, dtype=None", "layout, device, pin_memory"),
    ("scalar_tensor.default", "aten_scalar", "dtype=None", "s, layout, device, pin_memory"),
    ("new_zeros.default", "aten_new_like", "self, size, dtype=None", "layout, device, pin_memory"),
    ("new_ones.default", "aten_new_like", "self, size, dtype=None", "layout, device, pin_memory"),
    ("new_empty.default", "aten_new_like", "self, size, dtype=None", "layout, device, pin_memory"),
    ("new_full.default", "aten_new_like", "self, size, dtype=None", "fill_value, layout, device, pin_memory"),
    ("zeros_like.default", "empty_like", "self", "dtype=None, layout, device, pin_memory, memory_format"),
    ("ones_like.default", "empty_like", "self", "dtype=None, layout, device, pin_memory, memory_format"),
    ("full_like.default", "empty_like", "self", "fill_value, dtype=None, layout, device, pin_memory, memory_format"),
    ("empty_like.default", "empty_like", "self", "dtype=None, layout, device, pin_memory, memory_format"),
    ("rand_like.default", "empty_like", "self", "dtype=None, layout, device, pin_memory, memory_format"),
    // ---- views
    ("alias.default", "alias", "self", ""),
    ("detach.default", "detach", "self", ""),
    ("view.default", "view", "self, size", ""),
    ("_unsafe_view.default", "view", "self, size", ""),
    ("reshape.default", "reshape", "self, shape", ""),
    ("transpose.int", "transpose", "self, dim0, dim1", ""),
    ("t.default", "aten_t", "self", ""),
    ("permute.default", "permute", "self, dims", ""),
    ("flatten.using_ints", "aten_flatten", "self, start_dim=0, end_dim=-1", ""),
    ("unflatten.int", "aten_unflatten", "self, dim, sizes", ""),
    ("unsqueeze.default", "unsqueeze", "self, dim", ""),
    ("squeeze.default", "squeeze", "self", ""),
    ("squeeze.dim", "squeeze", "self, dim", ""),
    ("expand.default", "expand", "self, size", "implicit"),
    ("expand_as.default", "aten_expand_as", "self, other", ""),
    ("slice.Tensor", "aten_slice", "self, dim=0, start=None, end=None, step=1", ""),
    ("narrow.default", "aten_narrow", "self, dim, start, length", ""),
    ("select.int", "select", "self, dim, index", ""),
    ("split.Tensor", "split", "self, split_size, dim=0", ""),
    ("split_with_sizes.default", "split", "self, split_sizes, dim=0", ""),
    ("split.sizes", "split", "self, split_size, dim=0", ""),
    ("chunk.default", "aten_chunk", "self, chunks, dim=0", ""),
    ("unbind.int", "unbind", "self, dim=0", ""),
    ("cat.default", "cat", "tensors, dim=0", ""),
    ("concat.default", "cat", "tensors, dim=0", ""),
    ("stack.default", "aten_stack", "tensors, dim=0", ""),
    // ---- in place, on the same memory
    ("detach_.default", SAME, "self", ""),
    ("lift_fresh.default", SAME, "self", ""),
    ("fill_.Scalar", SAME, "self", "value"),
    ("fill_.Tensor", SAME, "self", "value"),
    ("zero_.default", SAME, "self", ""),
    ("bernoulli_.float", SAME, "self", "p, generator"),
    ("uniform_.default", SAME, "self", "from, to, generator"),
    ("normal_.default", SAME, "self", "mean, std, generator"),
];

/// What gives its first argument as it is.
pub const SAME: &str = "";

/// What a line says of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// A list of equal numbers, of which one is given.
    One,
    /// A tensor, or a list of tensors, never None.
    Needed,
    /// Whether the model is in training mode.
    Training,
    /// A rate of dropout.
    Rate,
}

/// An argument of a row as an overload gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// ATen's name.
    pub name: &'static str,
    /// What is done with it.
    pub form: Form,
    /// Its value where a call leaves it out.
    pub default: Option<&'static str>,
}

/// An overload that is known.
#[derive(Clone, Debug)]
pub struct Overload {
    /// Its name, `add.Tensor`.
    pub name: &'static str,
    /// The row, or the function of specs/library/aten.yaml; [`SAME`] for what gives its argument back.
    pub callee: &'static str,
    /// The callee's arguments, in its order.
    pub arguments: Vec<Argument>,
    /// The arguments that change no memory, with the value that they must have, where it matters.
    pub passed: Vec<(&'static str, Option<&'static str>)>,
}

/// The overloads that check something or say something about sizes, and compute nothing.
pub fn computes_nothing(target: &str) -> bool {
    const BEGINNINGS: [&str; 6] =
        ["aten._assert", "aten.sym_", "_operator.", "math.", "torch.sym_", "aten._functional_assert"];
    BEGINNINGS.iter().any(|beginning| target.starts_with(beginning))
}

/// All overloads that are known, in the order of their lines.
pub fn overloads() -> &'static [Overload] {
    static ALL: OnceLock<Vec<Overload>> = OnceLock::new();
    ALL.get_or_init(|| LINES.iter().map(overload).collect())
}

/// The overload of a target such as `aten.add.Tensor`.
pub fn overload_of(target: &str) -> Option<&'static Overload> {
    static PLACES: OnceLock<FxHashMap<&'static str, usize>> = OnceLock::new();
    let places =
        PLACES.get_or_init(|| overloads().iter().enumerate().map(|(place, overload)| (overload.name, place)).collect());
    let place = places.get(target.strip_prefix("aten.")?)?;
    overloads().get(*place)
}

fn overload((name, callee, arguments, passed): &Line) -> Overload {
    let split = |text: &'static str| text.split(", ").filter(|part| !part.is_empty());
    let halves = |part: &'static str| part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value)));
    let argument = |part| {
        let (name, default) = halves(part);
        let (name, form) = match name.split_once(':') {
            Some((name, "one")) => (name, Form::One),
            Some((name, "train")) => (name, Form::Training),
            Some((name, _)) => (name, Form::Rate),
            None => name.strip_suffix('!').map_or((name, Form::Plain), |name| (name, Form::Needed)),
        };
        Argument { name, form, default }
    };
    Overload {
        name,
        callee,
        arguments: split(arguments).map(argument).collect(),
        passed: split(passed).map(halves).collect(),
    }
}
