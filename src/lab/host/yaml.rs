//! The part of YAML that compose files are written in: block maps and lists, `[a, b]`, `{a: b}`, quotes, comments, `|` text. No anchors, no tags.

use serde_json::{Map, Value};

/// Levels of indentation; deeper is refused.
const MAX_DEPTH: usize = 32;

struct Line<'a> {
    indent: usize,
    text: &'a str,
    number: usize,
}

/// Reads a document.
///
/// # Errors
/// The line and what is wrong there, in the words of compose's own reader.
pub fn parse(text: &str) -> Result<Value, String> {
    let mut lines = Vec::new();
    for (i, raw) in text.lines().enumerate() {
        let bare = raw.trim_start_matches(' ');
        if bare.starts_with('\t') {
            return Err(format!("yaml: line {}: found character that cannot start any token", i + 1));
        }
        if bare.trim_end() != "---" {
            lines.push(Line { indent: raw.len() - bare.len(), text: bare.trim_end(), number: i + 1 });
        }
    }
    let mut reader = Reader { lines, at: 0 };
    reader.skip();
    if reader.at >= reader.lines.len() {
        return Ok(Value::Null);
    }
    let indent = reader.lines[reader.at].indent;
    let value = reader.block(indent, 0)?;
    reader.skip();
    match reader.lines.get(reader.at) {
        Some(line) => Err(format!("yaml: line {}: did not find expected key", line.number)),
        None => Ok(value),
    }
}

struct Reader<'a> {
    lines: Vec<Line<'a>>,
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self) {
        while self.lines.get(self.at).is_some_and(|l| l.text.is_empty() || l.text.starts_with('#')) {
            self.at += 1;
        }
    }

    /// The map or list whose entries stand at `indent`.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err("yaml: exceeded max depth".to_owned());
        }
        let first = self.lines[self.at].text;
        if first == "-" || first.starts_with("- ") { self.list(indent, depth) } else { self.map(indent, depth) }
    }

    fn list(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            self.skip();
            let Some(line) = self.lines.get_mut(self.at).filter(|l| l.indent == indent && (l.text == "-" || l.text.starts_with("- ")))
            else {
                break;
            };
            let rest = line.text[1..].trim_start();
            let inner = indent + line.text.len() - rest.len();
            if rest.is_empty() || rest.starts_with('#') {
                self.at += 1;
                items.push(self.nested(indent, false, depth)?);
            } else if key(rest).is_some() {
                // `- a: b` is a map whose first key stands on the dash's line.
                (line.indent, line.text) = (inner, rest);
                items.push(self.map(inner, depth + 1)?);
            } else {
                let number = line.number;
                self.at += 1;
                items.push(scalar(rest, number)?);
            }
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, indent: usize, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        loop {
            self.skip();
            let Some(line) = self.lines.get(self.at).filter(|l| l.indent >= indent) else { break };
            let number = line.number;
            if line.indent > indent {
                return Err(format!("yaml: line {number}: mapping values are not allowed in this context"));
            }
            if line.text.starts_with("- ") {
                break;
            }
            let Some((name, rest)) = key(line.text) else {
                return Err(format!("yaml: line {number}: could not find expected ':'"));
            };
            self.at += 1;
            let value = match rest {
                "" => self.nested(indent, true, depth)?,
                "|" | "|-" | ">" | ">-" => self.text(indent, rest),
                _ if rest.starts_with('#') => self.nested(indent, true, depth)?,
                _ => scalar(rest, number)?,
            };
            if map.insert(name.clone(), value).is_some() {
                return Err(format!("yaml: unmarshal errors:\n  line {number}: mapping key \"{name}\" already defined"));
            }
        }
        Ok(Value::Object(map))
    }

    /// What stands below a key (or dash) at `indent`; a list below a key may stand at the key's own indentation.
    fn nested(&mut self, indent: usize, below_key: bool, depth: usize) -> Result<Value, String> {
        self.skip();
        let Some(line) = self.lines.get(self.at) else { return Ok(Value::Null) };
        let dash = line.text == "-" || line.text.starts_with("- ");
        if line.indent > indent || (below_key && dash && line.indent == indent) {
            self.block(line.indent, depth + 1)
        } else {
            Ok(Value::Null)
        }
    }

    fn text(&mut self, indent: usize, style: &str) -> Value {
        let mut rows = Vec::new();
        let mut inner = None;
        while let Some(line) = self.lines.get(self.at).filter(|l| l.text.is_empty() || l.indent > indent) {
            let base = *inner.get_or_insert(line.indent);
            rows.push(format!("{}{}", " ".repeat(line.indent.saturating_sub(base)), line.text));
            self.at += 1;
        }
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        let text = rows.join(if style.starts_with('>') { " " } else { "\n" });
        Value::String(if style.ends_with('-') { text } else { text + "\n" })
    }
}

