//! A family of models: its classes, functions, architectures and built-in configurations, ready to be run.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::{FxHashMap, FxHashSet};

use super::changes::span;
use super::document::{
    ArchitectureText, BeforeText, ClassText, Document, FieldText, FullFieldText, ImageRows, Places, Scalar, SdpaText,
    read,
};
use super::syntax::{Function, Position};
use super::{SpecError, parse};
use crate::dtype::Dtype;
use crate::files;
use crate::read::specs;
use crate::versions::{Library, Release, Rules};

/// A tensor that a module owns.
#[derive(Debug)]
pub struct Field {
    /// Its name within the module.
    pub name: Arc<str>,
    /// Gives its shape, or None where the module goes without it.
    pub shape: Function,
}

/// The type that the source gives a tensor, from a release on where one is named.
#[derive(Clone, Copy, Debug)]
pub struct FieldType {
    /// The type.
    pub dtype: Dtype,
    /// The first release that gives it.
    pub since: Option<(Library, Release)>,
}

impl FieldType {
    /// A type that all releases give.
    pub fn always(dtype: Dtype) -> FieldType {
        FieldType { dtype, since: None }
    }

    /// The type by these rules, if they give it.
    pub fn by(self, rules: Rules) -> Option<Dtype> {
        self.since.is_none_or(|(library, release)| rules.is_since(library, release)).then_some(self.dtype)
    }
}

/// A buffer that a module owns.
#[derive(Debug)]
pub struct Buffer {
    /// Its name and shape.
    pub field: Field,
    /// Its type; the weights' type where the spec gives none.
    pub dtype: Option<FieldType>,
    /// Whether checkpoints hold it.
    pub persistent: bool,
}

/// A class: a module, or a plain class such as a cache.
#[derive(Debug)]
pub struct Class {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is a module with a path, children and parameters.
    pub is_module: bool,
    /// Whether it is one of the layers that transformers checkpoints (`GradientCheckpointingLayer`).
    pub is_checkpointing_layer: bool,
    /// What its construction takes: a function without a body.
    pub constructor: Function,
    /// The code of its construction, where it is written so; it has no attributes, children, parameters and buffers beside it.
    pub init: Option<Arc<Function>>,
    /// Attributes in order; each sees the constructor's parameters, then `self`.
    pub attributes: Vec<(Arc<str>, Function)>,
    /// Children in order: modules, lists of modules or None.
    pub children: Vec<(Arc<str>, Function)>,
    /// What the elements of a list of children are called where they are children of this module itself: the key
    /// `layers as layer{1}` calls them layer1, layer2, ...
    pub elements: FxHashMap<Arc<str>, (Arc<str>, usize)>,
    /// Parameters in order, with their types where the spec fixes them.
    pub parameters: Vec<(Field, Option<FieldType>)>,
    /// Buffers in order.
    pub buffers: Vec<Buffer>,
    /// Methods, `forward` among them.
    pub methods: FxHashMap<Arc<str>, Arc<Function>>,
    /// Those of the methods that are called where they are named.
    pub properties: FxHashSet<Arc<str>>,
}

/// What a global name of a spec means.
#[derive(Clone, Debug)]
pub enum Definition {
    /// A function.
    Function(Arc<Function>),
    /// A class; calling it makes an instance.
    Class(Arc<Class>),
}

/// Definitions that stand in the place of those of the same name in releases before one.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The first release in which they do not hold any more.
    pub before: (Library, Release),
    /// What the names mean until then.
    pub definitions: Definitions,
}

/// What global names mean.
pub type Definitions = FxHashMap<Arc<str>, Definition>;

/// Since when transformers lets an architecture run with sdpa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdpa {
    /// In all releases that are planned.
    Always,
    /// From a release on.
    Since(Library, Release),
    /// Never: it runs eager.
    Never,
}

impl Sdpa {
    /// Whether it does by these rules.
    pub fn by(self, rules: Rules) -> bool {
        match self {
            Sdpa::Always => true,
            Sdpa::Since(library, release) => rules.is_since(library, release),
            Sdpa::Never => false,
        }
    }
}

