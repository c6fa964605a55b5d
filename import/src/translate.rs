//! Translates functions: the same statements in the same order, with the same local names.
//!
//! ```text
//! Python                                   spec
//! nn.Linear(a, b, bias=False)              Linear(a, b, bias=False)          names.yaml
//! torch.cat((a, b), dim=-1)                cat([a, b], dim=-1)
//! outputs.append(x)                        outputs = outputs + [x]           lists and dictionaries do not change
//! if a: raise ValueError("...")            require(not a, "...")
//! super().forward(x)                       self.Base_forward(x)
//! ```
//!
//! A statement that cannot be said becomes `require(False, "FILE:LINE: what")`: a run that comes to it is refused with the place.

use std::rc::Rc;

use python_ast::visitor::{self, Visitor};
use python_ast::{
    BoolOp, CmpOp, Comprehension, Expr, ExprCall, InterpolatedStringElement, Number, Operator, Parameters, Stmt,
    StmtFunctionDef, UnaryOp,
};
use python_text::{Ranged, TextRange};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::classes::{Defined, Lineage, MethodKind};
use crate::family::{Import, fields_of, is_dataclass, pairs};
use crate::marks;
use crate::meaning::Meaning;
use crate::source::{Fault, Module};
use crate::weights;

/// A function in a spec.
#[derive(Clone, Debug)]
pub struct Code {
    /// Its parameters: `hidden_states, cache=None`.
    pub parameters: String,
    /// Its lines, indented.
    pub lines: Vec<String>,
}

/// What is special where a function stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A function of a file.
    Free,
    /// A method of a module.
    Method,
    /// A method of a config, whose `kwargs` are entries that its class does not name.
    Config,
}

/// A function that is being translated.
pub struct Translator<'a> {
    import: &'a mut Import,
    module: Rc<Module>,
    /// The lineage of the class, and where in it the function's class stands.
    class: Option<(Rc<Lineage>, usize)>,
    standing: Standing,
    locals: FxHashSet<String>,
    /// What the function imports itself.
    imports: FxHashMap<String, String>,
    /// Whether it makes a module.
    is_constructor: bool,
}

type Text = Result<Said, Fault>;

/// An expression in words, with how tightly it binds.
#[derive(Clone, Debug)]
struct Said {
    text: String,
    level: u8,
}

const CHOICE: u8 = 0;
const OR: u8 = 1;
const AND: u8 = 2;
const NOT: u8 = 3;
const COMPARISON: u8 = 4;
const BIT_OR: u8 = 5;
const BIT_XOR: u8 = 6;
const BIT_AND: u8 = 7;
const SUM: u8 = 8;
const PRODUCT: u8 = 9;
const SIGN: u8 = 10;
const POWER: u8 = 11;
const ATOM: u8 = 12;

fn atom(text: impl Into<String>) -> Said {
    Said { text: text.into(), level: ATOM }
}

impl Said {
    /// The text, in brackets where it binds less tightly than that.
    fn within(self, level: u8) -> String {
        if self.level >= level { self.text } else { format!("({})", self.text) }
    }

    fn negated(self) -> Said {
        match self.text.as_str() {
            "True" => atom("False"),
            "False" => atom("True"),
            _ => Said { text: format!("not {}", self.within(COMPARISON)), level: NOT },
        }
    }
}

/// Methods that change a tensor's type alone.
const CASTS: [(&str, &str); 8] = [
    ("long", "int64"),
    ("int", "int32"),
    ("half", "float16"),
    ("bfloat16", "bfloat16"),
    ("double", "float64"),
    ("bool", "bool"),
    ("short", "int16"),
    ("byte", "uint8"),
];

/// What makes tensors from nothing, and whether it takes more than sizes.
const MADE: [(&str, bool); 10] = [
    ("zeros", false),
    ("Tensor", false),
    ("FloatTensor", false),
    ("ones", false),
    ("empty", false),
    ("rand", false),
    ("randn", false),
    ("full", true),
    ("tensor", true),
    ("linspace", true),
];

/// Python's own functions by what they are called in specs.
const BUILTINS: [(&str, &str); 24] = [
    ("len", "len"),
    ("range", "range"),
    ("enumerate", "enumerate"),
    ("zip", "zip"),
    ("int", "int"),
    ("float", "float"),
    ("bool", "truth"),
    ("min", "min"),
    ("max", "max"),
    ("getattr", "getattr"),
    ("hasattr", "hasattr"),
    ("setattr", "set_attribute"),
    ("list", "list"),
    ("tuple", "list"),
    ("set", "distinct"),
    ("sorted", "sorted"),
    ("reversed", "reversed"),
    ("sum", "total"),
    ("all", "every"),
    ("any", "any"),
    ("abs", "absolute"),
    ("round", "round"),
    ("slice", "slice_of"),
    ("callable", "callable"),
];

