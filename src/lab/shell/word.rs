//! Text to tree: the shell's words.

use super::parse::{BadScript, Parser, Script};
use super::tree::{Node, Op, Piece, Word};

const UNTERMINATED: &str = "Unterminated quoted string";
const BACKQUOTE: &str = "EOF in backquote substitution";
const MISSING_BRACE: &str = "Missing '}'";
const META: &str = " \t\n;&|<>()";

/// The body of a here-document as a word: with a quoted end it is text, else `$` works as inside double quotes.
pub fn here_body(body: &str, quoted: bool) -> Result<Word, BadScript> {
    if quoted {
        return Ok(vec![Piece::Text { text: body.to_owned(), quoted: true }]);
    }
    let mut parser = Parser::new(body);
    let mut word = Word::new();
    parser.double_quoted(&mut word, None)?;
    Ok(word)
}

fn push(word: &mut Word, add: char, is_quoted: bool) {
    if let Some(Piece::Text { text, quoted }) = word.last_mut()
        && *quoted == is_quoted
    {
        text.push(add);
        return;
    }
    word.push(Piece::Text { text: add.to_string(), quoted: is_quoted });
}

impl Parser {
    /// The word ahead, none before an operator or the end.
    pub(super) fn word(&mut self) -> Result<Option<Word>, BadScript> {
        let start = self.at;
        let word = self.word_until(|c| META.contains(c))?;
        Ok((self.at > start).then_some(word))
    }

    fn word_until(&mut self, ends: impl Fn(char) -> bool) -> Result<Word, BadScript> {
        let mut word = Word::new();
        while let Some(c) = self.peek() {
            if ends(c) {
                break;
            }
            self.bump();
            match c {
                '\'' => self.single_quoted(&mut word)?,
                '"' => {
                    word.push(Piece::Text { text: String::new(), quoted: true });
                    self.double_quoted(&mut word, Some('"'))?;
                }
                '\\' => match self.bump() {
                    Some('\n') => {}
                    Some(next) => push(&mut word, next, true),
                    None => push(&mut word, '\\', true),
                },
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backquoted(&mut word, false)?,
                _ => push(&mut word, c, false),
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), BadScript> {
        let mut text = String::new();
        loop {
            match self.bump() {
                Some('\'') => break,
                Some(c) => text.push(c),
                None => return Err(self.incomplete(UNTERMINATED)),
            }
        }
        word.push(Piece::Text { text, quoted: true });
        Ok(())
    }

    /// Up to and with `end`; to the end of the text without one (a here-document, where a double quote is nothing special).
    pub(super) fn double_quoted(&mut self, word: &mut Word, end: Option<char>) -> Result<(), BadScript> {
        loop {
            match self.bump() {
                None if end.is_none() => return Ok(()),
                None => return Err(self.incomplete(UNTERMINATED)),
                c if c == end => return Ok(()),
                Some('\\') => match self.peek() {
                    Some('\n') => {
                        self.bump();
                    }
                    Some(next) if "$`\\".contains(next) || Some(next) == end => {
                        self.bump();
                        push(word, next, true);
                    }
                    _ => push(word, '\\', true),
                },
                Some('$') => self.dollar(word, true)?,
                Some('`') => self.backquoted(word, true)?,
                Some(c) => push(word, c, true),
            }
        }
    }

    /// What follows a `$`, which is read already.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), BadScript> {
        match self.peek() {
            Some('(') if self.looks_at("((") => {
                if let Some(text) = self.arith()? {
                    word.push(Piece::Arith { text, quoted });
                    return Ok(());
                }
                self.command_in(word, quoted)
            }
            Some('(') => self.command_in(word, quoted),
            Some('{') => {
                self.bump();
                let piece = self.braced(quoted)?;
                word.push(piece);
                Ok(())
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.at += 1;
                }
                word.push(Piece::Var { name, op: Op::None, quoted });
                Ok(())
            }
            Some(c) if c.is_ascii_digit() || "?$!#@*-".contains(c) => {
                self.at += 1;
                word.push(Piece::Var { name: c.to_string(), op: Op::None, quoted });
                Ok(())
            }
            _ => {
                push(word, '$', quoted);
                Ok(())
            }
        }
    }

