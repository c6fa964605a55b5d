//! Construction: makes the module tree and its parameters from classes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::call::Given;
use super::machine::{Machine, Outcome};
use super::value::{Attributes, Object, Owned, Value};
use super::{Dims, Module, ModuleId, Origin, Parameter, Quantized, TensorId};
use crate::dtype::Dtype;
use crate::interpret::{Frame, Interpreter, Semantics};
use crate::read::spec::Class;
use crate::read::spec::syntax::Function;

/// What a visit of a module counts for, in what is evaluated: one that stands in many places is come to in each.
pub(super) const VISIT: usize = 64;

/// What a module's tensor is to it, with the type that its spec fixes.
enum Kind {
    Parameter(Option<Dtype>),
    Buffer { dtype: Option<Dtype>, persistent: bool },
}

impl Machine {
    /// Makes an instance; a module is given its path by the module that it becomes a child of.
    pub(super) fn construct(&mut self, class: &Arc<Class>, given: Given, path: String) -> Outcome<Value> {
        let mut constructor = Frame::new(&class.constructor);
        self.bind(&mut constructor, given)?;
        let parameters = class.constructor.parameters.iter();
        let mut locals: Vec<_> = parameters.map(|p| constructor.slots[usize::from(p.name.0)].take()).collect();
        // a module that a forward makes for a moment has no path: what it does is its maker's
        let maker = self.running.last().copied().filter(|_| self.on_host == 0);
        let module = match (class.is_module, maker) {
            (false, _) => None,
            (true, Some(maker)) => Some(maker),
            (true, None) => Some(self.new_module(class, path)?),
        };
        let object = Rc::new(Object {
            class: Some(class.clone()),
            module,
            attributes: RefCell::new(Attributes::default()),
            owned: RefCell::new(Owned::of(class)),
            height: Cell::new(None),
        });
        locals.push(Some(Value::Object(object.clone())));
        if class.is_module {
            object.attributes.borrow_mut().insert("training".into(), Value::Bool(maker.is_some()));
        }
        if let Some(init) = &class.init {
            self.initialize(&object, init, &locals)?;
        }
        for (name, expression) in &class.attributes {
            let value = self.compute(expression, &locals)?;
            object.attributes.borrow_mut().insert(name.clone(), value);
        }
        for (name, expression) in &class.children {
            let value = self.compute(expression, &locals)?;
            object.attributes.borrow_mut().insert(name.clone(), value);
        }
        for (field, _) in &class.parameters {
            let value = self.field(&field.shape, &locals)?;
            object.attributes.borrow_mut().insert(field.name.clone(), value);
        }
        for buffer in &class.buffers {
            let value = self.field(&buffer.field.shape, &locals)?;
            object.attributes.borrow_mut().insert(buffer.field.name.clone(), value);
        }
        object.settle();
        Ok(Value::Object(object))
    }

    /// Runs the code of a class's construction; what it computes with tensors happens on the host, where modules are made.
    fn initialize(&mut self, object: &Rc<Object>, init: &Function, locals: &[Option<Value>]) -> Outcome<()> {
        let mut frame = Frame::new(init);
        // names of defaults stand among those of parameters
        for (parameter, value) in init.parameters.iter().zip(locals) {
            frame.slots[usize::from(parameter.name.0)].clone_from(value);
        }
        if let Some(place) = init.names.iter().position(|name| &**name == "self") {
            frame.slots[place] = Some(Value::Object(object.clone()));
        }
        let is_module = usize::from(object.module.is_some());
        (self.on_host, self.building) = (self.on_host + is_module, self.building + is_module);
        self.run(frame)?;
        (self.on_host, self.building) = (self.on_host - is_module, self.building - is_module);
        Ok(())
    }

