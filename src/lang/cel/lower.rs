//! From the parsed tree to the tree that runs, collecting references, sites and faults on the way.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, ListExpr, LiteralValue, MapEntryExpr, MapExpr, SelectExpr, operators,
};

use crate::lang::cel::ast::{call, integer};
use crate::lang::cel::program::{Fast, Fault, Indexed, Program, RawRef, RawRoot};
use crate::lang::cel::site::{Chain, Link, Mode, Site, Target, chain, literal};
use crate::lang::cel::{compile, functions, guard};
use crate::lang::template::{Index, Root};
use crate::value::Value;

/// Names that an expression may begin with.
pub(in crate::lang) const ROOTS: [&str; 7] = ["inputs", "model", "vault.get", "each", "run", "self", "env"];

/// What the tool before pmx called `data.latest(…)`.
const OLD_DATA: &str = "a resource is model.<definition>.resource.<spec>[\"name\"].attributes";

/// What a chain begins with; the keys that follow a resource are counted later.
enum Found {
    Whole(Root),
    Resource { def: String, spec: String, instance: Instance },
}

/// Which instance a chain names.
enum Instance {
    Plain(Index),
    /// Known before the run: the program of the index, and its place.
    Early(Arc<Program>, Range<usize>),
}

/// Everything that lowering finds.
pub(in crate::lang) struct Lowering<'p> {
    /// The expression's text.
    pub text: &'p str,
    /// Where each node stands.
    pub places: &'p BTreeMap<u64, Range<usize>>,
    /// References, in the order of discovery.
    pub refs: Vec<RawRef>,
    /// Sites.
    pub sites: Vec<Site>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Names bound by the loops around.
    bound: Vec<String>,
    /// Whether a bound name was seen since this was last reset.
    saw_bound: bool,
    /// How many loops are around.
    nesting: usize,
}

impl<'p> Lowering<'p> {
    /// Nothing found yet.
    pub fn new(text: &'p str, places: &'p BTreeMap<u64, Range<usize>>) -> Self {
        let (refs, sites, faults) = (Vec::new(), Vec::new(), Vec::new());
        Self { text, places, refs, sites, faults, bound: Vec::new(), saw_bound: false, nesting: 0 }
    }

    /// Takes a name as bound outside.
    #[cfg(test)]
    pub fn bind(&mut self, name: &str) {
        self.bound.push(name.to_owned());
    }

    /// The place of a node.
    pub fn range(&self, node: &IdedExpr) -> Range<usize> {
        self.places.get(&node.id).cloned().unwrap_or(0..self.text.len())
    }

    /// The tree that runs in place of `node`.
    pub fn expr(&mut self, node: &IdedExpr) -> IdedExpr {
        if let Some(chain) = chain(node)
            && !self.bound.iter().any(|name| name == chain.root)
        {
            return self.chain(node, &chain);
        }
        let expr = match &node.expr {
            Expr::Ident(_) => {
                self.saw_bound = true;
                node.expr.clone()
            }
            Expr::Literal(_) | Expr::Unspecified => node.expr.clone(),
            Expr::Call(called) => return self.call(node, called),
            Expr::Select(select) => Expr::Select(SelectExpr { operand: Box::new(self.expr(&select.operand)), ..select.clone() }),
            Expr::List(list) => {
                let elements = list.elements.iter().map(|item| self.expr(item)).collect();
                return guard::sized(IdedExpr { id: node.id, expr: Expr::List(ListExpr { elements, ..list.clone() }) });
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().map(|entry| self.entry(entry)).collect();
                return guard::sized(IdedExpr { id: node.id, expr: Expr::Map(MapExpr { entries }) });
            }
            Expr::Struct(object) => {
                let fault = Fault::new(self.range(node), format!("`{}{{…}}` is not known", object.type_name));
                self.faults.push(fault.help("write a map: {\"key\": value}"));
                node.expr.clone()
            }
            Expr::Comprehension(loops) => return self.comprehension(node, loops),
        };
        IdedExpr { id: node.id, expr }
    }

    fn entry(&mut self, entry: &IdedEntryExpr) -> IdedEntryExpr {
        let expr = match &entry.expr {
            EntryExpr::MapEntry(MapEntryExpr { key, value, optional }) => {
                EntryExpr::MapEntry(MapEntryExpr { key: self.expr(key), value: self.expr(value), optional: *optional })
            }
            EntryExpr::StructField(field) => EntryExpr::StructField(field.clone()),
        };
        IdedEntryExpr { id: entry.id, expr }
    }

