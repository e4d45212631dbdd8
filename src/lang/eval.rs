//! Evaluating templates and expressions in a scope.

use std::collections::{BTreeMap, BTreeSet};

use crate::lang::cel::resolve::{Resolver, sealed};
use crate::lang::cel::run::{Trouble, run};
use crate::lang::lower::template::complaint;
use crate::lang::template::{Evaluated, Expr, Piece, Scope, Template};
use crate::name::ResourceName;
use crate::secret::{Origin, Secret};
use crate::source::{Diagnostic, Fault};
use crate::value::Value;

impl Template {
    /// The value in this scope, with the resources that were read. The first failed expression is the error.
    pub fn eval(&self, scope: &dyn Scope) -> Result<Evaluated, Diagnostic> {
        let mut reads = BTreeSet::new();
        let value = self.value(scope, &mut reads)?;
        Ok(Evaluated { value, reads: reads.into_iter().collect() })
    }

    fn value(&self, scope: &dyn Scope, reads: &mut BTreeSet<ResourceName>) -> Result<Value, Diagnostic> {
        let mut one = |expr: &Expr| -> Result<Value, Diagnostic> {
            let evaluated = expr.eval(scope)?;
            reads.extend(evaluated.reads);
            Ok(evaluated.value)
        };
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Expr(expr) => one(expr)?,
            Self::Text(pieces) => text(pieces, scope, &mut one)?,
            Self::List(items) => {
                let values = items.iter().map(|item| item.value.value(scope, reads));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let values = fields.iter().map(|(key, field)| Ok((key.clone(), field.value.value(scope, reads)?)));
                Value::Map(values.collect::<Result<BTreeMap<_, _>, Diagnostic>>()?)
            }
        })
    }
}

/// Text around expressions; secret whole when one of them is.
fn text(pieces: &[Piece], scope: &dyn Scope, one: &mut dyn FnMut(&Expr) -> Result<Value, Diagnostic>) -> Result<Value, Diagnostic> {
    let mut text = String::new();
    let mut secret = false;
    for piece in pieces {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Expr(expr) => match one(expr)? {
                Value::String(part) => text.push_str(&part),
                Value::Secret(part) => {
                    secret = true;
                    text.push_str(part.expose());
                }
                part @ (Value::Int(_) | Value::Float(_) | Value::Bool(_)) => text.push_str(&part.to_string()),
                Value::Null => return Err(expr.null_in_text(scope)),
                part => {
                    let message = format!("{} cannot stand inside a text", part.kind());
                    return Err(Diagnostic::yours(message).at(&expr.span, "").help("make text of it, such as list.join(\",\")"));
                }
            },
        }
    }
    Ok(if secret { Value::Secret(Secret::new(text, Origin::Computed)) } else { Value::String(text) })
}

impl Expr {
    /// The value in this scope, with the resources that were read. An expression that touched a secret is secret whole.
    pub fn eval(&self, scope: &dyn Scope) -> Result<Evaluated, Diagnostic> {
        let mut resolver = Resolver::new(scope, &self.program, &self.written);
        let result = match &self.program.fast {
            Some(fast) => resolver.fast(fast).map_err(Trouble::Site),
            None => run(&self.program, |site, args| resolver.answer(site, args)),
        };
        if let Some(fatal) = resolver.fatal.take() {
            return Err(fatal);
        }
        let value = result.map_err(|trouble| self.explain(trouble, &mut resolver))?;
        let value = sealed(value, &resolver.touched).map_err(|why| Diagnostic::yours(why).at(&self.span, ""))?;
        Ok(Evaluated { value, reads: resolver.reads.into_iter().collect() })
    }

    /// The complaint about a null inside a text. Where it comes from a resource, history may know since when: evaluated once more to find which.
    fn null_in_text(&self, scope: &dyn Scope) -> Diagnostic {
        let mut resolver = Resolver::new(scope, &self.program, &self.written);
        if let Some(fast) = &self.program.fast {
            // The result is known; only what was met on the way is of interest.
            let _ = resolver.fast(fast);
        }
        let (message, help) = match resolver.nulls.first() {
            Some((name, key)) => {
                let told = scope.why_missing(name, key).unwrap_or_else(|| format!("`{key}` of {name} is null"));
                (
                    format!("{told}; null cannot stand inside a text"),
                    format!("`pmx log {name}` tells its history; `pmx build {name}` reads it again"),
                )
            }
            None => {
                ("null cannot stand inside a text".to_owned(), "give it a value first, or make the expression the whole string".to_owned())
            }
        };
        Diagnostic::yours(message).at(&self.span, "").help(help)
    }

    fn explain(&self, trouble: Trouble, resolver: &mut Resolver<'_>) -> Diagnostic {
        match trouble {
            Trouble::Site(refused) => resolver.complaint(refused),
            Trouble::Cel(mut fault) => {
                let end = self.program.text.len();
                fault.range = fault.range.start.min(end)..fault.range.end.min(end);
                complaint(fault, &self.written)
            }
            Trouble::Broken(why) => {
                Diagnostic::new(crate::source::Severity::Error, Fault::Ours, why).at(&self.span, "").help("please report the expression")
            }
        }
    }

    /// Whether a condition holds, with the resources that were read. Secrets may not decide, and anything but a boolean is an error.
    pub fn eval_bool(&self, scope: &dyn Scope) -> Result<(bool, Vec<ResourceName>), Diagnostic> {
        let Evaluated { value, reads } = self.eval(scope)?;
        match value {
            Value::Bool(flag) => Ok((flag, reads)),
            Value::Secret(_) => Err(Diagnostic::yours("a secret may not decide whether a step runs").at(&self.span, "")),
            other => {
                let complaint = Diagnostic::yours(format!("a condition is true or false, not {}", other.kind())).at(&self.span, "");
                Err(complaint.help("compare it, such as `== \"running\"`"))
            }
        }
    }
}