/// One architecture of a family, as `architectures` of a config.json names it.
#[derive(Debug)]
pub struct Architecture {
    /// Its name, which is also the name of its module.
    pub name: String,
    /// The function that makes the model's inputs for a run.
    pub inputs: Arc<str>,
    /// The function that makes the model of its config, where that is not the module of its name.
    pub made: Option<Arc<str>>,
    /// The attribute that holds the base model; checkpoints of the base model go without this prefix.
    pub base_prefix: String,
    /// Parameters that share another's storage, when the config ties them: (name, the other's name).
    pub tied: Vec<(String, String)>,
    /// Names in checkpoints that are passed over.
    pub ignored: Vec<regex::Regex>,
    /// What of names in checkpoints is called otherwise in the model.
    pub renamed: Vec<(regex::Regex, String)>,
    /// Tensors in checkpoints that are parts of one parameter, and what of their names becomes its name.
    pub merged: Vec<(regex::Regex, String)>,
    /// What its forward and its output call the cache.
    pub cache_argument: Arc<str>,
    /// Whether it can generate.
    pub generates: bool,
    /// Whether transformers lets it run with sdpa; else it runs eager, and refuses to be asked for sdpa (`_supports_sdpa`).
    pub sdpa: Sdpa,
    /// Whether its forward computes the last logits alone where it is asked to (`logits_to_keep`).
    pub keeps_logits: bool,
    /// Whether it takes images, of the config's `image_size` where a run gives none.
    pub takes_images: bool,
    /// The function that gives a run's images, for an architecture that takes them beside tokens.
    pub images: Option<Arc<str>>,
    /// Whether it takes text beside images, as many tokens as a run's sequences have.
    pub takes_text: bool,
    /// The rows of its images where a run gives none.
    pub image_rows: ImageRows,
    /// The architecture of this family that adds a loss, for a base model that has none.
    pub trained_as: Option<String>,
}

/// A built-in configuration: a published model's config.
#[derive(Debug)]
pub struct Configuration {
    /// Its architecture.
    pub architecture: String,
    /// Where its figures were read.
    pub source: String,
    /// The type of its published weights.
    pub dtype: Option<String>,
    /// The entries that differ from the family's defaults.
    pub config: IndexMap<String, serde_json::Value>,
}

/// A family of models.
#[derive(Debug)]
pub struct Family {
    /// Its name, e.g. `gpt2`.
    pub name: String,
    /// What it was read from.
    pub source: String,
    /// Whether its source was translated: its config's defaults are those of its class, which other entries may differ from in kind.
    pub imported: bool,
    /// The release that it was read in, where others may differ from it and it does not say how.
    pub read_in: Option<(Library, Release)>,
    /// Its file.
    pub file: Arc<str>,
    /// A digest (CRC-32) of its text and of the libraries that it uses: another one says that something was edited.
    pub digest: u32,
    /// Global names: its own and those of the libraries that it uses.
    pub definitions: Definitions,
    /// What some of them mean in earlier releases.
    pub earlier: Vec<Earlier>,
    /// Architectures by name.
    pub architectures: IndexMap<String, Architecture>,
    /// Entries of a config that leaves them out.
    pub defaults: IndexMap<String, serde_json::Value>,
    /// Other names of entries: (alias, entry).
    pub aliases: IndexMap<String, String>,
    /// What the config class computes from the entries, as a function of `config`.
    pub derive: Option<Arc<Function>>,
    /// The modules that peft adapts where it is told none.
    pub lora_targets: Vec<String>,
    /// Whether what is tied is tied whatever the config says, as in an exported program.
    pub always_ties: bool,
    /// Built-in configurations by name.
    pub configurations: IndexMap<String, Configuration>,
}

impl Family {
    /// Global names as the releases of a run have them.
    pub fn definitions_by(&self, rules: Rules) -> Definitions {
        let mut definitions = self.definitions.clone();
        let holds = |earlier: &&Earlier| !rules.is_since(earlier.before.0, earlier.before.1);
        for earlier in self.earlier.iter().filter(holds) {
            definitions.extend(earlier.definitions.iter().map(|(name, meaning)| (name.clone(), meaning.clone())));
        }
        definitions
    }
}

/// The longest spec that is read, in bytes.
const LARGEST_SPEC: u64 = 16 << 20;