    /// A module of the class, of which nothing is known but its path.
    pub(super) fn new_module(&mut self, class: &Class, path: String) -> Outcome<ModuleId> {
        if self.modules.len() >= super::machine::MODULES {
            return self.error(format!("the model has more than {} modules", super::machine::MODULES));
        }
        self.modules.push(Module { path, class: class.name.clone(), block: false, calls: 0, gives_tensors: true });
        Ok(ModuleId(self.modules.len() as u32 - 1))
    }

    fn compute(&mut self, expression: &Function, locals: &[Option<Value>]) -> Outcome<Value> {
        let mut slots = locals.to_vec();
        slots.resize(expression.names.len().max(locals.len()), None);
        self.run(Frame { slots, ..Frame::new(expression) })
    }

    fn field(&mut self, shape: &Function, locals: &[Option<Value>]) -> Outcome<Value> {
        let sizes = self.compute(shape, locals)?;
        if let Value::None = sizes {
            return Ok(Value::None);
        }
        let mut dims = Dims::new();
        for size in self.elements(&sizes)?.iter() {
            match size {
                Value::Int(size) if (0..=1 << 40).contains(size) => dims.push(*size as u64),
                Value::Int(size) => return self.error(format!("{}: {size} is no size of a dimension", shape.name)),
                other => return self.error(format!("{}: {} is no size", shape.name, other.kind())),
            }
        }
        let elements = dims.iter().try_fold(8u64, |product, size| product.checked_mul(*size));
        if elements.is_none_or(|bytes| bytes > 1 << 60) {
            return self.error(format!("{}: a parameter of shape {dims:?} is larger than any memory", shape.name));
        }
        Ok(self.tensor(dims))
    }

    /// Names the modules below `object` and lists their parameters and buffers in the order of `model.to(device)`:
    /// children before the module's own (torch/nn/modules/module.py, `_apply`).
    pub(super) fn enlist(&mut self, object: &Rc<Object>, path: &str, training: bool) -> Outcome<()> {
        let (Some(class), Some(module)) = (object.class.clone(), object.module) else { return Ok(()) };
        self.modules[module.index()].path = path.to_owned();
        object
            .attributes
            .borrow_mut()
            .insert("training".into(), Value::Bool(training || self.adapters.contains(&module.index())));
        for name in &object.owned.borrow().children {
            let child = object.attributes.borrow().get(name).cloned().unwrap_or(Value::None);
            match (class.elements.get(name), &child) {
                (Some((prefix, first)), Value::Sequence(children)) => {
                    for (place, child) in children.iter().enumerate() {
                        self.enlist_child(child, &join(path, &format!("{prefix}{}", first + place)), training)?;
                    }
                }
                _ => self.enlist_child(&child, &join(path, name), training)?,
            }
        }
        for (name, dtype) in &object.owned.borrow().parameters {
            let dtype = dtype.and_then(|dtype| dtype.by(self.rules));
            self.enlist_tensor(object, module, name, path, Kind::Parameter(dtype))?;
        }
        for (name, dtype, persistent) in &object.owned.borrow().buffers {
            let dtype = dtype.and_then(|dtype| dtype.by(self.rules));
            let kind = Kind::Buffer { dtype, persistent: *persistent };
            self.enlist_tensor(object, module, name, path, kind)?;
        }
        Ok(())
    }

