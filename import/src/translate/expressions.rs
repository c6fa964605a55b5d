//! Expressions, with brackets where they bind less tightly than what is around them.

use super::*;

impl Translator<'_> {
    /// An expression as specs write it.
    ///
    /// # Errors
    /// What cannot be said.
    pub fn words(&mut self, expression: &Expr) -> Result<String, Fault> {
        Ok(self.expression(expression)?.text)
    }

    pub(super) fn expression(&mut self, expression: &Expr) -> Text {
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
                if let Some(known) = self.is_offered(comparison) {
                    return Ok(atom(if known { "True" } else { "False" }));
                }
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
                    entries.push((key.map(|key| key.text), self.entry(&item.value)?));
                }
                Ok(dictionary_of(&entries))
            }
            other => self.fault(other.range(), format!("{} is not known", kind_of_expression(other))),
        }
    }

    /// `'silu' in dir(torch.nn.functional)`: whether torch offers a function; None where something else is asked.
    fn is_offered(&self, comparison: &python_ast::ExprCompare) -> Option<bool> {
        let (Expr::StringLiteral(name), [CmpOp::In], [Expr::Call(call)]) =
            (&*comparison.left, &*comparison.ops, &*comparison.comparators)
        else {
            return None;
        };
        let [owner] = &*call.arguments.args else { return None };
        let asks = self.import.plain && is_named(&call.func, "dir");
        let owner = self.dotted(owner).filter(|owner| asks && owner.starts_with("torch"))?;
        Some(self.offers(&format!("{owner}.{}", name.value.to_str())))
    }

    /// Whether specs have a function of torch.
    pub(super) fn offers(&self, dotted: &str) -> bool {
        self.import.world.names.means.contains_key(dotted) || self.import.operator(dotted).is_some()
    }

    pub(super) fn sequence(&mut self, elements: &[Expr]) -> Text {
        Ok(atom(format!("[{}]", self.listed(elements)?)))
    }

    /// Expressions with commas between them.
    pub(super) fn listed(&mut self, elements: &[Expr]) -> Result<String, Fault> {
        let said: Result<Vec<String>, Fault> =
            elements.iter().map(|element| self.expression(element).map(|said| said.text)).collect();
        Ok(said?.join(", "))
    }

    pub(super) fn comprehension(&mut self, element: &Expr, generators: &[Comprehension], range: TextRange) -> Text {
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

    pub(super) fn subscript(&mut self, item: &Expr) -> Result<String, Fault> {
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

    pub(super) fn attribute(&mut self, expression: &Expr) -> Text {
        let Expr::Attribute(attribute) = expression else { return self.expression(expression) };
        let name = attribute.attr.as_str();
        if let Some(asked) = self.parameters_asked(expression)? {
            return Ok(asked);
        }
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
        if let (Expr::Call(made), "__name__") = (&*attribute.value, name)
            && is_named(&made.func, "type")
        {
            return self.expression(&attribute.value);
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
            "__class__" => atom(format!("class_name({owner})")),
            _ => {
                self.import.needed.insert(name.to_owned());
                atom(format!("{owner}.{name}"))
            }
        })
    }

    pub(super) fn attribute_of_self(&mut self, lineage: &Rc<Lineage>, name: &str, range: TextRange) -> Text {
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
        if self.import.plain && self.import.assigns(lineage, name) && lineage.attribute(name).is_some() {
            self.import.needed.insert(name.to_owned());
        }
        let is_field = || {
            self.import.plain
                && lineage.classes.iter().any(|defined| is_dataclass(&defined.class))
                && fields_of(lineage).iter().any(|(field, _)| field == name)
        };
        if !self.import.assigns(lineage, name)
            && !is_field()
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
                "__class__" => return Ok(atom("class_name(self)")),
                "dtype" => return Ok(atom("weights_dtype")),
                "device" => return Ok(atom("None")),
                "loss_function" => return self.fault(range, "the loss function is called where it stands"),
                _ => {}
            }
        }
        Ok(atom(format!("self.{name}")))
    }
}

fn kind_of_expression(expression: &Expr) -> &'static str {
    match expression {
        Expr::Slice(_) => "a slice outside brackets",
        Expr::Await(_) | Expr::Yield(_) | Expr::YieldFrom(_) => "a coroutine",
        _ => "this expression",
    }
}