impl<'a> Translator<'a> {
    /// A translator for a function that stands in a file, and in a class of it.
    pub fn new(
        import: &'a mut Import,
        module: Rc<Module>,
        class: Option<(Rc<Lineage>, usize)>,
        standing: Standing,
    ) -> Translator<'a> {
        Translator {
            import,
            module,
            class,
            standing,
            locals: FxHashSet::default(),
            imports: FxHashMap::default(),
            is_constructor: false,
        }
    }

    /// Translates a function; its first parameter is left out where that is the object.
    pub fn function(mut self, function: &StmtFunctionDef, before: &[String]) -> Code {
        self.is_constructor = function.name.as_str() == "__init__";
        self.find_locals(function);
        let parameters = self.parameters(&function.parameters).unwrap_or_else(|fault| {
            self.import.faults.push(fault);
            String::new()
        });
        let mut lines = before.to_vec();
        if is_without_gradients(function) && !gives_back(&function.body) {
            lines.push("no_grad_begins()".to_owned());
            self.block(&function.body, 0, &mut lines);
            lines.push("no_grad_ends()".to_owned());
        } else if is_without_gradients(function) {
            let mut body = Vec::new();
            self.body(&function.body, 0, &mut body);
            let call = within(function, &body, &mut lines);
            lines.insert(before.len(), "no_grad_begins()".to_owned());
            lines.extend([format!("result = {call}"), "no_grad_ends()".to_owned(), "return result".to_owned()]);
        } else {
            self.block(&function.body, 0, &mut lines);
        }
        Code { parameters, lines }
    }

    /// An expression that stands alone: a constant of a file or a class.
    pub fn constant(mut self, value: &Expr) -> Result<String, Fault> {
        self.expression(value).map(|said| said.within(ATOM))
    }

    fn fault<T>(&self, range: TextRange, message: impl Into<String>) -> Result<T, Fault> {
        Err(self.module.fault(range, message))
    }

    // ---- names ------------------------------------------------------------------------------------------------------

    fn find_locals(&mut self, function: &StmtFunctionDef) {
        let parameters = &function.parameters;
        for parameter in parameters.iter_non_variadic_params() {
            self.locals.insert(parameter.parameter.name.to_string());
        }
        for parameter in parameters.vararg.iter().chain(&parameters.kwarg) {
            self.locals.insert(parameter.name.to_string());
        }
        self.find_bound(&function.body);
    }

    fn find_bound(&mut self, statements: &[Stmt]) {
        for statement in statements {
            let mut named = NamedWithin(Vec::new());
            named.visit_stmt(statement);
            self.locals.extend(named.0);
            match statement {
                Stmt::Assign(assign) => assign.targets.iter().for_each(|target| self.find_targets(target)),
                Stmt::AnnAssign(assign) => self.find_targets(&assign.target),
                Stmt::AugAssign(assign) => self.find_targets(&assign.target),
                Stmt::For(repeated) => {
                    self.find_targets(&repeated.target);
                    self.find_bound(&repeated.body);
                }
                Stmt::While(repeated) => self.find_bound(&repeated.body),
                Stmt::If(conditional) => {
                    self.find_bound(&conditional.body);
                    conditional.elif_else_clauses.iter().for_each(|clause| self.find_bound(&clause.body));
                }
                Stmt::With(with) => {
                    with.items
                        .iter()
                        .filter_map(|item| item.optional_vars.as_deref())
                        .for_each(|v| self.find_targets(v));
                    self.find_bound(&with.body);
                }
                Stmt::Try(tried) => {
                    [&tried.body, &tried.orelse, &tried.finalbody].into_iter().for_each(|body| self.find_bound(body));
                }
                Stmt::FunctionDef(inner) => drop(self.locals.insert(inner.name.to_string())),
                _ => {}
            }
        }
    }

    fn find_targets(&mut self, target: &Expr) {
        match target {
            Expr::Name(name) => drop(self.locals.insert(name.id.to_string())),
            Expr::Tuple(tuple) => tuple.elts.iter().for_each(|target| self.find_targets(target)),
            Expr::List(list) => list.elts.iter().for_each(|target| self.find_targets(target)),
            Expr::Starred(starred) => self.find_targets(&starred.value),
            _ => {}
        }
    }

    /// The dotted name that an expression spells, if it begins at the top of the file.
    fn dotted(&self, expression: &Expr) -> Option<String> {
        let mut first = expression;
        while let Expr::Attribute(attribute) = first {
            first = &attribute.value;
        }
        if let Expr::Name(name) = first
            && let Some(meant) = self.imports.get(name.id.as_str())
        {
            let mut rest = Vec::new();
            let mut at = expression;
            while let Expr::Attribute(attribute) = at {
                rest.push(attribute.attr.to_string());
                at = &attribute.value;
            }
            rest.push(meant.clone());
            rest.reverse();
            return Some(rest.join("."));
        }
        self.import.world.dotted(&self.module, expression, &|name| self.locals.contains(name))
    }

    /// What stands in the spec for a dotted name; a local of the same name hides it not.
    fn meaning(&mut self, dotted: &str, range: TextRange) -> Text {
        let said = self.meant(dotted, range)?;
        Ok(if self.locals.contains(&said.text) { atom(format!("library.{}", said.text)) } else { said })
    }

    fn meant(&mut self, dotted: &str, range: TextRange) -> Text {
        if let Some(meant) = self.import.world.names.means.get(dotted) {
            return Ok(atom(meant.clone()));
        }
        if let Some(name) = self.import.operator(dotted) {
            return Ok(atom(name));
        }
        match self.import.world.definition(dotted)? {
            Some(Meaning::Class(defined)) => {
                let lineage = Lineage::of(&self.import.world, &defined.module, &defined.class)?;
                if lineage.derives_from("transformers.utils.generic.ModelOutput")
                    || lineage.derives_from("transformers.utils.ModelOutput")
                {
                    return Ok(atom("Output"));
                }
                Ok(atom(self.import.want_class(defined)))
            }
            Some(Meaning::Function(module, function)) => Ok(atom(self.import.want_function(module, function))),
            Some(Meaning::Value(module, value)) => {
                let text = Translator::new(self.import, module, None, Standing::Free).constant(&value)?;
                Ok(atom(text))
            }
            // outputs are bags of fields, whether transformers' own files are there or not
            None if dotted.starts_with("transformers.modeling_outputs.") => Ok(atom("Output")),
            None => match dotted.rsplit_once('.') {
                Some((owner, name)) => self.attribute_of_class(owner, name, dotted, range),
                None => self.fault(range, format!("`{dotted}` has no counterpart")),
            },
        }
    }

    /// `Class.method` and `Class.CONSTANT`.
    fn attribute_of_class(&mut self, owner: &str, name: &str, dotted: &str, range: TextRange) -> Text {
        if let Some(Meaning::Class(defined)) = self.import.world.definition(owner)? {
            let lineage = Rc::new(Lineage::of(&self.import.world, &defined.module, &defined.class)?);
            if let Some(method) = lineage.method(name, 0)
                && method.kind() == MethodKind::Static
            {
                return Ok(atom(self.import.want_static(&lineage, &method)));
            }
            if let Some((place, value)) = lineage.attribute(name) {
                let module = lineage.classes[place].module.clone();
                return Ok(atom(Translator::new(self.import, module, None, Standing::Free).constant(value)?));
            }
        }
        self.fault(range, format!("`{dotted}` has no counterpart"))
    }

    fn name(&mut self, name: &str, expression: &Expr) -> Text {
        if self.standing == Standing::Config && name == "kwargs" {
            return Ok(atom("self"));
        }
        if self.locals.contains(name) && !self.imports.contains_key(name) {
            return Ok(atom(name));
        }
        match self.dotted(expression) {
            Some(dotted) => self.meaning(&dotted, expression.range()),
            None => match BUILTINS.iter().find(|(python, _)| *python == name) {
                Some((_, meant)) if self.locals.contains(*meant) => Ok(atom(format!("library.{meant}"))),
                Some((_, meant)) => Ok(atom(*meant)),
                None => self.fault(expression.range(), format!("`{name}` has no counterpart")),
            },
        }
    }

    // ---- statements -------------------------------------------------------------------------------------------------

    fn block(&mut self, statements: &[Stmt], depth: usize, lines: &mut Vec<String>) {
        for statement in statements {
            let before = lines.len();
            if let Err(fault) = self.statement(statement, depth, lines) {
                lines.truncate(before);
                let text = if self.import.marks { fault.message.clone() } else { fault.to_string() };
                lines.push(line(depth, format!("require(False, {})", quoted(&text))));
                if self.import.marks {
                    lines[before] += &marks::mark(&fault.file, fault.line, 1);
                }
                self.import.faults.push(fault);
            }
            if self.import.marks {
                let (row, column) = self.module.position(statement.range());
                marks::add(&mut lines[before..], &self.module.file, row, column);
            }
        }
    }

    fn statement(&mut self, statement: &Stmt, depth: usize, lines: &mut Vec<String>) -> Result<(), Fault> {
        let mut say = |text: String| lines.push(line(depth, text));
        match statement {
            Stmt::Pass(_) | Stmt::Global(_) => {}
            Stmt::Break(_) => say("break".into()),
            Stmt::Continue(_) => say("continue".into()),
            Stmt::Expr(evaluated) => {
                for text in self.evaluated(&evaluated.value)? {
                    say(text);
                }
            }
            Stmt::Return(returned) => match &returned.value {
                None => say("return None".into()),
                Some(value) => {
                    let value = self.expression(value)?.text;
                    say(format!("return {value}"));
                }
            },
            Stmt::Assign(assign) => {
                let value = self.expression(&assign.value)?;
                let mut targets = assign.targets.iter();
                if let Some(first) = targets.next() {
                    say(self.assigned(first, value)?);
                    for other in targets {
                        let value = self.expression(first)?;
                        say(self.assigned(other, value)?);
                    }
                }
            }
            Stmt::AnnAssign(assign) => {
                if let Some(value) = &assign.value {
                    let value = self.expression(value)?;
                    say(self.assigned(&assign.target, value)?);
                }
            }
            Stmt::AugAssign(assign) => {
                let value = self.expression(&assign.value)?;
                let target = self.expression(&assign.target)?;
                let in_place = matches!(assign.op, Operator::Add | Operator::Sub | Operator::Mult | Operator::Div);
                if in_place && !matches!(&*assign.target, Expr::Subscript(_)) {
                    let (sign, _) = sign_of(assign.op);
                    say(format!("{} {sign}= {}", target.text, value.text));
                } else if in_place {
                    let name = match assign.op {
                        Operator::Add => "add_",
                        Operator::Sub => "sub_",
                        Operator::Mult => "mul_",
                        _ => "div_",
                    };
                    say(format!("{}.{name}({})", target.within(ATOM), value.text));
                } else {
                    let (sign, level) = sign_of(assign.op);
                    let sum = format!("{} {sign} {}", target.within(level), value.within(level + 1));
                    say(self.assigned(&assign.target, Said { text: sum, level })?);
                }
            }
            Stmt::Delete(deleted) => {
                let names: Vec<String> = deleted
                    .targets
                    .iter()
                    .map(|target| match target {
                        Expr::Name(name) => Ok(name.id.to_string()),
                        other => self.fault(other.range(), "only names are deleted"),
                    })
                    .collect::<Result<_, _>>()?;
                say(format!("del {}", names.join(", ")));
            }
            Stmt::Raise(raised) => {
                let message = raised.exc.as_deref().map_or("it raises".into(), |exc| self.raised(exc));
                say(format!("require(False, {message})"));
            }
            Stmt::Assert(asserted) => {
                let test = self.expression(&asserted.test)?.text;
                let message = asserted.msg.as_deref().map_or_else(|| quoted("an assertion fails"), |m| self.message(m));
                say(format!("require({test}, {message})"));
            }
            Stmt::If(conditional) if self.import.plain && self.does_nothing(conditional) => {}
            Stmt::If(conditional) => {
                let asked = without_question(conditional);
                return self.conditional(asked.as_ref().unwrap_or(conditional), depth, lines);
            }
            Stmt::For(repeated) => {
                if !repeated.orelse.is_empty() {
                    return self.fault(repeated.range, "`for ... else` is not known");
                }
                if self.import.plain
                    && let Some(owner) = weights::owner(&repeated.iter)
                {
                    match weights::what_is_done(&repeated.body) {
                        weights::Done::Filled => return Ok(()),
                        weights::Done::Frozen => {
                            let owner = self.expression(owner)?.text;
                            say(format!("freeze({owner})"));
                            return Ok(());
                        }
                        weights::Done::More => {}
                    }
                }
                let source = self.expression(&repeated.iter)?.text;
                let target = self.target(&repeated.target)?;
                say(format!("for {target} in {source}:"));
                self.body(&repeated.body, depth + 1, lines);
            }
            Stmt::With(with) => {
                let mut ends = Vec::new();
                for item in &with.items {
                    let (begin, end) = self.context(&item.context_expr)?;
                    begin.into_iter().for_each(&mut say);
                    ends.extend(end);
                }
                self.block(&with.body, depth, lines);
                ends.into_iter().rev().for_each(|end| lines.push(line(depth, end)));
            }
            // what would be raised is refused where it happens: handlers never run
            Stmt::Try(tried) => {
                for body in [&tried.body, &tried.orelse, &tried.finalbody] {
                    self.block(body, depth, lines);
                }
            }
            Stmt::FunctionDef(inner) => self.inner_function(inner, depth, lines)?,
            Stmt::Import(import) => {
                for alias in &import.names {
                    let bound = alias.asname.as_ref().unwrap_or(&alias.name).to_string();
                    self.imports.insert(bound, alias.name.to_string());
                }
            }
            Stmt::ImportFrom(import) => self.imports.extend(self.module.imported(import)),
            other => return self.fault(other.range(), format!("{} is not known", kind_of(other))),
        }
        Ok(())
    }

    /// Whether an `if` does nothing but warn.
    fn does_nothing(&self, conditional: &python_ast::StmtIf) -> bool {
        conditional.elif_else_clauses.is_empty()
            && conditional.body.iter().all(|statement| match statement {
                Stmt::Expr(evaluated) => match &*evaluated.value {
                    Expr::Call(call) => self.is_ignored(&call.func),
                    Expr::StringLiteral(_) => true,
                    _ => false,
                },
                Stmt::Pass(_) => true,
                Stmt::If(inner) => self.does_nothing(inner),
                _ => false,
            })
    }

    /// A function within a function, which sees the locals around it.
    fn inner_function(&mut self, inner: &StmtFunctionDef, depth: usize, lines: &mut Vec<String>) -> Result<(), Fault> {
        if !inner.decorator_list.is_empty() {
            return self.fault(inner.range, "a decorated function within a function is not known");
        }
        let outer = self.locals.clone();
        self.find_locals(inner);
        let parameters = self.parameters(&inner.parameters);
        if let Ok(parameters) = &parameters {
            lines.push(line(depth, format!("def {}({parameters}):", inner.name)));
            self.body(&inner.body, depth + 1, lines);
        }
        self.locals = outer;
        parameters.map(drop)
    }

    /// The statements of a branch or a loop, `pass` where nothing is left of them.
    fn body(&mut self, statements: &[Stmt], depth: usize, lines: &mut Vec<String>) {
        let before = lines.len();
        self.block(statements, depth, lines);
        if lines.len() == before {
            lines.push(line(depth, "pass"));
        }
    }

    fn conditional(
        &mut self,
        conditional: &python_ast::StmtIf,
        depth: usize,
        lines: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let first = (Some(&*conditional.test), &conditional.body);
        let clauses = conditional.elif_else_clauses.iter().map(|clause| (clause.test.as_ref(), &clause.body));
        let mut said = Vec::new();
        for (test, body) in std::iter::once(first).chain(clauses) {
            let test = match test {
                Some(test) => self.expression(test)?.text,
                None => "True".into(),
            };
            if test == "False" {
                continue;
            }
            let ends = test == "True";
            let mut inner = Vec::new();
            self.block(body, 0, &mut inner);
            said.push((test, inner));
            if ends {
                break;
            }
        }
        while said.last().is_some_and(|(_, inner)| inner.is_empty()) {
            said.pop();
        }
        let indented = |inner: &[String], depth: usize| inner.iter().map(|text| line(depth, text)).collect::<Vec<_>>();
        for (place, (test, inner)) in said.iter().enumerate() {
            let alone = said.len() == 1;
            match (place, test.as_str()) {
                (0, "True") => {
                    lines.extend(indented(inner, depth));
                    return Ok(());
                }
                // `if a: raise ...` in one line
                (0, test)
                    if alone
                        && inner.len() == 1
                        && inner[0].starts_with("require(False, ")
                        // a message may ask for what is not there
                        && !(test.contains("hasattr(") && inner[0].contains("self.")) =>
                {
                    let message = &inner[0]["require(False, ".len()..];
                    let negated = match test.strip_prefix("not ") {
                        Some(rest) if !rest.contains(" and ") && !rest.contains(" or ") && !rest.contains(" if ") => {
                            rest.to_owned()
                        }
                        _ => format!("not ({test})"),
                    };
                    lines.push(line(depth, format!("require({negated}, {message}")));
                    return Ok(());
                }
                (0, test) => lines.push(line(depth, format!("if {test}:"))),
                (_, "True") => lines.push(line(depth, "else:")),
                (_, test) => lines.push(line(depth, format!("elif {test}:"))),
            }
            match inner.is_empty() {
                true => lines.push(line(depth + 1, "pass")),
                false => lines.extend(indented(inner, depth + 1)),
            }
        }
        Ok(())
    }

    /// What a context manager does where it begins and where it ends.
    fn context(&mut self, expression: &Expr) -> Result<(Vec<String>, Vec<String>), Fault> {
        let Expr::Call(call) = expression else {
            return self.fault(expression.range(), "this context manager is not known");
        };
        let dotted = self.dotted(&call.func).unwrap_or_default();
        let name = dotted.rsplit('.').next().unwrap_or_default();
        match name {
            "no_grad" | "inference_mode" => Ok((vec!["no_grad_begins()".into()], vec!["no_grad_ends()".into()])),
            "maybe_autocast" | "autocast" => {
                let disabled = call.arguments.keywords.iter().any(|keyword| {
                    keyword.arg.as_ref().is_some_and(|name| name.as_str() == "enabled")
                        && matches!(&keyword.value, Expr::BooleanLiteral(flag) if !flag.value)
                });
                match disabled {
                    true => Ok((vec!["enter_autocast(False)".into()], vec!["exit_autocast()".into()])),
                    false => self.fault(expression.range(), "autocast that is switched on is not known"),
                }
            }
            _ => self.fault(expression.range(), format!("the context manager `{name}` is not known")),
        }
    }

    /// A statement that is an expression: what it does, if it does anything.
    fn evaluated(&mut self, expression: &Expr) -> Result<Vec<String>, Fault> {
        let call = match expression {
            Expr::StringLiteral(_) | Expr::EllipsisLiteral(_) => return Ok(Vec::new()),
            Expr::Call(call) => call,
            other => return Ok(vec![self.expression(other)?.text]),
        };
        if self.is_ignored(&call.func) {
            return Ok(Vec::new());
        }
        let arguments = &call.arguments;
        if let Expr::Attribute(method) = &*call.func {
            let name = method.attr.as_str();
            if is_super(&method.value) {
                return self.super_statement(call, name);
            }
            let single = match (&*arguments.args, arguments.keywords.len()) {
                ([value], 0) => Some(value),
                _ => None,
            };
            match (name, single) {
                ("requires_grad_", Some(Expr::BooleanLiteral(flag))) => {
                    return Ok(match flag.value {
                        true => Vec::new(),
                        false => vec![format!("freeze({})", self.expression(&method.value)?.text)],
                    });
                }
                ("copy_", Some(value)) if matches!(&*method.value, Expr::Subscript(_)) => {
                    let value = self.expression(value)?;
                    return Ok(vec![self.assigned(&method.value, value)?]);
                }
                ("zero_", None) if self.import.plain && arguments.is_empty() => {
                    if let Expr::Subscript(subscript) = &*method.value
                        && let Expr::Slice(slice) = &*subscript.slice
                        && let (Some(from), Some(to), None) = (&slice.lower, &slice.upper, &slice.step)
                        && matches!(&*subscript.value, Expr::Name(_))
                    {
                        let owner = self.expression(&subscript.value)?.text;
                        let (from, to) = (self.expression(from)?.text, self.expression(to)?.text);
                        return Ok(vec![format!("{owner} = {owner}.copy_slice_(0, {from}, {to}, 0.0)")]);
                    }
                }
                ("unsqueeze_", Some(dim)) if matches!(&*method.value, Expr::Name(_)) => {
                    let (owner, dim) = (self.expression(&method.value)?, self.expression(dim)?.text);
                    let viewed = atom(format!("{}.unsqueeze({dim})", owner.within(ATOM)));
                    return Ok(vec![self.assigned(&method.value, viewed)?]);
                }
                ("save_for_backward", _) => {
                    let (ctx, saved) = (self.expression(&method.value)?.text, self.sequence(&arguments.args)?.text);
                    return Ok(vec![format!("{ctx}.saved_tensors = {saved}")]);
                }
                ("append", Some(value)) => {
                    let (owner, value) = (self.expression(&method.value)?.within(SUM), self.expression(value)?.text);
                    let longer = Said { text: format!("{owner} + [{value}]"), level: SUM };
                    return Ok(vec![self.assigned(&method.value, longer)?]);
                }
                ("extend", Some(value)) => {
                    let (owner, value) =
                        (self.expression(&method.value)?.within(SUM), self.expression(value)?.within(PRODUCT));
                    let longer = Said { text: format!("{owner} + list({value})"), level: SUM };
                    return Ok(vec![self.assigned(&method.value, longer)?]);
                }
                ("update", Some(Expr::Dict(entries))) => {
                    let owner = self.expression(&method.value)?.text;
                    let mut said = Vec::new();
                    for item in &entries.items {
                        let Some(key) = &item.key else {
                            return self.fault(call.range, "a spread dictionary is not known here");
                        };
                        let (key, value) = (self.expression(key)?.text, self.expression(&item.value)?.text);
                        said.push(self.assigned(&method.value, atom(format!("with_entry({owner}, {key}, {value})")))?);
                    }
                    return Ok(said);
                }
                ("setdefault", None) if arguments.args.len() == 2 => {
                    let owner = self.expression(&method.value)?.text;
                    let (key, value) =
                        (self.expression(&arguments.args[0])?.text, self.expression(&arguments.args[1])?.text);
                    return Ok(match owner.as_str() {
                        "self" => vec![format!("settle_entry(self, {key}, {value})")],
                        _ => {
                            vec![self.assigned(&method.value, atom(format!("with_default({owner}, {key}, {value})")))?]
                        }
                    });
                }
                ("pop", _) if self.standing == Standing::Config => return Ok(Vec::new()),
                ("register_buffer", _) if arguments.args.len() >= 2 => {
                    let persistent = match arguments
                        .find_keyword("persistent")
                        .map(|keyword| &keyword.value)
                        .or(arguments.args.get(2))
                    {
                        Some(flag) => self.expression(flag)?.text,
                        None => "True".into(),
                    };
                    let value = self.expression(&arguments.args[1])?.text;
                    let owner = self.expression(&method.value)?.text;
                    return Ok(vec![match &arguments.args[0] {
                        Expr::StringLiteral(name) => {
                            format!("{owner}.{} = Buffer({value}, {persistent})", name.value.to_str())
                        }
                        name => {
                            let name = self.expression(name)?.text;
                            format!("set_attribute({owner}, {name}, Buffer({value}, {persistent}))")
                        }
                    }]);
                }
                ("register_parameter", _) | ("add_module", _) if arguments.args.len() == 2 => {
                    let owner = self.expression(&method.value)?.text;
                    let (name, value) =
                        (self.expression(&arguments.args[0])?.text, self.expression(&arguments.args[1])?.text);
                    return Ok(vec![format!("set_attribute({owner}, {name}, {value})")]);
                }
                _ => {}
            }
        }
        Ok(vec![self.expression(expression)?.text])
    }

    /// `super().__init__(config)` and its like, as a statement.
    fn super_statement(&mut self, call: &ExprCall, name: &str) -> Result<Vec<String>, Fault> {
        let Some((lineage, place)) = self.class.clone() else {
            return self.fault(call.range, "super() stands in no class");
        };
        if lineage.method(name, place + 1).is_some() {
            return Ok(vec![self.call(call)?.text]);
        }
        if name != "__init__" {
            return match self.foreign_method(&lineage, name) {
                Some(meant) => Ok(vec![format!("{meant}(self)")]),
                None => self.fault(call.range, format!("no base that is read has `{name}`")),
            };
        }
        if self.standing == Standing::Config {
            // what the base's constructor is given are entries, where the config names none
            let mut said = Vec::new();
            for keyword in &call.arguments.keywords {
                if let Some(name) = &keyword.arg {
                    let value = self.expression(&keyword.value)?.text;
                    said.push(format!("settle_entry(self, {}, {value})", quoted(name.as_str())));
                }
            }
            said.push("settle_config(self)".to_owned());
            return Ok(said);
        }
        let base = lineage.classes.get(place + 1).filter(|base| is_dataclass(&base.class));
        if let Some(base) = base.filter(|_| self.import.plain) {
            return self.dataclass_init(call, &base.clone());
        }
        let mut said = Vec::new();
        for foreign in &lineage.foreign {
            let Some(base) = self.import.world.names.bases.get(foreign) else {
                return self.fault(call.range, format!("the base `{foreign}` is not known"));
            };
            let init = base.init.clone();
            if init.is_empty() {
                continue;
            }
            let first = match call.arguments.args.first() {
                Some(first) => self.expression(first)?.text,
                None => match call.arguments.keywords.first() {
                    Some(keyword) => self.expression(&keyword.value)?.text,
                    None => "None".into(),
                },
            };
            said.extend(init.lines().map(|text| text.replace("{0}", &first)));
        }
        Ok(said)
    }

    /// `super().__init__(a, b)` of a class whose base is a dataclass: its fields are set.
    fn dataclass_init(&mut self, call: &ExprCall, base: &Defined) -> Result<Vec<String>, Fault> {
        let fields = fields_of(&Lineage::of(&self.import.world, &base.module, &base.class)?);
        let mut said = Vec::new();
        for (place, (name, default)) in fields.iter().enumerate() {
            let given = call.arguments.args.get(place);
            let given = given.or_else(|| call.arguments.find_keyword(name).map(|keyword| &keyword.value));
            let value = match (given, default) {
                (Some(value), _) => self.expression(value)?.text,
                (None, Some((module, value))) => {
                    Translator::new(self.import, module.clone(), None, Standing::Free).constant(value)?
                }
                (None, None) => return self.fault(call.range, format!("`{name}` is not given")),
            };
            said.push(format!("self.{name} = {value}"));
        }
        Ok(said)
    }

    fn foreign_method(&self, lineage: &Lineage, name: &str) -> Option<String> {
        lineage.foreign.iter().find_map(|base| self.import.world.names.bases.get(base)?.methods.get(name).cloned())
    }

    fn is_ignored(&self, callee: &Expr) -> bool {
        if let Expr::Attribute(method) = callee
            && self.import.plain
            && method.attr.as_str() == "apply"
            && self.dotted(callee).is_none()
        {
            return true;
        }
        if let Expr::Attribute(method) = callee
            && matches!(&*method.value, Expr::Name(name) if name.id.as_str() == "self")
            && matches!(
                method.attr.as_str(),
                "post_init"
                    | "_register_load_state_dict_pre_hook"
                    | "init_weights"
                    | "reset_parameters"
                    | "_init_weights"
                    | "tie_weights"
            )
        {
            return true;
        }
        match (self.dotted(callee), callee) {
            (Some(dotted), _) => {
                let logs = self.module.bindings.get("logger").is_some()
                    && dotted.starts_with(&format!("{}.logger.", self.module.name));
                logs || self.import.world.names.ignores(&dotted)
            }
            (None, Expr::Name(name)) => name.id.as_str() == "print",
            _ => false,
        }
    }

    /// `target = value`, where the target may be an entry of a list or dictionary, or a part of a tensor.
    fn assigned(&mut self, target: &Expr, value: Said) -> Result<String, Fault> {
        if let Expr::Subscript(subscript) = target {
            let owner = self.expression(&subscript.value)?;
            let is_part = |expression: &Expr| {
                matches!(expression, Expr::Slice(_) | Expr::EllipsisLiteral(_))
                    || matches!(expression, Expr::Tuple(parts) if parts.elts.iter().any(|part| matches!(part, Expr::Slice(_) | Expr::EllipsisLiteral(_))))
            };
            if let Some(said) = self.assigned_part(subscript, &owner, &value)? {
                return Ok(said);
            }
            if is_part(&subscript.slice) {
                let part = self.expression(target)?.text;
                return Ok(format!("{part}.copy_({})", value.text));
            }
            if let Expr::Tuple(parts) = &*subscript.slice {
                let parts: Result<Vec<String>, Fault> = parts.elts.iter().map(|part| self.subscript(part)).collect();
                return Ok(format!("set_elements({}, [{}], {})", owner.text, parts?.join(", "), value.text));
            }
            let key = self.expression(&subscript.slice)?.text;
            self.import.captures |= key == "\"output_hidden_states\"" && value.text == "True";
            if self.standing == Standing::Config && owner.text == "self" {
                return Ok(format!("set_attribute(self, {key}, {})", value.text));
            }
            // an entry of an entry: the outer one is put in place as well
            let changed = atom(format!("with_entry({}, {key}, {})", owner.text, value.text));
            return self.assigned(&subscript.value, changed);
        }
        // `(x,) = y` takes the one element out
        let value = match target {
            Expr::Tuple(tuple) if tuple.elts.len() == 1 && !matches!(tuple.elts[0], Expr::Starred(_)) => {
                format!("first({})", value.text)
            }
            _ => value.text,
        };
        Ok(format!("{} = {value}", self.target(target)?))
    }

    /// `x[..., a:b] = y` and `x[:, i] = y`: the tensor stays, at a new place of the autograd graph.
    fn assigned_part(
        &mut self,
        subscript: &python_ast::ExprSubscript,
        owner: &Said,
        value: &Said,
    ) -> Result<Option<String>, Fault> {
        let Expr::Tuple(parts) = &*subscript.slice else { return Ok(None) };
        let is_all = |part: &Expr| match part {
            Expr::Slice(slice) => slice.lower.is_none() && slice.upper.is_none() && slice.step.is_none(),
            _ => false,
        };
        let (from_end, parts) = match &parts.elts[..] {
            [Expr::EllipsisLiteral(_), rest @ ..] => (true, rest),
            all => (false, all),
        };
        let mut chosen = parts.iter().enumerate().filter(|(_, part)| !is_all(part));
        let (Some((place, part)), None) = (chosen.next(), chosen.next()) else { return Ok(None) };
        if !matches!(&*subscript.value, Expr::Name(_)) || value.text.parse::<f64>().is_ok() {
            return Ok(None);
        }
        let dim = if from_end { place as i64 - parts.len() as i64 } else { place as i64 };
        let name = &owner.text;
        let said = match part {
            Expr::Slice(slice) if slice.step.is_none() => {
                let start = match &slice.lower {
                    Some(bound) => self.expression(bound)?.text,
                    None => "0".to_owned(),
                };
                let end = match &slice.upper {
                    Some(bound) => self.expression(bound)?.text,
                    None => format!("{name}.shape[{dim}]"),
                };
                if start.starts_with('-') || end.starts_with('-') {
                    return Ok(None);
                }
                format!("{name} = {name}.copy_slice_({dim}, {start}, {end}, {})", value.text)
            }
            Expr::Name(_) | Expr::NumberLiteral(_) | Expr::BinOp(_) => {
                let index = self.expression(part)?.text;
                format!("{name} = set_part({name}, {dim}, {index}, {})", value.text)
            }
            _ => return Ok(None),
        };
        Ok(Some(said))
    }

    fn target(&mut self, target: &Expr) -> Result<String, Fault> {
        match target {
            Expr::Name(name) => Ok(name.id.to_string()),
            Expr::Attribute(attribute) => {
                let name = attribute.attr.as_str();
                let alias = match (&self.class, self.standing) {
                    (Some((lineage, _)), Standing::Config) if is_named(&attribute.value, "self") => {
                        alias_of(lineage, name)
                    }
                    _ => None,
                };
                let owner = self.expression(&attribute.value)?.within(ATOM);
                Ok(format!("{owner}.{}", alias.as_deref().unwrap_or(name)))
            }
            Expr::Tuple(tuple) => {
                let mut targets = Vec::new();
                for target in &tuple.elts {
                    let said = self.target(target)?;
                    targets.push(if matches!(target, Expr::Tuple(_)) { format!("({said})") } else { said });
                }
                Ok(targets.join(", "))
            }
            Expr::Starred(starred) => Ok(format!("*{}", self.target(&starred.value)?)),
            other => self.fault(other.range(), "this cannot be assigned in a spec"),
        }
    }

    /// The message of what is raised.
    fn raised(&mut self, exception: &Expr) -> String {
        match exception {
            Expr::Call(call) => match call.arguments.args.first() {
                Some(message) => self.message(message),
                None => quoted("it raises"),
            },
            _ => quoted("it raises"),
        }
    }

    fn message(&mut self, message: &Expr) -> String {
        match message {
            Expr::StringLiteral(text) => quoted(text.value.to_str()),
            Expr::FString(text) => {
                let parts = text.value.elements().map(|element| match element {
                    InterpolatedStringElement::Literal(literal) => quoted(&literal.value),
                    InterpolatedStringElement::Interpolation(part) => match self.expression(&part.expression) {
                        Ok(said) => said.text,
                        Err(_) => quoted("..."),
                    },
                });
                format!("[{}]", parts.collect::<Vec<_>>().join(", "))
            }
            _ => quoted("it raises"),
        }
    }

    // ---- expressions ------------------------------------------------------------------------------------------------

    fn expression(&mut self, expression: &Expr) -> Text {
        match expression {
            Expr::NoneLiteral(_) => Ok(atom("None")),
            Expr::BooleanLiteral(flag) => Ok(atom(if flag.value { "True" } else { "False" })),
            Expr::NumberLiteral(number) => match &number.value {
                Number::Int(int) => match int.as_i64() {
                    Some(int) => Ok(atom(int.to_string())),
                    None => self.fault(number.range, "this number is too large"),
                },
                Number::Float(float) => Ok(atom(format!("{float:?}"))),
                Number::Complex { .. } => self.fault(number.range, "complex numbers are not known"),
            },
            Expr::StringLiteral(text) => Ok(atom(quoted(text.value.to_str()))),
            Expr::FString(_) => Ok(atom(format!("text({})", self.message(expression)))),
            Expr::Name(name) => self.name(name.id.as_str(), expression),
            Expr::Attribute(_) => self.attribute(expression),
            Expr::Call(call) => self.call(call),
            Expr::Subscript(subscript) => {
                if let Some(dotted) = self.dotted(&subscript.value)
                    && let Some(meant) = self.import.world.names.means.get(&format!("{dotted}[]")).cloned()
                {
                    let key = self.expression(&subscript.slice)?.text;
                    return Ok(atom(format!("{meant}({key})")));
                }
                // HeterogeneousConfigMixin
                if let Expr::Attribute(attribute) = &*subscript.value
                    && attribute.attr.as_str() == "per_layer_config"
                {
                    let (config, key) =
                        (self.expression(&attribute.value)?.text, self.expression(&subscript.slice)?.text);
                    return Ok(atom(format!("layer_config({config}, {key})")));
                }
                let owner = self.expression(&subscript.value)?.within(ATOM);
                let items = match &*subscript.slice {
                    Expr::Tuple(tuple) => &tuple.elts[..],
                    single => std::slice::from_ref(single),
                };
                let items: Result<Vec<String>, Fault> = items.iter().map(|item| self.subscript(item)).collect();
                Ok(atom(format!("{owner}[{}]", items?.join(", "))))
            }
            Expr::BoolOp(operation) => {
                let (word, level) = match operation.op {
                    BoolOp::And => ("and", AND),
                    BoolOp::Or => ("or", OR),
                };
                let mut parts = Vec::new();
                // what cannot be said does no harm where a later part decides
                let mut unsaid = None;
                for value in &operation.values {
                    let (ends, passes) =
                        if operation.op == BoolOp::And { ("False", "True") } else { ("True", "False") };
                    let said = match self.expression(value) {
                        Ok(said) => said,
                        Err(fault) => {
                            unsaid = unsaid.or(Some(fault));
                            continue;
                        }
                    };
                    if said.text == ends && unsaid.is_some() {
                        return Ok(said);
                    }
                    if said.text == passes {
                        continue;
                    }
                    let is_end = said.text == ends;
                    parts.push(said.within(level + 1));
                    if is_end {
                        break;
                    }
                }
                if let Some(fault) = unsaid {
                    return Err(fault);
                }
                match &parts[..] {
                    [] => Ok(atom(if operation.op == BoolOp::And { "True" } else { "False" })),
                    [only] => Ok(Said { text: only.clone(), level: if only.contains(' ') { level } else { ATOM } }),
                    // what was evaluated before the end has no effect on memory
                    [.., last] if last == "False" && operation.op == BoolOp::And => Ok(atom("False")),
                    [.., last] if last == "True" && operation.op == BoolOp::Or => Ok(atom("True")),
                    _ => Ok(Said { text: parts.join(&format!(" {word} ")), level }),
                }
            }
            Expr::UnaryOp(operation) => {
                let operand = self.expression(&operation.operand)?;
                match operation.op {
                    UnaryOp::Not => Ok(operand.negated()),
                    UnaryOp::USub => Ok(Said { text: format!("-{}", operand.within(SIGN)), level: SIGN }),
                    UnaryOp::Invert => Ok(Said { text: format!("~{}", operand.within(SIGN)), level: SIGN }),
                    UnaryOp::UAdd => Ok(operand),
                }
            }
            Expr::BinOp(operation) => {
                let (sign, level) = sign_of(operation.op);
                let (left, right) = (self.expression(&operation.left)?, self.expression(&operation.right)?);
                // specs know no shifts: numbers are multiplied by powers of 2
                if let Some(word) = match operation.op {
                    Operator::LShift => Some("*"),
                    Operator::RShift => Some("//"),
                    _ => None,
                } {
                    let text = format!("{} {word} 2 ** {}", left.within(PRODUCT), right.within(SIGN));
                    return Ok(Said { text, level: PRODUCT });
                }
                let left_level = if level == POWER { ATOM } else { level };
                let right_level = if level == POWER { SIGN } else { level + 1 };
                Ok(Said { text: format!("{} {sign} {}", left.within(left_level), right.within(right_level)), level })
            }
            Expr::Compare(comparison) => {
                let mut text = self.expression(&comparison.left)?.within(BIT_OR);
                for (operator, right) in comparison.ops.iter().zip(&comparison.comparators) {
                    let sign = match operator {
                        CmpOp::Eq => "==",
                        CmpOp::NotEq => "!=",
                        CmpOp::Lt => "<",
                        CmpOp::LtE => "<=",
                        CmpOp::Gt => ">",
                        CmpOp::GtE => ">=",
                        CmpOp::Is => "is",
                        CmpOp::IsNot => "is not",
                        CmpOp::In => "in",
                        CmpOp::NotIn => "not in",
                    };
                    text = format!("{text} {sign} {}", self.expression(right)?.within(BIT_OR));
                }
                Ok(Said { text, level: COMPARISON })
            }
            Expr::If(choice) => {
                let test = self.expression(&choice.test)?;
                match test.text.as_str() {
                    "True" => return self.expression(&choice.body),
                    "False" => return self.expression(&choice.orelse),
                    _ => {}
                }
                let (then, otherwise) = (self.expression(&choice.body)?, self.expression(&choice.orelse)?);
                let text = format!("{} if {} else {}", then.within(OR), test.within(OR), otherwise.within(CHOICE));
                Ok(Said { text, level: CHOICE })
            }
            Expr::Tuple(tuple) => self.sequence(&tuple.elts),
            Expr::List(list) => self.sequence(&list.elts),
            Expr::Set(set) => self.sequence(&set.elts),
            Expr::Lambda(lambda) => {
                let outer = self.locals.clone();
                let parameters = match &lambda.parameters {
                    Some(parameters) => {
                        for parameter in parameters.iter_non_variadic_params() {
                            self.locals.insert(parameter.parameter.name.to_string());
                        }
                        for parameter in parameters.vararg.iter().chain(&parameters.kwarg) {
                            self.locals.insert(parameter.name.to_string());
                        }
                        self.parameters(parameters)?
                    }
                    None => String::new(),
                };
                let body = self.expression(&lambda.body);
                self.locals = outer;
                let space = if parameters.is_empty() { "" } else { " " };
                Ok(Said { text: format!("lambda{space}{parameters}: {}", body?.within(CHOICE)), level: CHOICE })
            }
            Expr::Named(named) => {
                let (target, value) = (self.target(&named.target)?, self.expression(&named.value)?.text);
                Ok(atom(format!("({target} := {value})")))
            }
            Expr::Starred(starred) => {
                Ok(Said { text: format!("*{}", self.expression(&starred.value)?.within(ATOM)), level: CHOICE })
            }
            Expr::ListComp(list) => self.comprehension(&list.elt, &list.generators, list.range),
            Expr::Generator(list) => self.comprehension(&list.elt, &list.generators, list.range),
            Expr::DictComp(list) => {
                let pair = Expr::List(python_ast::ExprList {
                    node_index: Default::default(),
                    range: list.range,
                    elts: vec![(*list.key).clone(), (*list.value).clone()],
                    ctx: python_ast::ExprContext::Load,
                });
                let pairs = self.comprehension(&pair, &list.generators, list.range)?;
                Ok(atom(format!("dictionary({})", pairs.text)))
            }
            Expr::SetComp(list) => self.comprehension(&list.elt, &list.generators, list.range),
            Expr::Dict(dictionary) => {
                let mut entries = Vec::new();
                for item in &dictionary.items {
                    let key = item.key.as_ref().map(|key| self.expression(key)).transpose()?;
                    entries.push((key.map(|key| key.text), self.expression(&item.value)?.text));
                }
                Ok(dictionary_of(&entries))
            }
            other => self.fault(other.range(), format!("{} is not known", kind_of_expression(other))),
        }
    }

    fn sequence(&mut self, elements: &[Expr]) -> Text {
        let said: Result<Vec<String>, Fault> =
            elements.iter().map(|element| self.expression(element).map(|said| said.text)).collect();
        Ok(atom(format!("[{}]", said?.join(", "))))
    }

    fn comprehension(&mut self, element: &Expr, generators: &[Comprehension], range: TextRange) -> Text {
        let (generator, inner) = match generators {
            [generator] => (generator, None),
            [generator, rest @ ..] => (generator, Some(rest)),
            [] => return self.fault(range, "a comprehension has a loop"),
        };
        let source = self.expression(&generator.iter)?.within(OR);
        let outer = self.locals.clone();
        self.find_targets(&generator.target);
        let said = (|| {
            let target = self.target(&generator.target)?;
            let element = match inner {
                Some(rest) => self.comprehension(element, rest, range)?.text,
                None => self.expression(element)?.text,
            };
            let mut text = format!("[{element} for {target} in {source}");
            if !generator.ifs.is_empty() {
                let conditions: Result<Vec<String>, Fault> =
                    generator.ifs.iter().map(|test| self.expression(test).map(|said| said.within(NOT))).collect();
                text += &format!(" if {}", conditions?.join(" and "));
            }
            text.push(']');
            Ok(atom(if inner.is_some() { format!("total({text}, [])") } else { text }))
        })();
        self.locals = outer;
        said
    }

    fn subscript(&mut self, item: &Expr) -> Result<String, Fault> {
        match item {
            Expr::Slice(slice) => {
                let mut part = |bound: &Option<Box<Expr>>| match bound {
                    Some(bound) => self.expression(bound).map(|said| said.text),
                    None => Ok(String::new()),
                };
                let (lower, upper, step) = (part(&slice.lower)?, part(&slice.upper)?, part(&slice.step)?);
                Ok(if step.is_empty() { format!("{lower}:{upper}") } else { format!("{lower}:{upper}:{step}") })
            }
            Expr::EllipsisLiteral(_) => Ok("...".into()),
            other => self.expression(other).map(|said| said.text),
        }
    }

    fn attribute(&mut self, expression: &Expr) -> Text {
        let Expr::Attribute(attribute) = expression else { return self.expression(expression) };
        let name = attribute.attr.as_str();
        if let Some(dotted) = self.dotted(expression) {
            return self.meaning(&dotted, expression.range());
        }
        if let Expr::Name(owner) = &*attribute.value
            && owner.id.as_str() == "self"
            && let Some((lineage, _)) = self.class.clone()
        {
            return self.attribute_of_self(&lineage, name, expression.range());
        }
        let is_device = match &*attribute.value {
            Expr::Attribute(inner) => inner.attr.as_str() == "device",
            Expr::Name(name) => name.id.as_str() == "device",
            _ => false,
        };
        if name == "type" && is_device {
            return Ok(atom(quoted("cuda")));
        }
        if let (Expr::Attribute(inner), "__name__") = (&*attribute.value, name)
            && inner.attr.as_str() == "__class__"
        {
            return Ok(atom(format!("class_name({})", self.expression(&inner.value)?.text)));
        }
        let owner = self.expression(&attribute.value)?.within(ATOM);
        Ok(match name {
            "T" => atom(format!("{owner}.transpose(0, 1)")),
            "mT" => atom(format!("{owner}.transpose(-1, -2)")),
            "data" => atom(owner),
            _ => {
                self.import.needed.insert(name.to_owned());
                atom(format!("{owner}.{name}"))
            }
        })
    }

    fn attribute_of_self(&mut self, lineage: &Rc<Lineage>, name: &str, range: TextRange) -> Text {
        if let Some(method) = lineage.method(name, 0) {
            return Ok(match method.kind() {
                MethodKind::Static => atom(self.import.want_static(lineage, &method)),
                MethodKind::Property => {
                    self.import.needed.insert(name.to_owned());
                    match self.standing {
                        Standing::Config => atom(format!("{}(self)", self.import.want_config_method(lineage, &method))),
                        _ => atom(format!("self.{name}")),
                    }
                }
                MethodKind::Plain => {
                    self.import.needed.insert(name.to_owned());
                    atom(format!("self.{name}"))
                }
            });
        }
        if !self.import.assigns(lineage, name)
            && let Some((place, value)) = lineage.attribute(name)
            && self.standing != Standing::Config
        {
            let module = lineage.classes[place].module.clone();
            return Ok(atom(Translator::new(self.import, module, None, Standing::Free).constant(value)?));
        }
        if self.standing == Standing::Config
            && let Some(meant) = alias_of(lineage, name)
        {
            return Ok(atom(format!("self.{meant}")));
        }
        if self.standing == Standing::Method {
            match name {
                "dtype" => return Ok(atom("weights_dtype")),
                "device" => return Ok(atom("None")),
                "loss_function" => return self.fault(range, "the loss function is called where it stands"),
                _ => {}
            }
        }
        Ok(atom(format!("self.{name}")))
    }

    fn call(&mut self, call: &ExprCall) -> Text {
        let arguments = &call.arguments;
        if let Expr::Attribute(method) = &*call.func {
            let name = method.attr.as_str();
            if is_super(&method.value) {
                return self.super_call(call, name);
            }
            if let Some(said) = self.method_call(call, &method.value, name)? {
                return Ok(said);
            }
        }
        if let Expr::Name(name) = &*call.func
            && !self.locals.contains(name.id.as_str())
            && !self.module.bindings.contains_key(name.id.as_str())
        {
            match (name.id.as_str(), &*arguments.args) {
                ("isinstance", [value, kinds]) => {
                    let value = self.expression(value)?.text;
                    return Ok(atom(format!("is_instance({value}, [{}])", self.kinds(kinds)?.join(", "))));
                }
                ("hasattr", [owner, Expr::StringLiteral(attribute)])
                    if self.import.plain && self.dotted(owner).is_some_and(|dotted| dotted.starts_with("torch")) =>
                {
                    let dotted = format!("{}.{}", self.dotted(owner).unwrap_or_default(), attribute.value.to_str());
                    let known = self.import.world.names.means.contains_key(&dotted);
                    return Ok(atom(match known || self.import.operator(&dotted).is_some() {
                        true => "True",
                        false => "False",
                    }));
                }
                ("getattr", [owner, Expr::StringLiteral(attribute)]) => {
                    return Ok(atom(format!("{}.{}", self.expression(owner)?.within(ATOM), attribute.value.to_str())));
                }
                ("dict", [] | [_]) => {
                    let mut entries = Vec::new();
                    for first in &*arguments.args {
                        entries.push((None, self.expression(first)?.text));
                    }
                    for keyword in &arguments.keywords {
                        let key = keyword.arg.as_ref().map(|key| quoted(key.as_str()));
                        entries.push((key, self.expression(&keyword.value)?.text));
                    }
                    return Ok(dictionary_of(&entries));
                }
                // of parameters their type and place are asked
                ("next", [Expr::Call(made)]) if matches!(&*made.func, Expr::Attribute(method) if method.attr.as_str() == "parameters") =>
                {
                    return Ok(atom("Output(dtype=weights_dtype, device=None)"));
                }
                ("next", [Expr::Call(made), rest @ ..])
                    if is_named(&made.func, "iter") && made.arguments.len() == 1 =>
                {
                    return self.first_of(&made.arguments.args[0], rest);
                }
                ("next", [list @ Expr::Generator(_), rest @ ..]) => return self.first_of(list, rest),
                ("str", [value]) => return Ok(atom(format!("text([{}])", self.expression(value)?.text))),
                ("type", [value]) => return Ok(atom(format!("class_name({})", self.expression(value)?.text))),
                ("super", _) => return self.fault(call.range, "super() stands alone"),
                _ => {}
            }
        }
        let dotted = self.dotted(&call.func);
        // torchvision/models/_api.py, WeightsEnum.verify: weights that are not given are none
        if self.import.plain
            && dotted.as_deref().is_some_and(|dotted| dotted.ends_with("_Weights.verify"))
            && let [weights] = &*arguments.args
        {
            return self.expression(weights);
        }
        if let Some(class) = dotted
            .as_deref()
            .and_then(|dotted| {
                dotted.strip_prefix("transformers.models.auto.").or(dotted.strip_prefix("transformers."))
            })
            .and_then(|rest| rest.strip_suffix(".from_config"))
            .and_then(|rest| rest.rsplit('.').next())
            && let Some(given) =
                arguments.args.first().or_else(|| arguments.find_keyword("config").map(|keyword| &keyword.value))
            && let Expr::Attribute(entry) = given
            && let Some(model) = self.import.model_within(class, entry.attr.as_str())?
        {
            return Ok(atom(format!("{model}({})", self.expression(given)?.text)));
        }
        if let Some(class) = dotted
            .as_deref()
            .and_then(|dotted| dotted.strip_suffix("._from_config").or_else(|| dotted.strip_suffix(".from_config")))
            && let Some(Meaning::Class(defined)) = self.import.world.definition(class)?
        {
            let class = self.import.want_class(defined);
            return Ok(atom(format!("{class}({})", self.expression(&arguments.args[0])?.text)));
        }
        if self.is_constructor && dotted.as_deref() == Some("torch.linspace") {
            return Ok(atom(format!("numbers_between({})", self.said_arguments(call, true)?)));
        }
        if let Some(made) = dotted
            .as_deref()
            .and_then(|dotted| MADE.iter().find(|(name, _)| dotted.strip_prefix("torch.") == Some(*name)))
        {
            return self.made(call, *made);
        }
        if let Some(class) = dotted.as_deref().and_then(|dotted| dotted.strip_suffix(".apply"))
            && let Some(Meaning::Class(defined)) = self.import.world.definition(class)?
        {
            let lineage = Rc::new(Lineage::of(&self.import.world, &defined.module, &defined.class)?);
            if let (true, Some(forward), Some(backward)) = (
                lineage.derives_from("torch.autograd.Function"),
                lineage.method("forward", 0),
                lineage.method("backward", 0),
            ) {
                let given = self.sequence(&arguments.args)?.text;
                let (forward, backward) =
                    (self.import.want_static(&lineage, &forward), self.import.want_static(&lineage, &backward));
                return Ok(atom(format!("autograd_function({forward}, {backward}, {given})")));
            }
        }
        if dotted.as_deref() == Some("transformers.backbone_utils.load_backbone")
            && let [config] = &*arguments.args
            && let Some(model) = self.import.model_within("AutoBackbone", "backbone_config")?
        {
            return Ok(atom(format!("{model}({}.backbone_config)", self.expression(config)?.within(ATOM))));
        }
        let in_place = arguments.find_keyword("inplace").map(|keyword| &keyword.value);
        if !self.import.plain && matches!(in_place, Some(Expr::BooleanLiteral(flag)) if flag.value) {
            return self.in_place(call, dotted.as_deref().unwrap_or_default());
        }
        match dotted.as_deref() {
            Some("torch.nn.Linear") if arguments.find_keyword("dtype").is_some() => {
                return Ok(atom(format!("TypedLinear({})", self.said_arguments(call, true)?)));
            }
            Some("torch.nn.ModuleList" | "torch.nn.ParameterList") => {
                return match &*arguments.args {
                    [] => Ok(atom("[]")),
                    [list] => self.expression(list),
                    _ => self.fault(call.range, "a list of modules is made of one list"),
                };
            }
            Some("torch.nn.Sequential") if !self.import.plain => {
                return Ok(atom(format!("Sequential({})", self.sequence(&arguments.args)?.text)));
            }
            Some("transformers.pytorch_utils.apply_chunking_to_forward") if arguments.args.len() > 3 => {
                let function = self.expression(&arguments.args[0])?.within(ATOM);
                let inputs: Result<Vec<String>, Fault> = arguments.args[3..]
                    .iter()
                    .map(|argument| self.expression(argument).map(|said| said.text))
                    .collect();
                return Ok(atom(format!("{function}({})", inputs?.join(", "))));
            }
            Some("functools.partial") if self.import.plain && !arguments.args.is_empty() => {
                return Ok(atom(format!("partial({})", self.said_arguments(call, false)?)));
            }
            Some("functools.partial") if !arguments.args.is_empty() => {
                let function = self.expression(&arguments.args[0])?.within(ATOM);
                let mut said: Vec<String> = Vec::new();
                for argument in &arguments.args[1..] {
                    said.push(self.expression(argument)?.text);
                }
                said.push("*args".into());
                for keyword in &arguments.keywords {
                    let Some(name) = &keyword.arg else {
                        return self.fault(call.range, "partial with a spread dictionary is not known");
                    };
                    said.push(format!("{name}={}", self.expression(&keyword.value)?.text));
                }
                let text = format!("lambda *args, **kwargs: {function}({}, **kwargs)", said.join(", "));
                return Ok(Said { text, level: CHOICE });
            }
            Some("torch.any" | "torch.all") if !arguments.args.is_empty() => {
                let word = if dotted.as_deref() == Some("torch.any") { "any" } else { "all" };
                let owner = self.expression(&arguments.args[0])?.within(ATOM);
                let rest: Result<Vec<String>, Fault> = arguments.args[1..]
                    .iter()
                    .map(|argument| self.expression(argument).map(|said| said.text))
                    .collect();
                return Ok(atom(format!("{owner}.{word}({})", rest?.join(", "))));
            }
            Some("torch.max" | "torch.min") => {
                let is_number = |value: &Expr| matches!(value, Expr::NumberLiteral(_) | Expr::UnaryOp(_));
                let along = arguments.find_keyword("dim").is_some() || arguments.args.get(1).is_some_and(is_number);
                let word = match (along, arguments.args.len(), dotted.as_deref()) {
                    (true, ..) => "max_along",
                    (_, 1, _) => "max_of_all",
                    (_, _, Some("torch.max")) => "maximum",
                    _ => "minimum",
                };
                return Ok(atom(format!("{word}({})", self.said_arguments(call, true)?)));
            }
            Some("torch.LongTensor") => {
                return Ok(atom(format!(
                    "on_host(lambda: tensor({}, int64))",
                    self.expression(&arguments.args[0])?.text
                )));
            }
            Some("torch.Size") => return self.expression(&arguments.args[0]),
            Some(
                "transformers.models.auto.modeling_auto.AutoModel.from_config"
                | "transformers.models.auto.AutoModel.from_config",
            ) => {
                let base = self.import.base_model(&self.module, call.range)?;
                return Ok(atom(format!("{base}({})", self.said_arguments(call, false)?)));
            }
            _ => {}
        }
        if let Some(dotted) = &dotted
            && let Some(answer) = self.import.world.names.answer(dotted)
        {
            return Ok(atom(answer));
        }
        if let Some(dotted) = &dotted
            && let Some(Meaning::Class(defined)) = self.import.world.definition(dotted)?
            && !self.import.world.names.means.contains_key(dotted.as_str())
        {
            let lineage = Rc::new(Lineage::of(&self.import.world, &defined.module, &defined.class)?);
            let is_config = lineage.classes.iter().any(|class| class.class.name.as_str() == "PreTrainedConfig")
                || lineage.derives_from("transformers.configuration_utils.PreTrainedConfig");
            if is_config && arguments.args.is_empty() {
                return self.config_made(call, &lineage);
            }
        }
        let is_torch = dotted.as_ref().is_some_and(|dotted| dotted.starts_with("torch."));
        let is_of_host = dotted.as_deref() == Some("torch.arange") && arguments.find_keyword("device").is_none();
        if is_of_host && !self.is_constructor {
            let callee = self.expression(&call.func)?.within(ATOM);
            return Ok(atom(format!("on_host({callee}, {})", self.said_arguments(call, true)?)));
        }
        let callee = self.expression(&call.func)?.within(ATOM);
        if callee == "Output" {
            return self.output(call, dotted.as_deref());
        }
        Ok(atom(format!("{callee}({})", self.said_arguments(call, is_torch)?)))
    }

    /// A module or a function that changes its input in place.
    fn in_place(&mut self, call: &ExprCall, dotted: &str) -> Text {
        let first = call.arguments.args.first().map(|first| self.expression(first)).transpose()?;
        Ok(atom(match (dotted, first) {
            ("torch.nn.ReLU", None) => "ReLU(inplace=True)".to_owned(),
            ("torch.nn.ReLU6", None) => "ReLU6(inplace=True)".to_owned(),
            ("torch.nn.Dropout", Some(p)) => format!("Dropout({}, inplace=True)", p.text),
            ("torch.nn.functional.relu", Some(x)) => format!("{}.relu_()", x.within(ATOM)),
            _ => return self.fault(call.range, format!("`{dotted}` in place is not known")),
        }))
    }

    /// `VisionConfig(**entries)`: a config within a config.
    fn config_made(&mut self, call: &ExprCall, lineage: &Rc<Lineage>) -> Text {
        let mut entries = Vec::new();
        for keyword in &call.arguments.keywords {
            let key = keyword.arg.as_ref().map(|key| quoted(key.as_str()));
            entries.push((key, self.expression(&keyword.value)?.text));
        }
        let function = self.import.want_config(lineage);
        let outer = if self.standing == Standing::Config { "self" } else { "None" };
        Ok(atom(format!("{function}({}, {outer})", dictionary_of(&entries).text)))
    }

    /// `next(iter(list))` and `next(element for ...)`, with what stands for an element of an empty list.
    fn first_of(&mut self, list: &Expr, otherwise: &[Expr]) -> Text {
        let mut said = vec![self.expression(list)?.text];
        for otherwise in otherwise {
            said.push(self.expression(otherwise)?.text);
        }
        Ok(atom(format!("first({})", said.join(", "))))
    }

    /// A tensor made from nothing: sizes may be given one by one. Without a type it is of the default type, which is that of the weights where
    /// modules are made and float32 elsewhere.
    fn made(&mut self, call: &ExprCall, (name, takes_value): (&'static str, bool)) -> Text {
        let arguments = &call.arguments;
        let mut said = Vec::new();
        for argument in &arguments.args {
            said.push(self.expression(argument)?.text);
        }
        if !takes_value {
            let is_list = |text: &str| text.starts_with('[');
            said = match &said[..] {
                [] => Vec::new(),
                [only] if !only.starts_with('*') || is_list(only) => vec![only.clone()],
                several => vec![format!("[{}]", several.join(", "))],
            };
        }
        let mut has_dtype = false;
        for keyword in &arguments.keywords {
            match keyword.arg.as_ref().map(|name| name.as_str()) {
                Some("dtype") => {
                    has_dtype = true;
                    said.push(format!("dtype={}", self.dtype(&keyword.value)?));
                }
                Some("size") => said.insert(0, self.expression(&keyword.value)?.text),
                Some("fill_value" | "steps" | "start" | "end") => {
                    let name = keyword.arg.as_ref().map(|name| name.to_string()).unwrap_or_default();
                    said.push(format!("{name}={}", self.expression(&keyword.value)?.text));
                }
                _ => {}
            }
        }
        if !has_dtype && !self.is_constructor {
            let integral = |text: &str| text.parse::<i64>().is_ok();
            let is = match (name, said.get(1).map(String::as_str)) {
                ("full", Some("True" | "False")) => "bool",
                ("full", Some(value)) if integral(value) => "int64",
                ("tensor", _)
                    if said.first().is_some_and(|data| data.trim_matches(['[', ']']).split(", ").all(integral)) =>
                {
                    "int64"
                }
                // a function may run where modules are made
                _ if self.standing == Standing::Free => "default_type()",
                _ => "float32",
            };
            // what a constructor calls makes tensors where modules are made
            let is = if self.import.plain && is == "float32" { "default_type()" } else { is };
            said.push(format!("dtype={is}"));
        }
        let name = if matches!(name, "Tensor" | "FloatTensor") { "zeros" } else { name };
        let called = if self.locals.contains(name) { format!("library.{name}") } else { name.to_owned() };
        let made = format!("{called}({})", said.join(", "));
        // a tensor is the host's unless a device is named
        Ok(atom(match !self.is_constructor && arguments.find_keyword("device").is_none() {
            true => format!("on_host({called}, {})", said.join(", ")),
            false => made,
        }))
    }

    /// An output of a model: the fields that its class has and the call leaves out are None.
    fn output(&mut self, call: &ExprCall, dotted: Option<&str>) -> Text {
        let mut fields = Vec::new();
        if let Some(Meaning::Class(defined)) =
            dotted.map(|dotted| self.import.world.definition(dotted)).transpose()?.flatten()
        {
            let lineage = Lineage::of(&self.import.world, &defined.module, &defined.class)?;
            for defined in lineage.classes.iter().rev() {
                for statement in &defined.class.body {
                    if let Stmt::AnnAssign(assign) = statement
                        && let Expr::Name(name) = &*assign.target
                        && !fields.contains(&name.id.to_string())
                    {
                        fields.push(name.id.to_string());
                    }
                }
            }
        }
        let (mut given, mut spread) = (Vec::new(), Vec::new());
        for (place, value) in call.arguments.args.iter().enumerate() {
            let Some(field) = fields.get(place).cloned() else {
                return self.fault(call.range, "an output has no such field");
            };
            given.push((field, self.expression(value)?.text));
        }
        for keyword in &call.arguments.keywords {
            match &keyword.arg {
                Some(name) => given.push((name.to_string(), self.expression(&keyword.value)?.text)),
                None => spread.push(format!("**{}", self.expression(&keyword.value)?.within(ATOM))),
            }
        }
        for field in fields.into_iter().filter(|_| spread.is_empty()) {
            if !given.iter().any(|(name, _)| *name == field) {
                given.push((field, "None".into()));
            }
        }
        let named = given.into_iter().map(|(name, value)| format!("{name}={value}"));
        let given: Vec<String> = spread.into_iter().chain(named).collect();
        Ok(atom(format!("Output({})", given.join(", "))))
    }

    fn super_call(&mut self, call: &ExprCall, name: &str) -> Text {
        let Some((lineage, place)) = self.class.clone() else {
            return self.fault(call.range, "super() stands in no class");
        };
        let Some(method) = lineage.method(name, place + 1) else {
            return self.fault(call.range, format!("no base that is read has `{name}`"));
        };
        let owner = lineage.classes[method.place].class.name.to_string();
        if self.standing == Standing::Config {
            let function = self.import.want_config_method(&lineage, &method);
            return Ok(atom(format!("{function}(self{})", self.config_arguments(call)?)));
        }
        self.import.want_super(&lineage, &owner, name);
        Ok(atom(format!("self.{}({})", super_name(&owner, name), self.said_arguments(call, false)?)))
    }

    /// A call of a method that lists, dictionaries, texts, configs and modules have.
    fn method_call(&mut self, call: &ExprCall, owner: &Expr, name: &str) -> Result<Option<Said>, Fault> {
        let arguments = &call.arguments;
        if self.dotted(owner).is_some() {
            return Ok(None);
        }
        let is_self = matches!(owner, Expr::Name(name) if name.id.as_str() == "self");
        if is_self
            && self.standing == Standing::Config
            && let Some((lineage, _)) = self.class.clone()
            && let Some(method) = lineage.method(name, 0)
        {
            if method.kind() == MethodKind::Static {
                let function = self.import.want_static(&lineage, &method);
                return Ok(Some(atom(format!("{function}({})", self.said_arguments(call, false)?))));
            }
            let function = self.import.want_config_method(&lineage, &method);
            return Ok(Some(atom(format!("{function}(self{})", self.config_arguments(call)?))));
        }
        if is_self
            && let Some((lineage, _)) = self.class.clone()
            && lineage.method(name, 0).is_none()
        {
            if name == "loss_function" {
                let loss = self.import.loss_of(&lineage);
                return match loss {
                    Some(loss) => Ok(Some(atom(format!("{loss}({})", self.said_arguments(call, false)?)))),
                    None => self.fault(call.range, "the loss of this architecture is not known"),
                };
            }
            if let Some(meant) = self.foreign_method(&lineage, name) {
                let given = self.said_arguments(call, false)?;
                let separator = if given.is_empty() { "" } else { ", " };
                return Ok(Some(atom(format!("{meant}(self{separator}{given})"))));
            }
        }
        let has = |lineage: &Lineage| lineage.method(name, 0).is_some() || self.import.assigns(lineage, name);
        let is_own = is_self && self.class.as_ref().is_some_and(|(lineage, _)| has(lineage));
        if let Some(word) = self.import.world.names.methods.get(name).filter(|_| !is_own).cloned() {
            let (owner, given) = (self.expression(owner)?.text, self.said_arguments(call, true)?);
            let separator = if given.is_empty() { "" } else { ", " };
            return Ok(Some(atom(format!("{word}({owner}{separator}{given})"))));
        }
        if arguments.args.is_empty()
            && arguments.keywords.is_empty()
            && let Some((_, dtype)) = CASTS.iter().find(|(cast, _)| *cast == name)
        {
            return Ok(Some(atom(format!("{}.to({dtype})", self.expression(owner)?.within(ATOM)))));
        }
        let makes_numbers = self.is_constructor && self.makes_numbers(owner);
        if name == "pop"
            && self.import.plain
            && let Some(said) = self.taken_out(call, owner)?
        {
            return Ok(Some(said));
        }
        let mut of = |word: &str, default: Option<&str>| -> Result<Option<Said>, Fault> {
            let owner = self.expression(owner)?.text;
            let mut said = vec![owner];
            for argument in &arguments.args {
                said.push(self.expression(argument)?.text);
            }
            if said.len() == 2 {
                said.extend(default.map(str::to_owned));
            }
            Ok(Some(atom(format!("{word}({})", said.join(", ")))))
        };
        match (name, arguments.args.len()) {
            ("get", 1 | 2) => of("entry", Some("None")),
            ("pop", 1 | 2) if matches!(arguments.args[0], Expr::StringLiteral(_)) => of("entry", Some("None")),
            ("items", 0) => of("items", None),
            ("keys", 0) => of("keys", None),
            ("values", 0) => of("values", None),
            // of a tensor: its largest along a dimension with where it is, or its largest
            ("max" | "min", 0) if arguments.find_keyword("dim").is_none() => {
                Ok(Some(atom(format!("{}.max_of_all()", self.expression(owner)?.within(ATOM)))))
            }
            ("max" | "min", _) => {
                let owner = self.expression(owner)?.within(ATOM);
                Ok(Some(atom(format!("{owner}.max_along({})", self.said_arguments(call, true)?))))
            }
            ("split", 1) if matches!(arguments.args[0], Expr::StringLiteral(_)) => of("split_text", Some("None")),
            ("split", 0) if arguments.keywords.is_empty() => of("split_text", None),
            ("item" | "tolist", 0) => of("known_numbers", None),
            ("split", 1) if makes_numbers => of("parts_of", None),
            ("get_input_embeddings", 0) => of("input_embeddings_of", None),
            ("index", 1) => of("place_in", None),
            ("join", 1) if matches!(owner, Expr::StringLiteral(_)) => of("joined_text", None),
            ("lower", 0) => of("lower_case", None),
            ("strip", 0) => of("stripped", None),
            ("startswith", 1) => of("starts_with", None),
            ("endswith", 1) => of("ends_with", None),
            ("copy", 0) => self.expression(owner).map(Some),
            ("get_text_config", _) => of("text_config_of", None),
            ("to", _) => self.moved(call, owner).map(Some),
            ("type", 1) if arguments.keywords.is_empty() => self.moved(call, owner).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether an expression is `torch.linspace(...)`, which constructors ask for its numbers.
    fn makes_numbers(&self, expression: &Expr) -> bool {
        matches!(expression, Expr::Call(call) if self.dotted(&call.func).as_deref() == Some("torch.linspace"))
    }

    /// `values.pop()`: the last of a list, which is one shorter then; `values.pop(0)`: the first.
    fn taken_out(&mut self, call: &ExprCall, owner: &Expr) -> Result<Option<Said>, Fault> {
        let is_local = matches!(owner, Expr::Name(name) if self.locals.contains(name.id.as_str()));
        let place = match &*call.arguments.args {
            [] => "-1".to_owned(),
            [Expr::StringLiteral(_), ..] => return Ok(None),
            [place] => self.expression(place)?.text,
            _ => return Ok(None),
        };
        if !is_local {
            return Ok(None);
        }
        let owner = self.expression(owner)?.text;
        let rest = match place.as_str() {
            "-1" => format!("{owner}[:-1]"),
            "0" => format!("{owner}[1:]"),
            _ => return self.fault(call.range, "of a list the first or the last is taken out"),
        };
        Ok(Some(atom(format!("[{owner}[{place}], ({owner} := {rest})][0]"))))
    }

    /// `x.to(device, dtype)`: where it goes is the device that all is on.
    fn moved(&mut self, call: &ExprCall, owner: &Expr) -> Text {
        let is_device = |expression: &Expr| match expression {
            Expr::Attribute(attribute) => attribute.attr.as_str() == "device",
            Expr::Name(name) => name.id.as_str() == "device",
            Expr::StringLiteral(_) => true,
            _ => false,
        };
        // what is made in a constructor may be a module
        let makes = self.is_constructor && matches!(owner, Expr::Call(made) if matches!(&*made.func, Expr::Name(_)));
        let is_moved = call.arguments.args.iter().any(is_device) || call.arguments.find_keyword("device").is_some();
        let owner = self.expression(owner)?;
        let mut said = Vec::new();
        for argument in call.arguments.args.iter().filter(|argument| !is_device(argument)) {
            said.push(self.expression(argument)?.text);
        }
        for keyword in &call.arguments.keywords {
            match keyword.arg.as_ref().map(|name| name.as_str()) {
                Some("dtype") => said.push(self.expression(&keyword.value)?.text),
                Some("memory_format")
                    if self.dotted(&keyword.value).as_deref() == Some("torch.contiguous_format")
                        && !said.is_empty() =>
                {
                    said.push("contiguous=True".to_owned());
                }
                Some("device" | "non_blocking" | "copy" | "memory_format") => {}
                _ => return self.fault(call.range, "this way to move a tensor is not known"),
            }
        }
        Ok(atom(match said.is_empty() {
            true if is_moved && !self.is_constructor => format!("on_device({})", owner.text),
            true => return Ok(owner),
            false if makes => format!("moved_to({}, {})", owner.text, said.join(", ")),
            false if is_moved && said.len() == 1 && !said[0].contains('=') => {
                format!("on_device({}, {})", owner.text, said[0])
            }
            false => format!("{}.to({})", owner.within(ATOM), said.join(", ")),
        }))
    }

    fn kinds(&mut self, kinds: &Expr) -> Result<Vec<String>, Fault> {
        match kinds {
            Expr::Tuple(tuple) => {
                let mut all = Vec::new();
                for kind in &tuple.elts {
                    all.extend(self.kinds(kind)?);
                }
                Ok(all)
            }
            Expr::BinOp(either) => {
                let mut all = self.kinds(&either.left)?;
                all.extend(self.kinds(&either.right)?);
                Ok(all)
            }
            Expr::Name(name) if self.import.plain => Ok(self.kinds_of(name.id.as_str(), kinds)),
            Expr::Name(name) => Ok(vec![quoted(name.id.as_str())]),
            Expr::Attribute(attribute) => Ok(vec![quoted(attribute.attr.as_str())]),
            other => self.fault(other.range(), "this kind is not known"),
        }
    }

    /// A class with the classes that derive from it, as far as they are known.
    fn kinds_of(&self, name: &str, kind: &Expr) -> Vec<String> {
        let mut all = vec![quoted(name)];
        if let Some(dotted) = self.dotted(kind) {
            all.extend(self.import.derived(&dotted).iter().map(|name| quoted(name)));
        }
        all
    }

    fn said_arguments(&mut self, call: &ExprCall, is_torch: bool) -> Result<String, Fault> {
        let is_method =
            matches!(&*call.func, Expr::Attribute(method) if self.import.world.known.contains(method.attr.as_str()));
        let is_parameter = self.dotted(&call.func).is_some_and(|dotted| dotted.ends_with("nn.Parameter"));
        let mut said = Vec::new();
        for argument in &call.arguments.args {
            said.push(self.expression(argument)?.text);
        }
        for keyword in &call.arguments.keywords {
            match &keyword.arg {
                Some(name) => {
                    let frozen = is_parameter && name.as_str() == "requires_grad";
                    if (is_torch || is_method)
                        && !frozen
                        && self.import.world.names.dropped_arguments.contains(name.as_str())
                    {
                        continue;
                    }
                    // hidden states that are asked for outright are captured
                    self.import.captures |= name.as_str() == "output_hidden_states"
                        && matches!(&keyword.value, Expr::BooleanLiteral(flag) if flag.value);
                    let value = match name.as_str() {
                        "dtype" => self.dtype(&keyword.value)?,
                        _ => self.expression(&keyword.value)?.text,
                    };
                    // some of torch's functions call a dimension an axis
                    let name = if is_torch && name.as_str() == "axis" { "dim" } else { name.as_str() };
                    said.push(format!("{name}={value}"));
                }
                None => said.push(format!("**{}", self.expression(&keyword.value)?.within(ATOM))),
            }
        }
        Ok(said.join(", "))
    }

    /// A type of elements, which may be one of Python's.
    fn dtype(&mut self, value: &Expr) -> Result<String, Fault> {
        let python = match value {
            Expr::Name(name) if !self.locals.contains(name.id.as_str()) => match name.id.as_str() {
                "bool" => Some("bool"),
                "int" => Some("int64"),
                "float" => Some("float64"),
                _ => None,
            },
            _ => None,
        };
        match python {
            Some(name) => Ok(name.to_owned()),
            None => self.expression(value).map(|said| said.text),
        }
    }

    /// What a config's method is given besides the config, which has all that `**kwargs` would be.
    fn config_arguments(&mut self, call: &ExprCall) -> Result<String, Fault> {
        let mut said = String::new();
        for argument in &call.arguments.args {
            said += &format!(", {}", self.expression(argument)?.text);
        }
        for keyword in &call.arguments.keywords {
            if let Some(name) = &keyword.arg {
                said += &format!(", {name}={}", self.expression(&keyword.value)?.text);
            }
        }
        Ok(said)
    }

    /// Whether the first parameter is the object, which specs do not name.
    fn leaves_self(&self, parameters: &Parameters) -> bool {
        self.standing == Standing::Method
            && parameters.args.first().is_some_and(|first| matches!(first.parameter.name.as_str(), "self" | "cls"))
    }

    fn parameters(&mut self, parameters: &Parameters) -> Result<String, Fault> {
        let mut said = Vec::new();
        for parameter in parameters.iter_non_variadic_params() {
            let name = parameter.parameter.name.as_str();
            if matches!(name, "self" | "cls") && self.standing == Standing::Method {
                continue;
            }
            said.push(match &parameter.default {
                Some(default) => format!("{name}={}", self.expression(default)?.text),
                None => name.to_owned(),
            });
        }
        // a function of Python may have parameters without a default behind others; in a spec those come to be None
        if let Some(first) = said.iter().position(|text| text.contains('=')) {
            for text in said.iter_mut().skip(first).filter(|text| !text.contains('=')) {
                text.push_str("=None");
            }
        }
        if let Some(rest) = &parameters.vararg {
            said.insert(
                parameters.posonlyargs.len() + parameters.args.len() - usize::from(self.leaves_self(parameters)),
                format!("*{}", rest.name),
            );
        }
        if let Some(rest) = parameters.kwarg.as_ref().filter(|_| self.standing != Standing::Config) {
            said.push(format!("**{}", rest.name));
        }
        Ok(said.join(", "))
    }
}

/// Puts lines into a function of their own, which has the parameters of the function around it, and gives its call.
pub fn within(function: &StmtFunctionDef, body: &[String], lines: &mut Vec<String>) -> String {
    let parameters = &function.parameters;
    let named = parameters.iter_non_variadic_params().map(|parameter| parameter.name().to_string());
    let mut names: Vec<String> = named.filter(|name| !matches!(name.as_str(), "self" | "cls")).collect();
    names.extend(parameters.vararg.iter().map(|rest| format!("*{}", rest.name)));
    names.extend(parameters.kwarg.iter().map(|rest| format!("**{}", rest.name)));
    let names = names.join(", ");
    lines.push(format!("def within({names}):"));
    lines.extend(body.iter().map(|text| line(1, text)));
    format!("within({names})")
}

/// Whether a function's own code returns from it.
fn gives_back(statements: &[Stmt]) -> bool {
    struct Returns(bool);
    impl Visitor<'_> for Returns {
        fn visit_stmt(&mut self, statement: &Stmt) {
            match statement {
                Stmt::Return(_) => self.0 = true,
                Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {}
                other => visitor::walk_stmt(self, other),
            }
        }
    }
    let mut returns = Returns(false);
    statements.iter().for_each(|statement| returns.visit_stmt(statement));
    returns.0
}

/// Whether a function stands under `@torch.no_grad()`.
fn is_without_gradients(function: &StmtFunctionDef) -> bool {
    function.decorator_list.iter().any(|decorator| match &decorator.expression {
        Expr::Call(call) => {
            matches!(&*call.func, Expr::Attribute(name) if matches!(name.attr.as_str(), "no_grad" | "inference_mode"))
        }
        _ => false,
    })
}

/// What a method of a base is called in the class that derives from it: `Base_forward`.
pub fn super_name(owner: &str, method: &str) -> String {
    format!("{owner}_{}", method.trim_matches('_'))
}

/// The names that assignments within expressions bind; those of functions within a function are its own.
struct NamedWithin(Vec<String>);

impl Visitor<'_> for NamedWithin {
    fn visit_stmt(&mut self, statement: &Stmt) {
        if !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            visitor::walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &Expr) {
        if let Expr::Named(named) = expression
            && let Expr::Name(name) = &*named.target
        {
            self.0.push(name.id.to_string());
        }
        visitor::walk_expr(self, expression);
    }
}

