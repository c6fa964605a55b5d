//! Models of diffusers: a class whose constructor's arguments are its config.
//!
//! ```text
//! class UNet2DConditionModel(ModelMixin, ConfigMixin): @register_to_config def __init__(self, sample_size=None, in_channels=4, ...)
//!      -> config: defaults: {sample_size: null, in_channels: 4, ...}
//!      -> made_UNet2DConditionModel(config): return UNet2DConditionModel(sample_size=config.sample_size, ...)
//! ```

use crate::classes::Lineage;
use crate::config;
use crate::family::{Architecture, Family, Import};
use crate::meaning::Meaning;
use crate::plain::USES;
use crate::source::Fault;
use crate::translate::Code;
use crate::write;

/// The package.
pub const PACKAGE: &str = "diffusers";

/// The function that gives a run's inputs.
const INPUTS: &str = "inputs_of_model";

impl Import {
    /// Translates a class of `diffusers/models`: `UNet2DConditionModel`.
    ///
    /// # Errors
    /// No such class, or one that is no model with a config; a file that is no Python; inputs that are not known.
    pub fn diffusers(&mut self, name: &str, version: &str) -> Result<Family, Fault> {
        self.plain = true;
        let fault = |message: &str| Fault { file: format!("{PACKAGE}/models"), line: 0, message: message.to_owned() };
        let Some(Meaning::Class(defined)) = self.world.definition(&format!("{PACKAGE}.models.{name}"))? else {
            return Err(fault(&format!("there is no class `{name}`")));
        };
        let lineage = Lineage::of(&self.world, &defined.module, &defined.class)?;
        let init = lineage.method("__init__", 0).filter(|init| init.is_decorated("register_to_config"));
        let Some(init) = init else { return Err(fault(&format!("{name} is no model with a config"))) };
        let inputs = format!("{name}_inputs");
        if !self.world.known.contains(&inputs) {
            return Err(fault(&format!(
                "what {name} takes is not known: specs/library/diffusers.yaml has no {inputs}"
            )));
        }
        let (module, made) = (defined.module.clone(), format!("made_{name}"));
        let mut family = Family {
            name: name.to_owned(),
            source: format!("{PACKAGE} {version}, {}", module.file),
            uses: std::iter::once(PACKAGE).chain(USES[1..].iter().copied()).collect(),
            ..Family::default()
        };
        let architecture = Architecture {
            inputs: INPUTS,
            made: Some(made.clone()),
            takes_images: true,
            takes_text: lineage.method("forward", 0).is_some_and(|forward| {
                let mut names = forward.function().parameters.iter_non_variadic_params().map(|p| p.name().as_str());
                names.any(|name| name == "encoder_hidden_states")
            }),
            image_rows: self.world.names.image_rows.get(name).cloned(),
            sdpa: true,
            ..Architecture::default()
        };
        family.architectures.insert(name.to_owned(), architecture);
        self.want_class(defined);
        let parameters = init.function().parameters.clone();
        let names = parameters.iter_non_variadic_params().skip(1).map(|parameter| parameter.name().to_string());
        let given: Vec<String> = names.map(|name| format!("{name}=config.{name}")).collect();
        self.gather(&mut family, None)?;
        family.defaults.extend(config::defaults(&parameters));
        if let Some(frames) = self.world.names.frames.get(name) {
            family.defaults.insert("frames".to_owned(), frames.to_string());
        }
        let code = |parameters: &str, line: String| Code { parameters: parameters.to_owned(), lines: vec![line] };
        family.functions.insert(made, code("config", format!("return {name}({})", given.join(", "))));
        family.functions.insert(INPUTS.to_owned(), code("model, run", format!("return {inputs}(model, run)")));
        Ok(family)
    }

    /// The text of a spec of a class of diffusers.
    ///
    /// # Errors
    /// As of [`Import::diffusers`].
    pub fn diffusers_spec(&mut self, name: &str, version: &str) -> Result<String, Fault> {
        self.diffusers(name, version).map(|family| write::spec(&family))
    }
}
