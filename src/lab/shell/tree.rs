//! The shell's grammar as a tree.

/// A command of any kind.
#[derive(Debug, Clone)]
pub enum Node {
    /// Words, with assignments before and redirections around them.
    Simple(Simple),
    /// `a | b`, its status turned over by a leading `!`.
    Pipe { not: bool, parts: Vec<Node> },
    /// `a && b` or, with `or`, `a || b`.
    Chain { first: Box<Node>, then: Box<Node>, or: bool },
    /// One after the other.
    List(Vec<Node>),
    /// `a &`.
    Background(Box<Node>),
    /// A compound command with redirections around it.
    Compound { body: Box<Compound>, redirects: Vec<Redirect> },
    /// `name() body`.
    Function { name: String, body: Box<Node> },
}

/// A command that holds commands.
#[derive(Debug, Clone)]
pub enum Compound {
    /// `{ …; }`.
    Group(Node),
    /// `( … )`.
    Subshell(Node),
    /// `if`, each condition with its branch.
    If { arms: Vec<(Node, Node)>, otherwise: Option<Node> },
    /// `while`, or with `until` the other way round.
    While { condition: Node, body: Node, until: bool },
    /// `for`; without `in` over the positional parameters.
    For { name: String, words: Option<Vec<Word>>, body: Node },
    /// `case`.
    Case { word: Word, arms: Vec<(Vec<Word>, Node)> },
}

/// A simple command.
#[derive(Debug, Clone, Default)]
pub struct Simple {
    /// `VAR=x`.
    pub assigns: Vec<(String, Word)>,
    /// Command and arguments.
    pub words: Vec<Word>,
    /// In the order they were written.
    pub redirects: Vec<Redirect>,
    /// The line it begins on, for messages.
    pub line: usize,
}

/// `2>file`.
#[derive(Debug, Clone)]
pub struct Redirect {
    /// 0, 1 or 2.
    pub fd: u32,
    /// What happens to it.
    pub to: Target,
}

/// Where a redirection leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// `<`.
    Read(Word),
    /// `>`.
    Write(Word),
    /// `>>`.
    Append(Word),
    /// `>&1`, `<&0`; `-` closes.
    Dup(Word),
    /// `<<END`, already in the form of a word.
    Here(Word),
}

/// A word: pieces glued together.
pub type Word = Vec<Piece>;

/// A piece of a word.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Text; quoted text is neither split nor a pattern nor a tilde.
    Text { text: String, quoted: bool },
    /// `$name`, `${name…}`.
    Var { name: String, op: Op, quoted: bool },
    /// `$(…)`.
    Command { body: Box<Node>, quoted: bool },
    /// `$((…))`, as text to be expanded and then computed.
    Arith { text: Word, quoted: bool },
}

/// What stands behind the name in `${name…}`.
#[derive(Debug, Clone)]
pub enum Op {
    /// Nothing.
    None,
    /// `${#name}`.
    Length,
    /// `-`, `=`, `?`, `+` with a word; `colon` counts empty as unset.
    Default { sign: char, colon: bool, word: Word },
    /// `#`, `##`, `%`, `%%` with a pattern.
    Trim { back: bool, longest: bool, pattern: Word },
}
