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

mod calls;
mod expressions;
mod statements;

use std::rc::Rc;

use python_ast::visitor::{self, Visitor};
use python_ast::{
    BoolOp, CmpOp, Comprehension, Expr, ExprCall, InterpolatedStringElement, Number, Operator, Parameters, Stmt,
    StmtFunctionDef, UnaryOp,
};
use python_text::{Ranged, TextRange};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::classes::{Defined, Lineage, MethodKind, decorators};
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
    /// The functions that parameters are where nothing is given.
    defaults: FxHashMap<String, String>,
    /// The parameters of a forward that have to be given, whose lists are the caller's own.
    given: FxHashSet<String>,
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
const BUILTINS: [(&str, &str); 29] = [
    ("iter", "iterator"),
    ("next", "next"),
    ("filter", "filtered"),
    ("pow", "power_of"),
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
    ("pow", "raised_to"),
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
            given: FxHashSet::default(),
            defaults: FxHashMap::default(),
        }
    }

    /// Translates a function; its first parameter is left out where that is the object.
    pub fn function(mut self, function: &StmtFunctionDef, before: &[String]) -> Code {
        self.is_constructor = function.name.as_str() == "__init__";
        if self.import.plain && self.standing == Standing::Method && function.name.starts_with("forward") {
            let given = function.parameters.iter_non_variadic_params().filter(|parameter| parameter.default.is_none());
            self.given = given.map(|parameter| parameter.name().to_string()).collect();
        }
        for parameter in function.parameters.iter_non_variadic_params() {
            if let Some(Expr::Name(_)) = parameter.default.as_deref()
                && let Some(dotted) = parameter.default.as_deref().and_then(|default| self.dotted(default))
            {
                self.defaults.insert(parameter.name().to_string(), dotted);
            }
        }
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
        if self.import.plain
            && let Some((_, changed)) = changed_parameter(function)
        {
            lines.push(format!("return {changed}"));
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

    /// What an entry of a dictionary is; what cannot be said is refused where it is called.
    fn entry(&mut self, value: &Expr) -> Result<String, Fault> {
        match self.expression(value) {
            Err(fault) if self.import.plain && self.dotted(value).is_some() => {
                let text = format!("lambda *args, **kwargs: require(False, {})", quoted(&fault.to_string()));
                self.import.faults.push(fault);
                Ok(text)
            }
            said => said.map(|said| said.text),
        }
    }

    /// What stands in the spec for a dotted name; a local of the same name hides it not.
    fn meaning(&mut self, dotted: &str, range: TextRange) -> Text {
        let said = self.meant(dotted, range)?;
        Ok(if self.locals.contains(&said.text) { atom(format!("library.{}", said.text)) } else { said })
    }

    fn meant(&mut self, dotted: &str, range: TextRange) -> Text {
        if let Some(meant) = self.import.world.names.meaning(dotted) {
            return Ok(atom(meant.clone()));
        }
        if let Some(name) = self.import.operator(dotted) {
            return Ok(atom(name));
        }
        if self.import.plain
            && let Some(defined) = self.import.world.defined_as(dotted)
        {
            return self.meant(&defined, range);
        }
        match self.import.world.definition(dotted)? {
            Some(Meaning::Class(defined)) => {
                let lineage = Lineage::of(&self.import.world, &defined.module, &defined.class)?;
                if lineage.derives_from("transformers.utils.generic.ModelOutput")
                    || lineage.derives_from("transformers.utils.ModelOutput")
                    || lineage.derives_from("diffusers.utils.BaseOutput")
                    || lineage.derives_from("diffusers.utils.outputs.BaseOutput")
                {
                    return Ok(atom("Output"));
                }
                Ok(atom(self.import.want_class(defined)))
            }
            Some(Meaning::Function(module, function)) => Ok(atom(self.import.want_function(module, function))),
            Some(Meaning::Value(module, value)) => {
                let text = Translator::new(self.import, module, None, Standing::Free).constant(&value)?;
                let mut entries = Vec::new();
                for (file, key, value) in self.import.entries.get(dotted).cloned().unwrap_or_default() {
                    let mut said =
                        |value: &Expr| Translator::new(self.import, file.clone(), None, Standing::Free).constant(value);
                    entries.push((Some(said(&key)?), said(&value)?));
                }
                if entries.is_empty() {
                    return Ok(atom(text));
                }
                entries.insert(0, (None, text));
                Ok(dictionary_of(&entries))
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
}

/// The parameter that a function changes, a dictionary or a list, where it gives nothing back: its place and its name.
fn changed_parameter(function: &StmtFunctionDef) -> Option<(usize, &str)> {
    struct Changed<'n> {
        name: &'n str,
        changes: bool,
        rebinds: bool,
    }
    impl Visitor<'_> for Changed<'_> {
        fn visit_stmt(&mut self, statement: &Stmt) {
            match statement {
                Stmt::Assign(assign) => {
                    for target in &assign.targets {
                        let entry =
                            |target: &Expr| matches!(target, Expr::Subscript(s) if is_named(&s.value, self.name));
                        self.changes |= entry(target);
                        self.rebinds |= is_named(target, self.name);
                    }
                }
                Stmt::Expr(evaluated) => {
                    if let Expr::Call(call) = &*evaluated.value
                        && let Expr::Attribute(method) = &*call.func
                    {
                        let changes = ["update", "setdefault", "append", "extend", "pop"];
                        let is_change = changes.contains(&method.attr.as_str()) && is_named(&method.value, self.name);
                        self.changes |= is_change;
                    }
                }
                _ => {}
            }
            visitor::walk_stmt(self, statement);
        }
    }
    if gives_back(&function.body) || !function.decorator_list.is_empty() {
        return None;
    }
    let names = function.parameters.iter_non_variadic_params().map(|parameter| parameter.name().as_str());
    names.enumerate().find(|(_, name)| {
        let mut changed = Changed { name, changes: false, rebinds: false };
        function.body.iter().for_each(|statement| changed.visit_stmt(statement));
        changed.changes && !changed.rebinds && !matches!(*name, "self" | "cls")
    })
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
    decorators(&function.decorator_list)
        .any(|(name, arguments)| matches!(name, "no_grad" | "inference_mode") && arguments.is_some())
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
