//! Parses the code of specs: a recursive descent over the tokens, one function a level of precedence.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::SpecError;
use super::lexer::{Token, tokens};
use super::syntax::*;
use crate::words::quote;

/// How deep expressions and blocks may nest, and how high the tree of an expression may be: far beyond any real spec, well within
/// the stack.
const DEPTH: usize = 100;

/// The most names of a function: what a [`NameId`] can number.
const NAMES: usize = u16::MAX as usize;

/// Parses a function from its signature, `forward(hidden_states, cache=None)`, and its body.
///
/// `owner` is put before its name in messages; the positions are those of the two texts within `file`.
pub(super) fn function(
    owner: &str,
    signature: (&str, Position),
    body: (&str, Position),
    file: &Arc<str>,
) -> Result<Function, SpecError> {
    let mut names = Names::default();
    let (name, parameters) = {
        let mut parser = Parser::new(signature.0, signature.1, file, &mut names)?;
        parser.signature()?
    };
    let body = {
        let mut parser = Parser::new(body.0, body.1, file, &mut names)?;
        let body = parser.statements()?;
        parser.expect_end()?;
        body
    };
    let name = if owner.is_empty() { name } else { format!("{owner}.{name}") };
    Ok(Function { name, file: file.clone(), names: names.all, parameters, body })
}

/// Parses a single expression as a function without parameters other than `parameters`, which returns it.
pub(super) fn expression(
    name: &str,
    parameters: &[Arc<str>],
    text: (&str, Position),
    file: &Arc<str>,
) -> Result<Function, SpecError> {
    let mut names = Names::default();
    let mut parser = Parser::new(text.0, text.1, file, &mut names)?;
    let parameters = parameters
        .iter()
        .map(|parameter| Ok(Parameter { name: parser.number(parameter)?, default: None, rest: Rest::One }))
        .collect::<Parsed<_>>()?;
    let value = parser.sequence_or_expression()?;
    parser.skip(&Token::Newline);
    parser.expect_end()?;
    let body = vec![Statement { at: value.at, kind: StatementKind::Return(Some(value)) }];
    Ok(Function { name: name.to_owned(), file: file.clone(), names: names.all, parameters, body })
}

/// The names that a function uses, numbered in the order of their first use.
#[derive(Default)]
struct Names {
    all: Vec<Arc<str>>,
    numbers: FxHashMap<Arc<str>, NameId>,
}

impl Names {
    /// The number of a name; None where there are too many.
    fn number(&mut self, name: &Arc<str>) -> Option<NameId> {
        if let Some(known) = self.numbers.get(name) {
            return Some(*known);
        }
        let number = NameId(u16::try_from(self.all.len()).ok().filter(|_| self.all.len() < NAMES)?);
        self.all.push(name.clone());
        self.numbers.insert(name.clone(), number);
        Some(number)
    }
}

struct Parser<'a> {
    file: &'a Arc<str>,
    tokens: Vec<(Token, Position)>,
    next: usize,
    depth: usize,
    /// How high the tree of the expression is that was parsed last.
    height: usize,
    names: &'a mut Names,
}

type Parsed<T> = Result<T, SpecError>;

impl<'a> Parser<'a> {
    fn new(text: &str, at: Position, file: &'a Arc<str>, names: &'a mut Names) -> Parsed<Self> {
        Ok(Parser { file, tokens: tokens(text, file, at)?, next: 0, depth: 0, height: 0, names })
    }