    fn call(&mut self, node: &IdedExpr, called: &CallExpr) -> IdedExpr {
        let namespace = called.target.as_deref().and_then(|target| match &target.expr {
            Expr::Ident(name) if !self.bound.contains(name) => Some(name.as_str()),
            _ => None,
        });
        if namespace == Some("vault") {
            return self.vault(node, called);
        }
        if let Some(fault) = self.dash(node, called) {
            self.faults.push(fault);
            return node.clone();
        }
        let namespace = namespace.filter(|name| functions::NAMESPACES.contains(name));
        if let Some(fault) = self.unknown(node, called, namespace) {
            self.faults.push(fault);
            return node.clone();
        }
        let target = match (&called.target, namespace) {
            (Some(target), None) => Some(Box::new(self.expr(target))),
            (target, _) => target.clone(),
        };
        let args: Vec<IdedExpr> = called.args.iter().map(|arg| self.expr(arg)).collect();
        match called.func_name.as_str() {
            "size" => target.as_deref().into_iter().chain(&args).for_each(|of| self.keys(of)),
            operators::IN => args.iter().skip(1).for_each(|of| self.keys(of)),
            _ => {}
        }
        guard::metered(node.id, CallExpr { func_name: called.func_name.clone(), target, args })
    }

    /// Notes that only the keys of `lowered` are looked at: a whole spec need not be unfolded then, and no secret in it is touched.
    fn keys(&mut self, lowered: &IdedExpr) {
        let Expr::Call(CallExpr { func_name, args, .. }) = &lowered.expr else { return };
        let number = args.first().filter(|_| func_name == guard::REF).and_then(|number| match &number.expr {
            Expr::Literal(LiteralValue::Int(number)) => usize::try_from(*number.inner()).ok(),
            _ => None,
        });
        let site = number.and_then(|number| self.sites.get_mut(number));
        if let Some(site) = site
            && let Target::All { def, spec } = &site.target
        {
            site.target = Target::Names { def: def.clone(), spec: spec.clone() };
        }
    }

    /// What is wrong with the name of a function or the number of its arguments.
    fn unknown(&self, node: &IdedExpr, called: &CallExpr, namespace: Option<&str>) -> Option<Fault> {
        let name = namespace.map_or_else(|| called.func_name.clone(), |namespace| format!("{namespace}.{}", called.func_name));
        if called.func_name.contains('@') || !called.func_name.starts_with(|c: char| c.is_alphabetic()) {
            return None;
        }
        let member = called.target.is_some() && namespace.is_none();
        let mut signatures = functions::named(&name, member).peekable();
        let range = self.range(node);
        if signatures.peek().is_none() {
            let old = called.target.as_deref().is_some_and(|target| matches!(&target.expr, Expr::Ident(name) if name == "data"));
            let fault = unknown_function(&name, member, range);
            return Some(if old { fault.help(OLD_DATA) } else { fault });
        }
        let (few, many) = signatures.fold((usize::MAX, 0), |(few, many), one| (few.min(one.arguments.0), many.max(one.arguments.1)));
        if (few..=many).contains(&called.args.len()) {
            return None;
        }
        let takes = if few == many { counted(few, "argument") } else { format!("{few} to {many} arguments") };
        Some(Fault::new(range, format!("`{name}` takes {takes}, {} given", called.args.len())))
    }

    /// `vm.dash-name` is a subtraction to CEL: never meant when a path is on its left and an unknown name on its right.
    fn dash(&self, node: &IdedExpr, called: &CallExpr) -> Option<Fault> {
        let [left, right] = called.args.as_slice() else { return None };
        let Expr::Ident(rest) = &chain_root(right).expr else { return None };
        let last = chain(left).filter(|chain| ROOTS.contains(&chain.root))?.links.last()?.key?;
        let range = self.range(node);
        let meant = self.text.get(range.clone()).is_some_and(|text| text.contains(&format!("{last}-{rest}")));
        if called.func_name != operators::SUBSTRACT || !meant || ROOTS.contains(&rest.as_str()) || self.bound.contains(rest) {
            return None;
        }
        let fault = Fault::new(range, format!("`{last}-{rest}` is a subtraction to CEL"));
        Some(fault.help(format!("a name with a dash stands in brackets: [\"{last}-{rest}\"]")))
    }