/// A spec's text, with its file's name for messages.
type NamedText = (Arc<str>, Cow<'static, str>);

/// Libraries that are parsed, by name, each with those that it uses.
type Libraries = FxHashMap<String, (Vec<String>, Family)>;

/// Where specs come from: the user's folder first, then the embedded ones.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// The user's folder, laid out as `specs/`.
    pub folder: Option<PathBuf>,
}

impl Shelf {
    /// The texts of a folder's spec files, `models` or `library`: (file name for messages, text); of the embedded ones those that name a
    /// word.
    fn files(&self, folder: &str, word: Option<&str>) -> Result<Vec<NamedText>, SpecError> {
        let mut files = Vec::new();
        if let Some(own) = &self.folder {
            let own = own.join(folder);
            if own.is_dir() {
                for path in yaml_files(&own)? {
                    files.push((path.display().to_string().into(), read_text(&path)?.into()));
                }
            }
        }
        let embedded = specs::embedded_files_naming(folder, word);
        files.extend(embedded.into_iter().map(|(path, text)| (format!("specs/{path}").into(), text.into())));
        Ok(files)
    }

    /// The family that has the architecture, or `None`.
    pub fn family_of_architecture(&self, name: &str) -> Result<Option<Family>, SpecError> {
        self.find(name, |family| family.architectures.contains_key(name))
    }

    /// The family that has the built-in configuration, or `None`.
    pub fn family_of_configuration(&self, name: &str) -> Result<Option<Family>, SpecError> {
        self.find(name, |family| family.configurations.contains_key(name))
    }

    /// Every family, the user's first.
    pub fn families(&self) -> Result<Vec<Family>, SpecError> {
        let mut libraries = Libraries::default();
        let files = self.files("models", None)?;
        files.iter().map(|(file, text)| self.family_with(&mut libraries, file, text)).collect()
    }

    /// The first family that passes; only files whose text holds `word` are parsed.
    fn find(&self, word: &str, passes: impl Fn(&Family) -> bool) -> Result<Option<Family>, SpecError> {
        for (file, text) in self.files("models", Some(word))? {
            if text.contains(word) {
                let family = self.family(&file, &text)?;
                if passes(&family) {
                    return Ok(Some(family));
                }
            }
        }
        Ok(None)
    }

    /// The family in a user's own file.
    pub fn family_of_file(&self, path: &Path) -> Result<Family, SpecError> {
        let file: Arc<str> = path.display().to_string().into();
        self.family(&file, &read_text(path)?)
    }

    /// A family of the folder `estimate`, which stands for models that no other one describes.
    ///
    /// # Errors
    /// A wrong spec.
    pub fn family_for_estimates(&self, name: &str) -> Result<Family, SpecError> {
        let path = format!("estimate/{name}.yaml");
        if let Some(own) = self.folder.as_ref().map(|folder| folder.join(&path)).filter(|own| own.is_file()) {
            return self.family_of_file(&own);
        }
        let file: Arc<str> = format!("specs/{path}").into();
        match specs::embedded(&path) {
            Some(text) => self.family(&file, text),
            None => Err(SpecError::new(&file, Position::default(), "the spec is missing")),
        }
    }

    /// Parses a family and the libraries that it uses.
    pub fn family(&self, file: &Arc<str>, text: &str) -> Result<Family, SpecError> {
        self.family_with(&mut Libraries::default(), file, text)
    }

    /// The same; each library is parsed once.
    fn family_with(&self, libraries: &mut Libraries, file: &Arc<str>, text: &str) -> Result<Family, SpecError> {
        let document: Document = read(file, text)?;
        let mut family = parse(&document, file, text)?;
        let own = std::mem::take(&mut family.definitions);
        let own_earlier = std::mem::take(&mut family.earlier);
        let mut waiting = document.uses.clone();
        let mut used = Vec::new();
        while let Some(name) = waiting.pop() {
            if used.contains(&name) {
                continue;
            }
            if !libraries.contains_key(&name) {
                let (file, text) = self.library(&name, file)?;
                let document: Document = read(&file, &text)?;
                let library = parse(&document, &file, &text)?;
                libraries.insert(name.clone(), (document.uses, library));
            }
            if let Some((uses, library)) = libraries.get(&name) {
                waiting.extend(uses.iter().cloned());
                family.digest =
                    crc32fast::hash([family.digest.to_le_bytes(), library.digest.to_le_bytes()].as_flattened());
                let definitions = library.definitions.iter();
                family.definitions.extend(definitions.map(|(name, definition)| (name.clone(), definition.clone())));
                family.earlier.extend(library.earlier.iter().cloned());
            }
            used.push(name);
        }
        for earlier in &mut family.earlier {
            earlier.definitions.retain(|name, _| !own.contains_key(name)); // a family's own come first
        }
        family.definitions.extend(own);
        family.earlier.extend(own_earlier);
        Ok(family)
    }

