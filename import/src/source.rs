//! Python's source files: read and parsed when they are first asked for, never run.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use indexmap::IndexMap;
use python_ast::token::TokenKind;
use python_ast::{Alias, Expr, ExprCall, ExprDict, Stmt, StmtClassDef, StmtFunctionDef, StmtImportFrom};
use python_parser::lexer::lex;
use python_parser::{Mode, parse_module};
use python_text::{Ranged, TextRange};
use rustc_hash::FxHashMap;

/// What is wrong with a source, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct Fault {
    /// The file, as messages name it.
    pub file: String,
    /// The line, counted from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// What a name at the top of a file is bound to.
#[derive(Clone, Debug)]
pub enum Binding {
    /// The class at that place in the file's body.
    Class(Rc<StmtClassDef>),
    /// The function at that place.
    Function(Rc<StmtFunctionDef>),
    /// A value that is computed when the file is imported.
    Value(Rc<Expr>),
    /// What another file or package calls so: `torch.nn.Linear`.
    Import(String),
}

/// One file, parsed.
#[derive(Debug)]
pub struct Module {
    /// Its dotted name: `transformers.models.llama.modeling_llama`.
    pub name: String,
    /// The file as messages name it: the part of its path below the package.
    pub file: String,
    /// What its top binds, in order.
    pub bindings: IndexMap<String, Binding>,
    /// What a name was bound to before it was bound to what is made of it: `cfgs = made_of(cfgs)`.
    pub earlier: IndexMap<String, Rc<Expr>>,
    /// Calls that stand alone at its top: `register_block('mobilevit', MobileVitBlock)`.
    pub calls: Vec<ExprCall>,
    /// What a class's name meant before the class was defined: `from .x import Y`, then `class Y(Y)`.
    pub shadowed: FxHashMap<String, String>,
    /// The files from which it takes all that they offer: `from .layers import *`.
    pub stars: Vec<String>,
    starts: Vec<usize>,
}

/// The most bytes of a source file that are read.
const LARGEST: u64 = 16 << 20;