    fn vault(&mut self, node: &IdedExpr, called: &CallExpr) -> IdedExpr {
        let range = self.range(node);
        if called.func_name != "get" || called.args.len() != 2 {
            let fault = Fault::new(
                range.clone(),
                format!("`vault.{}` with {} is not known", called.func_name, counted(called.args.len(), "argument")),
            );
            self.faults.push(fault.help("write vault.get(\"vault\", \"key\")"));
        }
        for arg in &called.args {
            if let Expr::Ident(name) = &arg.expr
                && !ROOTS.contains(&name.as_str())
                && !self.bound.contains(name)
            {
                let fault = Fault::new(self.range(arg), format!("`{name}` is not known here"));
                self.faults.push(fault.help(format!("write it in quotes: \"{name}\"")));
                return node.clone();
            }
        }
        let texts: Vec<Option<String>> = called.args.iter().map(|arg| literal(arg).map(str::to_owned)).collect();
        let root = Root::Vault(texts.first().cloned().flatten(), texts.get(1).cloned().flatten());
        self.refs.push(RawRef { root: RawRoot::Whole(Arc::new(root)), range: range.clone(), optional: false });
        let args = called.args.iter().map(|arg| self.expr(arg)).collect();
        self.site(node.id, Site { target: Target::Vault, path: Vec::new(), only: None, range, optional: false }, args)
    }

