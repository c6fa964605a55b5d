//! Calls: how arguments find their parameters, and who holds them while the callee runs.
//!
//! A Python function takes its arguments over from the caller. A module's call goes through `nn.Module.__call__`, whose
//! `*args` and `**kwargs` hold every argument until it returns.

use std::rc::Rc;

use super::machine::{Frame, Machine, Outcome};
use super::value::{Object, ShapeQuestion, Value};
use super::{ModuleId, Step, TensorId};
use crate::ops::Operator;
use crate::read::spec::syntax::{Argument, Function};

/// The arguments of a call.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub positional: Vec<Value>,
    pub named: Vec<(Rc<str>, Value)>,
}

impl Given {
    /// The arguments of a builtin that takes exactly so many, all by position.
    pub(super) fn exactly<const N: usize>(self, machine: &Machine) -> Outcome<[Value; N]> {
        match <[Value; N]>::try_from(self.positional) {
            Ok(values) if self.named.is_empty() => Ok(values),
            _ => machine.error(format!("{N} arguments are expected here")),
        }
    }

    fn clone_values(&self) -> Vec<Value> {
        self.positional.iter().chain(self.named.iter().map(|(_, value)| value)).cloned().collect()
    }
}

impl Machine {
    pub(super) fn arguments(&mut self, function: &Function, frame: &mut Frame, a: &[Argument]) -> Outcome<Given> {
        let mut given = Given { positional: Vec::with_capacity(a.len()), named: Vec::new() };
        for argument in a {
            match argument {
                Argument::Plain(value) => given.positional.push(self.evaluate(function, frame, value)?),
                Argument::Named(name, value) => {
                    given.named.push((name.clone(), self.evaluate(function, frame, value)?));
                }
                Argument::Spread(values) => {
                    let values = self.evaluate(function, frame, values)?;
                    given.positional.extend(self.elements(&values)?.iter().cloned());
                }
                Argument::SpreadNamed(entries) => match self.evaluate(function, frame, entries)? {
                    Value::Dictionary(entries) => {
                        given.named.extend(entries.iter().map(|(key, value)| (key.clone(), value.clone())));
                    }
                    other => return self.error(format!("{} cannot be spread into named arguments", other.kind())),
                },
            }
        }
        Ok(given)
    }

    pub(super) fn call(&mut self, callee: Value, given: Given) -> Outcome<Value> {
        match callee {
            Value::Function(function) => self.call_function(&function, None, given),
            Value::Method(object, function) => self.call_function(&function, Some(object), given),
            Value::Class(class) => self.construct(&class, given, String::new()),
            Value::Builtin(builtin) => builtin(self, given),
            Value::Operator(operator) => self.call_operator(operator, given),
            Value::TensorMethod(tensor, operator) => {
                let mut given = given;
                given.positional.insert(0, Value::Tensor(tensor));
                self.call_operator(operator, given)
            }
            Value::ShapeMethod(tensor, question) => self.ask_shape(tensor, question, given),
            Value::Object(object) if object.module.is_some() => self.call_module(&object, given),
            other => self.error(format!("{} cannot be called", other.kind())),
        }
    }

    fn ask_shape(&self, tensor: TensorId, question: ShapeQuestion, given: Given) -> Outcome<Value> {
        let shape = self.shape(tensor);
        match (question, given.positional.first()) {
            (ShapeQuestion::Dim, _) => Ok(Value::Int(shape.len() as i64)),
            (ShapeQuestion::Count, _) => Ok(Value::Int(shape.iter().product::<u64>() as i64)),
            (ShapeQuestion::Size, None) => Ok(self.sizes(tensor)),
            (ShapeQuestion::Size, Some(Value::Int(dim))) => {
                let place = if *dim < 0 { dim + shape.len() as i64 } else { *dim };
                match usize::try_from(place).ok().and_then(|place| shape.get(place)) {
                    Some(size) => Ok(Value::Int(*size as i64)),
                    None => self.error(format!("a tensor of {} dimensions has no dimension {dim}", shape.len())),
                }
            }
            (ShapeQuestion::Size, Some(other)) => self.error(format!("{} is no dimension", other.kind())),
        }
    }

    /// Runs a module's `forward`: its arguments are held until it has returned.
    fn call_module(&mut self, object: &Rc<Object>, mut given: Given) -> Outcome<Value> {
        let Some(module) = object.module else { return self.error("only modules can be called") };
        let checkpoint = self.begin_checkpoint(object, module, &mut given)?;
        let held = given.clone_values();
        let call = self.begin_call(module, &held);
        self.steps.borrow_mut().push(Step::Enter(module));
        let result = self.forward(object, module, given);
        if let Ok(value) = &result {
            self.hook_input_embedding(module, value)?;
        }
        drop(held);
        if let (Some(call), Ok(result)) = (call, &result) {
            self.end_call(call, result);
        }
        self.steps.borrow_mut().push(Step::Exit(module));
        if let (Some(checkpoint), Ok(result)) = (checkpoint, &result) {
            self.end_checkpoint(checkpoint, result);
        }
        result
    }

