//! The interpreter: walks the tree over a practice machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::builtin;
use super::io::{Input, Io, Sink, Source, take};
use super::parse::{BadScript, Script};
use super::tree::{Compound, Node, Redirect, Simple};
use super::world::World;
use crate::lab::host::files::{Kind, normalise};

/// Functions and substitutions inside each other.
const MAX_DEPTH: usize = 60;
/// Stack of a thread that interprets; sixty levels of a debug build need about two of these megabytes.
pub const STACK: usize = 16 << 20;

/// A command that is not part of the shell: it gets a shell of its own (environment, directory, streams) and its arguments, name first, and
/// returns its status.
pub type Program = fn(&mut Shell, &[String]) -> i32;

/// What a command asks of the loops, functions and scripts around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Break(u32),
    Continue(u32),
    Return,
    Exit,
}

/// A variable.
#[derive(Debug, Clone, Default)]
pub(super) struct Var {
    pub value: String,
    pub exported: bool,
}

/// What `set` and `trap` change.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub errexit: bool,
    pub nounset: bool,
    pub on_exit: Option<String>,
    pub umask: u32,
}

/// A shell process.
#[derive(Clone)]
pub struct Shell {
    /// The machine.
    pub world: World,
    /// Standard streams.
    pub io: Io,
    /// The working directory, absolute.
    pub cwd: String,
    /// Status of the last command.
    pub last: i32,
    pub(super) vars: BTreeMap<String, Var>,
    pub(super) args: Vec<String>,
    pub(super) functions: BTreeMap<String, Arc<Node>>,
    pub(super) options: Options,
    pub(super) flow: Option<Flow>,
    /// Conditions that we are inside of; in one, a failure does not end a `set -e` shell.
    pub(super) tested: u32,
    pub(super) depth: usize,
    pub(super) line: usize,
}

impl Shell {
    /// A login of the world's user.
    #[must_use]
    pub fn new(world: World, io: Io) -> Self {
        let home = match world.user.as_str() {
            "root" => "/root".to_owned(),
            user => format!("/home/{user}"),
        };
        let cwd =
            if world.stat(&home, true).is_ok_and(|n| n.is_dir()) && world.container.is_none() { home.clone() } else { "/".to_owned() };
        let mut shell = Self {
            io,
            cwd,
            last: 0,
            vars: BTreeMap::new(),
            args: vec!["sh".to_owned()],
            functions: BTreeMap::new(),
            options: Options { errexit: false, nounset: false, on_exit: None, umask: 0o022 },
            flow: None,
            tested: 0,
            depth: 0,
            line: 1,
            world,
        };
        let user = shell.world.user.clone();
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        for (name, value) in [("HOME", home.as_str()), ("USER", &user), ("LOGNAME", &user), ("SHELL", "/bin/sh"), ("PATH", path)] {
            shell.export(name, value);
        }
        shell
    }

