//! What options ask for: the model, opened; the run; the GPU.
//!
//! ```text
//! RunOptions ── complete() ──> RunOptions without files ── open() ──> Opened {model, run, gpu} ──> plan
//! ```

use std::path::{Path, PathBuf};

use super::class;
use super::named::HubId;
use super::{Model, ModelError};
use crate::files;
use crate::read::environment::{self, EnvironmentError, Found};
use crate::read::gpus::{Gpu, GpuCatalogue, GpuError};
use crate::read::profiles::{Profile, ProfileError};
use crate::read::spec::Shelf;
use crate::run::{Checkpointing, NamedSizes, Region, Run, RunError, RunOptions, UnknownOperator, has_unit};
use crate::versions::{Library, VersionError};

/// The GPU where none is named.
pub const DEFAULT_GPU: &str = "h200";

/// The longest list of modules that is read, in bytes.
const LARGEST_LIST: u64 = 1 << 20;

/// What a plan is made of.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub model: Model,
    /// The run.
    pub run: Run,
    /// The GPU.
    pub gpu: Gpu,
}

/// Why there is nothing to plan.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody says which model.
    #[error("no model to plan")]
    NoModel,
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The GPU is not known.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The run does not go with the model.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The profile cannot be used.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The profile is of a GPU that is not known.
    #[error("{}: measured on {measured}, which no GPU of the catalogue is called", path.display())]
    Measured {
        /// The profile.
        path: PathBuf,
        /// What it was measured on.
        measured: String,
    },
    /// Releases cannot be taken from an environment.
    #[error(transparent)]
    Releases(#[from] EnvironmentError),
    /// An environment's release is not known.
    #[error("{}: {error}", path.display())]
    Environment {
        /// The environment or lock file.
        path: PathBuf,
        /// The reason, in words.
        error: VersionError,
    },
    /// No folder of specs.
    #[error("{}: no such folder of specs", folder.display())]
    Specs {
        /// The path that was given.
        folder: PathBuf,
    },
    /// A file of modules to checkpoint that cannot be read.
    #[error("{path}: {source}")]
    Regions {
        /// The file.
        path: String,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file of modules to checkpoint with an operator that is not known.
    #[error("{path}: {source}")]
    Operator {
        /// The file.
        path: String,
        /// The reason, in words.
        source: UnknownOperator,
    },
}

impl OpenError {
    /// The model of the hub that lies in no local cache, where that is the reason.
    pub fn not_cached(&self) -> Option<&HubId> {
        if let OpenError::Model(ModelError::NotCached { id, .. }) = self { Some(id) } else { None }
    }
}

impl RunOptions {
    /// These with the releases that an environment says, and with the modules that a file lists, a line each or with commas between, in
    /// place of its name: `checkpoint: '@FILE'`.
    ///
    /// # Errors
    /// A file that cannot be read, or a folder of specs that is not there: a mistake, not an empty one. Releases that an environment
    /// says and that are older than the known ones.
    pub fn complete(mut self) -> Result<RunOptions, OpenError> {
        check_folder(self.specs.as_deref())?;
        has_unit("vram", self.vram)?;
        if let Some(path) = self.env.take() {
            let found = environment::read(&path)?;
            self.take_releases(path, found)?;
        }
        let Some(Checkpointing::Modules(regions)) = &self.checkpoint else { return Ok(self) };
        let [Region { path, save: None }] = &regions[..] else { return Ok(self) };
        let Some(path) = path.strip_prefix('@').map(str::to_owned) else { return Ok(self) };
        let text = files::text(Path::new(&path), LARGEST_LIST)
            .map_err(|source| OpenError::Regions { path: path.clone(), source })?;
        let regions = Region::listed(&text).map_err(|source| OpenError::Operator { path, source })?;
        self.checkpoint = Some(Checkpointing::Modules(regions));
        Ok(self)
    }

    /// Takes the releases that are not said from a place that says them; it is forgotten where it says nothing more.
    ///
    /// # Errors
    /// Releases that are not planned.
    pub fn take_releases(&mut self, path: PathBuf, found: Found) -> Result<(), OpenError> {
        let mut said = false;
        for (library, release, found) in [
            (Library::Torch, &mut self.torch, found.torch),
            (Library::Transformers, &mut self.transformers, found.transformers),
        ] {
            let (None, Some(found)) = (*release, found) else { continue };
            if !library.plans(found) {
                return Err(OpenError::Environment { path, error: VersionError { library, release: found } });
            }
            *release = Some(found);
            said = true;
        }
        self.env = said.then_some(path);
        Ok(())
    }

    /// Opens the model and takes sizes that are not said from an export.
    ///
    /// # Errors
    /// No model is named; one that cannot be read, or sizes of inputs that it does not take.
    pub fn model(&mut self) -> Result<Model, OpenError> {
        let name = self.model.as_deref().ok_or(OpenError::NoModel)?;
        let (architecture, shelf) = (self.architecture.as_deref(), Shelf { folder: self.specs.clone() });
        let model = match (class::place(name), &self.weights) {
            (Some(place), weights) => {
                if architecture.is_some() {
                    return Err(RunError::Contradiction(
                        "architecture: of a file of Python the class is named behind it, model.py:Net",
                    )
                    .into());
                }
                let (init, input) = (self.init.clone().unwrap_or_default(), self.input.clone().unwrap_or_default());
                super::open_class(name, &place, (&init, &input), weights.as_deref(), &shelf)?
            }
            (None, Some(weights)) => super::open_with_weights(name, architecture, weights, &shelf)?,
            (None, None) => super::open(name, architecture, &shelf)?,
        };
        self.take_sizes(&model);
        self.check_images(&model)?;
        if !model.takes_images_beside() {
            self.check_inputs(model.takes_images(), model.takes_tokens())?;
        }
        Ok(model)
    }

    /// Refuses sizes of inputs that the model does not take.
    ///
    /// # Errors
    /// Tokens for a model of images, or images for any other.
    pub fn check_inputs(&self, takes_images: bool, takes_tokens: bool) -> Result<(), RunError> {
        match (self.seq, self.image) {
            (Some(_), _) if takes_images && !takes_tokens => {
                Err(RunError::Contradiction("seq is for models that take tokens: this one takes images, give image"))
            }
            (_, Some(_)) if !takes_images => {
                Err(RunError::Contradiction("image is for models that take images: this one takes tokens, give seq"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses images for a model that takes none beside tokens; a size of images says that there is one.
    fn check_images(&mut self, model: &Model) -> Result<(), RunError> {
        match self.images {
            Some(_) if !model.takes_images_beside() => {
                Err(RunError::Contradiction("images is for models of text and images: this one is none that is known"))
            }
            None if model.takes_images_beside() => {
                self.images = self.image.map(|_| 1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the sizes that are not said from an export, if the model is one.
    pub(crate) fn take_sizes(&mut self, model: &Model) {
        let Some(exported) = &model.exported else { return };
        let sizes = exported.sizes(self.dim.as_ref().unwrap_or(&NamedSizes::default()));
        self.batch = self.batch.or(sizes.batch);
        self.seq = self.seq.or(sizes.seq.filter(|_| !exported.takes_images()));
        self.image = self.image.or(sizes.image.filter(|_| exported.takes_images()));
    }

    /// The GPUs with what was measured on them, in shipped profiles and in those of a folder, and the key of the one whose
    /// profile the run names.
    ///
    /// # Errors
    /// A profile that cannot be used.
    pub fn catalogue(&self, profiles: Option<&Path>) -> Result<(GpuCatalogue, Option<String>), OpenError> {
        let mut catalogue = GpuCatalogue::load(self.specs.as_deref())?;
        if let Some(folder) = profiles {
            catalogue.add_profiles(folder)?;
        }
        let Some(path) = &self.profile else { return Ok((catalogue, None)) };
        let profile = Profile::read(path)?;
        let measured = profile.measured.gpu.clone();
        match catalogue.measured(profile) {
            Some(key) => Ok((catalogue, Some(key))),
            None => Err(OpenError::Measured { path: path.clone(), measured }),
        }
    }

    /// The GPU that is named or that the profile was measured on, else the default one, with what was measured on it in shipped
    /// profiles and in those of a folder.
    ///
    /// # Errors
    /// A GPU that is not known, or a profile of another one.
    pub fn named_gpu(&self, profiles: Option<&Path>) -> Result<Gpu, OpenError> {
        let (catalogue, profiled) = self.catalogue(profiles)?;
        self.gpu_of(&catalogue, profiled.as_deref())
    }

    /// The same out of a catalogue that is at hand, with the key of the GPU whose profile the run names.
    ///
    /// # Errors
    /// A GPU that is not known, or a profile of another one.
    pub fn gpu_of(&self, catalogue: &GpuCatalogue, profiled: Option<&str>) -> Result<Gpu, OpenError> {
        let gpu = catalogue.find(self.gpu.as_deref().or(profiled).unwrap_or(DEFAULT_GPU))?.clone();
        catalogue.check_profiled(profiled, &[&gpu.key])?;
        Ok(self.sized(gpu))
    }

    /// Whether the run says for which GPU it is.
    pub fn names_a_gpu(&self) -> bool {
        self.gpu.is_some() || self.vram.is_some() || self.profile.is_some()
    }

    /// That GPU, or one of the memory that is given in place of a name.
    pub fn sized(&self, gpu: Gpu) -> Gpu {
        match self.vram {
            Some(vram) => gpu.with_memory(vram),
            None => gpu,
        }
    }

    /// All that a plan is made of. What was measured is taken from shipped profiles and from the one that the run names, and so
    /// is the same on every machine.
    ///
    /// # Errors
    /// As `model`; a GPU that is not known, or a profile of another one.
    pub fn open(&self) -> Result<Opened, OpenError> {
        let gpu = self.named_gpu(None)?;
        let mut settled = self.clone();
        let model = settled.model()?;
        Ok(Opened { model, run: settled.run(), gpu })
    }

    /// These with files of the folder named from there, so that no machine's own path is kept.
    pub fn relative_to(mut self, folder: &Path) -> RunOptions {
        let within = |path: &Path| path.strip_prefix(folder).ok().map(Path::to_owned);
        if let Some(model) = &mut self.model
            && let Some(path) = within(Path::new(&*model))
        {
            *model = path.display().to_string();
        }
        for path in [&mut self.specs, &mut self.weights, &mut self.profile].into_iter().flatten() {
            if let Some(shorter) = within(path) {
                *path = shorter;
            }
        }
        self
    }
}

/// A user's folder of specs has to be there.
///
/// # Errors
/// It is not.
pub fn check_folder(specs: Option<&Path>) -> Result<(), OpenError> {
    match specs {
        Some(folder) if !folder.is_dir() => Err(OpenError::Specs { folder: folder.to_owned() }),
        _ => Ok(()),
    }
}