    // ---- tokens -------------------------------------------------------------------------------------------------

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(&Token::End, |(token, _)| token)
    }

    fn at(&self) -> Position {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(Position { line: 1, column: 1 }, |(_, at)| *at)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn skip(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.next += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &'static str) -> bool {
        self.skip(&Token::Sign(sign))
    }

    fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn expect_end(&mut self) -> Parsed<()> {
        if *self.peek() == Token::End { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    fn name(&mut self) -> Parsed<Arc<str>> {
        match self.take() {
            Token::Name(name) => Ok(name),
            _ => {
                self.next -= 1;
                Err(self.unexpected("a name"))
            }
        }
    }

    fn number(&mut self, name: &Arc<str>) -> Parsed<NameId> {
        let number = self.names.number(name);
        number.ok_or_else(|| self.error(self.at(), &format!("a function has more than {NAMES} names")))
    }

    fn error(&self, at: Position, message: &str) -> SpecError {
        SpecError::new(self.file, at, message)
    }

    fn unexpected(&self, wanted: &str) -> SpecError {
        let found = match self.peek() {
            Token::Name(name) => format!("`{}`", quote::cut(name)),
            Token::Int(number) => format!("`{number}`"),
            Token::Float(number) => format!("`{number}`"),
            Token::Text(text) => quote::quoted(text),
            Token::Sign(sign) => format!("`{sign}`"),
            Token::Newline | Token::Dedent => "the end of the line".to_owned(),
            Token::Indent => "an indented line".to_owned(),
            Token::End => "the end".to_owned(),
        };
        self.error(self.at(), &format!("{wanted} was expected here, not {found}"))
    }

    /// Runs `parse` one level deeper; refuses what nests beyond reason.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEPTH {
            return Err(self.too_deep());
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// The expression that was parsed last becomes a part of one that has another part of that height.
    fn rise(&mut self, other: usize) -> Parsed<()> {
        self.height = 1 + self.height.max(other);
        if self.height > DEPTH { Err(self.too_deep()) } else { Ok(()) }
    }

    fn too_deep(&self) -> SpecError {
        self.error(self.at(), &format!("this nests deeper than {DEPTH} levels"))
    }

    // ---- signatures ---------------------------------------------------------------------------------------------

    fn signature(&mut self) -> Parsed<(String, Vec<Parameter>)> {
        let name = self.name()?.to_string();
        self.expect("(")?;
        let parameters = self.parameters(")")?;
        self.skip(&Token::Newline);
        self.expect_end()?;
        Ok((name, parameters))
    }

    /// The parameters of a function or a lambda, up to the sign behind them.
    fn parameters(&mut self, close: &'static str) -> Parsed<Vec<Parameter>> {
        let mut parameters = Vec::new();
        while !self.sign(close) {
            let rest = match () {
                () if self.sign("**") => Rest::Named,
                () if self.sign("*") => Rest::Positional,
                () => Rest::One,
            };
            let local = self.name()?;
            let name = self.number(&local)?;
            let default = if self.sign("=") { Some(self.expression()?) } else { None };
            parameters.push(Parameter { name, default, rest });
            if !self.sign(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(parameters)
    }

    // ---- statements ---------------------------------------------------------------------------------------------

    fn statements(&mut self) -> Parsed<Vec<Statement>> {
        let mut statements = Vec::new();
        while !matches!(self.peek(), Token::Dedent | Token::End) {
            if self.sign("pass") {
                self.newline()?;
                continue;
            }
            statements.push(self.nested(Self::statement)?);
        }
        Ok(statements)
    }

    fn newline(&mut self) -> Parsed<()> {
        if self.skip(&Token::Newline) || *self.peek() == Token::End {
            Ok(())
        } else {
            Err(self.unexpected("the end of the line"))
        }
    }

    fn block(&mut self) -> Parsed<Vec<Statement>> {
        self.expect(":")?;
        if !self.skip(&Token::Newline) {
            return Ok(vec![self.nested(Self::statement)?]);
        }
        if !self.skip(&Token::Indent) {
            return Err(self.unexpected("an indented line"));
        }
        let statements = self.statements()?;
        self.skip(&Token::Dedent);
        Ok(statements)
    }

    fn statement(&mut self) -> Parsed<Statement> {
        let at = self.at();
        let kind = if self.sign("return") {
            let nothing = matches!(self.peek(), Token::Newline | Token::End);
            let value = if nothing { None } else { Some(self.sequence_or_expression()?) };
            self.newline()?;
            StatementKind::Return(value)
        } else if self.sign("continue") {
            self.newline()?;
            StatementKind::Continue
        } else if self.sign("break") {
            self.newline()?;
            StatementKind::Break
        } else if self.sign("if") {
            self.conditional()?
        } else if self.sign("for") {
            let target = self.loop_target()?;
            self.expect("in")?;
            let source = self.expression()?;
            StatementKind::For(target, source, self.block()?)
        } else if self.sign("def") {
            self.definition(at)?
        } else if self.sign("del") {
            let mut names = Vec::new();
            loop {
                let name = self.name()?;
                names.push(self.number(&name)?);
                if !self.sign(",") {
                    break;
                }
            }
            self.newline()?;
            StatementKind::Delete(names)
        } else {
            let kind = self.assignment()?;
            self.newline()?;
            kind
        };
        Ok(Statement { kind, at })
    }

    /// What stands behind `def`: a name that is bound to a function.
    fn definition(&mut self, at: Position) -> Parsed<StatementKind> {
        let called = self.name()?;
        let name = self.number(&called)?;
        self.expect("(")?;
        let function = self.inner(&called, at, |parser| {
            let parameters = parser.parameters(")")?;
            Ok((parameters, parser.block()?))
        })?;
        Ok(StatementKind::Assign(Target::Name(name), function))
    }

    fn conditional(&mut self) -> Parsed<StatementKind> {
        let mut branches = vec![(self.expression()?, self.block()?)];
        while self.sign("elif") {
            branches.push((self.expression()?, self.block()?));
        }
        let otherwise = if self.sign("else") { self.block()? } else { Vec::new() };
        Ok(StatementKind::If(branches, otherwise))
    }

    fn assignment(&mut self) -> Parsed<StatementKind> {
        let left = self.sequence_or_expression()?;
        for (sign, operator) in
            [("+=", Binary::Add), ("-=", Binary::Subtract), ("*=", Binary::Multiply), ("/=", Binary::Divide)]
        {
            if self.sign(sign) {
                return Ok(StatementKind::Update(self.target(left)?, operator, self.sequence_or_expression()?));
            }
        }
        if self.sign("=") {
            let target = self.target(left)?;
            return Ok(StatementKind::Assign(target, self.sequence_or_expression()?));
        }
        Ok(StatementKind::Evaluate(left))
    }

    fn target(&mut self, expression: Expression) -> Parsed<Target> {
        match expression.kind {
            ExpressionKind::Name(name) => Ok(Target::Name(name)),
            ExpressionKind::Attribute(owner, name) => Ok(Target::Attribute(*owner, name)),
            ExpressionKind::Sequence(elements) => elements
                .into_iter()
                .map(|element| match element {
                    Argument::Plain(expression) => self.target(expression),
                    Argument::Spread(Expression { kind: ExpressionKind::Name(name), .. }) => Ok(Target::Rest(name)),
                    _ => Err(self.error(expression.at, "a name alone can take the rest")),
                })
                .collect::<Parsed<_>>()
                .map(Target::Sequence),
            _ => Err(self.error(expression.at, "this cannot be assigned")),
        }
    }

    fn loop_target(&mut self) -> Parsed<Target> {
        let mut targets = Vec::new();
        loop {
            if self.sign("(") {
                targets.push(self.nested(Self::loop_target)?);
                self.expect(")")?;
            } else {
                let name = self.name()?;
                targets.push(Target::Name(self.number(&name)?));
            }
            if !self.sign(",") {
                break;
            }
        }
        Ok(if targets.len() == 1 { targets.remove(0) } else { Target::Sequence(targets) })
    }

    // ---- expressions, loosest binding first ------------------------------------------------------------------

    fn sequence_or_expression(&mut self) -> Parsed<Expression> {
        let at = self.at();
        let first = self.element()?;
        if *self.peek() != Token::Sign(",") {
            return match first {
                Argument::Plain(expression) => Ok(expression),
                starred => Ok(Expression { kind: ExpressionKind::Sequence(vec![starred]), at }),
            };
        }
        let mut elements = vec![first];
        let mut highest = self.height;
        while self.sign(",") {
            if matches!(self.peek(), Token::Newline | Token::End | Token::Sign("=" | ")")) {
                break;
            }
            elements.push(self.element()?);
            highest = highest.max(self.height);
        }
        self.rise(highest)?;
        Ok(Expression { kind: ExpressionKind::Sequence(elements), at })
    }

    fn element(&mut self) -> Parsed<Argument> {
        if self.sign("*") { Ok(Argument::Spread(self.expression()?)) } else { Ok(Argument::Plain(self.expression()?)) }
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.nested(|parser| {
            let at = parser.at();
            if parser.sign("lambda") {
                return parser.lambda(at);
            }
            let value = parser.disjunction()?;
            if !parser.sign("if") {
                return Ok(value);
            }
            let mut highest = parser.height;
            let condition = parser.disjunction()?;
            highest = highest.max(parser.height);
            parser.expect("else")?;
            let otherwise = parser.expression()?;
            parser.rise(highest)?;
            Ok(Expression { kind: ExpressionKind::Choice(Box::new([condition, value, otherwise])), at })
        })
    }

    /// What stands behind `lambda`.
    fn lambda(&mut self, at: Position) -> Parsed<Expression> {
        let function = self.inner("lambda", at, |parser| {
            let parameters = parser.parameters(":")?;
            let value = parser.expression()?;
            Ok((parameters, vec![Statement { at: value.at, kind: StatementKind::Return(Some(value)) }]))
        })?;
        self.rise(0)?;
        Ok(function)
    }

    /// A function within a function. Its names are its own; those that it neither takes nor binds are looked for around it first.
    fn inner(
        &mut self,
        called: &str,
        at: Position,
        parse: impl FnOnce(&mut Self) -> Parsed<(Vec<Parameter>, Vec<Statement>)>,
    ) -> Parsed<Expression> {
        let mut own = Names::default();
        std::mem::swap(self.names, &mut own);
        let parsed = parse(self);
        std::mem::swap(self.names, &mut own);
        let (parameters, body) = parsed?;
        let mut bound: Vec<NameId> = parameters.iter().map(|parameter| parameter.name).collect();
        find_bound(&body, &mut bound);
        let mut around = Vec::new();
        for (name, inner) in own.all.iter().zip(0u16..).map(|(name, number)| (name, NameId(number))) {
            if !bound.contains(&inner) {
                around.push((self.number(name)?, inner));
            }
        }
        let function = Function { name: called.to_owned(), file: self.file.clone(), names: own.all, parameters, body };
        Ok(Expression { kind: ExpressionKind::Lambda(Arc::new(function), around), at })
    }

    fn disjunction(&mut self) -> Parsed<Expression> {
        let mut left = self.conjunction()?;
        while self.sign("or") {
            let (at, height) = (left.at, self.height);
            left = Expression { kind: ExpressionKind::Or(left.into(), self.conjunction()?.into()), at };
            self.rise(height)?;
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Parsed<Expression> {
        let mut left = self.negation()?;
        while self.sign("and") {
            let (at, height) = (left.at, self.height);
            left = Expression { kind: ExpressionKind::And(left.into(), self.negation()?.into()), at };
            self.rise(height)?;
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Expression> {
        let at = self.at();
        if self.sign("not") {
            let operand = self.nested(Self::negation)?;
            self.rise(0)?;
            return Ok(Expression { kind: ExpressionKind::Unary(Unary::Not, operand.into()), at });
        }
        self.comparison()
    }

    /// `a < b <= c` means `a < b and b <= c`, as in Python.
    fn comparison(&mut self) -> Parsed<Expression> {
        let first = self.binary(0)?;
        let at = first.at;
        let mut result: Option<Expression> = None;
        let mut left = first;
        let (mut height, mut chain) = (self.height, 0);
        while let Some(operator) = self.comparison_sign() {
            let right = self.binary(0)?;
            let next = self.height;
            self.rise(height)?;
            self.rise(chain)?;
            (height, chain) = (next, self.height);
            let kind = ExpressionKind::Binary(operator, left.into(), right.clone().into());
            let compared = Expression { kind, at };
            result = Some(match result {
                None => compared,
                Some(before) => Expression { kind: ExpressionKind::And(before.into(), compared.into()), at },
            });
            left = right;
        }
        Ok(result.unwrap_or(left))
    }

    fn comparison_sign(&mut self) -> Option<Binary> {
        const SIGNS: [(&str, Binary); 7] = [
            ("==", Binary::Equal),
            ("!=", Binary::NotEqual),
            ("<=", Binary::LessEqual),
            (">=", Binary::GreaterEqual),
            ("<", Binary::Less),
            (">", Binary::Greater),
            ("in", Binary::In),
        ];
        if let Some((_, operator)) = SIGNS.into_iter().find(|(sign, _)| self.sign(sign)) {
            return Some(operator);
        }
        if self.sign("is") {
            return Some(if self.sign("not") { Binary::IsNot } else { Binary::Is });
        }
        let not_in = *self.peek() == Token::Sign("not")
            && self.tokens.get(self.next + 1).is_some_and(|(token, _)| *token == Token::Sign("in"));
        if not_in {
            self.next += 2;
            return Some(Binary::NotIn);
        }
        None
    }

    fn binary(&mut self, level: usize) -> Parsed<Expression> {
        const LEVELS: [&[(&str, Binary)]; 5] = [
            &[("|", Binary::BitOr)],
            &[("^", Binary::BitXor)],
            &[("&", Binary::BitAnd)],
            &[("+", Binary::Add), ("-", Binary::Subtract)],
            &[
                ("*", Binary::Multiply),
                ("//", Binary::FloorDivide),
                ("/", Binary::Divide),
                ("%", Binary::Remainder),
                ("@", Binary::MatrixMultiply),
            ],
        ];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = signs.iter().find(|(sign, _)| self.sign(sign)) {
            let (at, height) = (left.at, self.height);
            let right = self.binary(level + 1)?;
            self.rise(height)?;
            left = Expression { kind: ExpressionKind::Binary(*operator, left.into(), right.into()), at };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let at = self.at();
        for (sign, operator) in [("-", Unary::Negate), ("~", Unary::Invert)] {
            if self.sign(sign) {
                let operand = self.nested(Self::unary)?;
                self.rise(0)?;
                return Ok(Expression { kind: ExpressionKind::Unary(operator, operand.into()), at });
            }
        }
        let base = self.postfix()?;
        if self.sign("**") {
            let height = self.height;
            let exponent = self.nested(Self::unary)?;
            self.rise(height)?;
            return Ok(Expression { kind: ExpressionKind::Binary(Binary::Power, base.into(), exponent.into()), at });
        }
        Ok(base)
    }

    fn postfix(&mut self) -> Parsed<Expression> {
        let mut value = self.atom()?;
        loop {
            let (at, height) = (value.at, self.height);
            let kind = if self.sign(".") {
                ExpressionKind::Attribute(value.into(), self.name()?)
            } else if self.sign("(") {
                ExpressionKind::Call(value.into(), self.arguments(")")?)
            } else if self.sign("[") {
                ExpressionKind::Index(value.into(), self.subscripts()?)
            } else {
                return Ok(value);
            };
            self.rise(height)?;
            value = Expression { kind, at };
        }
    }

    /// Arguments, or the elements of a list; the height is that of the highest.
    fn arguments(&mut self, close: &'static str) -> Parsed<Vec<Argument>> {
        let (mut arguments, mut highest) = (Vec::new(), 0);
        while !self.sign(close) {
            let named = match (self.peek(), self.tokens.get(self.next + 1)) {
                (Token::Name(name), Some((Token::Sign("="), _))) => Some(name.clone()),
                _ => None,
            };
            arguments.push(if let Some(name) = named {
                self.next += 2;
                Argument::Named(name, self.expression()?)
            } else if self.sign("**") {
                Argument::SpreadNamed(self.expression()?)
            } else {
                self.element()?
            });
            highest = highest.max(self.height);
            if !self.sign(",") {
                self.expect(close)?;
                break;
            }
        }
        self.height = highest;
        Ok(arguments)
    }

    /// What stands between brackets behind a value; the height is that of the highest.
    fn subscripts(&mut self) -> Parsed<Vec<Subscript>> {
        let (mut items, mut highest) = (Vec::new(), 0);
        let mut expression = |parser: &mut Self| {
            let parsed = parser.expression()?;
            highest = highest.max(parser.height);
            parser.height = highest;
            Ok(parsed)
        };
        loop {
            let ends = |token: &Token| matches!(token, Token::Sign("]" | "," | ":"));
            if self.sign("...") {
                items.push(Subscript::Ellipsis);
            } else {
                let start = if *self.peek() == Token::Sign(":") { None } else { Some(expression(self)?) };
                if self.sign(":") {
                    let end = if ends(self.peek()) { None } else { Some(expression(self)?) };
                    let has_step = self.sign(":") && !ends(self.peek());
                    let step = if has_step { Some(expression(self)?) } else { None };
                    items.push(Subscript::Range(start, end, step));
                } else {
                    items.extend(start.map(Subscript::At));
                }
            }
            if self.sign("]") {
                return Ok(items);
            }
            self.expect(",")?;
        }
    }

    fn atom(&mut self) -> Parsed<Expression> {
        let at = self.at();
        self.height = 1;
        let kind = match self.take() {
            Token::Name(name) => ExpressionKind::Name(self.number(&name)?),
            Token::Int(number) => ExpressionKind::Literal(Literal::Int(number)),
            Token::Float(number) => ExpressionKind::Literal(Literal::Float(number)),
            Token::Text(text) => ExpressionKind::Literal(Literal::Text(text)),
            Token::Sign("None") => ExpressionKind::Literal(Literal::None),
            Token::Sign("True") => ExpressionKind::Literal(Literal::Bool(true)),
            Token::Sign("False") => ExpressionKind::Literal(Literal::Bool(false)),
            Token::Sign("(") => return self.parenthesised(at),
            Token::Sign("[") => self.list()?,
            Token::Sign("{") => self.dictionary()?,
            _ => {
                self.next -= 1;
                return Err(self.unexpected("a value"));
            }
        };
        Ok(Expression { kind, at })
    }

    fn parenthesised(&mut self, at: Position) -> Parsed<Expression> {
        if self.sign(")") {
            return Ok(Expression { kind: ExpressionKind::Sequence(Vec::new()), at });
        }
        let inner = self.sequence_or_expression()?;
        let inner = match inner.kind {
            ExpressionKind::Name(name) if self.sign(":=") => {
                let value = self.expression()?;
                self.rise(0)?;
                Expression { kind: ExpressionKind::Named(name, value.into()), at }
            }
            _ => inner,
        };
        self.expect(")")?;
        Ok(inner)
    }

    fn list(&mut self) -> Parsed<ExpressionKind> {
        if self.sign("]") {
            return Ok(ExpressionKind::Sequence(Vec::new()));
        }
        let first = self.element()?;
        if self.sign("for") {
            let Argument::Plain(element) = first else {
                return Err(self.unexpected("a plain element"));
            };
            let mut highest = self.height;
            let target = self.loop_target()?;
            self.expect("in")?;
            let source = self.disjunction()?;
            highest = highest.max(self.height);
            let condition = if self.sign("if") { Some(self.disjunction()?) } else { None };
            self.expect("]")?;
            self.rise(highest)?;
            return Ok(ExpressionKind::Comprehension(Box::new(Comprehension { element, target, source, condition })));
        }
        let (mut elements, height) = (vec![first], self.height);
        if self.sign(",") {
            elements.extend(self.arguments("]")?);
        } else {
            self.expect("]")?;
        }
        self.rise(height)?;
        Ok(ExpressionKind::Sequence(elements))
    }

    fn dictionary(&mut self) -> Parsed<ExpressionKind> {
        let (mut entries, mut highest) = (Vec::new(), 0);
        while !self.sign("}") {
            let key = self.expression()?;
            highest = highest.max(self.height);
            self.expect(":")?;
            entries.push((key, self.expression()?));
            highest = highest.max(self.height);
            if !self.sign(",") {
                self.expect("}")?;
                break;
            }
        }
        self.rise(highest)?;
        Ok(ExpressionKind::Dictionary(entries))
    }
}

/// The names that statements bind, with those of loops and branches within them.
fn find_bound(statements: &[Statement], bound: &mut Vec<NameId>) {
    for statement in statements {
        match &statement.kind {
            StatementKind::Assign(target, _) | StatementKind::Update(target, ..) => find_targets(target, bound),
            StatementKind::For(target, _, body) => {
                find_targets(target, bound);
                find_bound(body, bound);
            }
            StatementKind::If(branches, otherwise) => {
                branches.iter().for_each(|(_, body)| find_bound(body, bound));
                find_bound(otherwise, bound);
            }
            _ => {}
        }
    }
}

fn find_targets(target: &Target, bound: &mut Vec<NameId>) {
    match target {
        Target::Name(name) | Target::Rest(name) => bound.push(*name),
        Target::Attribute(..) => {}
        Target::Sequence(targets) => targets.iter().for_each(|target| find_targets(target, bound)),
    }
}
