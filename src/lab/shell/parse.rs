//! Text to tree: the shell's commands.

use super::tree::{Compound, Node, Redirect, Simple, Target, Word};

/// Why a text is not a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadScript {
    /// It may become one with more lines; what dash says when none come.
    Incomplete(usize, String),
    /// Its line, and what is unexpected there, as dash says it.
    Syntax(usize, String),
}

/// Groups inside groups; deeper is refused, so that no script can exhaust the stack.
const MAX_DEPTH: usize = 40;
const RESERVED: [&str; 15] = ["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "{", "}"];

/// A reader of scripts.
pub struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) line: usize,
    depth: usize,
    /// Where the text goes on after the here-documents of the current line.
    after_here: Option<usize>,
    /// More may follow, so a here-document without its end is not one yet.
    partial: bool,
}

/// A script, read as the shell does: a line is run before the next one is looked at, so that what is wrong further down stops nothing above it.
pub struct Script(Parser);

impl Script {
    /// Reads from the beginning; with `partial` more lines may follow the text.
    pub fn new(text: &str, partial: bool) -> Self {
        let mut parser = Parser::new(text);
        parser.partial = partial;
        Self(parser)
    }
}

impl Iterator for Script {
    type Item = Result<Node, BadScript>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.newlines();
        self.0.peek()?;
        let line = self.0.line();
        if line.is_err() {
            self.0.at = self.0.text.len();
        }
        Some(line)
    }
}

impl Parser {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.chars().collect(), at: 0, line: 1, depth: 0, after_here: None, partial: false }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn looks_at(&self, what: &str) -> bool {
        what.chars().enumerate().all(|(i, c)| self.text.get(self.at + i) == Some(&c))
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn take(&mut self, what: &str) -> bool {
        let found = self.looks_at(what);
        if found {
            self.at += what.chars().count();
        }
        found
    }

    /// Says that the text ends too early.
    pub(super) fn early(&self, expecting: &str) -> BadScript {
        self.incomplete(&if expecting.is_empty() {
            "end of file unexpected".to_owned()
        } else {
            format!("end of file unexpected (expecting {expecting})")
        })
    }

    pub(super) fn incomplete(&self, what: &str) -> BadScript {
        BadScript::Incomplete(self.line, what.to_owned())
    }

    fn unexpected(&self) -> BadScript {
        let Some(c) = self.peek() else { return self.early("") };
        let token = match c {
            '\n' => "newline".to_owned(),
            ';' | '&' | '|' | '(' | ')' | '<' | '>' => {
                let twice = self.text.get(self.at + 1) == Some(&c) && c != '(' && c != ')';
                format!("\"{}\"", if twice { format!("{c}{c}") } else { c.to_string() })
            }
            _ => self.peek_word().map_or_else(
                || format!("\"{c}\""),
                |w| if RESERVED.contains(&w.as_str()) { format!("\"{w}\"") } else { "word".to_owned() },
            ),
        };
        BadScript::Syntax(self.line, format!("{token} unexpected"))
    }

