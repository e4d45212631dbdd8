//! A Rust source file as words, marks and comments with their lines: as much of the language as the house rules look at.

use std::ops::Range;

/// What a token is; literals keep their place, not their text, so that no rule fires on words inside a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or a keyword.
    Word,
    /// One character of punctuation.
    Mark,
    /// A string, a character, a number or a lifetime.
    Literal,
}

/// One token and the lines that it covers, counted from 1.
#[derive(Clone, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its text; for a literal, the raw source.
    pub text: String,
    /// The line it begins on.
    pub line: usize,
    /// The line it ends on.
    pub end: usize,
}

/// A comment that begins with two slashes, or one of a block.
#[derive(Clone, Debug)]
pub struct Comment {
    /// Its text behind the slashes.
    pub text: String,
    /// The line it begins on.
    pub line: usize,
    /// Whether it is documentation, where code is an example.
    pub doc: bool,
}

/// One source file, taken apart.
#[derive(Clone, Debug)]
pub struct Source {
    /// Path from the root of the repository, with `/`.
    pub path: String,
    /// Its lines.
    pub lines: Vec<String>,
    /// Its tokens, comments left out.
    pub tokens: Vec<Token>,
    /// Its comments.
    pub comments: Vec<Comment>,
    /// Ranges of `tokens` that only tests compile.
    pub tests: Vec<Range<usize>>,
}

impl Source {
    /// Takes `text` apart.
    pub fn new(path: &str, text: &str) -> Self {
        let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, tokens: Vec::new(), comments: Vec::new() };
        while lexer.step() {}
        let lines = text.lines().map(str::to_owned).collect();
        let mut source = Self { path: path.to_owned(), lines, tokens: lexer.tokens, comments: lexer.comments, tests: Vec::new() };
        source.tests = source.find_tests();
        source
    }

    /// Whether the token at `index` is the word or mark `text`.
    pub fn is(&self, index: usize, text: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind != Kind::Literal && token.text == text)
    }

    /// The word at `index`, if there is one.
    pub fn word(&self, index: usize) -> Option<&str> {
        self.tokens.get(index).filter(|token| token.kind == Kind::Word).map(|token| token.text.as_str())
    }

    /// Whether `::` begins at `index`.
    pub fn colons(&self, index: usize) -> bool {
        self.is(index, ":") && self.is(index + 1, ":")
    }

    /// Whether the token at `index` continues a path: `::` stands before it.
    pub fn continues(&self, index: usize) -> bool {
        index >= 2 && self.colons(index - 2)
    }

    /// Whether only tests compile the token at `index`.
    pub fn in_tests(&self, index: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&index))
    }

    /// Whether a line is inside a test.
    pub fn line_in_tests(&self, line: usize) -> bool {
        let covers = |range: &Range<usize>| {
            let first = self.tokens.get(range.start).map_or(0, |token| token.line);
            let last = self.tokens.get(range.end.saturating_sub(1)).map_or(0, |token| token.end);
            (first..=last).contains(&line)
        };
        self.is_test_file() || self.tests.iter().any(covers)
    }

    /// Whether the whole file is for tests, told by its path or by `#![cfg(test)]`.
    pub fn is_test_file(&self) -> bool {
        let stem = self.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
        let by_name = stem == "tests" || stem.ends_with("_tests");
        let by_place = ["tests/", "bot/tests/", "benches/"].iter().any(|dir| self.path.starts_with(dir)) || self.path.contains("/tests/");
        by_name || by_place || self.tests.iter().any(|range| range.len() >= self.tokens.len() && !range.is_empty())
    }

    /// The index behind the bracket that closes the one at `open`; the end of the file if none does.
    pub fn close(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for index in open..self.tokens.len() {
            match self.mark(index) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        return index + 1;
                    }
                }
                _ => {}
            }
        }
        self.tokens.len()
    }

    /// The mark at `index`, empty for anything else.
    pub fn mark(&self, index: usize) -> &str {
        self.tokens.get(index).filter(|token| token.kind == Kind::Mark).map_or("", |token| token.text.as_str())
    }

    /// The index of the `{` or `;` that ends the head of the item at `from`.
    pub fn head_end(&self, from: usize) -> usize {
        let mut index = from;
        while index < self.tokens.len() {
            match self.mark(index) {
                "{" | ";" => return index,
                "(" | "[" => index = self.close(index),
                _ => index += 1,
            }
        }
        index
    }

    fn find_tests(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for index in 0..self.tokens.len() {
            if self.is(index, "#") && self.is(index + 1, "!") && self.is(index + 2, "[") && self.says_test(index + 3..self.close(index + 2))
            {
                found.push(0..self.tokens.len());
            }
            if self.is(index, "#") && self.is(index + 1, "[") && self.says_test(index + 2..self.close(index + 1)) {
                let mut item = self.close(index + 1);
                while self.is(item, "#") {
                    item = self.close(item + 1);
                }
                let end = self.head_end(item);
                let end = if self.is(end, "{") { self.close(end) } else { end + 1 };
                found.push(index..end.min(self.tokens.len()));
            }
        }
        found
    }

    fn says_test(&self, attribute: Range<usize>) -> bool {
        let words: Vec<&str> = attribute.filter_map(|index| self.word(index)).collect();
        match words.as_slice() {
            ["cfg", rest @ ..] => rest.contains(&"test") && !rest.contains(&"not"),
            ["test"] => true,
            [_, "test", ..] => true,
            _ => false,
        }
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
    comments: Vec<Comment>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn step(&mut self) -> bool {
        if self.at >= self.chars.len() {
            return false;
        }
        let here = self.peek(0);
        match here {
            '\n' => {
                self.line += 1;
                self.at += 1;
            }
            _ if here.is_whitespace() => self.at += 1,
            '/' if self.peek(1) == '/' => self.line_comment(),
            '/' if self.peek(1) == '*' => self.block_comment(),
            '"' => self.take(Kind::Literal, Self::string),
            '\'' => self.take(Kind::Literal, Self::quote),
            _ if here.is_ascii_digit() => self.take(Kind::Literal, Self::number),
            _ if here.is_alphanumeric() || here == '_' => self.word_or_raw(),
            _ => self.take(Kind::Mark, |lexer| lexer.at += 1),
        }
        true
    }

    fn take(&mut self, kind: Kind, scan: impl FnOnce(&mut Self)) {
        let (start, line) = (self.at, self.line);
        scan(self);
        let text: String = self.chars[start..self.at.min(self.chars.len())].iter().collect();
        self.line += text.matches('\n').count();
        self.tokens.push(Token { kind, text, line, end: self.line });
    }

    fn line_comment(&mut self) {
        let start = self.at + 2;
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.at += 1;
        }
        let text: String = self.chars[start..self.at].iter().collect();
        let doc = text.starts_with('!') || (text.starts_with('/') && !text.starts_with("//"));
        self.comments.push(Comment { text, line: self.line, doc });
    }

    fn block_comment(&mut self) {
        let (start, line) = (self.at, self.line);
        let mut depth = 0_usize;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                ('\n', _) => self.line += 1,
                _ => {}
            }
            self.at += if matches!((self.peek(0), self.peek(1)), ('/', '*') | ('*', '/')) { 2 } else { 1 };
            if depth == 0 {
                break;
            }
        }
        let text: String = self.chars[start..self.at.min(self.chars.len())].iter().collect();
        let doc = text.starts_with("/**") || text.starts_with("/*!");
        for (offset, part) in text.lines().enumerate() {
            self.comments.push(Comment { text: part.to_owned(), line: line + offset, doc });
        }
    }

    fn word_or_raw(&mut self) {
        let mut ahead = 0;
        while self.peek(ahead).is_alphanumeric() || self.peek(ahead) == '_' {
            ahead += 1;
        }
        let prefix: String = self.chars[self.at..self.at + ahead].iter().collect();
        let stringy = matches!(prefix.as_str(), "r" | "b" | "br" | "c" | "cr");
        let hashes = (0..).take_while(|more| self.peek(ahead + more) == '#').count();
        let raw = prefix.contains('r');
        if stringy && raw && self.peek(ahead + hashes) == '"' {
            self.take(Kind::Literal, |lexer| lexer.raw_string(ahead, hashes));
        } else if stringy && self.peek(ahead) == '"' {
            self.take(Kind::Literal, |lexer| {
                lexer.at += ahead;
                lexer.string();
            });
        } else if prefix == "b" && self.peek(ahead) == '\'' {
            self.take(Kind::Literal, |lexer| {
                lexer.at += ahead;
                lexer.quote();
            });
        } else {
            self.take(Kind::Word, |lexer| lexer.at += ahead);
        }
    }

    fn raw_string(&mut self, prefix: usize, hashes: usize) {
        self.at += prefix + hashes + 1;
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#');
            self.at += 1;
            if closes {
                self.at += hashes;
                return;
            }
        }
    }

    fn string(&mut self) {
        self.at += 1;
        while self.at < self.chars.len() {
            match self.peek(0) {
                '\\' => self.at += 2,
                '"' => {
                    self.at += 1;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }

    /// A character literal or a lifetime: the latter has no closing quote behind its first character.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.at += 3;
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.at += 1;
            }
            self.at += 1;
        } else if self.peek(2) == '\'' {
            self.at += 3;
        } else {
            self.at += 1;
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.at += 1;
            }
        }
    }

    fn number(&mut self) {
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' || (self.peek(0) == '.' && self.peek(1).is_ascii_digit()) {
            self.at += 1;
        }
    }
}