    /// Sets an environment variable.
    pub fn export(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), Var { value: value.to_owned(), exported: true });
    }

    /// The exported variables.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().filter(|(_, v)| v.exported).map(|(k, v)| (k.as_str(), v.value.as_str()))
    }

    /// A variable's value; empty when it is not set.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.vars.get(name).map_or("", |v| &v.value)
    }

    /// Sets `$0` and the positional parameters.
    pub fn set_args(&mut self, args: Vec<String>) {
        self.args = args;
    }

    /// The permissions of a new file that asks for `mode`.
    #[must_use]
    pub fn new_mode(&self, mode: u32) -> u32 {
        mode & !self.options.umask
    }

    /// An absolute path from one that a command was given.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        normalise(&self.cwd, path)
    }

    /// Writes to standard output.
    pub fn out(&self, text: &str) -> bool {
        self.io.stdout.write(text.as_bytes())
    }

    /// Writes a line to standard error.
    pub fn complain(&self, text: &str) {
        self.io.stderr.write(format!("{text}\n").as_bytes());
    }

    /// Writes a message of the shell itself to standard error.
    pub(super) fn fault(&self, text: &str) {
        let name = self.args.first().map_or("sh", String::as_str);
        self.complain(&format!("{name}: {}: {text}", self.line));
    }

    /// Runs a whole script and then what `trap … EXIT` asked for; the status is the script's.
    pub fn script(&mut self, text: &str) -> i32 {
        self.lines(text, "");
        self.finish()
    }

    /// Runs the lines of a text, each before the next one is read. What is wrong with it is said with `of` before it.
    pub(super) fn lines(&mut self, text: &str, of: &str) -> i32 {
        for line in Script::new(text, false) {
            match line {
                Ok(node) => self.node(&node),
                Err(bad) => self.bad(&bad, of),
            };
            if self.flow.is_some() {
                break;
            }
        }
        self.last
    }

    /// Reads commands from standard input, line by line, and runs each when it is whole.
    pub fn interact(&mut self) -> i32 {
        let mut text = String::new();
        while self.flow.is_none() && !self.world.cancelled() {
            let line = self.io.stdin.read_line();
            let at_end = line.is_none();
            text.push_str(&String::from_utf8_lossy(&line.unwrap_or_default()));
            match Script::new(&text, !at_end).next() {
                Some(Err(BadScript::Incomplete(..))) if !at_end => continue,
                Some(Ok(node)) => self.node(&node),
                Some(Err(bad)) => self.bad(&bad, ""),
                None => self.last,
            };
            text.clear();
            if at_end {
                break;
            }
        }
        self.finish()
    }

    fn bad(&mut self, bad: &BadScript, of: &str) -> i32 {
        let (BadScript::Incomplete(line, what) | BadScript::Syntax(line, what)) = bad;
        self.line = *line;
        self.fault(&format!("{of}Syntax error: {what}"));
        (self.last, self.flow) = (2, Some(Flow::Exit));
        2
    }

    fn finish(&mut self) -> i32 {
        let status = self.last;
        self.flow = None;
        if let Some(text) = self.options.on_exit.take() {
            self.lines(&text, "");
        }
        status
    }

    /// Runs a program by name, as `env`, `timeout` and the like do; 127 and a complaint when there is none.
    pub fn program(&mut self, args: &[String]) -> i32 {
        let Some(name) = args.first() else { return 0 };
        let base = name.rsplit('/').next().unwrap_or(name);
        if let Some(program) = (self.world.programs)(&self.world, base) {
            self.world.machine.started(args);
            return program(self, args);
        }
        match builtin::find(base) {
            Some(builtin) if builtin::has_program(base) => builtin(self, args),
            _ => {
                self.complain(&format!("{name}: not found"));
                127
            }
        }
    }

    /// Runs one node; the status is also kept in `last`.
    pub(super) fn node(&mut self, node: &Node) -> i32 {
        if self.world.cancelled() || !self.world.spend() {
            (self.flow, self.last) = (Some(Flow::Exit), 137);
            return 137;
        }
        self.last = match node {
            Node::List(nodes) => {
                // An empty list has the status 0 only where a list may be empty: a script of comments.
                let mut status = if nodes.is_empty() { 0 } else { self.last };
                for node in nodes {
                    status = self.node(node);
                    if self.flow.is_some() {
                        break;
                    }
                }
                return status;
            }
            Node::Chain { first, then, or } => {
                self.tested += 1;
                let status = self.node(first);
                self.tested -= 1;
                if self.flow.is_some() || (status == 0) == *or { status } else { self.node(then) }
            }
            Node::Simple(simple) => self.simple(simple),
            Node::Pipe { not, parts } => self.pipe(*not, parts),
            Node::Background(inner) => self.background(inner),
            Node::Compound { body, redirects } => self.compound(body, redirects),
            Node::Function { name, body } => {
                self.functions.insert(name.clone(), Arc::new((**body).clone()));
                0
            }
        };
        let plain = matches!(node, Node::Simple(_) | Node::Compound { .. }) || matches!(node, Node::Pipe { not: false, .. });
        if plain && self.last != 0 && self.options.errexit && self.tested == 0 && self.flow.is_none() {
            self.flow = Some(Flow::Exit);
        }
        self.last
    }

    /// A copy that runs as its own process: what it changes is its own.
    pub(super) fn subshell(&self) -> Self {
        let mut shell = self.clone();
        shell.options.on_exit = None;
        shell.depth += 1;
        shell
    }

    fn pipe(&mut self, not: bool, parts: &[Node]) -> i32 {
        self.tested += u32::from(not);
        let mut stdin = self.io.stdin.clone();
        let mut status = 0;
        for (i, part) in parts.iter().enumerate() {
            let mut shell = if parts.len() == 1 { self.clone() } else { self.subshell() };
            shell.io.stdin = stdin.clone();
            let (sink, buffer) = Sink::buffer();
            if i + 1 < parts.len() {
                shell.io.stdout = sink;
            }
            status = shell.node(part);
            if parts.len() == 1 {
                shell.tested -= u32::from(not);
                *self = shell;
                self.tested += u32::from(not);
            }
            stdin = Input::bytes(take(&buffer));
        }
        self.tested -= u32::from(not);
        if not { i32::from(status == 0) } else { status }
    }

    fn background(&mut self, node: &Node) -> i32 {
        let (mut shell, node) = (self.subshell(), node.clone());
        shell.io.stdin = Input::new(Source::Empty);
        let started = std::thread::Builder::new().stack_size(STACK).spawn(move || {
            shell.node(&node);
        });
        match started {
            Ok(_) => 0,
            Err(_) => {
                self.fault("Cannot fork");
                2
            }
        }
    }

    fn compound(&mut self, body: &Compound, redirects: &[Redirect]) -> i32 {
        let before = self.io.clone();
        let status = if self.redirect(redirects) { self.compound_body(body) } else { 2 };
        self.io = before;
        status
    }

    fn compound_body(&mut self, body: &Compound) -> i32 {
        match body {
            Compound::Group(inner) => self.node(inner),
            Compound::Subshell(inner) => {
                if self.depth >= MAX_DEPTH {
                    self.fault("Cannot fork");
                    return 2;
                }
                let mut shell = self.subshell();
                shell.node(inner);
                shell.finish()
            }
            Compound::If { arms, otherwise } => {
                for (condition, branch) in arms {
                    let met = self.condition(condition);
                    if self.flow.is_some() {
                        return self.last;
                    }
                    if met {
                        return self.node(branch);
                    }
                }
                otherwise.as_ref().map_or(0, |branch| self.node(branch))
            }
            Compound::While { condition, body, until } => {
                let mut status = 0;
                while self.condition(condition) != *until && self.flow.is_none() {
                    status = self.node(body);
                    if self.leave_loop() {
                        break;
                    }
                }
                if matches!(self.flow, Some(Flow::Exit | Flow::Return)) { self.last } else { status }
            }
            Compound::For { name, words, body } => {
                let values = match words {
                    Some(words) => match self.expand_all(words) {
                        Some(values) => values,
                        None => return self.last,
                    },
                    None => self.args.iter().skip(1).cloned().collect(),
                };
                let mut status = 0;
                for value in values {
                    self.assign(name, value);
                    status = self.node(body);
                    if self.leave_loop() {
                        break;
                    }
                }
                status
            }
            Compound::Case { word, arms } => {
                let Some(text) = self.expand_one(word) else { return self.last };
                for (patterns, body) in arms {
                    for pattern in patterns {
                        let Some(pattern) = self.expand_pattern(pattern) else { return self.last };
                        if super::matches(&pattern, &text) {
                            return self.node(body);
                        }
                    }
                }
                0
            }
        }
    }

    fn condition(&mut self, node: &Node) -> bool {
        self.tested += 1;
        let status = self.node(node);
        self.tested -= 1;
        status == 0
    }

    /// After a turn of a loop: whether it ends.
    fn leave_loop(&mut self) -> bool {
        match self.flow {
            Some(Flow::Break(n)) => {
                self.flow = (n > 1).then(|| Flow::Break(n - 1));
                true
            }
            Some(Flow::Continue(1)) => {
                self.flow = None;
                false
            }
            Some(Flow::Continue(n)) => {
                self.flow = Some(Flow::Continue(n - 1));
                true
            }
            other => other.is_some(),
        }
    }

    /// Sets a variable, keeping whether it is exported.
    pub(super) fn assign(&mut self, name: &str, value: String) {
        self.vars.entry(name.to_owned()).or_default().value = value;
    }

    fn simple(&mut self, simple: &Simple) -> i32 {
        self.line = simple.line;
        let Some(words) = self.expand_all(&simple.words) else { return self.last };
        let substituted = self.last;
        let Some(name) = words.first() else {
            let plain = !simple.words.is_empty();
            self.last = 0;
            for (name, value) in &simple.assigns {
                let Some(value) = self.expand_one(value) else { return self.last };
                self.assign(name, value);
            }
            let status = if plain { substituted } else { self.last };
            let before = self.io.clone();
            let opened = self.redirect(&simple.redirects);
            self.io = before;
            return if opened { status } else { 2 };
        };
        let mut assigns = Vec::new();
        for (name, value) in &simple.assigns {
            let Some(value) = self.expand_one(value) else { return self.last };
            assigns.push((name.clone(), value));
        }
        let before = self.io.clone();
        if !self.redirect(&simple.redirects) {
            self.io = before;
            if builtin::is_special(name) {
                self.flow = Some(Flow::Exit);
            }
            return 2;
        }
        let status = self.call(name, &words, &assigns);
        if !(name == "exec" && words.len() == 1) {
            self.io = before;
        }
        status
    }

    pub(super) fn call(&mut self, name: &str, words: &[String], assigns: &[(String, String)]) -> i32 {
        if let Some(function) = self.functions.get(name).cloned() {
            return self.function(&function, words);
        }
        if let Some(builtin) = builtin::find(name) {
            let before: Vec<_> = assigns.iter().map(|(name, _)| (name.clone(), self.vars.get(name).cloned())).collect();
            for (name, value) in assigns {
                self.assign(name, value.clone());
            }
            let status = builtin(self, words);
            if !builtin::is_special(name) {
                for (name, old) in before {
                    match old {
                        Some(old) => self.vars.insert(name, old),
                        None => self.vars.remove(&name),
                    };
                }
            }
            return status;
        }
        let Some(program) = self.find_program(name) else { return 127 };
        self.world.machine.started(words);
        if self.depth >= MAX_DEPTH {
            self.fault("Cannot fork");
            return 2;
        }
        let mut shell = self.subshell();
        shell.functions.clear();
        shell.options = Options { errexit: false, nounset: false, on_exit: None, umask: shell.options.umask };
        shell.vars.retain(|_, v| v.exported);
        for (name, value) in assigns {
            shell.export(name, value);
        }
        program(&mut shell, words)
    }

    fn find_program(&self, name: &str) -> Option<Program> {
        if name.contains('/') {
            let path = self.path(name);
            match self.world.stat(&path, true) {
                Ok(node) if matches!(node.kind, Kind::File(_)) && node.mode & 0o111 != 0 => return Some(run_script),
                Ok(_) => {
                    self.fault(&format!("{name}: Permission denied"));
                    return None;
                }
                Err(_) => {}
            }
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            if !["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].contains(&dir) {
                self.fault(&format!("{name}: not found"));
                return None;
            }
        }
        let base = name.rsplit('/').next().unwrap_or(name);
        let found = (self.world.programs)(&self.world, base);
        if found.is_none() {
            self.fault(&format!("{name}: not found"));
        }
        found
    }

    fn function(&mut self, body: &Node, words: &[String]) -> i32 {
        if self.depth >= MAX_DEPTH {
            self.fault("Maximum function recursion depth (60) reached");
            return 2;
        }
        let mut args = vec![self.args.first().cloned().unwrap_or_default()];
        args.extend(words.iter().skip(1).cloned());
        let before = std::mem::replace(&mut self.args, args);
        self.depth += 1;
        let status = self.node(body);
        self.depth -= 1;
        self.args = before;
        if self.flow == Some(Flow::Return) {
            self.flow = None;
            return self.last;
        }
        status
    }
}

/// A file with the execute bit: run as a script.
fn run_script(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(bytes) = shell.world.read(&shell.path(&args[0])) else { return 126 };
    shell.args = args.to_vec();
    shell.script(&String::from_utf8_lossy(&bytes))
}
