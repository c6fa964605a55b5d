//! Families of torchvision: a file of `torchvision/models`, whose functions are the published models by name.
//!
//! ```text
//! @register_model() def efficientnet_b0(*, weights=None, progress=True, **kwargs)
//!      -> configurations: efficientnet_b0: {architecture: EfficientNet, config: {builder: efficientnet_b0}}
//! ```

use std::rc::Rc;

use python_ast::{Expr, StmtFunctionDef};

use crate::classes::Defined;
use crate::family::{Architecture, Family, Import};
use crate::plain::USES;
use crate::source::{Binding, Fault, Module};
use crate::translate::Code;
use crate::write;

/// The package.
pub const PACKAGE: &str = "torchvision";

impl Import {
    /// Translates a file of `torchvision/models`: `efficientnet`.
    ///
    /// # Errors
    /// A file that is not there or is no Python; one that registers no model.
    pub fn torchvision(&mut self, name: &str, version: &str) -> Result<Family, Fault> {
        self.plain = true;
        let missing = || Fault { file: format!("models/{name}.py"), line: 0, message: "there is no such file".into() };
        let module = self.world.sources.module(&format!("{PACKAGE}.models.{name}"))?.ok_or_else(missing)?;
        let source = format!("{PACKAGE} {version}, {}", module.file);
        let mut family = Family {
            name: name.to_owned(),
            source: source.clone(),
            uses: std::iter::once(PACKAGE).chain(USES[1..].iter().copied()).collect(),
            ..Family::default()
        };
        // what a function of the library makes (specs/library/torchvision.yaml)
        if let Some(Binding::Class(class)) = module.bindings.get("BlockParams") {
            self.want_class(Defined { module: module.clone(), class: class.clone() });
        }
        let mut lines = Vec::new();
        for builder in registered(&module) {
            let called = builder.name.to_string();
            let Some(class) = self.class_made(&module, &builder, 0)? else {
                self.faults.push(module.fault(builder.range, format!("what {called} makes is not known")));
                continue;
            };
            let class = class.classes[0].class.name.to_string();
            let architecture = Architecture {
                inputs: "image_inputs",
                made: Some(format!("made_{name}")),
                takes_images: true,
                sdpa: true,
                ..Architecture::default()
            };
            family.architectures.entry(class.clone()).or_insert(architecture);
            family.configurations.push(format!(
                "{called}: {{architecture: {class}, source: \"{source}, {called}\", dtype: float32, config: {{builder: {called}}}}}"
            ));
            let function = self.want_function(module.clone(), builder);
            lines.push(format!("if config.builder == \"{called}\":"));
            lines.push(format!("  return {function}(num_classes=config.num_classes)"));
            family.defaults.entry("builder".to_owned()).or_insert(called);
        }
        if lines.is_empty() {
            return Err(Fault { file: module.file.clone(), line: 0, message: "it registers no model".into() });
        }
        lines.push("require(False, [\"there is no builder \", config.builder])".to_owned());
        family.defaults.insert("image_size".to_owned(), "224".to_owned());
        family.defaults.insert("num_classes".to_owned(), "1000".to_owned());
        self.gather(&mut family, None)?;
        let made = Code { parameters: "config".to_owned(), lines };
        family.functions.insert(format!("made_{name}"), made);
        Ok(family)
    }

    /// The text of a spec of a file of torchvision.
    ///
    /// # Errors
    /// As of [`Import::torchvision`].
    pub fn torchvision_spec(&mut self, name: &str, version: &str) -> Result<String, Fault> {
        self.torchvision(name, version).map(|family| write::spec(&family))
    }
}

/// The functions that a file registers as models, in order.
fn registered(module: &Rc<Module>) -> Vec<Rc<StmtFunctionDef>> {
    let is_registration = |expression: &Expr| match expression {
        Expr::Call(call) => matches!(&*call.func, Expr::Name(name) if name.id.as_str() == "register_model"),
        _ => false,
    };
    let functions = module.bindings.values().filter_map(|binding| match binding {
        Binding::Function(function)
            if function.decorator_list.iter().any(|decorator| is_registration(&decorator.expression)) =>
        {
            Some(function.clone())
        }
        _ => None,
    });
    functions.collect()
}