impl Module {
    /// Parses a file's text.
    ///
    /// # Errors
    /// What Python's grammar does not have.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Module, Fault> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let (name, file, bindings, stars) = (name.into(), file.into(), IndexMap::new(), Vec::new());
        let mut module = Module {
            name,
            file,
            bindings,
            earlier: IndexMap::new(),
            calls: Vec::new(),
            shadowed: FxHashMap::default(),
            stars,
            starts,
        };
        if let Some(line) = too_deep(text) {
            let message = format!(
                "statement {line} nests deeper than {BRACKETS} brackets or blocks, or has more than {SIGNS} signs"
            );
            return Err(Fault { file: module.file, line: 0, message });
        }
        let parsed = parse_module(text)
            .map_err(|error| module.fault(error.range(), format!("this is no Python: {}", error.error)))?;
        for statement in parsed.into_suite() {
            module.bind(statement);
        }
        Ok(module)
    }

    fn bind(&mut self, statement: Stmt) {
        match statement {
            Stmt::ClassDef(class) => {
                if let Some(Binding::Import(dotted)) = self.bindings.get(class.name.as_str()) {
                    self.shadowed.insert(class.name.to_string(), dotted.clone());
                }
                self.bindings.insert(class.name.to_string(), Binding::Class(Rc::new(class)));
            }
            Stmt::FunctionDef(function) => {
                self.bindings.insert(function.name.to_string(), Binding::Function(Rc::new(function)));
            }
            Stmt::Import(import) => {
                for alias in import.names {
                    let whole = alias.name.to_string();
                    let (bound, meant) = match alias.asname {
                        Some(name) => (name.to_string(), whole),
                        None => {
                            let first = whole.split('.').next().unwrap_or_default().to_owned();
                            (first.clone(), first)
                        }
                    };
                    self.bindings.insert(bound, Binding::Import(meant));
                }
            }
            Stmt::ImportFrom(import) => {
                for (bound, dotted) in self.imported(&import) {
                    match dotted.strip_suffix(".*") {
                        Some(file) => self.stars.push(file.to_owned()),
                        None => drop(self.bindings.insert(bound, Binding::Import(dotted))),
                    }
                }
            }
            Stmt::Assign(assign) => {
                let value = Rc::new(*assign.value);
                for target in &assign.targets {
                    if let Expr::Name(name) = target {
                        let bound = self.bindings.insert(name.id.to_string(), Binding::Value(value.clone()));
                        if let Some(Binding::Value(before)) = bound {
                            self.earlier.insert(name.id.to_string(), before);
                        }
                    }
                }
            }
            Stmt::AnnAssign(assign) => {
                if let (Expr::Name(name), Some(value)) = (*assign.target, assign.value) {
                    self.bindings.insert(name.id.to_string(), Binding::Value(Rc::new(*value)));
                }
            }
            // what is there is used: `if is_torch_available():`, `try: import ...`
            Stmt::Expr(evaluated) => {
                if let Expr::Call(call) = *evaluated.value {
                    self.calls.push(call);
                }
            }
            // no variable of the environment is set: `if "TIMM_FUSED_ATTN" in os.environ:`
            Stmt::If(conditional) if asks_environment(&conditional.test) => {
                let otherwise = conditional.elif_else_clauses.into_iter().filter(|clause| clause.test.is_none());
                otherwise.flat_map(|clause| clause.body).for_each(|statement| self.bind(statement));
            }
            Stmt::If(conditional) => conditional.body.into_iter().for_each(|statement| self.bind(statement)),
            Stmt::Try(tried) => tried.body.into_iter().for_each(|statement| self.bind(statement)),
            _ => {}
        }
    }

    /// What `from .x import y as z` binds: names, and the dotted names that they mean.
    pub fn imported(&self, import: &StmtImportFrom) -> Vec<(String, String)> {
        // a package's own file stands for the package
        // (transformers' own files name what they offer otherwise)
        let is_package = self.file.ends_with("__init__.py") && !self.name.starts_with("transformers");
        let level = (import.level as usize).saturating_sub(usize::from(is_package));
        let above = self.name.rsplitn(level + 1, '.').nth(level);
        let package = if import.level == 0 { "" } else { above.unwrap_or("") };
        let from = import.module.as_ref().map_or("", |module| module.as_str());
        let dotted = |name: &str| {
            [package, from, name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
        };
        let bound = |alias: &Alias| alias.asname.as_ref().unwrap_or(&alias.name).to_string();
        import.names.iter().map(|alias| (bound(alias), dotted(&alias.name))).collect()
    }

    /// The line and the column of a place in the file, counted from 1.
    pub fn position(&self, range: TextRange) -> (usize, usize) {
        let line = self.line(range);
        (line, range.start().to_usize() - self.starts[line - 1] + 1)
    }

    /// The line of a place in the file, counted from 1.
    pub fn line(&self, range: TextRange) -> usize {
        self.starts.partition_point(|start| *start <= range.start().to_usize())
    }

    /// A fault at a place in the file.
    pub fn fault(&self, range: TextRange, message: impl Into<String>) -> Fault {
        Fault { file: self.file.clone(), line: self.line(range), message: message.into() }
    }
}

/// Whether an expression asks for a variable of the environment.
fn asks_environment(test: &Expr) -> bool {
    let Expr::Compare(comparison) = test else { return false };
    comparison.comparators.iter().any(|right| match right {
        Expr::Attribute(attribute) => {
            attribute.attr.as_str() == "environ"
                && matches!(&*attribute.value, Expr::Name(name) if name.id.as_str() == "os")
        }
        _ => false,
    })
}

/// Reads a file of at most so many bytes.
pub type Reader = fn(&Path, u64) -> io::Result<String>;

/// Where sources are found: packages by their first name, and what stands in for packages that are not read.
#[derive(Debug)]
pub struct Sources {
    packages: Vec<(String, PathBuf)>,
    /// Folders in which a name is looked for that no package has, as Python's path lists them.
    roots: Vec<PathBuf>,
    reader: Reader,
    parsed: RefCell<FxHashMap<String, Option<Rc<Module>>>>,
}

