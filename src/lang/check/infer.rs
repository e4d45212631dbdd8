//! The type of an expression, and everything in it that cannot be right.

use std::collections::BTreeMap;
use std::ops::Range;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Node, LiteralValue, operators};

use crate::lang::cel::ast::{appends, binds};
use crate::lang::cel::functions::{self, On, Style};
use crate::lang::cel::site::{Chain, Link, Mode, chain, literal};
use crate::lang::check::operators::operator;
use crate::lang::check::scene::{Scene, either, fields, holds_secret, seen};
use crate::lang::check::{Checker, TypeSchema, unknown};
use crate::lang::template::{Expr, Root};
use crate::lang::types::{Field, Kind, Object, Type};
use crate::source::Diagnostic;

/// One expression being typed.
pub(super) struct Inference<'c, 'p> {
    checker: &'c mut Checker<'p>,
    scene: &'c Scene,
    expr: &'c Expr,
    places: &'c BTreeMap<u64, Range<usize>>,
    bound: Vec<(String, Type)>,
    touched: bool,
}

/// The type of an expression where it stands; secret when it can touch a secret.
pub(super) fn infer(checker: &mut Checker<'_>, scene: &Scene, expr: &Expr) -> Type {
    let tree = expr.program.tree();
    let (parsed, places) = &*tree;
    let mut inference = Inference { checker, scene, expr, places, bound: Vec::new(), touched: false };
    let ty = inference.node(parsed);
    Type { secret: ty.secret || inference.touched, ..ty }
}

impl Inference<'_, '_> {
    /// Complains about a part of the expression.
    pub fn complain(&mut self, range: Range<usize>, message: String, help: Option<String>) {
        let complaint = Diagnostic::yours(message).at(&self.expr.written.at(range), "");
        self.checker.complain(match help {
            Some(help) => complaint.help(help),
            None => complaint,
        });
    }

    /// The place of a node.
    pub fn range(&self, node: &IdedExpr) -> Range<usize> {
        self.places.get(&node.id).cloned().unwrap_or(0..self.expr.program.text.len())
    }

    /// The type of a node.
    pub fn node(&mut self, node: &IdedExpr) -> Type {
        if let Some(chain) = chain(node) {
            return self.chain(node, &chain);
        }
        match &node.expr {
            Node::Literal(value) => Type::of(of_literal(value)),
            Node::Call(called) => self.call(node, called),
            Node::Select(select) => {
                let operand = self.node(&select.operand);
                let range = self.range(node);
                let end = range.end;
                let ty = self.field(&operand, &select.field, end.saturating_sub(select.field.len())..end, None);
                if select.test { Type::of(Kind::Bool) } else { ty }
            }
            Node::List(list) => {
                let items: Vec<Type> = list.elements.iter().map(|item| self.node(item)).collect();
                Type::of(Kind::List(Box::new(items.into_iter().reduce(either).unwrap_or_default())))
            }
            Node::Map(map) => self.map(map.entries.iter().map(|entry| &entry.expr)),
            Node::Comprehension(loops) => self.comprehension(loops),
            Node::Ident(_) | Node::Struct(_) | Node::Unspecified => Type::default(),
        }
    }