    /// Runs a module's `forward` with the module as the one whose code runs.
    pub(super) fn forward(&mut self, object: &Rc<Object>, module: ModuleId, given: Given) -> Outcome<Value> {
        let Some(forward) = object.class.as_ref().and_then(|class| class.methods.get("forward").cloned()) else {
            return self.error("the module has no forward");
        };
        self.running.push(module);
        let result = self.call_function(&forward, Some(object.clone()), given);
        if result.is_ok() {
            self.running.pop();
        }
        result
    }

    pub(super) fn call_function(
        &mut self,
        function: &Rc<Function>,
        this: Option<Rc<Object>>,
        given: Given,
    ) -> Outcome<Value> {
        let mut frame: Frame = vec![None; function.names.len()];
        if let Some(this) = this
            && let Some(place) = function.names.iter().position(|name| &**name == "self")
        {
            frame[place] = Some(Value::Object(this));
        }
        self.bind(function, &mut frame, given)?;
        self.run(function, frame)
    }

    /// Puts arguments into the frame of the function that they are for.
    pub(super) fn bind(&mut self, function: &Function, frame: &mut Frame, given: Given) -> Outcome<()> {
        let Given { positional, named } = given;
        let takes = function.parameters.iter().filter(|parameter| !parameter.rest).count();
        if positional.len() > takes {
            return self.error(format!("{} takes {takes} arguments, not {}", function.name, positional.len()));
        }
        let mut bound = vec![false; function.parameters.len()];
        for (number, value) in positional.into_iter().enumerate() {
            frame[usize::from(function.parameters[number].name.0)] = Some(value);
            bound[number] = true;
        }
        let mut rest = Vec::new();
        for (name, value) in named {
            let place = function
                .parameters
                .iter()
                .position(|parameter| !parameter.rest && function.names[usize::from(parameter.name.0)] == name);
            match place {
                Some(number) if bound[number] => {
                    return self.error(format!("{} is given `{name}` twice", function.name));
                }
                Some(number) => {
                    frame[usize::from(function.parameters[number].name.0)] = Some(value);
                    bound[number] = true;
                }
                None => rest.push((name, value)),
            }
        }
        for (number, parameter) in function.parameters.iter().enumerate() {
            let slot = usize::from(parameter.name.0);
            if parameter.rest {
                frame[slot] = Some(Value::Dictionary(Rc::new(rest.drain(..).collect())));
            } else if !bound[number] {
                let Some(default) = &parameter.default else {
                    return self.error(format!("{} lacks its argument `{}`", function.name, function.names[slot]));
                };
                frame[slot] = Some(self.evaluate(function, &mut Vec::new(), default)?);
            }
        }
        match rest.first() {
            Some((name, _)) => self.error(format!("{} has no parameter `{name}`", function.name)),
            None => Ok(()),
        }
    }

    /// Binds the arguments of an operator by its signature and records the call.
    pub(super) fn call_operator(&mut self, operator: &'static Operator, given: Given) -> Outcome<Value> {
        let Given { mut positional, named } = given;
        if let Some(first) = operator.variadic
            && positional.len() > first
        {
            let spread = positional.split_off(first);
            positional.push(match &spread[..] {
                [Value::Sequence(_)] => spread[0].clone(),
                _ => Value::sequence(spread),
            });
        }
        let parameters = &operator.parameters;
        if positional.len() > parameters.len() {
            let message = format!("{} takes {} arguments, not {}", operator.name, parameters.len(), positional.len());
            return self.error(message);
        }
        let given = positional.len();
        let mut arguments: Vec<Option<Value>> = positional.into_iter().map(Some).collect();
        arguments.resize(parameters.len(), None);
        for (name, value) in named {
            match parameters.iter().position(|parameter| parameter.name == &*name) {
                Some(place) if place >= given => arguments[place] = Some(value),
                Some(_) => return self.error(format!("{} is given `{name}` twice", operator.name)),
                None => return self.error(format!("{} has no parameter `{name}`", operator.name)),
            }
        }
        let mut complete = Vec::with_capacity(arguments.len());
        for (argument, parameter) in arguments.into_iter().zip(parameters) {
            match argument.or_else(|| parameter.default.map(Value::from)) {
                Some(value) => complete.push(value),
                None => return self.error(format!("{} lacks its argument `{}`", operator.name, parameter.name)),
            }
        }
        self.emit(operator, complete)
    }
}