    fn comprehension(&mut self, node: &IdedExpr, loops: &ComprehensionExpr) -> IdedExpr {
        let iter_range = self.expr(&loops.iter_range);
        self.keys(&iter_range);
        let accu_init = self.expr(&loops.accu_init);
        let binds = crate::lang::cel::ast::binds(loops);
        self.nesting += usize::from(!binds);
        if self.nesting > guard::DEEPEST_LOOPS {
            let message = format!("loops are nested deeper than {} levels", guard::DEEPEST_LOOPS);
            self.faults.push(Fault::new(self.range(node), message));
        }
        let depth = self.bound.len();
        self.bound.extend([loops.iter_var.clone(), loops.accu_var.clone()]);
        self.bound.extend(loops.iter_var2.clone());
        let (loop_cond, loop_step) = (self.expr(&loops.loop_cond), self.expr(&loops.loop_step));
        let result = self.expr(&loops.result);
        self.bound.truncate(depth);
        self.nesting -= usize::from(!binds);
        let lowered = ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, ..loops.clone() };
        guard::counted(node.id, loops, lowered)
    }

    /// Adds a site and gives the call that resolves it.
    pub fn site(&mut self, id: u64, site: Site, args: Vec<IdedExpr>) -> IdedExpr {
        let number = i64::try_from(self.sites.len()).unwrap_or(i64::MAX);
        self.sites.push(site);
        let args = std::iter::once(integer(id, number)).chain(args).collect();
        call(id, guard::REF, args)
    }

    fn chain(&mut self, node: &IdedExpr, chain: &Chain<'_>) -> IdedExpr {
        let range = self.range(node);
        let Some((site, argument, used, root)) = self.read(&range, chain) else { return node.clone() };
        let optional = chain.links.iter().any(|link| link.mode != Mode::Plain);
        let mut path: Vec<String> = site.path.clone();
        path.extend(chain.links[used..].iter().map_while(|link| link.key).map(str::to_owned));
        path.drain(..usize::from(matches!(site.target, Target::Perhaps { .. })).min(path.len()));
        path.shrink_to_fit();
        let root = match root {
            Found::Whole(root) => RawRoot::Whole(Arc::new(root)),
            Found::Resource { def, spec, instance: Instance::Plain(instance) } => {
                RawRoot::Whole(Arc::new(Root::Resource { def, spec, instance, path }))
            }
            Found::Resource { def, spec, instance: Instance::Early(program, range) } => {
                RawRoot::Indexed(Box::new(Indexed { def, spec, index: (program, range), path }))
            }
        };
        self.refs.push(RawRef { root, range: range.clone(), optional });
        let target = chain.links.get(used.wrapping_sub(1)).map_or(node.id, |link| link.node.id);
        let only = chain.links.get(used).filter(|link| link.mode != Mode::Plain).and_then(|link| link.key).map(str::to_owned);
        let base = self.site(target, Site { only, optional, ..site }, argument.into_iter().collect());
        chain.links[used..].iter().fold(base, |operand, link| self.select(operand, link))
    }

    /// `link` on an operand that is resolved already.
    fn select(&mut self, operand: IdedExpr, link: &Link<'_>) -> IdedExpr {
        let expr = match (&link.node.expr, link.index) {
            (Expr::Call(called), Some(index)) => {
                let index = self.expr(index);
                Expr::Call(CallExpr { func_name: called.func_name.clone(), target: None, args: vec![operand, index] })
            }
            (Expr::Select(select), _) => Expr::Select(SelectExpr { operand: Box::new(operand), ..select.clone() }),
            (other, _) => other.clone(),
        };
        IdedExpr { id: link.node.id, expr }
    }

    /// The site that a chain begins with, its argument, how many links it takes, and the reference.
    fn read(&mut self, range: &Range<usize>, chain: &Chain<'_>) -> Option<(Site, Option<IdedExpr>, usize, Found)> {
        let plain = |link: Option<&Link<'_>>| link.filter(|link| link.mode == Mode::Plain).and_then(|link| link.key).map(str::to_owned);
        let first = chain.links.first();
        let (target, argument, used, root) = match chain.root {
            "model" => self.model(range, chain)?,
            "inputs" => match (plain(first), first.and_then(|link| link.key)) {
                (Some(name), _) => (Target::Input(name.clone()), None, 1, Found::Whole(Root::Input(Some(name)))),
                (None, key) => (Target::Inputs, None, 0, Found::Whole(Root::Input(key.map(str::to_owned)))),
            },
            "each" => match first.and_then(|link| link.key) {
                Some("key" | "value") => (Target::Each, None, 0, Found::Whole(Root::Each)),
                given => return self.wrong_each(range, given),
            },
            "run" => (Target::Run, None, 0, Found::Whole(Root::Run)),
            "self" => (Target::This, None, 0, Found::Whole(Root::This)),
            "env" => match (plain(first), first.and_then(|link| link.key)) {
                (Some(name), _) => (Target::Env(name.clone()), None, 1, Found::Whole(Root::Env(name))),
                (None, Some(name)) => (Target::EnvPerhaps(name.to_owned()), None, 0, Found::Whole(Root::Env(name.to_owned()))),
                (None, None) => {
                    let fault = Fault::new(range.clone(), "an environment variable must be named in the expression");
                    self.faults.push(fault.help("write env.NAME"));
                    return None;
                }
            },
            name => return self.unknown_root(range, name, chain),
        };
        let mut path: Vec<String> = chain.links[used..].iter().map_while(|link| plain(Some(link))).collect();
        // A large workflow has very many of them, and a vector begins with room for four.
        path.shrink_to_fit();
        let used = used + path.len();
        Some((Site { target, path, only: None, range: range.clone(), optional: false }, argument, used, root))
    }

    fn wrong_each<T>(&mut self, range: &Range<usize>, given: Option<&str>) -> Option<T> {
        let message = given.map_or_else(|| "`each` alone is not a value".to_owned(), |given| format!("`each` has no `{given}`"));
        self.faults.push(Fault::new(range.clone(), message).help("write each.value or each.key"));
        None
    }

    fn unknown_root<T>(&mut self, range: &Range<usize>, name: &str, chain: &Chain<'_>) -> Option<T> {
        if chain.links.is_empty() && functions::TYPE_NAMES.contains(&name) {
            return None;
        }
        let near = crate::name::nearest(name, ROOTS.into_iter().filter(|root| *root != "vault.get").chain(["vault"]));
        let help = match (name, near) {
            ("vault", _) => "write vault.get(\"vault\", \"key\")".to_owned(),
            ("True" | "TRUE", _) => "write true".to_owned(),
            ("False" | "FALSE", _) => "write false".to_owned(),
            ("None" | "nil" | "undefined" | "Null" | "NULL", _) => "write null".to_owned(),
            ("data", _) => OLD_DATA.to_owned(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            _ if chain.links.is_empty() => format!("text stands in quotes: \"{name}\"; known names are {}", ROOTS.join(", ")),
            _ => format!("known names are {}", ROOTS.join(", ")),
        };
        self.faults.push(Fault::new(range.clone(), format!("`{name}` is not known")).help(help));
        None
    }

    fn model(&mut self, range: &Range<usize>, chain: &Chain<'_>) -> Option<(Target, Option<IdedExpr>, usize, Found)> {
        const SHAPE: &str = "write model.<definition>.resource.<spec>[\"name\"].attributes.<field>";
        let links = &chain.links;
        let named = |link: Option<&Link<'_>>| link.filter(|link| link.mode == Mode::Plain).and_then(|link| link.key).map(str::to_owned);
        let (def, resource, spec) = (named(links.first()), named(links.get(1)), named(links.get(2)));
        if let Some(word) = resource.as_deref().filter(|word| *word != "resource") {
            let at = links[1].node;
            let fault = Fault::new(self.range(at), format!("`{word}` stands where `resource` belongs"));
            self.faults.push(fault.help(SHAPE));
            return None;
        }
        let (Some(def), Some(_), Some(spec)) = (def, resource, spec) else {
            self.faults.push(Fault::new(range.clone(), "the definition and the spec must be written out").help(SHAPE));
            return None;
        };
        let Some(link) = links.get(3) else {
            let root = Found::Resource { def: def.clone(), spec: spec.clone(), instance: Instance::Plain(Index::Any) };
            return Some((Target::All { def, spec }, None, 3, root));
        };
        let (instance, argument) = self.instance(link)?;
        let root = Found::Resource { def: def.clone(), spec: spec.clone(), instance };
        Some(match link.mode {
            Mode::Plain => (Target::Resource { def, spec }, Some(argument), 4, root),
            Mode::Optional | Mode::Test => (Target::Perhaps { def, spec }, Some(argument), 3, root),
        })
    }

    /// The instance that a link names, and the expression of its name.
    fn instance(&mut self, link: &Link<'_>) -> Option<(Instance, IdedExpr)> {
        if let Some(name) = link.key {
            let text = Expr::Literal(LiteralValue::String(name.to_owned().into()));
            return Some((Instance::Plain(Index::Name(name.to_owned())), IdedExpr { id: link.node.id, expr: text }));
        }
        let index = link.index?;
        if let Expr::Literal(other) = &index.expr {
            let fault = Fault::new(self.range(index), "the name of an instance is a string");
            let shown = if let LiteralValue::Int(number) = other { number.inner().to_string() } else { "name".to_owned() };
            self.faults.push(fault.help(format!("write it in quotes: [\"{shown}\"]")));
            return None;
        }
        let outer = std::mem::take(&mut self.saw_bound);
        let first = self.refs.len();
        let argument = self.expr(index);
        let early =
            |found: &RawRef| matches!(&found.root, RawRoot::Whole(root) if matches!(**root, Root::Input(_) | Root::Each | Root::This));
        let known = !self.saw_bound && self.refs[first..].iter().all(early);
        self.saw_bound |= outer;
        let range = self.range(index);
        let program = known.then(|| compile::compile(&self.text[range.clone()]).ok()).flatten();
        Some((program.map_or(Instance::Plain(Index::Any), |program| Instance::Early(program, range)), argument))
    }
}

