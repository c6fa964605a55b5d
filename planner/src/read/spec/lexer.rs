//! Splits the text of a spec's code into tokens, with Python's indentation as tokens of their own.

use std::sync::Arc;

use super::SpecError;
use super::syntax::Position;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(Arc<str>),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// An operator, a bracket or a keyword.
    Sign(&'static str),
    Newline,
    Indent,
    Dedent,
    End,
}

/// Longest first, so that a prefix never wins.
const SIGNS: [&str; 38] = [
    "...", ":=", "**", "//", "==", "!=", "<=", ">=", "+=", "-=", "*=", "/=", "(", ")", "[", "]", "{", "}", ",", ":",
    ".", "+", "-", "*", "/", "%", "@", "&", "|", "~", "<", ">", "=", ";", "!", "^", "?", "$",
];

const KEYWORDS: [&str; 19] = [
    "and", "or", "not", "is", "in", "if", "elif", "else", "for", "return", "continue", "break", "del", "None", "True",
    "False", "pass", "lambda", "def",
];

/// The tokens of `text`, which begins at `start` within `file`; YAML has taken its indentation from every line.
pub(super) fn tokens(text: &str, file: &Arc<str>, start: Position) -> Result<Vec<(Token, Position)>, SpecError> {
    let mut lexer = Lexer { file, tokens: Vec::new(), depth: 0, indents: vec![0] };
    let mut end = start;
    for (number, line) in text.lines().enumerate() {
        end = Position { line: start.line + number as u32, column: start.column };
        lexer.line(line, end)?;
    }
    lexer.finish(end);
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    file: &'a Arc<str>,
    tokens: Vec<(Token, Position)>,
    /// Open brackets: within them, line ends and indentation mean nothing.
    depth: usize,
    indents: Vec<usize>,
}

impl Lexer<'_> {
    fn line(&mut self, line: &str, start: Position) -> Result<(), SpecError> {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        let mut at = Position { column: start.column + indent as u32, ..start };
        if self.depth == 0 {
            self.indent(indent, at)?;
        }
        let mut rest = &line[indent..];
        while !rest.is_empty() {
            let taken = self.token(rest, at)?;
            at.column += rest[..taken].chars().count() as u32;
            rest = &rest[taken..];
        }
        if self.depth == 0 {
            self.tokens.push((Token::Newline, at));
        }
        Ok(())
    }

    fn indent(&mut self, indent: usize, at: Position) -> Result<(), SpecError> {
        let current = self.indents.last().copied().unwrap_or(0);
        if indent > current {
            if self.tokens.is_empty() {
                self.indents = vec![indent];
                return Ok(());
            }
            self.indents.push(indent);
            self.tokens.push((Token::Indent, at));
        }
        while self.indents.last().is_some_and(|open| *open > indent) {
            self.indents.pop();
            self.tokens.push((Token::Dedent, at));
        }
        match self.indents.last() {
            Some(open) if *open == indent => Ok(()),
            _ => Err(self.error(at, "this line's indentation matches no block around it")),
        }
    }

    /// Takes one token (or blanks, or a comment) off the front of `rest`; gives the number of bytes taken.
    fn token(&mut self, rest: &str, at: Position) -> Result<usize, SpecError> {
        let first = rest.chars().next().unwrap_or(' ');
        let run = |accept: fn(char) -> bool| rest.find(|c| !accept(c)).unwrap_or(rest.len());
        if first.is_whitespace() {
            return Ok(run(char::is_whitespace));
        }
        if first == '#' {
            return Ok(rest.len());
        }
        if first == '_' || first.is_alphabetic() {
            let taken = run(|c| c == '_' || c.is_alphanumeric());
            let word = &rest[..taken];
            let token = match KEYWORDS.iter().find(|keyword| **keyword == word) {
                Some(keyword) => Token::Sign(keyword),
                None => Token::Name(word.into()),
            };
            self.tokens.push((token, at));
            return Ok(taken);
        }
        if first.is_ascii_digit() {
            return self.number(rest, at);
        }
        if first == '"' || first == '\'' {
            let Some(length) = rest[1..].find(first) else {
                return Err(self.error(at, "this text is not closed"));
            };
            self.tokens.push((Token::Text(rest[1..=length].into()), at));
            return Ok(length + 2);
        }
        let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) else {
            return Err(self.error(at, &format!("`{first}` begins nothing that a spec knows")));
        };
        match *sign {
            "(" | "[" | "{" => self.depth += 1,
            ")" | "]" | "}" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.tokens.push((Token::Sign(sign), at));
        Ok(sign.len())
    }

    fn number(&mut self, rest: &str, at: Position) -> Result<usize, SpecError> {
        let mut end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(rest.len());
        if let Some(exponent) = rest[end..].strip_prefix('e') {
            let sign = usize::from(exponent.starts_with(['-', '+']));
            let digits = exponent[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(exponent.len() - sign);
            end += 1 + sign + digits;
        }
        let text = rest[..end].replace('_', "");
        let token = match text.parse::<i64>() {
            Ok(number) => Token::Int(number),
            Err(_) => match text.parse::<f64>() {
                Ok(number) => Token::Float(number),
                Err(_) => return Err(self.error(at, &format!("`{text}` is not a number"))),
            },
        };
        self.tokens.push((token, at));
        Ok(end)
    }

    fn finish(&mut self, at: Position) {
        if self.depth > 0 {
            self.tokens.push((Token::Newline, at));
        }
        for _ in 1..self.indents.len() {
            self.tokens.push((Token::Dedent, at));
        }
        self.tokens.push((Token::End, at));
    }

    fn error(&self, at: Position, message: &str) -> SpecError {
        SpecError::new(self.file, at, message)
    }
}