/// `if x.dtype != dtype: x = x.to(dtype)`, which is `x = x.to(dtype)`: the question is left out, whatever else is asked stays.
fn without_question(conditional: &python_ast::StmtIf) -> Option<python_ast::StmtIf> {
    let [Stmt::Assign(assign)] = &conditional.body[..] else { return None };
    let ([target], Expr::Call(call)) = (&assign.targets[..], &*assign.value) else { return None };
    let ([dtype], Expr::Attribute(method)) = (&*call.arguments.args, &*call.func) else { return None };
    let casts = method.attr.as_str() == "to" && same(&method.value, target) && call.arguments.keywords.is_empty();
    if !casts || !conditional.elif_else_clauses.is_empty() {
        return None;
    }
    let asks = |test: &Expr| match test {
        Expr::Compare(comparison) => {
            let [right] = &*comparison.comparators else { return false };
            let of_target = |side: &Expr| matches!(side, Expr::Attribute(attribute) if attribute.attr.as_str() == "dtype" && same(&attribute.value, target));
            matches!(comparison.ops[..], [CmpOp::NotEq])
                && (of_target(&comparison.left) && same(right, dtype)
                    || of_target(right) && same(&comparison.left, dtype))
        }
        _ => false,
    };
    let mut changed = conditional.clone();
    let yes = || {
        Expr::BooleanLiteral(python_ast::ExprBooleanLiteral {
            node_index: Default::default(),
            range: conditional.range,
            value: true,
        })
    };
    match &mut *changed.test {
        Expr::BoolOp(operation) if operation.op == BoolOp::And => {
            let before = operation.values.len();
            operation.values.retain(|value| !asks(value));
            (operation.values.len() < before).then_some(changed)
        }
        test if asks(test) => {
            *test = yes();
            Some(changed)
        }
        _ => None,
    }
}

