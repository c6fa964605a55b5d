//! What goes into an exported program and what its sizes depend on: the run's inputs, and the symbols that a run binds.
//!
//! ```text
//! input_ids  [s72, s38]  int64        batch = s72, seq = s38        --batch, --seq or --dim s72=8
//! input_ids  [4, 128]    int64        both are fixed                another size is refused
//! ```

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::arguments::dtype;
use super::code::{Code, at_nowhere, attribute, binary, int, list, literal, named, statement, text};
use super::error::Problem;
use super::facts::Facts;
use super::family::Entries;
use super::flatten::Program;
use super::sizes;
use super::wire::{ExportedProgram, Hint, RangeConstraint, Size};
use crate::dtype::Dtype;
use crate::read::spec::syntax::{
    Argument, Binary, Expression, ExpressionKind, Function, Literal, StatementKind, Target,
};
use crate::run::LossKind;

/// The most symbols of sizes.
const SYMBOLS: usize = 10_000;

/// The function that makes the inputs of a run.
pub const INPUTS: &str = "exported_inputs";

/// A size of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Fixed by the export.
    Fixed(u64),
    /// A symbol's.
    Symbol(String),
    /// Of an expression over symbols, as the export writes it.
    Expression(String),
}

/// A symbol of sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Its value when the program was exported.
    pub hint: Option<u64>,
    /// The least and the most that it may be.
    pub range: (u64, Option<u64>),
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub sizes: Vec<Dimension>,
    /// Its type; that of the weights where None is given.
    pub dtype: Option<Dtype>,
    /// Whether it has integers or floating-point numbers.
    pub floating: bool,
}

/// Where a model with inputs of its own comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An exported program.
    Export,
    /// A class in a file of Python, whose inputs the run gives.
    Class,
}

/// What is to be known of an exported program, or of a class whose inputs the run gives, beside its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Which of them it is.
    pub origin: Origin,
    /// What goes in.
    pub inputs: Vec<Input>,
    /// What sizes depend on.
    pub symbols: Vec<Symbol>,
    /// The loss where a run says nothing else; None where it has no output that a loss could be made of.
    pub loss: Option<LossKind>,
    /// Whether the program has a loss of its own.
    pub has_loss: bool,
    /// The sizes of the output that a loss is made of.
    pub scores: Vec<Dimension>,
    /// Whether it was exported in training mode; None where nothing in it says so.
    pub training: Option<bool>,
    /// Whether the archive has a table of weights, which says what is tied.
    pub has_table: bool,
}

/// What is to be known of a program.
pub(super) fn exported(
    export: &ExportedProgram<'_>,
    program: &Program<'_>,
    facts: &Facts,
    has_table: bool,
) -> Result<Exported, Problem> {
    let mut symbols: Vec<Symbol> = Vec::new();
    let mut inputs = Vec::new();
    let ranges = &export.range_constraints;
    for (name, value) in &program.inputs {
        let meta = program.values[value.index()].meta;
        let meta = meta.ok_or_else(|| Problem::new(format!("the input {name} has no shape")))?;
        let found =
            dtype(meta.dtype).ok_or_else(|| Problem::new(format!("the input {name} has a type that is not known")))?;
        let sizes = meta.sizes.iter().map(|size| noted(size, ranges, &mut symbols)).collect::<Result<_, _>>()?;
        let own = Some(found).filter(|dtype| *dtype != facts.weights);
        inputs.push(Input { name: (*name).to_owned(), sizes, dtype: own, floating: found.is_floating() });
    }
    let scores = facts.scores.and_then(|number| program.outputs[number]);
    let scores = scores.and_then(|value| program.values[value.index()].meta).map_or(&[][..], |meta| &meta.sizes[..]);
    let scores: Vec<Dimension> =
        scores.iter().map(|size| noted(size, ranges, &mut symbols)).collect::<Result<_, _>>()?;
    let takes_tokens = inputs.iter().any(|input| !input.floating);
    let loss = match (facts.loss, facts.scores, scores.len()) {
        (Some(_), _, _) => Some(LossKind::Output),
        (None, Some(_), 2) => Some(LossKind::CrossEntropy),
        (None, Some(_), 3) if takes_tokens => Some(LossKind::CrossEntropy),
        (None, Some(_), _) => Some(LossKind::Sum),
        (None, None, _) => None,
    };
    let training = facts.has_mode.then_some(facts.training);
    let (origin, has_loss) = (Origin::Export, facts.loss.is_some());
    Ok(Exported { origin, inputs, symbols, loss, has_loss, scores, training, has_table })
}