    fn map<'e>(&mut self, entries: impl Iterator<Item = &'e EntryExpr>) -> Type {
        let mut known = Object::new();
        let mut open = false;
        let mut any: Option<Type> = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = entry else { continue };
            let ty = self.node(&entry.value);
            match literal(&entry.key) {
                Some(key) => {
                    known.insert(key.to_owned(), Field { ty: ty.clone(), required: !entry.optional, default: None, doc: String::new() });
                }
                None => {
                    self.node(&entry.key);
                    open = true;
                }
            }
            any = Some(any.map_or_else(|| ty.clone(), |other| either(other, ty.clone())));
        }
        Type::of(if open { Kind::Map(Box::new(any.unwrap_or_default())) } else { Kind::Object(known) })
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr) -> Type {
        let over = self.node(&loops.iter_range);
        let first = self.node(&loops.accu_init);
        let item = match over.kind {
            Kind::List(item) => *item,
            Kind::Map(_) | Kind::Object(_) => Type::of(Kind::String),
            Kind::Any => Type::default(),
            _ => {
                let message = format!("a loop goes over a list or map, not {over}");
                self.complain(self.range(&loops.iter_range), message, None);
                Type::default()
            }
        };
        let depth = self.bound.len();
        self.bound.push((loops.iter_var.clone(), item));
        let accumulated = if binds(loops) { first.clone() } else { Type::default() };
        self.bound.push((loops.accu_var.clone(), accumulated));
        self.node(&loops.loop_cond);
        let ty = if appends(loops) { self.appended(&loops.loop_step) } else { self.stepped(loops, first) };
        self.bound.truncate(depth);
        ty
    }

    fn stepped(&mut self, loops: &ComprehensionExpr, first: Type) -> Type {
        self.node(&loops.loop_step);
        let result = self.node(&loops.result);
        if binds(loops) {
            first
        } else {
            Type { kind: if first.kind == Kind::Bool || first.kind == Kind::Int { Kind::Bool } else { result.kind }, ..Type::default() }
        }
    }

    /// The list that `map` and `filter` make.
    fn appended(&mut self, step: &IdedExpr) -> Type {
        let Node::Call(called) = &step.expr else { return Type::default() };
        match called.args.as_slice() {
            [condition, sum, _] => {
                let decides = self.node(condition);
                if !matches!(decides.kind, Kind::Bool | Kind::Any) {
                    self.complain(self.range(condition), format!("a condition is true or false, not {decides}"), None);
                }
                self.appended(sum)
            }
            [_, list] => self.node(list),
            _ => Type::default(),
        }
    }

    fn call(&mut self, node: &IdedExpr, called: &CallExpr) -> Type {
        let namespace = called.target.as_deref().and_then(|target| match &target.expr {
            Node::Ident(name) if !self.bound.iter().any(|(bound, _)| bound == name) => Some(name.as_str()),
            _ => None,
        });
        match namespace {
            Some("vault") => return self.vault(called),
            Some(name) if functions::NAMESPACES.contains(&name) => {
                called.args.iter().for_each(|arg| drop(self.node(arg)));
                let full = format!("{name}.{}", called.func_name);
                let gives = functions::named(&full, false).next().and_then(|signature| signature.gives.kind());
                return gives.map(Type::of).unwrap_or_default();
            }
            _ => {}
        }
        if !called.func_name.starts_with(|c: char| c.is_alphabetic()) || called.func_name.contains('@') {
            let target: Vec<Type> = called.target.iter().map(|target| self.node(target)).collect();
            drop(target);
            return operator(self, node, called);
        }
        let receiver = called.target.as_deref().map(|target| (self.node(target), target));
        let args: Vec<Type> = called.args.iter().map(|arg| self.node(arg)).collect();
        self.function(node, called, receiver, &args)
    }

    fn vault(&mut self, called: &CallExpr) -> Type {
        for arg in &called.args {
            let ty = self.node(arg);
            if !matches!(ty.kind, Kind::String | Kind::Enum(_) | Kind::Any) {
                self.complain(self.range(arg), format!("the names of a vault and its key are strings, not {ty}"), None);
            }
        }
        if let Some((name, arg)) = called.args.first().and_then(|arg| Some((literal(arg)?, arg)))
            && !self.checker.project.pmxfile.vaults.contains_key(name)
        {
            let complaint = Diagnostic::yours(format!("there is no vault `{name}`")).at(&self.expr.written.at(self.range(arg)), "");
            let vaults = &self.checker.project.pmxfile.vaults;
            let complaint = vaults
                .iter()
                .take(3)
                .fold(complaint, |complaint, (known, vault)| complaint.also(&vault.span, format!("`{known}` is declared here")));
            let complaint = unknown(complaint, name, vaults.keys());
            self.checker.complain(match complaint.help {
                Some(_) => complaint,
                None => complaint.help(format!("add [vault.{name}] to the Pmxfile")),
            });
        }
        self.touched = true;
        Type { secret: true, ..Type::of(Kind::String) }
    }

    fn function(&mut self, node: &IdedExpr, called: &CallExpr, receiver: Option<(Type, &IdedExpr)>, args: &[Type]) -> Type {
        let name = called.func_name.as_str();
        let Some(signature) = functions::named(name, receiver.is_some()).next() else { return Type::default() };
        let on = receiver.as_ref().map(|(ty, node)| (ty.clone(), *node));
        if let (Style::Member(wanted), Some((ty, at))) = (signature.style, &on) {
            let good = matches!(
                (wanted, &ty.kind),
                (_, Kind::Any)
                    | (On::Other, _)
                    | (On::Text | On::Sized | On::TextOrList, Kind::String | Kind::Enum(_))
                    | (On::List | On::Sized | On::TextOrList, Kind::List(_))
                    | (On::Sized, Kind::Map(_) | Kind::Object(_))
            );
            if !good {
                self.complain(self.range(at), format!("`{name}` does not work on {ty}"), None);
            }
        }
        if name == "size" && receiver.is_none() && matches!(args.first().map(|ty| &ty.kind), Some(Kind::Int | Kind::Float | Kind::Bool)) {
            self.complain(self.range(node), format!("`size` does not work on {}", args[0]), None);
        }
        let texts = matches!(name, "contains" | "startsWith" | "endsWith" | "matches" | "split" | "replace" | "indexOf" | "lastIndexOf");
        if let (true, Some(Style::Member(On::Text)), Some(first), Some(at)) =
            (texts, Some(signature.style), args.first(), called.args.first())
            && !matches!(first.kind, Kind::String | Kind::Enum(_) | Kind::Any)
        {
            self.complain(self.range(at), format!("`{name}` takes a string, not {first}"), None);
        }
        match (signature.gives.kind(), signature.gives) {
            (Some(kind), _) => Type::of(kind),
            (None, functions::Gives::Receiver) => on.map(|(ty, _)| ty).unwrap_or_default(),
            (None, _) => Type::default(),
        }
    }

    fn chain(&mut self, node: &IdedExpr, chain: &Chain<'_>) -> Type {
        let bound = self.bound.iter().rev().find(|(name, _)| name == chain.root).map(|(_, ty)| ty.clone());
        let (ty, used) = match (bound, chain.root) {
            (Some(ty), _) => (ty, 0),
            (None, "model") => return self.model(chain),
            (None, "inputs") => self.input(chain),
            (None, "each") => self.each(node),
            (None, "run") => (fields(&[("id", Kind::String), ("actor", Kind::String), ("target", Kind::Any)]), 0),
            (None, "self") => (fields(&[("name", Kind::String), ("type", Kind::String)]), 0),
            (None, "env") => (Type::of(Kind::String), 1),
            (None, _) => return Type::default(),
        };
        let named = matches!(chain.root, "run" | "self").then_some(chain.root);
        self.walk(ty, &chain.links[used.min(chain.links.len())..], named)
    }

    fn input(&mut self, chain: &Chain<'_>) -> (Type, usize) {
        let Some(inputs) = &self.scene.inputs else { return (Type::default(), chain.links.len()) };
        let Some(link) = chain.links.first() else { return (Type::of(Kind::Map(Box::default())), 0) };
        let Some(name) = link.key else {
            link.index.into_iter().for_each(|index| drop(self.node(index)));
            return (Type::default(), chain.links.len());
        };
        if let Some(ty) = inputs.get(name) {
            return (ty.clone(), if link.mode == Mode::Test { chain.links.len() } else { 1 });
        }
        if self.scene.strict {
            let range = self.key_range(link);
            let complaint = Diagnostic::yours(format!("there is no input `{name}`")).at(&self.expr.written.at(range), "");
            let complaint = unknown(complaint, name, inputs.keys());
            let declare = format!("declare it: [input.{name}]");
            self.checker.complain(if complaint.help.is_none() { complaint.help(declare) } else { complaint });
        }
        (Type::default(), chain.links.len())
    }

    fn each(&mut self, node: &IdedExpr) -> (Type, usize) {
        let Some((key, value)) = &self.scene.each else {
            self.complain(
                self.range(node),
                "`each` is only known inside `for_each`".to_owned(),
                Some("add for_each = '…' to the step".to_owned()),
            );
            return (Type::default(), usize::MAX);
        };
        let field = |ty: &Type| Field { ty: ty.clone(), required: true, default: None, doc: String::new() };
        (Type::of(Kind::Object(Object::from([("key".to_owned(), field(key)), ("value".to_owned(), field(value))]))), 0)
    }

    fn model(&mut self, chain: &Chain<'_>) -> Type {
        let keys: Vec<Option<&str>> = chain.links.iter().map(|link| link.key).collect();
        let [Some(def), _, Some(spec), ..] = keys.as_slice() else { return Type::default() };
        let project = self.checker.project;
        if !project.definitions.contains_key(*def) {
            let range = self.key_range(&chain.links[0]);
            let complaint = Diagnostic::yours(format!("there is no definition `{def}`")).at(&self.expr.written.at(range), "");
            self.checker.complain(unknown(complaint, def, project.definitions.keys()));
            return Type::default();
        }
        let Some(schema) = self.checker.schema(def) else { return Type::default() };
        let Some(attributes) = schema.specs.get(*spec) else {
            let range = self.key_range(&chain.links[2]);
            let complaint = Diagnostic::yours(format!("`{def}` writes no `{spec}`")).at(&self.expr.written.at(range), "");
            self.checker.complain(unknown(complaint, spec, schema.specs.keys()));
            return Type::default();
        };
        let version = seen(attributes);
        let Some(link) = chain.links.get(3) else {
            self.touched |= holds_secret(&version);
            return Type::of(Kind::Map(Box::new(version)));
        };
        match (link.key, link.index) {
            (Some(name), _) => self.single(link, (def, spec), name, schema),
            (None, Some(index)) => self.instance(index),
            (None, None) => {}
        }
        if link.mode == Mode::Test {
            return Type::of(Kind::Bool);
        }
        self.walk(version, &chain.links[4..], Some(&format!("{def}/{spec}")))
    }

    /// The literal name of an instance whose spec has instances of known names only. Definitions that read inputs keep theirs apart by other names.
    fn single(&mut self, link: &Link<'_>, (def, spec): (&str, &str), name: &str, schema: &TypeSchema) {
        let Some(known) = schema.singles.get(spec) else { return };
        let definition = self.checker.project.definitions.get(def);
        let reads =
            definition.into_iter().flat_map(|definition| definition.global.values()).flat_map(|argument| argument.template.value.refs());
        if known.contains(name) || reads.into_iter().any(|reference| matches!(*reference.root, Root::Input(_))) {
            return;
        }
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let (message, nearest) = match names.as_slice() {
            [only] => (format!("`{def}/{spec}` has one instance, `{only}`, and no `{name}`"), *only),
            _ => {
                let near = crate::name::nearest(name, names.iter().copied()).unwrap_or(names[0]);
                (format!("`{def}/{spec}` has the instances {}, and no `{name}`", names.join(", ")), near)
            }
        };
        self.complain(self.key_range(link), message, Some(format!("write {spec}.{nearest}")));
    }

    /// The expression that names an instance.
    fn instance(&mut self, index: &IdedExpr) {
        let touched = std::mem::take(&mut self.touched);
        let ty = self.node(index);
        if self.touched || ty.secret {
            self.complain(self.range(index), "a secret cannot name a resource".to_owned(), None);
            self.touched = false;
        } else if !matches!(ty.kind, Kind::String | Kind::Enum(_) | Kind::Any) {
            self.complain(
                self.range(index),
                format!("the name of an instance is a string, not {ty}"),
                Some("make text of it with string(…)".to_owned()),
            );
        }
        self.touched |= touched;
    }

    /// The type at the end of a chain.
    fn walk(&mut self, first: Type, links: &[Link<'_>], what: Option<&str>) -> Type {
        let mut ty = first;
        let mut optional = false;
        for link in links {
            let range = self.key_range(link);
            optional |= link.mode == Mode::Optional;
            ty = match (link.key, link.index) {
                (Some(key), _) => self.field(&ty, key, range, what),
                (None, Some(index)) => self.index(&ty, index),
                (None, None) => Type::default(),
            };
            if link.mode == Mode::Test {
                return Type::of(Kind::Bool);
            }
        }
        if holds_secret(&ty) {
            self.touched = true;
        }
        // An optional is unpacked by functions whose result is not followed.
        if optional { Type::default() } else { ty }
    }

    /// The bytes of a link's own key.
    fn key_range(&self, link: &Link<'_>) -> Range<usize> {
        let whole = self.range(link.node);
        match (link.index, link.key) {
            (Some(index), _) if self.places.contains_key(&index.id) && link.key.is_none() => self.range(index),
            (_, Some(key)) => {
                let text = &self.expr.program.text[whole.clone()];
                let start = text.rfind(key).map_or(whole.start, |at| whole.start + at);
                start..(start + key.len()).min(whole.end)
            }
            _ => whole,
        }
    }

    /// The type of a field.
    fn field(&mut self, of: &Type, key: &str, range: Range<usize>, what: Option<&str>) -> Type {
        match &of.kind {
            Kind::Object(fields) => match fields.get(key) {
                Some(field) => field.ty.clone(),
                None => {
                    let owner = what.map_or_else(|| "this".to_owned(), |what| format!("`{what}`"));
                    let complaint = Diagnostic::yours(format!("{owner} has no `{key}`")).at(&self.expr.written.at(range), "");
                    self.checker.complain(unknown(complaint, key, fields.keys()));
                    Type::default()
                }
            },
            Kind::Map(item) => (**item).clone(),
            Kind::Any => Type::default(),
            _ => {
                self.complain(range, format!("{of} has no fields, so no `{key}`"), None);
                Type::default()
            }
        }
    }

    /// The type of an item.
    fn index(&mut self, of: &Type, index: &IdedExpr) -> Type {
        let by = self.node(index);
        let range = self.range(index);
        let (wanted, item) = match &of.kind {
            Kind::List(item) => (Kind::Int, (**item).clone()),
            Kind::Map(item) => (Kind::String, (**item).clone()),
            Kind::Object(_) => (Kind::String, Type::default()),
            Kind::Any => return Type::default(),
            _ => {
                self.complain(range, format!("{of} has no items"), None);
                return Type::default();
            }
        };
        let text = wanted == Kind::String && matches!(by.kind, Kind::Enum(_));
        if by.kind != wanted && by.kind != Kind::Any && !text {
            self.complain(range, format!("an index here is {}, not {by}", Type::of(wanted)), None);
        }
        item
    }

    /// The type of an index expression on something that is no chain.
    pub fn indexed(&mut self, called: &CallExpr) -> Type {
        let [of, index] = called.args.as_slice() else { return Type::default() };
        let of = self.node(of);
        let ty = match literal(index) {
            Some(key) => self.field(&of, key, self.range(index), None),
            None => self.index(&of, index),
        };
        if called.func_name == operators::INDEX { ty } else { Type::default() }
    }
}

fn of_literal(value: &LiteralValue) -> Kind {
    match value {
        LiteralValue::Boolean(_) => Kind::Bool,
        LiteralValue::Double(_) => Kind::Float,
        LiteralValue::Int(_) => Kind::Int,
        LiteralValue::Null => Kind::Null,
        LiteralValue::String(_) => Kind::String,
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => Kind::Any,
    }
}