/// The node at the beginning of `a.b.c`, or the node itself.
fn chain_root(node: &IdedExpr) -> &IdedExpr {
    let mut at = node;
    while let Expr::Select(select) = &at.expr {
        at = &select.operand;
    }
    at
}

/// `3 arguments`, `1 argument`, `no argument`.
pub(in crate::lang) fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

fn unknown_function(name: &str, member: bool, range: Range<usize>) -> Fault {
    let fault = Fault::new(range, format!("the function `{name}` is not known"));
    if let Some((_, how)) = functions::MACROS.iter().find(|(known, _)| *known == name) {
        return Fault { message: format!("`{name}` is not written like this"), ..fault.help(format!("write {how}")) };
    }
    if let Some(other) = functions::named(name, !member).next() {
        let how = if member { format!("{}(x)", other.name) } else { format!("x.{}()", other.name) };
        return fault.help(format!("write {how}"));
    }
    let known = functions::ALL.iter().map(|one| one.name).chain(functions::MACROS.iter().map(|(name, _)| *name));
    match crate::name::nearest(name, known) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    }
}

/// The way past CEL of a lowered tree: a literal, or a site whose arguments are such ways.
pub(in crate::lang) fn fast(code: &IdedExpr) -> Option<Fast> {
    match &code.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(Fast::Literal(Value::String(text.inner().to_owned()))),
        Expr::Literal(LiteralValue::Int(number)) => Some(Fast::Literal(Value::Int(*number.inner()))),
        Expr::Literal(LiteralValue::Boolean(flag)) => Some(Fast::Literal(Value::Bool(*flag.inner()))),
        Expr::Literal(LiteralValue::Null) => Some(Fast::Literal(Value::Null)),
        Expr::Call(called) if called.func_name == guard::REF => {
            let (number, args) = called.args.split_first()?;
            let Expr::Literal(LiteralValue::Int(number)) = &number.expr else { return None };
            let args = args.iter().map(fast).collect::<Option<Box<[_]>>>()?;
            Some(Fast::Site(usize::try_from(*number.inner()).ok()?, args))
        }
        _ => None,
    }
}