/// A size of an input or of an output; its symbols are listed.
fn noted(
    size: &Size<'_>,
    ranges: &FxHashMap<String, RangeConstraint>,
    symbols: &mut Vec<Symbol>,
) -> Result<Dimension, Problem> {
    let expression = match size {
        Size::AsInt(number) => {
            let size = u64::try_from(*number).map_err(|_| Problem::new("a size is negative"))?;
            return Ok(Dimension::Fixed(size));
        }
        Size::AsExpr(expression) => expression,
    };
    let text = &*expression.expr_str.0;
    let whole = sizes::symbol(text);
    let hint = match expression.hint {
        Some(Hint::AsInt(hint)) if whole.is_some() => u64::try_from(hint).ok(),
        _ => None,
    };
    for name in sizes::symbols(text) {
        if let Some(known) = symbols.iter_mut().find(|symbol| symbol.name == name) {
            known.hint = known.hint.or(hint);
            continue;
        }
        if symbols.len() >= SYMBOLS {
            return Err(Problem::new(format!("its sizes depend on more than {SYMBOLS} symbols")));
        }
        let range = ranges.get(name);
        let bound = |bound: Option<i64>| bound.and_then(|bound| u64::try_from(bound).ok());
        let least = bound(range.and_then(|range| range.min_val)).unwrap_or(0);
        let range = (least, bound(range.and_then(|range| range.max_val)));
        symbols.push(Symbol { name: name.to_owned(), hint, range });
    }
    Ok(whole.map_or_else(|| Dimension::Expression(text.to_owned()), |name| Dimension::Symbol(name.to_owned())))
}

impl Exported {
    /// The entries of the model's config where a run says nothing else.
    pub(super) fn defaults(&self) -> Entries {
        let hints = self.symbols.iter().filter_map(|symbol| Some((symbol.name.clone(), symbol.hint?.into())));
        let loss = self.loss.map_or("none", LossKind::word);
        let image =
            self.sizes(&crate::run::NamedSizes::default()).image.map(|image| ("image_size".to_owned(), image.into()));
        hints.chain([("loss".to_owned(), loss.into())]).chain(image).collect()
    }
}

/// The functions that are written for it: what makes its inputs.
pub(super) fn functions(exported: &Exported, file: &Arc<str>) -> Result<Vec<(Arc<str>, Function)>, Problem> {
    let mut code = Code::default();
    let parameters = vec![code.parameter("model"), code.parameter("run")];
    let mut entries = Vec::new();
    for input in &exported.inputs {
        let sizes = dimensions(&input.sizes, &mut code)?;
        let dtype = code.name(input.dtype.map_or("weights_dtype", |dtype| dtype.name()));
        let made = code.call("zeros", vec![sizes, dtype]);
        entries.push((text(&super::write::input_name(&input.name)), code.call("as_input", vec![made])));
    }
    let inputs = at_nowhere(ExpressionKind::Dictionary(entries));
    let whole = code.number("inputs");
    let mut body = vec![StatementKind::Assign(Target::Name(whole), inputs)];
    let plain = vec![StatementKind::Return(Some(named(whole)))];
    let statements = |kinds: Vec<StatementKind>| kinds.into_iter().map(|kind| statement(kind, 0)).collect();
    let labels = labels(exported, &mut code)?;
    let batch = vec![(text("inputs"), named(whole)), (text("labels"), labels)];
    let batch = at_nowhere(ExpressionKind::Dictionary(batch));
    let run = code.name("run");
    let records = attribute(run, crate::graph::RECORDS);
    let with_labels = statements(vec![StatementKind::Return(Some(batch))]);
    body.push(StatementKind::If(vec![(records, with_labels)], statements(plain)));
    let function = code.function(INPUTS.to_owned(), file.clone(), parameters, statements(body));
    Ok(vec![(INPUTS.into(), function)])
}

/// The labels of cross entropy, one a row of scores; None for another loss.
fn labels(exported: &Exported, code: &mut Code) -> Result<Expression, Problem> {
    let none = literal(Literal::None);
    let rows = exported.scores.split_last().map_or(&[][..], |(_, rows)| rows);
    if rows.is_empty() {
        return Ok(none);
    }
    let mut product = int(1);
    for row in rows {
        let row = dimension(row, code)?;
        product = binary(Binary::Multiply, product, row);
    }
    let dtype = code.name("int64");
    let made = code.call("zeros", vec![list(vec![product]), dtype]);
    let made = code.call("as_input", vec![made]);
    let is = binary(Binary::Equal, attribute(code.name("_config"), "loss"), text(LossKind::CrossEntropy.word()));
    Ok(at_nowhere(ExpressionKind::Choice(Box::new([is, made, none]))))
}

fn dimension(dimension: &Dimension, code: &mut Code) -> Result<Expression, Problem> {
    match dimension {
        Dimension::Fixed(size) => i64::try_from(*size).map(int).map_err(|_| Problem::new("a size is beyond 63 bits")),
        Dimension::Symbol(name) => Ok(code.symbol(name)),
        Dimension::Expression(text) => sizes::expression(text, code).map_err(Problem::new),
    }
}

fn dimensions(all: &[Dimension], code: &mut Code) -> Result<Expression, Problem> {
    let sizes = all.iter().map(|size| dimension(size, code).map(Argument::Plain)).collect::<Result<_, _>>()?;
    Ok(at_nowhere(ExpressionKind::Sequence(sizes)))
}