/// `key: rest`, `"key": rest`, `key:`.
fn key(text: &str) -> Option<(String, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| *c == '"' || *c == '\'') {
        let end = text[1..].find(quote)? + 1;
        let rest = text[end + 1..].strip_prefix(':')?;
        return (rest.is_empty() || rest.starts_with(' ')).then(|| (text[1..end].to_owned(), rest.trim()));
    }
    if text.starts_with(['[', '{']) {
        return None;
    }
    if let Some(name) = text.strip_suffix(':').filter(|n| !n.contains(": ")) {
        return Some((name.to_owned(), ""));
    }
    let (name, rest) = text.split_once(": ")?;
    Some((name.trim().to_owned(), rest.trim()))
}

fn scalar(text: &str, line: usize) -> Result<Value, String> {
    let bad = || format!("yaml: line {line}: did not find expected ',' or ']'");
    match text.chars().next() {
        Some('[') => {
            let inner = uncommented(text).strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or_else(bad)?;
            parts(inner).into_iter().map(|part| scalar(part, line)).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Some('{') => {
            let inner = uncommented(text).strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
            let mut map = Map::new();
            for part in parts(inner) {
                let (name, rest) = key(part).ok_or_else(bad)?;
                map.insert(name, scalar(rest, line)?);
            }
            Ok(Value::Object(map))
        }
        Some('"') => {
            let end = text[1..].find('"').map(|n| n + 1).ok_or_else(|| format!("yaml: line {line}: found unexpected end of stream"))?;
            Ok(Value::String(text[1..end].replace("\\n", "\n").replace("\\\\", "\\")))
        }
        Some('\'') => {
            let end = text[1..].find('\'').map(|n| n + 1).ok_or_else(|| format!("yaml: line {line}: found unexpected end of stream"))?;
            Ok(Value::String(text[1..end].to_owned()))
        }
        _ => {
            let bare = uncommented(text);
            Ok(match bare {
                "" | "~" | "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => bare.parse::<i64>().map_or_else(|_| Value::String(bare.to_owned()), Value::from),
            })
        }
    }
}

fn uncommented(text: &str) -> &str {
    text.find(" #").map_or(text, |end| &text[..end]).trim()
}

/// Comma-separated parts, commas inside brackets and quotes left alone.
fn parts(text: &str) -> Vec<&str> {
    let (mut all, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_i32, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                all.push(text[from..i].trim());
                from = i + 1;
            }
            _ => {}
        }
    }
    all.push(text[from..].trim());
    all.retain(|part| !part.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn compose_files_read_as_they_are_meant() {
        let rows = [
            ("a: 1\nb: 'x: y' # note\nc:\n", json!({ "a": 1, "b": "x: y", "c": null })),
            (
                "a:\n- x\n- \"7777:7777\"\nb: [1, 'two, three', {k: v}]\n",
                json!({ "a": ["x", "7777:7777"], "b": [1, "two, three", { "k": "v" }] }),
            ),
            ("a:\n  - name: x\n    port: 80\n  -\n    name: y\n", json!({ "a": [{ "name": "x", "port": 80 }, { "name": "y" }] })),
            ("a: |\n  one\n    two\nb: >-\n  x\n  y\n", json!({ "a": "one\n  two\n", "b": "x y" })),
            ("---\nurl: http://h:1/p\nports: 80:80\n\"q k\": true\n", json!({ "url": "http://h:1/p", "ports": "80:80", "q k": true })),
            ("# nothing\n", json!(null)),
        ];
        for (text, wanted) in rows {
            assert_eq!(parse(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_line() {
        for (text, line) in [("a: [1\n", 1), ("a: 1\n  b: 2\n", 2), ("a: 1\n\tb: 2\n", 2), ("a: 1\na: 2\n", 2), ("a: 1\nnonsense\n", 2)] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(&format!("line {line}")), "{text}: {error}");
        }
        assert!(parse(&(0..200).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>()).is_err());
    }

    proptest::proptest! {
        #![proptest_config(crate::walks::cases(256))]

        #[test]
        fn no_text_brings_it_down(text in "([a-z0-9:é#|>'\\[\\]{},-]|\"| |\n|- |: ){0,60}") {
            // Only that it returns.
            let _ = parse(&text);
        }
    }
}