    fn command_in(&mut self, word: &mut Word, quoted: bool) -> Result<(), BadScript> {
        self.bump();
        let body = self.list(&[])?;
        match self.bump() {
            Some(')') => {}
            None => return Err(self.early("\")\"")),
            Some(_) => return Err(BadScript::Syntax(self.line, "\";;\" unexpected".to_owned())),
        }
        word.push(Piece::Command { body: Box::new(body), quoted });
        Ok(())
    }

    fn backquoted(&mut self, word: &mut Word, quoted: bool) -> Result<(), BadScript> {
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return Err(self.incomplete(BACKQUOTE)),
                Some('`') => break,
                Some('\\') => match self.bump() {
                    Some(c) if "$`\\".contains(c) => text.push(c),
                    Some(c) => {
                        text.push('\\');
                        text.push(c);
                    }
                    None => return Err(self.incomplete(BACKQUOTE)),
                },
                Some(c) => text.push(c),
            }
        }
        let body = Node::List(Script::new(&text, false).collect::<Result<_, _>>()?);
        word.push(Piece::Command { body: Box::new(body), quoted });
        Ok(())
    }

    /// `((…))` behind a `$`; none when it turns out to be a subshell inside a command substitution.
    fn arith(&mut self) -> Result<Option<Word>, BadScript> {
        let start = (self.at, self.line);
        let (mut depth, mut text) = (0_u32, String::new());
        self.at += 2;
        loop {
            match self.bump() {
                None => return Err(self.incomplete("Missing '))'")),
                Some(')') if depth == 0 => break,
                Some(c) => {
                    depth = if c == '(' { depth + 1 } else { depth - u32::from(c == ')') };
                    text.push(c);
                }
            }
        }
        if self.peek() != Some(')') {
            (self.at, self.line) = start;
            return Ok(None);
        }
        self.at += 1;
        here_body(&text, false).map(Some)
    }

    /// `${…}` behind its brace.
    fn braced(&mut self, quoted: bool) -> Result<Piece, BadScript> {
        let length = self.peek() == Some('#') && self.text.get(self.at + 1).is_some_and(|c| *c != '}' && !"-=?+#%:".contains(*c));
        if length {
            self.at += 1;
        }
        let mut name = String::new();
        match self.peek() {
            Some(c) if "?$!#@*-".contains(c) => {
                name.push(c);
                self.at += 1;
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.at += 1;
                }
            }
        }
        let colon = self.peek() == Some(':');
        if colon {
            self.at += 1;
        }
        let op = match self.bump() {
            Some('}') if !colon => return Ok(Piece::Var { name, op: if length { Op::Length } else { Op::None }, quoted }),
            Some(sign @ ('-' | '=' | '?' | '+')) => Op::Default { sign, colon, word: self.braced_word(quoted)? },
            Some(sign @ ('#' | '%')) if !colon => {
                let longest = self.peek() == Some(sign);
                self.at += usize::from(longest);
                Op::Trim { back: sign == '%', longest, pattern: self.braced_word(false)? }
            }
            None => return Err(self.incomplete(MISSING_BRACE)),
            _ => return Err(BadScript::Syntax(self.line, "Bad substitution".to_owned())),
        };
        match self.bump() {
            Some('}') => Ok(Piece::Var { name, op, quoted }),
            _ => Err(self.incomplete(MISSING_BRACE)),
        }
    }

    fn braced_word(&mut self, quoted: bool) -> Result<Word, BadScript> {
        let mut word = self.word_until(|c| c == '}')?;
        if quoted {
            for piece in &mut word {
                match piece {
                    Piece::Text { quoted, .. }
                    | Piece::Var { quoted, .. }
                    | Piece::Command { quoted, .. }
                    | Piece::Arith { quoted, .. } => *quoted = true,
                }
            }
        }
        Ok(word)
    }
}
