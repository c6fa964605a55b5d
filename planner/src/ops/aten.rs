//! Which row of the table, or which function of specs/library/aten.yaml, an ATen overload is: one line an overload, in
//! its row (`aten`) or, where PyTorch composes it of other operators, in the list here.
//!
//! ```text
//! ("conv2d.default", "input, weight, bias=None, stride:one=1, ...",   "")
//!                     arguments in the row's order, by ATen's names    what changes no memory
//! name=3      3 where the call leaves it out      name:one     a list of equal numbers, of which one is given
//! name!       a tensor, never None                name:train   whether the model is in training mode
//! name:rate   a rate of dropout, 0 without training
//! ```
//!
//! What changes no memory may be asked for: `transposed=False`. A call that does not fit its line is as one that no
//! line knows.
//! Signatures are those of aten/src/ATen/native/native_functions.yaml of PyTorch 2.11.

use std::sync::OnceLock;

use super::TABLE;

/// An overload of ATen: its name, the row's arguments, in the row's order, by ATen's names, and those arguments that
/// change no memory.
pub type Line = (&'static str, &'static str, &'static str);

/// The overloads that are no row: the functions of specs/library/aten.yaml, which put rows together as PyTorch does,
/// each with the overloads that it is; and [`SAME`].
pub(super) const COMPOSED: &[(&str, &[Line])] = &[
    (
        "aten_type_as",
        &[
            ("to.other", "self, other", "non_blocking, copy=False, memory_format"),
            ("type_as.default", "self, other", ""),
        ],
    ),
    ("aten_dropout_", &[("dropout_.default", "self, p, train:train", "")]),
    ("aten_native_dropout", &[("native_dropout.default", "input, p, train:train", "")]),
    (
        "aten_max_pool2d",
        &[(
            "max_pool2d.default",
            "self, kernel_size:one, stride:one=None, padding:one=0",
            "dilation=1, ceil_mode=False",
        )],
    ),
    (
        "aten_avg_pool2d",
        &[(
            "avg_pool2d.default",
            "self, kernel_size:one, stride:one=None, padding:one=0",
            "ceil_mode=False, count_include_pad, divisor_override",
        )],
    ),
    ("aten_native_layer_norm", &[("native_layer_norm.default", "input, weight!, bias=None", "normalized_shape, eps")]),
    ("aten_mean", &[("mean.default", "self", "dtype=None")]),
    ("aten_sum", &[("sum.default", "self, dtype=None", "")]),
    ("aten_diff", &[("diff.default", "self, n=1, dim=-1, prepend=None", "append=None")]),
    (
        "aten_arange",
        &[
            ("arange.start", "start, end", "dtype=5, layout, device, pin_memory"),
            ("arange.start_step", "start, end, step=1", "dtype=5, layout, device, pin_memory"),
        ],
    ),
    (
        "aten_new",
        &[
            ("zeros.default", "size, dtype=None", "layout, device, pin_memory"),
            ("ones.default", "size, dtype=None", "layout, device, pin_memory"),
            ("empty.memory_format", "size, dtype=None", "layout, device, pin_memory, memory_format"),
            ("full.default", "size, dtype=None", "fill_value, layout, device, pin_memory"),
            ("rand.default", "size, dtype=None", "layout, device, pin_memory"),
            ("randn.default", "size, dtype=None", "layout, device, pin_memory"),
        ],
    ),
    ("aten_scalar", &[("scalar_tensor.default", "dtype=None", "s, layout, device, pin_memory")]),
    (
        "aten_new_like",
        &[
            ("new_zeros.default", "self, size, dtype=None", "layout, device, pin_memory"),
            ("new_ones.default", "self, size, dtype=None", "layout, device, pin_memory"),
            ("new_empty.default", "self, size, dtype=None", "layout, device, pin_memory"),
            ("new_full.default", "self, size, dtype=None", "fill_value, layout, device, pin_memory"),
        ],
    ),
    ("aten_t", &[("t.default", "self", "")]),
    ("aten_flatten", &[("flatten.using_ints", "self, start_dim=0, end_dim=-1", "")]),
    ("aten_unflatten", &[("unflatten.int", "self, dim, sizes", "")]),
    ("aten_expand_as", &[("expand_as.default", "self, other", "")]),
    ("aten_slice", &[("slice.Tensor", "self, dim=0, start=None, end=None, step=1", "")]),
    ("aten_narrow", &[("narrow.default", "self, dim, start, length", "")]),
    ("aten_chunk", &[("chunk.default", "self, chunks, dim=0", "")]),
    (
        SAME,
        &[
            ("detach_.default", "self", ""),
            ("lift_fresh.default", "self", ""),
            ("fill_.Scalar", "self", "value"),
            ("fill_.Tensor", "self", "value"),
            ("zero_.default", "self", ""),
            ("bernoulli_.float", "self", "p, generator"),
            ("uniform_.default", "self", "from, to, generator"),
            ("normal_.default", "self", "mean, std, generator"),
        ],
    ),
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

/// All overloads that are known, in the order of their names.
pub fn overloads() -> &'static [Overload] {
    static ALL: OnceLock<Vec<Overload>> = OnceLock::new();
    ALL.get_or_init(|| {
        let rows = TABLE.iter().copied().flatten().map(|row| (row.name, row.aten));
        let lines = rows.chain(COMPOSED.iter().copied());
        let mut all: Vec<Overload> =
            lines.flat_map(|(callee, lines)| lines.iter().map(move |line| overload(callee, line))).collect();
        all.sort_by_key(|overload| overload.name);
        all
    })
}

/// The overload of a target such as `aten.add.Tensor`.
pub fn overload_of(target: &str) -> Option<&'static Overload> {
    let name = target.strip_prefix("aten.")?;
    let place = overloads().binary_search_by_key(&name, |overload| overload.name).ok()?;
    overloads().get(place)
}

fn overload(callee: &'static str, (name, arguments, passed): &Line) -> Overload {
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