#[test]
fn strings_comments_and_lifetimes_hide_what_stands_in_them() {
    let text = "fn a<'x>() { let c = '\\''; let s = r#\"unsafe \" // no\"#; /* todo!() */ b(b'\"', \"dbg!\\\"\"); } // unsafe\nfn z() {}";
    let source = Source::new("src/a.rs", text);
    let words: Vec<&str> = source.tokens.iter().filter(|token| token.kind == Kind::Word).map(|token| token.text.as_str()).collect();
    assert_eq!(words, ["fn", "a", "let", "c", "let", "s", "b", "fn", "z"]);
    assert_eq!(source.comments.len(), 2);
    assert_eq!(source.tokens.last().map(|token| token.line), Some(2));
}

#[test]
fn test_modules_are_told_from_code_around_them() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}\n#[cfg(not(test))]\nfn d() {}\n#[tokio::test]\nasync fn e() {}";
    let source = Source::new("src/a.rs", text);
    let tested = |name: &str| source.in_tests(source.tokens.iter().position(|token| token.text == name).expect("the name stands there"));
    assert_eq!(["a", "b", "c", "d", "e"].map(tested), [false, true, false, false, true]);
    assert!(source.line_in_tests(3) && !source.line_in_tests(4));
    assert!(Source::new("src/a.rs", "#![cfg(test)]\nfn a() {}").is_test_file());
}