/// Whether two expressions are the same names.
fn same(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Name(a), Expr::Name(b)) => a.id == b.id,
        (Expr::Attribute(a), Expr::Attribute(b)) => a.attr.as_str() == b.attr.as_str() && same(&a.value, &b.value),
        _ => false,
    }
}

/// The entry that another name of a config's means: its `attribute_map`.
fn alias_of(lineage: &Lineage, name: &str) -> Option<String> {
    pairs(lineage, "attribute_map").into_iter().find(|(alias, _)| alias == name).map(|(_, meant)| meant)
}

/// A dictionary of entries, and of other dictionaries where there is no key.
fn dictionary_of(entries: &[(Option<String>, String)]) -> Said {
    let mut parts: Vec<String> = Vec::new();
    let mut own: Vec<String> = Vec::new();
    for (key, value) in entries {
        match key {
            Some(key) => own.push(format!("{key}: {value}")),
            None => {
                if !own.is_empty() {
                    parts.push(format!("{{{}}}", own.join(", ")));
                    own.clear();
                }
                parts.push(value.clone());
            }
        }
    }
    if parts.is_empty() {
        return atom(format!("{{{}}}", own.join(", ")));
    }
    if !own.is_empty() {
        parts.push(format!("{{{}}}", own.join(", ")));
    }
    atom(format!("joined([{}])", parts.join(", ")))
}

