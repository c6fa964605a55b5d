//! Sizes that depend on symbols: sympy's `srepr`, as torch/_export/serde/serialize.py writes it, becomes an expression of the
//! spec language.
//!
//! ```text
//! Mul(Integer(2), Symbol('s72', positive=True, integer=True))   ->   2 * _config.s72
//! ```

use super::code::{Code, binary, int};
use super::wire::Size;
use crate::read::spec::syntax::{Binary, Expression};

/// How deep an expression may nest.
const DEPTH: usize = 50;

/// The longest expression, in bytes.
const LONGEST: usize = 10_000;

/// The name of a symbol, where the whole expression is one.
pub fn symbol(text: &str) -> Option<&str> {
    let name = text.strip_prefix("Symbol('").and_then(|rest| rest.split('\'').next()).unwrap_or(text);
    let whole = text == name || text.find(')') == Some(text.len() - 1);
    (whole && is_name(name)).then_some(name)
}

/// The symbols of an expression, in its order.
pub fn symbols(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split("Symbol('").skip(1).filter_map(|rest| rest.split('\'').next());
    quoted.chain(Some(text).filter(|text| is_name(text)))
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// The expression; what is wrong with it where it cannot be read.
pub fn expression(text: &str, code: &mut Code) -> Result<Expression, String> {
    let fail = || format!("the size {} cannot be read", crate::words::quote::quoted(text));
    if text.len() > LONGEST {
        return Err(fail());
    }
    if let Some(name) = symbol(text) {
        return Ok(code.symbol(name));
    }
    let mut reader = Reader { rest: text, code };
    let value = reader.value(0).ok_or_else(fail)?;
    if reader.rest.trim().is_empty() { Ok(value) } else { Err(fail()) }
}

/// A size of a tensor.
pub fn written(size: &Size<'_>, code: &mut Code) -> Result<Expression, String> {
    match size {
        Size::AsInt(number) => Ok(int(*number)),
        Size::AsExpr(expression_) => expression(&expression_.expr_str.0, code),
    }
}

/// A size that depends on nothing.
pub fn fixed(size: &Size<'_>) -> Option<u64> {
    match size {
        Size::AsInt(number) => u64::try_from(*number).ok(),
        Size::AsExpr(_) => None,
    }
}

struct Reader<'a, 'c> {
    rest: &'a str,
    code: &'c mut Code,
}

impl<'a> Reader<'a, '_> {
    fn skip(&mut self, sign: char) -> bool {
        let found = self.rest.trim_start().strip_prefix(sign);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
        self.rest = &rest[end..];
        &rest[..end]
    }

    fn value(&mut self, depth: usize) -> Option<Expression> {
        let word = self.word();
        if let Ok(number) = word.parse() {
            return Some(int(number));
        }
        if depth > DEPTH || !self.skip('(') {
            return None;
        }
        if word == "Symbol" {
            return self.symbol();
        }
        let mut values = vec![self.value(depth + 1)?];
        while self.skip(',') {
            values.push(self.value(depth + 1)?);
        }
        if self.skip(')') { self.function(word, values) } else { None }
    }

    /// `'s72', positive=True, integer=True)`
    fn symbol(&mut self) -> Option<Expression> {
        let rest = self.rest.trim_start().strip_prefix('\'')?;
        let (name, rest) = rest.split_once('\'')?;
        self.rest = rest.split_once(')')?.1;
        is_name(name).then(|| self.code.symbol(name))
    }

    fn function(&mut self, name: &str, values: Vec<Expression>) -> Option<Expression> {
        let mut values = values.into_iter();
        let first = values.next()?;
        let operator = match name {
            "Integer" => return Some(first),
            "Add" => Binary::Add,
            "Mul" => Binary::Multiply,
            "FloorDiv" | "CleanDiv" => Binary::FloorDivide,
            "Mod" | "PythonMod" => Binary::Remainder,
            "Max" | "Min" => {
                let name = name.to_ascii_lowercase();
                return Some(values.fold(first, |left, right| self.code.call(&name, vec![left, right])));
            }
            _ => return None,
        };
        Some(values.fold(first, |left, right| binary(operator, left, right)))
    }
}
