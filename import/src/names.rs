//! The table of what sources name and specs have: `names.yaml`.

use indexmap::IndexMap;
use rustc_hash::FxHashSet;
use serde::Deserialize;

/// The table, as its file says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// What stands in a spec for a function, class or value: `torch.nn.Linear: Linear`.
    pub means: IndexMap<String, String>,
    /// Classes that derive from these take nothing from them; what is said is added to their construction.
    pub bases: IndexMap<String, Base>,
    /// Questions to the machine, to packages and to tracers, by the names of transformers' functions: what they answer.
    pub answers: IndexMap<String, String>,
    /// What a package offers under its own name, by the file that defines it: `transformers.PreTrainedConfig`.
    pub offered: IndexMap<String, String>,
    /// Functions and decorators without a meaning for memory; calls that stand alone go.
    pub ignored: Vec<String>,
    /// Arguments that PyTorch's functions have and operators of specs do not, as they do not change what is allocated.
    pub dropped_arguments: FxHashSet<String>,
    /// The modules that peft adapts in a family where it is told none.
    pub lora_targets: IndexMap<String, Vec<String>>,
    /// How checkpoints of families name their tensors.
    pub checkpoints: Vec<Checkpoint>,
    /// Keys of a config's class that are no entries.
    pub ignored_entries: FxHashSet<String>,
    /// Methods of tensors and modules that are functions of them in a spec: `flatten`.
    #[serde(skip)]
    pub methods: IndexMap<String, String>,
    /// The rows of images that models of diffusers take: the entry, the pixels of each of its rows, the rows without it.
    #[serde(skip)]
    pub image_rows: IndexMap<String, String>,
    /// The frames of videos that models of diffusers take where their config names none.
    #[serde(skip)]
    pub frames: IndexMap<String, u64>,
}

/// What counts for sources of torch.nn alone: `plain.yaml`; for timm's beside it: `timm.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Plain {
    means: IndexMap<String, String>,
    dropped_arguments: FxHashSet<String>,
    ignored: Vec<String>,
    methods: IndexMap<String, String>,
    image_rows: IndexMap<String, String>,
    frames: IndexMap<String, u64>,
}

/// What is called otherwise in checkpoints of some families: patterns to what stands for them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The families.
    pub families: Vec<String>,
    /// Parts of names that are others in the model.
    #[serde(default)]
    pub renamed: IndexMap<String, String>,
    /// Ends of names of tensors that are parts of one parameter.
    #[serde(default)]
    pub merged: IndexMap<String, String>,
}

/// What a class has from a base that is not read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Base {
    /// The lines that stand for `super().__init__(...)`, with the call's first argument as `{0}`.
    pub init: String,
    /// Whether it is read where its package is there.
    pub unless_read: bool,
    /// Whether gradient checkpointing wraps its calls.
    pub checkpointing_layer: bool,
    /// Methods that it has: name to what stands for it.
    pub methods: IndexMap<String, String>,
}

const TABLE: &str = include_str!("../names.yaml");

const PLAIN: &str = include_str!("../plain.yaml");

const TIMM: &str = include_str!("../timm.yaml");

impl Names {
    /// The table.
    ///
    /// # Errors
    /// What is wrong with it: its tests see that nothing is.
    pub fn table() -> Result<Names, String> {
        serde_yaml::from_str(TABLE).map_err(|error| format!("import/names.yaml: {error}"))
    }

    /// The table for sources of torch.nn: what it says of torch.nn for transformers' sources does not count.
    ///
    /// # Errors
    /// As of [`Names::table`].
    pub fn plain() -> Result<Names, String> {
        let plain: Plain = serde_yaml::from_str(PLAIN).map_err(|error| format!("import/plain.yaml: {error}"))?;
        let mut names = Names::table()?;
        names.means.retain(|name, _| !name.starts_with("torch.nn."));
        names.means.extend(plain.means);
        names.dropped_arguments = plain.dropped_arguments;
        names.ignored.extend(plain.ignored);
        names.methods = plain.methods;
        (names.image_rows, names.frames) = (plain.image_rows, plain.frames);
        Ok(names)
    }

    /// The table for sources of timm: that of torch.nn, and what timm's own names mean.
    ///
    /// # Errors
    /// As of [`Names::table`].
    pub fn timm() -> Result<Names, String> {
        let own: Plain = serde_yaml::from_str(TIMM).map_err(|error| format!("import/timm.yaml: {error}"))?;
        let mut names = Names::plain()?;
        names.ignored.retain(|name| !own.means.contains_key(name));
        names.means.extend(own.means);
        names.dropped_arguments.extend(own.dropped_arguments);
        names.ignored.extend(own.ignored);
        names.methods.extend(own.methods);
        Ok(names)
    }

    /// A dotted name by the file that defines it.
    pub fn canonical(&self, dotted: &str) -> String {
        self.offered.get(dotted).cloned().unwrap_or_else(|| dotted.to_owned())
    }

    /// What a name means: by the file that it stands in, or in whichever file of transformers it stands.
    pub fn meaning(&self, dotted: &str) -> Option<&String> {
        let anywhere = || {
            let name = dotted.strip_prefix("transformers.models.")?.rsplit('.').next()?;
            self.means.get(&format!("transformers.models.*.{name}"))
        };
        self.means.get(dotted).or_else(anywhere)
    }

    /// What a call of that function stands for, whatever it is given.
    pub fn answer(&self, dotted: &str) -> Option<String> {
        let of_package = dotted.strip_prefix("transformers.").or_else(|| dotted.strip_prefix("diffusers."));
        let called = of_package.and_then(|rest| rest.rsplit('.').next());
        let answer = self.means.get(&format!("{dotted}()")).or_else(|| self.answers.get(called?));
        answer.cloned()
    }

    /// Whether a dotted name is of those that have no meaning for memory.
    pub fn ignores(&self, dotted: &str) -> bool {
        self.ignored.iter().any(|ignored| match ignored.strip_suffix(".*") {
            Some(prefix) => dotted.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')),
            None => ignored == dotted,
        })
    }
}
