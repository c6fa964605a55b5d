//! Statements: one after the other, in the same order.

use super::*;

/// What raises an error where a condition does not hold: the condition is computed, and looked at.
const CHECK: &str = "transformers.utils.torch_compilable_check";

impl Translator<'_> {
    pub(super) fn block(&mut self, statements: &[Stmt], depth: usize, lines: &mut Vec<String>) {
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

    pub(super) fn statement(&mut self, statement: &Stmt, depth: usize, lines: &mut Vec<String>) -> Result<(), Fault> {
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
                if let [Expr::Tuple(tuple)] = &assign.targets[..]
                    && tuple.elts.iter().any(|target| matches!(target, Expr::Subscript(_)))
                {
                    self.assigned_apart(&tuple.elts, value)?.into_iter().for_each(say);
                    return Ok(());
                }
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
            Stmt::Try(tried) if self.import.plain && tried_arguments(tried).is_some() => {
                let Some((function, names)) = tried_arguments(tried) else { return Ok(()) };
                let function = self.expression(function)?.within(ATOM);
                let mut takes = Vec::new();
                for tried in names {
                    takes.push(match tried {
                        Tried::Name(name) => format!("takes({function}, \"{name}\")"),
                        Tried::All(entries) => {
                            let entries = self.expression(entries)?.text;
                            format!("every([takes({function}, key) for key in keys({entries})])")
                        }
                    });
                }
                lines.push(line(depth, format!("if {}:", takes.join(" and "))));
                self.body(&tried.body, depth + 1, lines);
                lines.push(line(depth, "else:"));
                let python_ast::ExceptHandler::ExceptHandler(handler) = &tried.handlers[0];
                self.body(&handler.body, depth + 1, lines);
            }
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
    pub(super) fn does_nothing(&self, conditional: &python_ast::StmtIf) -> bool {
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
    pub(super) fn inner_function(
        &mut self,
        inner: &StmtFunctionDef,
        depth: usize,
        lines: &mut Vec<String>,
    ) -> Result<(), Fault> {
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
    pub(super) fn body(&mut self, statements: &[Stmt], depth: usize, lines: &mut Vec<String>) {
        let before = lines.len();
        self.block(statements, depth, lines);
        if lines.len() == before {
            lines.push(line(depth, "pass"));
        }
    }

    pub(super) fn conditional(
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
                        && !(test.contains("hasattr(") && inner[0].contains("self."))
                        && !(self.import.asks_of_messages && inner[0].starts_with("require(False, [")) =>
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
    pub(super) fn context(&mut self, expression: &Expr) -> Result<(Vec<String>, Vec<String>), Fault> {
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
    pub(super) fn evaluated(&mut self, expression: &Expr) -> Result<Vec<String>, Fault> {
        let call = match expression {
            Expr::StringLiteral(_) | Expr::EllipsisLiteral(_) => return Ok(Vec::new()),
            Expr::Call(call) => call,
            Expr::Tuple(tuple) if self.import.plain && tuple.elts.len() == 1 => return self.evaluated(&tuple.elts[0]),
            other => return Ok(vec![self.expression(other)?.text]),
        };
        // timm 1.0.31: buffers are filled, and some are made, where weights are filled with numbers
        if let Expr::Attribute(method) = &*call.func
            && method.attr.as_str() == "reset_parameters"
            && is_named(&method.value, "self")
            && self.import.plain
            && let Some((lineage, _)) = self.class.clone()
            && lineage.method("_init_buffers", 0).is_some()
        {
            self.import.needed.insert("_init_buffers".to_owned());
            return Ok(vec!["self._init_buffers()".to_owned()]);
        }
        if self.is_ignored(&call.func) {
            return Ok(Vec::new());
        }
        let arguments = &call.arguments;
        if self.dotted(&call.func).as_deref() == Some(CHECK) {
            let Some(condition) = arguments.find_argument_value("cond", 0) else { return Ok(Vec::new()) };
            return Ok(vec![format!("checked({})", self.expression(condition)?.text)]);
        }
        if let Some(owner) = self.changed_argument(call)? {
            let said = self.call(call)?.text;
            return Ok(vec![format!("{owner} = {said}")]);
        }
        if let Expr::Attribute(method) = &*call.func {
            let name = method.attr.as_str();
            if is_super(&method.value) {
                return self.super_statement(call, name);
            }

            let single = match (&*arguments.args, arguments.keywords.len()) {
                ([value], 0) => Some(value),
                _ => None,
            };
            if let Some((owner, key)) = self.entry_taken(call) {
                let (owner, key) = (self.expression(owner)?.text, self.expression(key)?.text);
                return Ok(vec![format!("{owner} = without_entry({owner}, {key})")]);
            }
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
                ("append" | "extend", _) if matches!(&*method.value, Expr::Name(owner) if self.given.contains(owner.id.as_str())) =>
                {
                    return self.fault(call.range, "a list that a forward is given grows, which its caller would see");
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
                ("update", Some(entries)) if self.import.plain => {
                    let (owner, entries) = (self.expression(&method.value)?.text, self.expression(entries)?.text);
                    return Ok(vec![self.assigned(&method.value, atom(format!("joined([{owner}, {entries}])")))?]);
                }
                ("update", None) if self.import.plain && arguments.args.is_empty() => {
                    let owner = self.expression(&method.value)?.text;
                    let mut entries = Vec::new();
                    for keyword in &arguments.keywords {
                        let key = keyword.arg.as_ref().map(|key| quoted(key.as_str()));
                        entries.push((key, self.expression(&keyword.value)?.text));
                    }
                    let entries = dictionary_of(&entries).text;
                    return Ok(vec![self.assigned(&method.value, atom(format!("joined([{owner}, {entries}])")))?]);
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
                ("add_module", _)
                    if self.import.plain && arguments.args.len() == 2 && !is_named(&method.value, "self") =>
                {
                    let owner = self.expression(&method.value)?.text;
                    let (name, value) =
                        (self.expression(&arguments.args[0])?.text, self.expression(&arguments.args[1])?.text);
                    let changed = atom(format!("with_entry({owner}, {name}, {value})"));
                    return Ok(vec![self.assigned(&method.value, changed)?]);
                }
                ("add_module", _) if self.import.plain && matches!(&*arguments.args, [Expr::Starred(_)]) => {
                    let owner = self.expression(&method.value)?.text;
                    return Ok(vec![format!("set_attribute({owner}, {})", self.said_arguments(call, false)?)]);
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

    /// The local that a function changes which it is handed to: `update_kwargs(kwargs, cfg)`.
    fn changed_argument(&self, call: &ExprCall) -> Result<Option<String>, Fault> {
        let by_default = match &*call.func {
            Expr::Name(name) => self.defaults.get(name.id.as_str()).cloned(),
            _ => None,
        };
        let dotted = by_default.or_else(|| self.dotted(&call.func));
        let Some(dotted) = dotted.filter(|_| self.import.plain) else { return Ok(None) };
        let Some(Meaning::Function(_, function)) = self.import.world.definition(&dotted)? else { return Ok(None) };
        let Some((place, name)) = changed_parameter(&function) else { return Ok(None) };
        let given = call.arguments.args.get(place);
        let given = given.or_else(|| call.arguments.find_keyword(name).map(|keyword| &keyword.value));
        Ok(match given {
            Some(Expr::Name(owner)) if self.locals.contains(owner.id.as_str()) => Some(owner.id.to_string()),
            _ => None,
        })
    }

    /// `super().__init__(config)` and its like, as a statement.
    pub(super) fn super_statement(&mut self, call: &ExprCall, name: &str) -> Result<Vec<String>, Fault> {
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
    pub(super) fn dataclass_init(&mut self, call: &ExprCall, base: &Defined) -> Result<Vec<String>, Fault> {
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

    pub(super) fn foreign_method(&self, lineage: &Lineage, name: &str) -> Option<String> {
        lineage.foreign.iter().find_map(|base| self.import.world.names.bases.get(base)?.methods.get(name).cloned())
    }

    pub(super) fn is_ignored(&self, callee: &Expr) -> bool {
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
                let logs = ["logger", "_logger"].iter().any(|logger| {
                    self.module.bindings.get(*logger).is_some()
                        && dotted.starts_with(&format!("{}.{logger}.", self.module.name))
                });
                let defined = self.import.plain.then(|| self.import.world.defined_as(&dotted)).flatten();
                logs || self.import.world.names.ignores(defined.as_deref().unwrap_or(&dotted))
            }
            (None, Expr::Name(name)) => name.id.as_str() == "print",
            _ => false,
        }
    }

    /// `target = value`, where the target may be an entry of a list or dictionary, or a part of a tensor.
    pub(super) fn assigned(&mut self, target: &Expr, value: Said) -> Result<String, Fault> {
        if let Expr::Attribute(attribute) = target
            && attribute.attr.as_str() == "requires_grad"
            && value.text == "True"
        {
            return Ok(format!("{}.requires_grad_()", self.expression(&attribute.value)?.within(ATOM)));
        }
        if let Expr::Subscript(subscript) = target {
            let owner = self.expression(&subscript.value)?;
            let is_part = |expression: &Expr| {
                matches!(expression, Expr::Slice(_) | Expr::EllipsisLiteral(_))
                    || matches!(expression, Expr::Tuple(parts) if parts.elts.iter().any(|part| matches!(part, Expr::Slice(_) | Expr::EllipsisLiteral(_))))
            };
            if let Some(said) = self.assigned_part(subscript, &owner, &value)? {
                return Ok(said);
            }
            if let (Expr::Slice(slice), Expr::Name(_)) = (&*subscript.slice, &*subscript.value)
                && self.import.plain
                && slice.step.is_none()
            {
                let mut bound = |bound: &Option<Box<Expr>>| match bound {
                    Some(bound) => self.expression(bound).map(|said| said.text),
                    None => Ok("None".to_owned()),
                };
                let (from, to) = (bound(&slice.lower)?, bound(&slice.upper)?);
                return Ok(format!("{0} = with_range({0}, {from}, {to}, {1})", owner.text, value.text));
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
            // a list that a forward is given is its caller's as well
            if let Expr::Name(name) = &*subscript.value
                && self.given.contains(name.id.as_str())
            {
                return Ok(format!("{0} = with_element({0}, {key}, {1})", owner.text, value.text));
            }
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

    /// `x, entries[key] = y`: what goes into entries has a name first.
    fn assigned_apart(&mut self, targets: &[Expr], value: Said) -> Result<Vec<String>, Fault> {
        let (mut names, mut lines, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (place, target) in targets.iter().enumerate() {
            if !matches!(target, Expr::Subscript(_)) {
                names.push(self.target(target)?);
                continue;
            }
            let part = format!("part_{place}");
            lines.push(self.assigned(target, atom(part.clone()))?);
            names.push(part.clone());
            parts.push(part);
        }
        lines.insert(0, format!("{} = {}", names.join(", "), value.text));
        lines.push(format!("del {}", parts.join(", ")));
        Ok(lines)
    }

    /// `x[..., a:b] = y` and `x[:, i] = y`: the tensor stays, at a new place of the autograd graph.
    pub(super) fn assigned_part(
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

    pub(super) fn target(&mut self, target: &Expr) -> Result<String, Fault> {
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
    pub(super) fn raised(&mut self, exception: &Expr) -> String {
        match exception {
            Expr::Call(call) => match call.arguments.args.first() {
                Some(message) => self.message(message),
                None => quoted("it raises"),
            },
            _ => quoted("it raises"),
        }
    }

    pub(super) fn message(&mut self, message: &Expr) -> String {
        match message {
            Expr::StringLiteral(text) => quoted(text.value.to_str()),
            Expr::FString(text) => {
                let parts = text.value.elements().map(|element| match element {
                    InterpolatedStringElement::Literal(literal) => quoted(&literal.value),
                    InterpolatedStringElement::Interpolation(part) => match self.expression(&part.expression) {
                        Ok(said) if !said.text.contains("__class__") => said.text,
                        _ => quoted("..."),
                    },
                });
                format!("[{}]", parts.collect::<Vec<_>>().join(", "))
            }
            _ => quoted("it raises"),
        }
    }
}

/// `if x.dtype != dtype: x = x.to(dtype)`, which is `x = x.to(dtype)`: the question is left out, whatever else is asked stays; so is
/// whether `x` lies on another device.
fn without_question(conditional: &python_ast::StmtIf) -> Option<python_ast::StmtIf> {
    let [Stmt::Assign(assign)] = &conditional.body[..] else { return None };
    let ([target], Expr::Call(call)) = (&assign.targets[..], &*assign.value) else { return None };
    let Expr::Attribute(method) = &*call.func else { return None };
    let named = call.arguments.find_keyword("dtype").map(|keyword| &keyword.value);
    let dtype = match &*call.arguments.args {
        [dtype] => dtype,
        [] => named?,
        _ => return None,
    };
    let moves = |keyword: &python_ast::Keyword| {
        matches!(keyword.arg.as_ref().map(|name| name.as_str()), Some("dtype" | "device"))
    };
    let casts =
        method.attr.as_str() == "to" && same(&method.value, target) && call.arguments.keywords.iter().all(moves);
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
        Expr::BoolOp(operation)
            if operation.op == BoolOp::Or
                && operation.values.iter().any(asks)
                && operation.values.iter().all(|value| asks(value) || is_elsewhere(value)) =>
        {
            *changed.test = yes();
            Some(changed)
        }
        test if asks(test) => {
            *test = yes();
            Some(changed)
        }
        _ => None,
    }
}

/// An argument that a function may not take.
enum Tried<'e> {
    /// By its name.
    Name(&'e str),
    /// All of a dictionary.
    All(&'e Expr),
}

/// `try: return f(a=a, **rest)` with `except TypeError: return f(**rest)` behind it: the function, and what it may not take.
fn tried_arguments(tried: &python_ast::StmtTry) -> Option<(&Expr, Vec<Tried<'_>>)> {
    fn called(body: &[Stmt]) -> Option<&ExprCall> {
        let [Stmt::Return(returned)] = body else { return None };
        match returned.value.as_deref() {
            Some(Expr::Call(call)) => Some(call),
            _ => None,
        }
    }
    let [python_ast::ExceptHandler::ExceptHandler(handler)] = &tried.handlers[..] else { return None };
    let is_it = is_named(handler.type_.as_deref()?, "TypeError");
    let (first, second) = (called(&tried.body).filter(|_| is_it)?, called(&handler.body)?);
    if !same(&first.func, &second.func) {
        return None;
    }
    let spreads = |call: &ExprCall, wanted: &Expr| {
        call.arguments.keywords.iter().any(|keyword| keyword.arg.is_none() && same(&keyword.value, wanted))
    };
    let mut names = Vec::new();
    for keyword in &first.arguments.keywords {
        match &keyword.arg {
            Some(name) if second.arguments.find_keyword(name).is_none() => names.push(Tried::Name(name.as_str())),
            None if !spreads(second, &keyword.value) => names.push(Tried::All(&keyword.value)),
            _ => {}
        }
    }
    (!names.is_empty()).then_some((&*first.func, names))
}

/// `x.device != y.device`
fn is_elsewhere(test: &Expr) -> bool {
    let of_device = |side: &Expr| matches!(side, Expr::Attribute(attribute) if attribute.attr.as_str() == "device");
    matches!(test, Expr::Compare(asked) if matches!(asked.ops[..], [CmpOp::NotEq]) && of_device(&asked.left) && asked.comparators.iter().all(of_device))
}

/// Whether two expressions are the same names.
fn same(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Name(a), Expr::Name(b)) => a.id == b.id,
        (Expr::Attribute(a), Expr::Attribute(b)) => a.attr.as_str() == b.attr.as_str() && same(&a.value, &b.value),
        _ => false,
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