/// What memplan says torch.nn's classes are, for classes that derive from them.
const TORCH_NN: &str = include_str!("../python/torch_nn.py");

impl Sources {
    /// Sources with a package in a folder: ("transformers", ".../site-packages/transformers").
    pub fn with(packages: Vec<(String, PathBuf)>, reader: Reader) -> Sources {
        Sources { packages, roots: Vec::new(), reader, parsed: RefCell::default() }
    }

    /// The same, with folders in which all other names are looked for.
    pub fn beside(self, roots: Vec<PathBuf>) -> Sources {
        Sources { roots, ..self }
    }

    /// The file of that dotted name, if a package has it.
    ///
    /// # Errors
    /// A file that cannot be read or is no Python.
    pub fn module(&self, name: &str) -> Result<Option<Rc<Module>>, Fault> {
        if let Some(known) = self.parsed.borrow().get(name) {
            return Ok(known.clone());
        }
        let module = self.read(name)?.map(Rc::new);
        self.parsed.borrow_mut().insert(name.to_owned(), module.clone());
        Ok(module)
    }

    fn read(&self, name: &str) -> Result<Option<Module>, Fault> {
        if name == "torch.nn" {
            return Module::parse(name, "torch/nn", TORCH_NN).map(Some);
        }
        for (package, folder) in &self.packages {
            let Some(rest) = name.strip_prefix(package.as_str()) else { continue };
            if !rest.is_empty() && !rest.starts_with('.') {
                continue;
            }
            let below: Vec<&str> = rest.split('.').filter(|part| !part.is_empty()).collect();
            let mut path = folder.clone();
            path.extend(&below);
            for (path, file) in [
                (path.with_extension("py"), below.join("/") + ".py"),
                (path.join("__init__.py"), below.join("/") + "/__init__.py"),
            ] {
                if path.is_file() {
                    return Module::parse(name, &file, &self.text(&path, &file)?).map(Some);
                }
            }
        }
        let below = name.replace('.', "/");
        for root in &self.roots {
            for file in [format!("{below}.py"), format!("{below}/__init__.py")] {
                let path = root.join(&file);
                if path.is_file() {
                    return Module::parse(name, &file, &self.text(&path, &file)?).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn text(&self, path: &Path, file: &str) -> Result<String, Fault> {
        (self.reader)(path, LARGEST).map_err(|error| Fault {
            file: file.to_owned(),
            line: 0,
            message: error.to_string(),
        })
    }
}

/// What a text says that stands in the source as it is.
pub fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::StringLiteral(text) => Some(text.value.to_str().to_owned()),
        _ => None,
    }
}

/// The entries of a dictionary whose keys and values are such texts.
pub fn texts(dictionary: &ExprDict) -> Vec<(String, String)> {
    dictionary.items.iter().filter_map(|item| Some((text(item.key.as_ref()?)?, text(&item.value)?))).collect()
}

/// The deepest brackets, or blocks, within each other that are read: far beyond any source, and well within the stack.
const BRACKETS: usize = 200;

/// The most signs of a statement, each of which may go a level deeper: `a + a + ...`, `a.b.c...`, `not not ...`.
const SIGNS: usize = 20_000;

/// The line of a statement that could nest deeper than the parser's stack reaches, from 0.
fn too_deep(text: &str) -> Option<usize> {
    let mut lexer = lex(text, Mode::Module);
    let (mut open, mut blocks, mut signs, mut lines) = (0usize, 0usize, 0usize, 0usize);
    loop {
        match lexer.next_token() {
            TokenKind::EndOfFile => return None,
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => open += 1,
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => open = open.saturating_sub(1),
            TokenKind::Indent => blocks += 1,
            TokenKind::Dedent => blocks = blocks.saturating_sub(1),
            TokenKind::Newline => (signs, lines) = (0, lines + 1),
            TokenKind::Comma | TokenKind::Name | TokenKind::Int | TokenKind::Float | TokenKind::String => {}
            TokenKind::NonLogicalNewline | TokenKind::Comment => {}
            _ => signs += 1,
        }
        if open > BRACKETS || blocks > BRACKETS || signs > SIGNS {
            return Some(lines + 1);
        }
    }
}
