//! How deep a YAML text is nested, seen in one pass and without a tree. Where tokens begin and end is as in libyaml's
//! `scanner.c`, which reads the text afterwards: a bracket within quotes, a comment or a block of text is none.

use std::str::Chars;

/// The most characters between a key's begin and its colon (libyaml).
const LONGEST_KEY: usize = 1024;

/// Where a text is nested deeper than `most`: line and column, from 1.
pub(super) fn beyond(text: &str, most: usize) -> Option<(usize, usize)> {
    let mut scanner = Scanner::new(text);
    while scanner.next_token() {
        if scanner.flow + scanner.indents.len() > most {
            return Some((scanner.at.line + 1, scanner.at.column.max(1)));
        }
    }
    None
}

#[derive(Clone, Copy)]
struct Place {
    /// Characters before it.
    index: usize,
    line: usize,
    column: usize,
}

struct Scanner<'a> {
    rest: Chars<'a>,
    at: Place,
    /// Open brackets and braces.
    flow: usize,
    /// The columns of the open block collections.
    indents: Vec<usize>,
    /// Whether a key may begin here.
    key_allowed: bool,
    /// Where a key outside brackets may have begun.
    key: Option<Place>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Scanner<'a> {
        let at = Place { index: 0, line: 0, column: 0 };
        Scanner { rest: text.chars(), at, flow: 0, indents: Vec::new(), key_allowed: true, key: None }
    }

    /// The character so many ahead; NUL at the end, as in libyaml.
    fn peek(&self, ahead: usize) -> char {
        self.rest.clone().nth(ahead).unwrap_or('\0')
    }

    fn advance(&mut self) {
        let Some(character) = self.rest.next() else { return };
        self.at.index += 1;
        if is_break(character) && !(character == '\r' && self.peek(0) == '\n') {
            (self.at.line, self.at.column) = (self.at.line + 1, 0);
        } else {
            self.at.column += 1;
        }
    }

    fn advance_while(&mut self, goes_on: impl Fn(char) -> bool) {
        while self.peek(0) != '\0' && goes_on(self.peek(0)) {
            self.advance();
        }
    }

    /// The least column of what stands within the innermost block collection.
    fn margin(&self) -> usize {
        self.indents.last().map_or(0, |indent| indent + 1)
    }

    /// Goes over one token; false at the end.
    fn next_token(&mut self) -> bool {
        self.skip_blanks();
        if self.flow == 0 {
            while self.indents.last().is_some_and(|&indent| indent > self.at.column) {
                self.indents.pop();
            }
        }
        let (first, blank_follows) = (self.peek(0), is_blank_or_end(self.peek(1)));
        match first {
            '\0' => return false,
            '%' if self.at.column == 0 => self.advance_while(|c| !is_break(c)),
            '-' | '.' if self.is_document_marker() => self.begin_document(),
            '[' | '{' => self.open(),
            ']' | '}' => self.close(),
            ',' => self.indicator(None, true),
            '-' if blank_follows => self.indicator(Some(self.at.column), true),
            '?' if blank_follows || self.flow > 0 => self.indicator(Some(self.at.column), self.flow == 0),
            ':' if blank_follows || self.flow > 0 => self.value(),
            '|' | '>' if self.flow == 0 => self.block_scalar(),
            _ => self.scalar(first),
        }
        true
    }

    fn skip_blanks(&mut self) {
        loop {
            if self.at.column == 0 && self.peek(0) == '\u{feff}' {
                self.advance();
            }
            let tabs = self.flow > 0 || !self.key_allowed;
            self.advance_while(|c| c == ' ' || tabs && c == '\t');
            if self.peek(0) == '#' {
                self.advance_while(|c| !is_break(c));
            }
            if !is_break(self.peek(0)) {
                return;
            }
            self.end_line();
            self.key_allowed |= self.flow == 0;
        }
    }

    fn end_line(&mut self) {
        let line = self.at.line;
        while self.at.line == line && self.peek(0) != '\0' {
            self.advance();
        }
    }

    fn is_document_marker(&self) -> bool {
        let first = self.peek(0);
        self.at.column == 0
            && matches!(first, '-' | '.')
            && (1..3).all(|ahead| self.peek(ahead) == first)
            && is_blank_or_end(self.peek(3))
    }

    fn begin_document(&mut self) {
        if self.flow == 0 {
            self.indents.clear();
        }
        (self.key, self.key_allowed) = (None, false);
        (0..3).for_each(|_| self.advance());
    }

    fn open(&mut self) {
        self.may_be_key();
        self.flow += 1;
        self.key_allowed = true;
        self.advance();
    }

    fn close(&mut self) {
        if self.flow == 0 {
            self.key = None;
        }
        self.flow = self.flow.saturating_sub(1);
        self.key_allowed = false;
        self.advance();
    }

    /// A comma, dash or question mark; outside brackets the collection at this column may begin with it.
    fn indicator(&mut self, column: Option<usize>, key_allowed: bool) {
        if self.flow == 0 {
            self.key = None;
            self.indents.extend(column.filter(|&column| column >= self.margin()));
        }
        self.key_allowed = key_allowed;
        self.advance();
    }

    /// A colon: outside brackets the mapping may begin with its key.
    fn value(&mut self) {
        if self.flow == 0 {
            let key = self.key.take();
            let key = key.filter(|key| key.line == self.at.line && key.index + LONGEST_KEY >= self.at.index);
            let column = key.map_or(self.at.column, |key| key.column);
            if column >= self.margin() {
                self.indents.push(column);
            }
            self.key_allowed = key.is_none();
        }
        self.advance();
    }

    fn may_be_key(&mut self) {
        if self.flow == 0 && self.key_allowed {
            self.key = Some(self.at);
        }
    }

    /// A scalar, an alias, an anchor or a tag, which may be or begin a key.
    fn scalar(&mut self, first: char) {
        self.may_be_key();
        self.key_allowed = false;
        match first {
            '*' | '&' => {
                self.advance();
                self.advance_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            }
            '!' => self.tag(),
            '\'' | '"' => self.quoted(first),
            _ => self.plain(),
        }
    }

    fn tag(&mut self) {
        if self.peek(1) == '<' {
            self.advance_while(|c| c != '>' && !is_blank_or_end(c));
        }
        let in_flow = self.flow > 0;
        self.advance_while(|c| !(is_blank_or_end(c) || in_flow && c == ','));
    }

    fn quoted(&mut self, quote: char) {
        self.advance();
        while self.peek(0) != '\0' {
            let doubled = quote == '\'' && self.peek(0) == '\'' && self.peek(1) == '\'';
            if doubled || quote == '"' && self.peek(0) == '\\' {
                self.advance();
            } else if self.peek(0) == quote {
                return self.advance();
            }
            self.advance();
        }
    }

    fn plain(&mut self) {
        let margin = self.margin();
        loop {
            if self.is_document_marker() || self.peek(0) == '#' {
                return;
            }
            self.plain_word();
            if !is_blank(self.peek(0)) && !is_break(self.peek(0)) {
                return;
            }
            let line = self.at.line;
            self.advance_while(|c| is_blank(c) || is_break(c));
            self.key_allowed = self.at.line > line;
            if self.flow == 0 && self.at.column < margin {
                return;
            }
        }
    }

    fn plain_word(&mut self) {
        while !is_blank_or_end(self.peek(0)) {
            let ends_key = self.peek(0) == ':' && is_blank_or_end(self.peek(1));
            if ends_key || self.flow > 0 && matches!(self.peek(0), ',' | '[' | ']' | '{' | '}') {
                return;
            }
            self.key_allowed = false;
            self.advance();
        }
    }

    fn block_scalar(&mut self) {
        self.key = None;
        self.key_allowed = true;
        self.advance();
        let header = [self.peek(0), self.peek(1)];
        let increment = header.into_iter().take_while(|c| matches!(c, '+' | '-' | '1'..='9'));
        let increment = increment.filter_map(|c| c.to_digit(10)).next();
        self.end_line();
        let explicit = increment.map(|increment| self.margin().saturating_sub(1) + increment as usize);
        let found = self.skip_indent(explicit);
        let indent = explicit.unwrap_or_else(|| found.max(self.margin()).max(1));
        while self.at.column == indent && self.peek(0) != '\0' {
            self.end_line();
            self.skip_indent(Some(indent));
        }
    }

    /// Goes over empty lines and the blanks before the next text, up to a column; gives the largest column on the way.
    fn skip_indent(&mut self, most: Option<usize>) -> usize {
        let mut largest = 0;
        loop {
            while self.peek(0) == ' ' && most.is_none_or(|most| self.at.column < most) {
                self.advance();
            }
            largest = largest.max(self.at.column);
            if !is_break(self.peek(0)) {
                return largest;
            }
            self.end_line();
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank_or_end(c: char) -> bool {
    is_blank(c) || is_break(c) || c == '\0'
}

#[cfg(test)]
mod tests;