    /// Blanks, escaped newlines and a comment.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => {
                    self.at += 2;
                    self.line += 1;
                }
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn newline(&mut self) -> bool {
        if self.peek() != Some('\n') {
            return false;
        }
        self.bump();
        if let Some(after) = self.after_here.take() {
            self.line += self.text[self.at..after].iter().filter(|c| **c == '\n').count();
            self.at = after;
        }
        true
    }

    fn newlines(&mut self) {
        loop {
            self.blanks();
            if !self.newline() {
                return;
            }
        }
    }

    /// The unquoted word ahead, if it is plain letters.
    fn peek_word(&self) -> Option<String> {
        let word: String = self.text[self.at..].iter().take_while(|c| !" \t\n;&|<>()".contains(**c)).collect();
        (!word.is_empty()).then_some(word)
    }

    fn reserved(&self) -> Option<&'static str> {
        let word = self.peek_word()?;
        RESERVED.iter().find(|r| **r == word).copied()
    }

    fn expect(&mut self, what: &str) -> Result<(), BadScript> {
        self.newlines();
        if self.reserved() == Some(RESERVED.iter().find(|r| **r == what).copied().unwrap_or_default()) {
            self.take(what);
            return Ok(());
        }
        Err(self.missing(&format!("\"{what}\"")))
    }

    /// What is unexpected here, or what the text ends without.
    fn missing(&self, what: &str) -> BadScript {
        if self.peek().is_none() { self.early(what) } else { self.unexpected() }
    }

    /// Commands up to one of the reserved words in `ends`, a closing parenthesis or `;;`, which stay unread.
    pub(super) fn list(&mut self, ends: &[&str]) -> Result<Node, BadScript> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(BadScript::Syntax(self.line, "nesting too deep".to_owned()));
        }
        let mut nodes = Vec::new();
        loop {
            self.newlines();
            if self.peek().is_none() || self.peek() == Some(')') || self.looks_at(";;") {
                break;
            }
            if self.reserved().is_some_and(|word| ends.contains(&word)) {
                break;
            }
            if !self.entry(&mut nodes)? && !matches!(self.peek(), None | Some('\n' | ')')) && !self.looks_at(";;") {
                return Err(self.unexpected());
            }
        }
        self.depth -= 1;
        Ok(Node::List(nodes))
    }

    /// Commands up to the end of the line that they end on.
    fn line(&mut self) -> Result<Node, BadScript> {
        let mut nodes = Vec::new();
        loop {
            let ended = self.entry(&mut nodes)?;
            self.blanks();
            match self.peek() {
                None | Some('\n') => return Ok(Node::List(nodes)),
                Some(_) if ended => {}
                Some(_) => return Err(self.unexpected()),
            }
        }
    }

    /// One command with the `;` or `&` behind it; whether there was one.
    fn entry(&mut self, nodes: &mut Vec<Node>) -> Result<bool, BadScript> {
        let node = self.chain()?;
        self.blanks();
        if self.peek() == Some('&') && !self.looks_at("&&") {
            self.at += 1;
            nodes.push(Node::Background(Box::new(node)));
            return Ok(true);
        }
        nodes.push(node);
        Ok(self.peek() == Some(';') && !self.looks_at(";;") && self.take(";"))
    }

    fn chain(&mut self) -> Result<Node, BadScript> {
        let mut first = self.pipe()?;
        loop {
            self.blanks();
            let or = self.looks_at("||");
            if !or && !self.looks_at("&&") {
                return Ok(first);
            }
            self.at += 2;
            self.newlines();
            let then = self.pipe()?;
            first = Node::Chain { first: Box::new(first), then: Box::new(then), or };
        }
    }

    fn pipe(&mut self) -> Result<Node, BadScript> {
        self.blanks();
        let mut not = false;
        while self.peek_word().as_deref() == Some("!") {
            self.at += 1;
            not = !not;
            self.blanks();
        }
        let mut parts = vec![self.command()?];
        loop {
            self.blanks();
            if self.peek() != Some('|') || self.looks_at("||") {
                break;
            }
            self.at += 1;
            self.newlines();
            parts.push(self.command()?);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() && !not => Ok(only),
            last => {
                parts.extend(last);
                Ok(Node::Pipe { not, parts })
            }
        }
    }

    fn command(&mut self) -> Result<Node, BadScript> {
        self.blanks();
        if self.take("(") {
            let inner = self.list(&[])?;
            return if self.take(")") { self.compound(Compound::Subshell(inner)) } else { Err(self.missing("\")\"")) };
        }
        let body = match self.reserved() {
            Some("{") => {
                self.take("{");
                let inner = self.list(&["}"])?;
                self.expect("}")?;
                Compound::Group(inner)
            }
            Some("if") => self.if_clause()?,
            Some(word @ ("while" | "until")) => {
                self.take(word);
                let condition = self.list(&["do"])?;
                Compound::While { condition, body: self.do_group()?, until: word == "until" }
            }
            Some("for") => self.for_clause()?,
            Some("case") => self.case_clause()?,
            Some(_) => return Err(self.unexpected()),
            None => return self.function_or_simple(),
        };
        self.compound(body)
    }

    fn compound(&mut self, body: Compound) -> Result<Node, BadScript> {
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None => return Ok(Node::Compound { body: Box::new(body), redirects }),
            }
        }
    }

    fn if_clause(&mut self) -> Result<Compound, BadScript> {
        self.take("if");
        let (mut arms, mut otherwise) = (Vec::new(), None);
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            match self.reserved() {
                Some("elif") => {
                    self.take("elif");
                }
                Some("else") => {
                    self.take("else");
                    otherwise = Some(self.list(&["fi"])?);
                    break;
                }
                _ => break,
            }
        }
        self.expect("fi")?;
        Ok(Compound::If { arms, otherwise })
    }

    fn do_group(&mut self) -> Result<Node, BadScript> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn for_clause(&mut self) -> Result<Compound, BadScript> {
        self.take("for");
        self.blanks();
        let name = self.name().ok_or_else(|| BadScript::Syntax(self.line, "Bad for loop variable".to_owned()))?;
        self.newlines();
        let mut words = None;
        if self.reserved() == Some("in") {
            self.take("in");
            let mut list = Vec::new();
            loop {
                self.blanks();
                match self.word()? {
                    Some(word) => list.push(word),
                    None => break,
                }
            }
            words = Some(list);
        }
        self.blanks();
        self.take(";");
        Ok(Compound::For { name, words, body: self.do_group()? })
    }

    fn case_clause(&mut self) -> Result<Compound, BadScript> {
        self.take("case");
        self.blanks();
        let word = self.word()?.ok_or_else(|| self.missing("word"))?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines();
            if self.reserved() == Some("esac") {
                self.take("esac");
                return Ok(Compound::Case { word, arms });
            }
            self.take("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?.ok_or_else(|| self.missing("\")\""))?);
                self.blanks();
                if !self.take("|") {
                    break;
                }
            }
            if !self.take(")") {
                return Err(self.unexpected());
            }
            arms.push((patterns, self.list(&["esac"])?));
            if self.peek().is_none() {
                return Err(self.early("\";;\""));
            }
            self.take(";;");
        }
    }

    fn name(&mut self) -> Option<String> {
        let first = self.peek().filter(|c| c.is_ascii_alphabetic() || *c == '_')?;
        let mut name = String::from(first);
        self.at += 1;
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
            self.at += 1;
        }
        Some(name)
    }

    fn function_or_simple(&mut self) -> Result<Node, BadScript> {
        let start = self.at;
        if let Some(name) = self.name() {
            self.blanks();
            if self.take("(") {
                self.blanks();
                if !self.take(")") {
                    return Err(self.unexpected());
                }
                self.newlines();
                return Ok(Node::Function { name, body: Box::new(self.command()?) });
            }
        }
        self.at = start;
        let mut simple = Simple { line: self.line, ..Simple::default() };
        loop {
            self.blanks();
            if let Some(redirect) = self.redirect()? {
                simple.redirects.push(redirect);
            } else if let Some(name) = simple.words.is_empty().then(|| self.assignment()).flatten() {
                simple.assigns.push((name, self.word()?.unwrap_or_default()));
            } else if let Some(word) = self.word()? {
                simple.words.push(word);
            } else {
                break;
            }
        }
        if simple.words.is_empty() && simple.assigns.is_empty() && simple.redirects.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Node::Simple(simple))
    }

    fn assignment(&mut self) -> Option<String> {
        let start = self.at;
        let name = self.name();
        if name.is_some() && self.take("=") {
            return name;
        }
        self.at = start;
        None
    }

    fn redirect(&mut self) -> Result<Option<Redirect>, BadScript> {
        let digit = self.peek().and_then(|c| c.to_digit(10)).filter(|_| matches!(self.text.get(self.at + 1), Some('<' | '>')));
        if digit.is_some() {
            self.at += 1;
        }
        let kinds: [(&str, u32); 9] = [("<<-", 0), ("<<", 0), ("<&", 0), ("<>", 0), ("<", 0), (">>", 1), (">&", 1), (">|", 1), (">", 1)];
        let Some((sign, default)) = kinds.into_iter().find(|(sign, _)| self.looks_at(sign)) else { return Ok(None) };
        self.take(sign);
        self.blanks();
        let fd = digit.unwrap_or(default);
        if sign.starts_with("<<") {
            return Ok(Some(Redirect { fd, to: Target::Here(self.here(sign == "<<-")?) }));
        }
        let word = self.word()?.ok_or_else(|| self.unexpected())?;
        let to = match sign {
            "<&" | ">&" => Target::Dup(word),
            "<" | "<>" => Target::Read(word),
            ">>" => Target::Append(word),
            _ => Target::Write(word),
        };
        Ok(Some(Redirect { fd, to }))
    }

    /// The body of a here-document, which begins on the line after this one or after the one before it.
    fn here(&mut self, strip: bool) -> Result<Word, BadScript> {
        let mut end = String::new();
        let mut quoted = false;
        while let Some(c) = self.peek().filter(|c| !" \t\n;&|<>()".contains(*c)) {
            self.at += 1;
            if matches!(c, '\'' | '"' | '\\') {
                quoted = true;
            } else {
                end.push(c);
            }
        }
        let mut at = match self.after_here {
            Some(after) => after,
            None => self.text[self.at..].iter().position(|c| *c == '\n').map_or(self.text.len(), |n| self.at + n + 1),
        };
        let mut body = String::new();
        loop {
            if at >= self.text.len() {
                if self.partial {
                    return Err(self.early(""));
                }
                break;
            }
            let line: String = self.text[at..].iter().take_while(|c| **c != '\n').collect();
            at = (at + line.chars().count() + 1).min(self.text.len());
            let line = if strip { line.trim_start_matches('\t') } else { &line };
            if line == end {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        self.after_here = Some(at);
        super::word::here_body(&body, quoted)
    }
}
