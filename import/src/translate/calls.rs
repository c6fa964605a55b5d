//! Calls: of functions, classes and methods, with their arguments.

use super::*;

/// Whether a call is `x.parameters()`, or an `iter` of it.
fn is_of_parameters(call: &ExprCall) -> bool {
    match (&*call.func, &*call.arguments.args) {
        (Expr::Attribute(method), _) => method.attr.as_str() == "parameters",
        (Expr::Name(name), [Expr::Call(inner)]) => name.id.as_str() == "iter" && is_of_parameters(inner),
        _ => false,
    }
}

impl Translator<'_> {
    pub(super) fn call(&mut self, call: &ExprCall) -> Text {
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
                ("issubclass", [class, kinds]) if self.import.plain => {
                    let class = self.expression(class)?.text;
                    return Ok(atom(format!("is_subclass({class}, [{}])", self.kinds(kinds)?.join(", "))));
                }
                ("hasattr", [owner, Expr::StringLiteral(attribute)])
                    if self.import.plain && self.dotted(owner).is_some_and(|dotted| dotted.starts_with("torch")) =>
                {
                    let dotted = format!("{}.{}", self.dotted(owner).unwrap_or_default(), attribute.value.to_str());
                    return Ok(atom(if self.offers(&dotted) { "True" } else { "False" }));
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
                        entries.push((key, self.entry(&keyword.value)?));
                    }
                    return Ok(dictionary_of(&entries));
                }
                // of parameters their type and place are asked
                ("next", [Expr::Call(made)]) if is_of_parameters(made) => {
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
        let dotted = match dotted {
            Some(dotted) if self.import.plain => Some(self.import.world.defined_as(&dotted).unwrap_or(dotted)),
            other => other,
        };
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
                return Ok(atom(format!("{function}({})", self.listed(&arguments.args[3..])?)));
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
                return Ok(atom(format!("{owner}.{word}({})", self.listed(&arguments.args[1..])?)));
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
            Some("torch.jit.annotate") if arguments.args.len() == 2 => return self.expression(&arguments.args[1]),
            // values of a list, each once, with how often it comes
            Some("torch.unique") if self.import.plain => {
                if let [Expr::Call(made)] = &*arguments.args
                    && self.dotted(&made.func).as_deref() == Some("torch.tensor")
                    && let Some(list) = made.arguments.args.first()
                {
                    return Ok(atom(format!("each_once({})", self.expression(list)?.text)));
                }
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
        // diffusers, utils/import_utils.py: the releases that are planned are newer than all that it asks for
        if let (Some(dotted), [Expr::StringLiteral(sign), _]) = (&dotted, &*arguments.args)
            && dotted.starts_with("diffusers.")
            && dotted.ends_with(".is_torch_version")
        {
            return Ok(atom(if sign.value.to_str().starts_with('>') { "True" } else { "False" }));
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
        if let Some(dotted) = dotted.as_deref().filter(|_| self.import.plain)
            && let Some((owner, keys)) = self.entries_taken(call, dotted)?
        {
            let said = self.said_arguments(call, is_torch)?;
            let taken =
                keys.iter().fold(owner.clone(), |taken, key| format!("without_entry({taken}, {})", quoted(key)));
            return Ok(atom(format!("[{callee}({said}), ({owner} := {taken})][0]")));
        }
        Ok(atom(format!("{callee}({})", self.said_arguments(call, is_torch)?)))
    }

    /// A module or a function that changes its input in place.
    pub(super) fn in_place(&mut self, call: &ExprCall, dotted: &str) -> Text {
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
    pub(super) fn config_made(&mut self, call: &ExprCall, lineage: &Rc<Lineage>) -> Text {
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
    pub(super) fn first_of(&mut self, list: &Expr, otherwise: &[Expr]) -> Text {
        let mut said = vec![self.expression(list)?.text];
        for otherwise in otherwise {
            said.push(self.expression(otherwise)?.text);
        }
        Ok(atom(format!("first({})", said.join(", "))))
    }

    /// A tensor made from nothing: sizes may be given one by one. Without a type it is of the default type, which is that of the weights where
    /// modules are made and float32 elsewhere.
    pub(super) fn made(&mut self, call: &ExprCall, (name, takes_value): (&'static str, bool)) -> Text {
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
        // numbers say their type themselves
        if !has_dtype && !self.is_constructor && name != "tensor" {
            let integral = |text: &str| text.parse::<i64>().is_ok();
            let filled = said.get(1).map(|value| value.trim_start_matches("fill_value="));
            let is = match (name, filled) {
                ("full", Some("True" | "False")) => "bool",
                ("full", Some(value)) if integral(value) => "int64",
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
    pub(super) fn output(&mut self, call: &ExprCall, dotted: Option<&str>) -> Text {
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

    pub(super) fn super_call(&mut self, call: &ExprCall, name: &str) -> Text {
        let Some((lineage, place)) = self.class.clone() else {
            return self.fault(call.range, "super() stands in no class");
        };
        let Some(method) = lineage.method(name, place + 1) else {
            return self.fault(call.range, format!("no base that is read has `{name}`"));
        };
        let owner = lineage.owner(method.place);
        if self.standing == Standing::Config {
            let function = self.import.want_config_method(&lineage, &method);
            return Ok(atom(format!("{function}(self{})", self.config_arguments(call)?)));
        }
        self.import.want_super(&lineage, &owner, name);
        Ok(atom(format!("self.{}({})", super_name(&owner, name), self.said_arguments(call, false)?)))
    }

    /// A call of a method that lists, dictionaries, texts, configs and modules have.
    pub(super) fn method_call(&mut self, call: &ExprCall, owner: &Expr, name: &str) -> Result<Option<Said>, Fault> {
        let arguments = &call.arguments;
        if self.dotted(owner).is_some() && !self.is_value(owner)? {
            return Ok(None);
        }
        // diffusers, models/modeling_utils.py
        if name == "_gradient_checkpointing_func" && self.import.plain {
            return Ok(Some(atom(format!("checkpointed_call({})", self.said_arguments(call, false)?))));
        }
        if name == "keys"
            && let Some(asked) = self.parameters_asked(owner)?
        {
            return Ok(Some(asked));
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
        if let Some((owner, key)) = self.entry_taken(call) {
            let (owner, key) = (self.expression(owner)?.text, self.expression(key)?.text);
            let default = match arguments.args.get(1) {
                Some(default) => self.expression(default)?.text,
                None => "None".to_owned(),
            };
            return Ok(Some(atom(format!(
                "[entry({owner}, {key}, {default}), ({owner} := without_entry({owner}, {key}))][0]"
            ))));
        }
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
            ("pop", 1) if matches!(arguments.args[0], Expr::StringLiteral(_)) => of("entry", Some("None")),
            ("pop", 2) => of("entry", None),
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
            ("numel", 0) if is_shape(owner) => of("product", None),
            ("split", 1) if makes_numbers => of("parts_of", None),
            ("get_input_embeddings", 0) => of("input_embeddings_of", None),
            ("index", 1) => of("place_in", None),
            ("join", 1) if matches!(owner, Expr::StringLiteral(_)) => of("joined_text", None),
            ("lower", 0) => of("lower_case", None),
            ("strip", 0 | 1) => of("stripped", None),
            ("startswith", 1) => of("starts_with", None),
            ("endswith", 1) => of("ends_with", None),
            ("copy", 0) => self.expression(owner).map(Some),
            ("unfold", _) => {
                let (owner, given) = (self.expression(owner)?.text, self.said_arguments(call, true)?);
                Ok(Some(atom(format!("windows_along({owner}, {given})"))))
            }
            ("format", 1..) if matches!(owner, Expr::StringLiteral(_)) => of("formatted", None),
            ("replace", 2) => of("replaced_text", None),
            ("split", 2) if matches!(arguments.args[0], Expr::StringLiteral(_)) => of("split_text", None),
            ("upper", 0) => of("upper_case", None),
            ("isdigit", 0) => of("is_digits", None),
            ("get_text_config", _) => of("text_config_of", None),
            ("to", _) => self.moved(call, owner).map(Some),
            ("type", 1) if arguments.keywords.is_empty() => self.moved(call, owner).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether an expression names what a file computes when it is imported, such as a table.
    fn is_value(&self, expression: &Expr) -> Result<bool, Fault> {
        let Some(dotted) = self.dotted(expression).filter(|_| self.import.plain) else { return Ok(false) };
        Ok(matches!(self.import.world.definition(&dotted)?, Some(Meaning::Value(..))))
    }

    /// `kwargs.pop("padding", "")`: a dictionary that is a local, and the key.
    pub(super) fn entry_taken<'e>(&self, call: &'e ExprCall) -> Option<(&'e Expr, &'e Expr)> {
        let Expr::Attribute(method) = &*call.func else { return None };
        let is_local = matches!(&*method.value, Expr::Name(name) if self.locals.contains(name.id.as_str()));
        let takes = self.import.plain && method.attr.as_str() == "pop" && is_local;
        let key = call.arguments.args.first().filter(|_| takes)?;
        let is_key = matches!(key, Expr::StringLiteral(_)) || call.arguments.args.len() == 2;
        is_key.then_some((&method.value, key))
    }

    /// The entries that a function takes out of a dictionary that is handed to it: `resolve_bn_args(kwargs)`.
    fn entries_taken(&self, call: &ExprCall, dotted: &str) -> Result<Option<(String, Vec<String>)>, Fault> {
        let Some(Meaning::Function(_, function)) = self.import.world.definition(dotted)? else { return Ok(None) };
        for (argument, parameter) in call.arguments.args.iter().zip(function.parameters.iter_non_variadic_params()) {
            let Expr::Name(owner) = argument else { continue };
            let mut taken = TakenOut { owner: parameter.name().as_str(), keys: Vec::new() };
            function.body.iter().for_each(|statement| taken.visit_stmt(statement));
            if !taken.keys.is_empty() && self.locals.contains(owner.id.as_str()) {
                return Ok(Some((owner.id.to_string(), taken.keys)));
            }
        }
        Ok(None)
    }

    /// `inspect.signature(x).parameters`: the names of what a function or a call of an object takes.
    pub(super) fn parameters_asked(&mut self, expression: &Expr) -> Result<Option<Said>, Fault> {
        let Expr::Attribute(attribute) = expression else { return Ok(None) };
        let (Expr::Call(call), "parameters") = (&*attribute.value, attribute.attr.as_str()) else { return Ok(None) };
        let (Some("inspect.signature"), [asked]) = (self.dotted(&call.func).as_deref(), &*call.arguments.args) else {
            return Ok(None);
        };
        let asked = match asked {
            Expr::Attribute(method) if method.attr.as_str() == "__call__" => &*method.value,
            other => other,
        };
        Ok(Some(atom(format!("parameters_of({})", self.expression(asked)?.text))))
    }

    /// Whether an expression is `torch.linspace(...)`, which constructors ask for its numbers.
    pub(super) fn makes_numbers(&self, expression: &Expr) -> bool {
        matches!(expression, Expr::Call(call) if self.dotted(&call.func).as_deref() == Some("torch.linspace"))
    }

    /// `values.pop()`: the last of a list, which is one shorter then; `values.pop(0)`: the first.
    pub(super) fn taken_out(&mut self, call: &ExprCall, owner: &Expr) -> Result<Option<Said>, Fault> {
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
    pub(super) fn moved(&mut self, call: &ExprCall, owner: &Expr) -> Text {
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

    pub(super) fn kinds(&mut self, kinds: &Expr) -> Result<Vec<String>, Fault> {
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
    pub(super) fn kinds_of(&self, name: &str, kind: &Expr) -> Vec<String> {
        let mut all = vec![quoted(name)];
        if let Some(dotted) = self.dotted(kind) {
            all.extend(self.import.derived(&dotted).iter().map(|name| quoted(name)));
        }
        all
    }

    pub(super) fn said_arguments(&mut self, call: &ExprCall, is_torch: bool) -> Result<String, Fault> {
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
                    // a new shape has no name in a spec
                    let reshapes = matches!(&*call.func, Expr::Attribute(method) if matches!(method.attr.as_str(), "reshape" | "view"));
                    if reshapes && name.as_str() == "shape" && call.arguments.args.is_empty() {
                        said.push(self.expression(&keyword.value)?.text);
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
    pub(super) fn dtype(&mut self, value: &Expr) -> Result<String, Fault> {
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
    pub(super) fn config_arguments(&mut self, call: &ExprCall) -> Result<String, Fault> {
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
    pub(super) fn leaves_self(&self, parameters: &Parameters) -> bool {
        self.standing == Standing::Method
            && parameters.args.first().is_some_and(|first| matches!(first.parameter.name.as_str(), "self" | "cls"))
    }

    pub(super) fn parameters(&mut self, parameters: &Parameters) -> Result<String, Fault> {
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

/// Whether an expression is `x.shape`, or a part of it.
fn is_shape(expression: &Expr) -> bool {
    match expression {
        Expr::Attribute(attribute) => attribute.attr.as_str() == "shape",
        Expr::Subscript(part) => is_shape(&part.value),
        _ => false,
    }
}

/// The keys of entries that code takes out of a dictionary of that name.
struct TakenOut<'n> {
    owner: &'n str,
    keys: Vec<String>,
}

impl Visitor<'_> for TakenOut<'_> {
    fn visit_expr(&mut self, expression: &Expr) {
        if let Expr::Call(call) = expression
            && let Expr::Attribute(method) = &*call.func
            && method.attr.as_str() == "pop"
            && is_named(&method.value, self.owner)
            && let Some(Expr::StringLiteral(key)) = call.arguments.args.first()
        {
            self.keys.push(key.value.to_str().to_owned());
        }
        visitor::walk_expr(self, expression);
    }
}