    fn enlist_child(&mut self, child: &Value, path: &str, training: bool) -> Outcome<()> {
        self.spend(VISIT)?;
        match child {
            Value::Object(child) => self.enlist(child, path, training),
            Value::Sequence(children) => {
                for (number, child) in children.iter().enumerate() {
                    if let Value::Object(child) = child
                        && let Some(module) = child.module
                    {
                        self.modules[module.index()].block = true;
                    }
                    self.enlist_child(child, &join(path, &number.to_string()), training)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Numbers the listed parameters in the order of the tree, a module's own before its children's. A tied parameter has the name
    /// under which it is met first (torch/nn/modules/module.py, `_named_members`).
    pub(super) fn number(&mut self, model: &Rc<Object>) {
        let listed = self.parameters.iter().enumerate().filter(|(_, parameter)| !parameter.buffer);
        let mut open: FxHashMap<TensorId, usize> =
            listed.map(|(number, parameter)| (parameter.tensor, number)).collect();
        self.number_within(&Value::Object(model.clone()), &mut open, &mut 0);
    }

    fn number_within(&mut self, value: &Value, open: &mut FxHashMap<TensorId, usize>, next: &mut u32) {
        if let Value::Sequence(children) = value {
            children.iter().for_each(|child| self.number_within(child, open, next));
        }
        let Value::Object(object) = value else { return };
        let Some(module) = object.module else { return };
        let (attributes, owned) = (object.attributes.borrow(), object.owned.borrow());
        for (name, _) in &owned.parameters {
            let Some(Value::Tensor(reference)) = attributes.get(name) else { continue };
            let Some(number) = open.remove(&reference.tensor.get()) else { continue };
            let parameter = &mut self.parameters[number];
            parameter.name = join(&self.modules[module.index()].path, name);
            (parameter.module, parameter.place) = (module, Some(*next));
            *next += 1;
        }
        for child in owned.children.iter().filter_map(|name| attributes.get(name)) {
            self.number_within(child, open, next);
        }
    }

    /// The listed parameters and buffers as `Module._apply` meets them when the tree is complete, adapters among the layers
    /// that they adapt: children before the module's own (torch/nn/modules/module.py, `_apply`).
    pub(super) fn apply_order(&self, model: &Rc<Object>) -> Vec<u32> {
        let listed = self.parameters.iter().enumerate();
        let known = listed.map(|(number, parameter)| (parameter.tensor, number as u32)).collect();
        let mut order = Vec::new();
        apply_within(&Value::Object(model.clone()), &known, &mut order);
        order
    }

    /// Lists one parameter or buffer.
    fn enlist_tensor(
        &mut self,
        owner: &Rc<Object>,
        module: ModuleId,
        name: &Arc<str>,
        path: &str,
        kind: Kind,
    ) -> Outcome<()> {
        let Some(Value::Tensor(reference)) = owner.attributes.borrow().get(name).cloned() else { return Ok(()) };
        let tensor = reference.tensor.get();
        if !self.listed.insert(tensor) {
            return Ok(());
        }
        let (dtype, buffer, stored) = match kind {
            Kind::Parameter(dtype) => (dtype, false, true),
            Kind::Buffer { dtype, persistent } => (dtype, true, persistent),
        };
        let (origin, quantized) = match self.quantized.get(&tensor) {
            Some(form @ Quantized::Int8) => (Origin::Quantized(*form), Some(Dtype::I8)),
            Some(form) => (Origin::Quantized(*form), Some(Dtype::U8)),
            None => (Origin::Model, None),
        };
        self.parameters.push(Parameter {
            name: join(path, name),
            module,
            place: None,
            tensor,
            shape: self.shape(tensor).clone(),
            dtype: quantized.or(dtype),
            buffer,
            stored,
            origin,
            frozen: self.frozen.contains(&tensor),
        });
        Ok(())
    }
}

fn apply_within(value: &Value, known: &FxHashMap<TensorId, u32>, order: &mut Vec<u32>) {
    if let Value::Sequence(children) = value {
        children.iter().for_each(|child| apply_within(child, known, order));
    }
    let Value::Object(object) = value else { return };
    if object.module.is_none() {
        return;
    }
    let (attributes, owned) = (object.attributes.borrow(), object.owned.borrow());
    for child in owned.children.iter().filter_map(|name| attributes.get(name)) {
        apply_within(child, known, order);
    }
    let parameters = owned.parameters.iter().map(|(name, _)| name);
    for name in parameters.chain(owned.buffers.iter().map(|(name, ..)| name)) {
        let Some(Value::Tensor(reference)) = attributes.get(name) else { continue };
        order.extend(known.get(&reference.tensor.get()));
    }
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