fn is_named(expression: &Expr, wanted: &str) -> bool {
    matches!(expression, Expr::Name(name) if name.id.as_str() == wanted)
}

fn is_super(expression: &Expr) -> bool {
    matches!(expression, Expr::Call(call) if matches!(&*call.func, Expr::Name(name) if name.id.as_str() == "super"))
}

fn sign_of(operator: Operator) -> (&'static str, u8) {
    match operator {
        Operator::Add => ("+", SUM),
        Operator::Sub => ("-", SUM),
        Operator::Mult => ("*", PRODUCT),
        Operator::MatMult => ("@", PRODUCT),
        Operator::Div => ("/", PRODUCT),
        Operator::Mod => ("%", PRODUCT),
        Operator::FloorDiv => ("//", PRODUCT),
        Operator::Pow => ("**", POWER),
        Operator::BitOr => ("|", BIT_OR),
        Operator::BitXor => ("^", BIT_XOR),
        Operator::BitAnd => ("&", BIT_AND),
        Operator::LShift => ("<<", SUM),
        Operator::RShift => (">>", SUM),
    }
}

fn line(depth: usize, text: impl AsRef<str>) -> String {
    format!("{}{}", "  ".repeat(depth), text.as_ref())
}

/// A text as specs write it: they have no escapes.
pub fn quoted(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.contains('"') {
        false => format!("\"{text}\""),
        true if text.contains('\'') => format!("\"{}\"", text.replace('"', "'")),
        true => format!("'{text}'"),
    }
}

fn kind_of(statement: &Stmt) -> &'static str {
    match statement {
        Stmt::While(_) => "a while loop",
        Stmt::ClassDef(_) => "a class within a function",
        Stmt::Match(_) => "a match statement",
        _ => "this statement",
    }
}

fn kind_of_expression(expression: &Expr) -> &'static str {
    match expression {
        Expr::Slice(_) => "a slice outside brackets",
        Expr::Await(_) | Expr::Yield(_) | Expr::YieldFrom(_) => "a coroutine",
        _ => "this expression",
    }
}
