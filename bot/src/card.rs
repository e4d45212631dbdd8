//! Making cards: Discord's limits by construction, and texts that neither ping nor format.

use crate::chat::{Button, Card, Tone};

/// The longest title.
pub const TITLE: usize = 256;
/// The longest text.
pub const BODY: usize = 4096;
/// The longest last line; with the two above it stays below the 6000 of a whole message.
pub const FOOTER: usize = 1024;
/// The longest label of a button.
const LABEL: usize = 80;
/// The longest meaning of a button.
const MEANING: usize = 100;
/// The most buttons in a row.
const BUTTONS: usize = 5;

/// Its length as Discord may count it: UTF-16 units, never less than characters.
pub fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// At most `limit` long, with `…` where something is left out. Never ends inside an escape.
pub fn cut(text: &str, limit: usize) -> String {
    if length(text) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut left = limit.saturating_sub(1);
    for letter in text.chars() {
        match left.checked_sub(letter.len_utf16()) {
            Some(rest) => left = rest,
            None => break,
        }
        kept.push(letter);
    }
    let escapes = kept.chars().rev().take_while(|letter| *letter == '\\').count();
    if escapes % 2 == 1 {
        kept.pop();
    }
    kept.push('…');
    kept
}

/// A text of somebody else's on one line: nothing in it formats, mentions or links.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (at, letter) in text.char_indices() {
        match letter {
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']' => {
                shown.push('\\');
                shown.push(letter);
            }
            // Only where a line begins do these make a title, a quotation or a list.
            '#' | '>' | '-' if at == 0 => {
                shown.push('\\');
                shown.push(letter);
            }
            // A mention needs nothing but the letter.
            '@' => shown.push_str("@\u{200b}"),
            // An address would become a link with a preview.
            ':' if text[at..].starts_with("://") => shown.push_str(":\u{200b}"),
            _ if letter.is_control() || bidi(letter) => shown.push(' '),
            _ => shown.push(letter),
        }
    }
    shown
}

/// Letters that turn the direction of all that follows.
const fn bidi(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Lines in a block of their own, the newest kept where they are too many.
pub fn block(lines: &[String], limit: usize) -> String {
    const FRAME: usize = 8;
    let mut kept: Vec<String> = Vec::new();
    let mut left = limit.saturating_sub(FRAME);
    for line in lines.iter().rev() {
        let tame: String = line.chars().map(|letter| if letter.is_control() || bidi(letter) { ' ' } else { letter }).collect();
        // Only three in a row could end the block; a letter without width stands between.
        let tame = cut(&tame.replace('`', "`\u{200b}").replace('@', "@\u{200b}"), 200);
        let Some(rest) = left.checked_sub(length(&tame) + 1) else { break };
        left = rest;
        kept.push(tame);
    }
    if kept.is_empty() {
        return String::new();
    }
    kept.reverse();
    format!("```\n{}\n```", kept.join("\n"))
}

impl Card {
    /// A card of ready texts, cut where they are too long.
    pub fn new(tone: Tone, title: impl AsRef<str>, body: impl AsRef<str>) -> Self {
        Self { title: cut(title.as_ref(), TITLE), body: cut(body.as_ref(), BODY), footer: String::new(), tone, buttons: Vec::new() }
    }

    /// With a last line. Nothing formats there, and nothing can be mentioned.
    #[must_use]
    pub fn footer(mut self, text: impl AsRef<str>) -> Self {
        let text: String = text.as_ref().chars().map(|letter| if letter.is_control() || bidi(letter) { ' ' } else { letter }).collect();
        self.footer = cut(&text, FOOTER);
        self
    }

    /// With a button; a sixth would not fit into the row, nor would a meaning that is too long come back whole.
    #[must_use]
    pub fn button(mut self, id: impl Into<String>, label: &str, danger: bool) -> Self {
        let id = id.into();
        if self.buttons.len() < BUTTONS && length(&id) <= MEANING && !id.is_empty() && self.buttons.iter().all(|known| known.id != id) {
            self.buttons.push(Button { id, label: cut(label, LABEL), danger });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_wrote_neither_formats_nor_mentions() {
        assert_eq!(plain("**@everyone** <@123> `x` _y_ # z"), "\\*\\*@\u{200b}everyone\\*\\* \\<@\u{200b}123> \\`x\\` \\_y\\_ # z");
        assert_eq!((plain("# x"), plain("- x"), plain("> x")), ("\\# x".into(), "\\- x".into(), "\\> x".into()));
        assert_eq!(plain("https://evil.example/(x)[y]"), "https:\u{200b}//evil.example/(x)\\[y\\]");
        assert_eq!(plain("a\nb\u{202e}c"), "a b c");
        assert_eq!(block(&["```".to_owned(), "@here".to_owned()], 100), "```\n`\u{200b}`\u{200b}`\u{200b}\n@\u{200b}here\n```");
    }

    #[test]
    fn no_text_is_longer_than_discord_takes() {
        for letter in ["x", "é", "😀", "\\*", "@", "`"] {
            let long = letter.repeat(9000);
            let card = Card::new(Tone::Bad, plain(&long), plain(&long)).footer(&long).button("a", &long, true);
            assert!(length(&card.title) <= TITLE && length(&card.body) <= BODY && length(&card.footer) <= FOOTER, "{letter}");
            assert!(length(&card.title) + length(&card.body) + length(&card.footer) <= 6000);
            assert!(length(&card.buttons[0].label) <= LABEL);
            let before = card.body.trim_end_matches('…');
            assert!(
                before.len() < card.body.len() && (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2),
                "an escape is not cut in two"
            );
            assert!(length(&block(&vec![long; 50], 1000)) <= 1000);
        }
        let crowded = (0..9).fold(Card::new(Tone::Good, "t", "b"), |card, n| card.button(format!("b{n}"), "x", false));
        assert_eq!(crowded.buttons.len(), 5);
        let doubled = Card::new(Tone::Good, "t", "b").button("a", "1", false).button("a", "2", false).button("x".repeat(101), "3", false);
        assert_eq!(doubled.buttons.len(), 1);
    }

    #[test]
    fn a_block_keeps_the_newest_lines() {
        let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
        let shown = block(&lines, 60);
        assert!(shown.ends_with("line 99\n```") && !shown.contains("line 1\n"), "{shown}");
        assert_eq!(block(&[], 100), "");
    }
}
