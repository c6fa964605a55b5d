//! Loops of a constructor over a model's modules or parameters: most of them fill weights with numbers, which takes no memory.

use python_ast::visitor::{self, Visitor};
use python_ast::{Expr, Stmt};

/// What such a loop does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It fills weights.
    Filled,
    /// It says that parameters are not trained, and nothing else.
    Frozen,
    /// It changes more than numbers.
    More,
}

/// Whose modules or parameters a loop goes through: `self` of `self.modules()`.
pub fn owner(source: &Expr) -> Option<&Expr> {
    let Expr::Call(call) = source else { return None };
    let Expr::Attribute(method) = &*call.func else { return None };
    let goes = matches!(method.attr.as_str(), "modules" | "named_modules" | "parameters" | "named_parameters");
    (goes && call.arguments.is_empty()).then_some(&*method.value)
}

/// What the statements of such a loop do.
pub fn what_is_done(body: &[Stmt]) -> Done {
    if let [only] = body
        && is_freezing(only)
    {
        return Done::Frozen;
    }
    let mut changes = Changes(false);
    body.iter().for_each(|statement| changes.visit_stmt(statement));
    if changes.0 { Done::More } else { Done::Filled }
}

/// `parameter.requires_grad = False`, `parameter.requires_grad_(False)`
fn is_freezing(statement: &Stmt) -> bool {
    let is_false = |value: &Expr| matches!(value, Expr::BooleanLiteral(flag) if !flag.value);
    match statement {
        Stmt::Assign(assign) => {
            let is_it = |target: &Expr| matches!(target, Expr::Attribute(a) if a.attr.as_str() == "requires_grad");
            assign.targets.iter().all(is_it) && is_false(&assign.value)
        }
        Stmt::Expr(evaluated) => match &*evaluated.value {
            Expr::Call(call) => {
                matches!(&*call.func, Expr::Attribute(method) if method.attr.as_str() == "requires_grad_")
                    && matches!(&*call.arguments.args, [value] if is_false(value))
            }
            _ => false,
        },
        _ => false,
    }
}

/// Whether anything is changed but numbers.
struct Changes(bool);

impl Visitor<'_> for Changes {
    fn visit_stmt(&mut self, statement: &Stmt) {
        let targets = match statement {
            Stmt::Assign(assign) => &assign.targets[..],
            Stmt::AugAssign(assign) => std::slice::from_ref(&*assign.target),
            Stmt::Return(_) | Stmt::Delete(_) | Stmt::Break(_) => {
                self.0 = true;
                return;
            }
            _ => &[],
        };
        // `module.weight.data[0] = ...` and `module.weight.data = ...` fill, as do calls
        let fills = |target: &Expr| match target {
            Expr::Name(_) | Expr::Subscript(_) => true,
            Expr::Attribute(attribute) => attribute.attr.as_str() == "data",
            _ => false,
        };
        self.0 |= !targets.iter().all(fills);
        visitor::walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &Expr) {
        if let Expr::Call(call) = expression {
            let name = match &*call.func {
                Expr::Attribute(method) => method.attr.as_str(),
                Expr::Name(name) => name.id.as_str(),
                _ => "",
            };
            let changing =
                ["requires_grad_", "register_parameter", "register_buffer", "add_module", "setattr", "append"];
            self.0 |= changing.contains(&name);
        }
        visitor::walk_expr(self, expression);
    }
}