    fn library(&self, name: &str, user: &Arc<str>) -> Result<(Arc<str>, String), SpecError> {
        if let Some(folder) = &self.folder {
            let path = folder.join("library").join(format!("{name}.yaml"));
            if path.exists() {
                return Ok((path.display().to_string().into(), read_text(&path)?));
            }
        }
        let path = format!("library/{name}.yaml");
        match specs::embedded(&path) {
            Some(text) => Ok((format!("specs/{path}").into(), text.to_owned())),
            None => Err(SpecError::new(user, Position::default(), &format!("uses: there is no library `{name}`"))),
        }
    }
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, SpecError> {
    let fail = |error: std::io::Error| {
        SpecError::new(&folder.display().to_string().into(), Position::default(), &error.to_string())
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The text of a spec of the user's own; errors name it.
pub(in crate::read) fn read_text(path: &Path) -> Result<String, SpecError> {
    files::text(path, LARGEST_SPEC)
        .map_err(|error| SpecError::new(&path.display().to_string().into(), Position::default(), &error.to_string()))
}

/// Parses the code of a document.
pub(super) fn parse(document: &Document, file: &Arc<str>, text: &str) -> Result<Family, SpecError> {
    let Document { modules, classes, functions, .. } = document;
    let sections = Sections { modules, classes, functions };
    let definitions = definitions(sections, &[], file, text)?;
    let before = document.before.iter().map(|(release, before)| {
        let Some(span) = span(release) else {
            let message = format!("before: `{release}` names no release: write transformers 5.17");
            return Err(SpecError::new(file, Position::default(), &message));
        };
        let BeforeText { modules, classes, functions, .. } = before;
        let sections = Sections { modules, classes, functions };
        Ok(Earlier { before: span, definitions: self::definitions(sections, &["before", release], file, text)? })
    });
    let earlier = before.collect::<Result<_, SpecError>>()?;
    let derive = if document.config.derive.is_empty() {
        None
    } else {
        let mut places = Places::new(text);
        let at = places.key("derive");
        let body = (document.config.derive.as_str(), places.block());
        Some(Arc::new(parse::function("", ("derive(config)", at), body, file)?))
    };
    let read_in = match &document.read_in {
        None => None,
        Some(text) => Some(span(text).ok_or_else(|| {
            let message = format!("read_in: `{text}` names no release: write transformers 5.24");
            SpecError::new(file, Position::default(), &message)
        })?),
    };
    Ok(Family {
        imported: document.imported,
        read_in,
        name: document.name.clone(),
        source: document.source.clone(),
        file: file.clone(),
        digest: crc32fast::hash(text.as_bytes()),
        definitions,
        earlier,
        architectures: document
            .architectures
            .iter()
            .map(|(name, text)| Ok((name.clone(), parse_architecture(name, text, file)?)))
            .collect::<Result<_, SpecError>>()?,
        defaults: document.config.defaults.clone(),
        aliases: document.config.aliases.clone(),
        derive,
        lora_targets: document.lora_targets.clone(),
        always_ties: false,
        configurations: document
            .configurations
            .iter()
            .map(|(name, text)| {
                let configuration = Configuration {
                    architecture: text.architecture.clone(),
                    source: text.source.clone(),
                    dtype: text.dtype.clone(),
                    config: text.config.clone(),
                };
                (name.clone(), configuration)
            })
            .collect(),
    })
}

/// What a file defines, or what holds in it before a release.
struct Sections<'a> {
    modules: &'a IndexMap<String, ClassText>,
    classes: &'a IndexMap<String, ClassText>,
    functions: &'a IndexMap<String, String>,
}

/// Parses modules, classes and functions that stand below these keys of a file.
fn definitions(
    Sections { modules, classes, functions }: Sections<'_>,
    within: &[&str],
    file: &Arc<str>,
    text: &str,
) -> Result<Definitions, SpecError> {
    let mut definitions = Definitions::default();
    for (section, classes, is_module) in [("modules", modules, true), ("classes", classes, false)] {
        let mut places = Places::within(text, within);
        places.key(section);
        for (signature, class) in classes {
            let class = parse_class(signature, class, is_module, &mut places, file)?;
            definitions.insert(class.name.clone(), Definition::Class(Arc::new(class)));
        }
    }
    let functions = functions_within(functions, within, file, text)?;
    definitions.extend(functions.into_iter().map(|function| {
        let name: Arc<str> = function.name.as_str().into();
        (name, Definition::Function(Arc::new(function)))
    }));
    Ok(definitions)
}

/// Parses the functions under a file's `functions` key.
pub(super) fn functions(
    entries: &IndexMap<String, String>,
    file: &Arc<str>,
    text: &str,
) -> Result<Vec<Function>, SpecError> {
    functions_within(entries, &[], file, text)
}

fn functions_within(
    entries: &IndexMap<String, String>,
    within: &[&str],
    file: &Arc<str>,
    text: &str,
) -> Result<Vec<Function>, SpecError> {
    let mut places = Places::within(text, within);
    places.key("functions");
    let parse = |(signature, body): (&String, &String)| {
        let at = places.key(signature);
        parse::function("", (signature, at), (body, places.block()), file)
    };
    entries.iter().map(parse).collect()
}

fn parse_architecture(name: &str, text: &ArchitectureText, file: &Arc<str>) -> Result<Architecture, SpecError> {
    let parsed = |key: &str, pattern: &String| {
        regex::Regex::new(pattern).map_err(|_| {
            let message = format!("architectures: {name}: {key}: `{pattern}` is not a regular expression");
            SpecError::new(file, Position::default(), &message)
        })
    };
    let replaced = |key: &str, entries: &IndexMap<String, String>| {
        let pair = |(pattern, with): (&String, &String)| Ok((parsed(key, pattern)?, with.clone()));
        entries.iter().map(pair).collect::<Result<Vec<_>, SpecError>>()
    };
    Ok(Architecture {
        name: name.to_owned(),
        inputs: text.inputs.as_str().into(),
        made: text.made.as_deref().map(Arc::from),
        base_prefix: text.base_prefix.clone(),
        tied: text.tied.iter().map(|(name, other)| (name.clone(), other.clone())).collect(),
        ignored: text.ignored.iter().map(|pattern| parsed("ignored", pattern)).collect::<Result<_, _>>()?,
        renamed: replaced("renamed", &text.renamed)?,
        merged: replaced("merged", &text.merged)?,
        cache_argument: text.cache_argument.as_str().into(),
        generates: text.generates,
        keeps_logits: text.keeps_logits,
        sdpa: match &text.sdpa {
            SdpaText::Always(true) => Sdpa::Always,
            SdpaText::Always(false) => Sdpa::Never,
            SdpaText::Since(said) => match said.strip_prefix("since ").and_then(span) {
                Some((library, release)) => Sdpa::Since(library, release),
                None => {
                    let message = format!("architectures: {name}: sdpa: `{said}`: write `since transformers 5.17`");
                    return Err(SpecError::new(file, Position::default(), &message));
                }
            },
        },
        takes_images: text.takes_images,
        images: text.images.as_deref().map(Arc::from),
        takes_text: text.takes_text,
        image_rows: text.image_rows.clone(),
        trained_as: text.trained_as.clone(),
    })
}

fn parse_class(
    signature: &str,
    text: &ClassText,
    is_module: bool,
    places: &mut Places,
    file: &Arc<str>,
) -> Result<Class, SpecError> {
    let at = places.key(signature);
    let constructor = parse::function("", (signature, at), ("", at), file)?;
    let name: Arc<str> = constructor.name.as_str().into();
    let mut locals: Vec<Arc<str>> =
        constructor.parameters.iter().filter_map(|p| constructor.names.get(usize::from(p.name.0)).cloned()).collect();
    locals.push("self".into());
    let declares = [text.attributes.len(), text.children.len(), text.parameters.len(), text.buffers.len()];
    let init = match text.init.as_str() {
        "" => None,
        _ if declares != [0; 4] => {
            let message = "init stands in place of attributes, children, parameters and buffers";
            return Err(SpecError::new(file, at, message));
        }
        code => {
            places.key("init");
            let body = (code, places.block());
            Some(Arc::new(parse::function("", (signature, at), body, file)?))
        }
    };
    let mut expression = |key: &str, value: &Scalar| {
        let place = places.key(key);
        let at = Position { column: place.column + key.len() as u32 + 2, ..place };
        parse::expression(&format!("{name}.{key}"), &locals, (&value.to_string(), at), file)
    };
    let plain = |entries: &IndexMap<String, Scalar>, expression: &mut dyn FnMut(&str, &Scalar) -> _| {
        entries
            .iter()
            .map(|(key, value)| Ok((Arc::from(key.as_str()), expression(key, value)?)))
            .collect::<Result<Vec<(Arc<str>, Function)>, SpecError>>()
    };
    let attributes = plain(&text.attributes, &mut expression)?;
    let mut children = plain(&text.children, &mut expression)?;
    let mut elements = FxHashMap::default();
    for (key, _) in &mut children {
        let Some((name, pattern)) = key.split_once(" as ") else { continue };
        let parts = pattern.strip_suffix('}').and_then(|pattern| pattern.split_once('{'));
        let Some((prefix, Ok(first))) = parts.map(|(prefix, first)| (prefix, first.parse())) else {
            let message = format!("children: `{key}`: write `NAME as PREFIX{{0}}`");
            return Err(SpecError::new(file, at, &message));
        };
        let name: Arc<str> = name.into();
        elements.insert(name.clone(), (prefix.into(), first));
        *key = name;
    }
    let mut parameters = Vec::new();
    for (key, field) in &text.parameters {
        let parameter = parse_field(key, field, &mut expression)?;
        parameters.push((parameter.field, parameter.dtype));
    }
    let mut buffers = Vec::new();
    for (key, field) in &text.buffers {
        buffers.push(parse_field(key, field, &mut expression)?);
    }
    let (mut methods, mut properties) = (FxHashMap::default(), FxHashSet::default());
    for (key, body) in &text.methods {
        let at = places.key(key);
        let signature = key.strip_prefix("property ").unwrap_or(key);
        let method = parse::function(&name, (signature, at), (body, places.block()), file)?;
        let short: Arc<str> = Arc::from(method.name.rsplit('.').next().unwrap_or(&method.name));
        if signature.len() < key.len() {
            properties.insert(short.clone());
        }
        methods.insert(short, Arc::new(method));
    }
    let is_checkpointing_layer = text.checkpointing_layer;
    Ok(Class {
        name,
        is_module,
        is_checkpointing_layer,
        constructor,
        init,
        attributes,
        children,
        elements,
        parameters,
        buffers,
        methods,
        properties,
    })
}

fn parse_field(
    key: &str,
    text: &FieldText,
    expression: &mut dyn FnMut(&str, &Scalar) -> Result<Function, SpecError>,
) -> Result<Buffer, SpecError> {
    let full = match text {
        FieldText::Shape(shape) => FullFieldText { shape: shape.clone(), ..FullFieldText::default() },
        FieldText::Full(full) => full.clone(),
    };
    let shape = match &full.when {
        None => full.shape.clone(),
        Some(when) => Scalar::Text(format!("({}) if {when} else None", full.shape)),
    };
    let shape = expression(key, &shape)?;
    let fail = |message: String| {
        let at = shape.body.first().map_or(Position::default(), |statement| statement.at);
        SpecError::new(&shape.file, at, &message)
    };
    let since = match &full.since {
        None => None,
        Some(text) => {
            Some(span(text).ok_or_else(|| fail(format!("`{text}` names no release: write transformers 5.24")))?)
        }
    };
    let dtype = match &full.dtype {
        None => None,
        Some(name) => {
            let dtype = Dtype::named(name).ok_or_else(|| fail(format!("`{name}` is not the name of a type")))?;
            Some(FieldType { dtype, since })
        }
    };
    Ok(Buffer { field: Field { name: key.into(), shape }, dtype, persistent: full.persistent })
}
