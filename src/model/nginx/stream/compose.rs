//! Changes the `ports` of one service in a compose file, line by line, so that comments, order and quotes stay as they are.
//!
//! The file's indentation leads to `services`, to the service, to its `ports`; there whole lines go and come, and every other byte stays. Whatever is
//! written in another way (`ports: [...]`, tabs, an anchor) is refused. What the changed file means is proven afterwards by compose itself.

use std::collections::BTreeSet;

use crate::model::nginx::stream::ports::{Listen, Protocol};

/// Why a file is not changed: what stands where.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum EditError {
    /// A line that this editor does not understand.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is the matter with it.
        why: &'static str,
    },
    /// Something is not there.
    #[error("{0}")]
    Missing(String),
}

/// One line as far as its indentation counts.
struct Line<'a> {
    /// With its end.
    raw: &'a str,
    indent: usize,
    /// Without indentation and end.
    text: &'a str,
}

impl Line<'_> {
    /// Whether it is empty or a comment: it belongs to nothing.
    fn is_blank(&self) -> bool {
        self.text.is_empty() || self.text.starts_with('#')
    }

    /// What stands behind the key `name`, without a comment; `None` when the line is not that key.
    fn key(&self, name: &str) -> Option<&str> {
        let forms = [name.to_owned(), format!("\"{name}\""), format!("'{name}'")];
        let rest = forms.iter().find_map(|form| self.text.strip_prefix(form.as_str()))?.trim_start_matches(' ').strip_prefix(':')?;
        (rest.is_empty() || rest.starts_with(' ')).then(|| uncommented(rest))
    }

    fn is_item(&self) -> bool {
        self.text == "-" || self.text.starts_with("- ")
    }
}

/// A list of ports: the lines that it takes.
struct List {
    key: usize,
    /// First and last line of each item.
    items: Vec<(usize, usize)>,
    indent: usize,
}

/// The file with `remove` gone from the service's ports and `add` behind them. Only `port:port` is removed, and that is what is added.
pub fn edit(text: &str, service: &str, remove: &BTreeSet<Listen>, add: &BTreeSet<Listen>) -> Result<String, EditError> {
    if remove.is_empty() && add.is_empty() {
        return Ok(text.to_owned());
    }
    let lines: Vec<Line<'_>> = text.split_inclusive('\n').map(line).collect();
    if let Some(at) = lines.iter().position(|line| line.raw.trim_start_matches(' ').starts_with('\t')) {
        return Err(EditError::Line { line: at + 1, why: "a tab in the indentation" });
    }
    if let Some(at) = lines.iter().skip(1).position(|line| line.indent == 0 && (line.text == "---" || line.text.starts_with("--- "))) {
        return Err(EditError::Line { line: at + 2, why: "a second document" });
    }
    let services = only(&lines, (0, lines.len()), "services")?.ok_or_else(|| EditError::Missing("there is no `services:`".to_owned()))?;
    let found = only(&lines, block(&lines, services), service)?;
    let own = found.ok_or_else(|| EditError::Missing(format!("there is no service `{service}` below `services:`")))?;
    let inside = block(&lines, own);
    let list = only(&lines, inside, "ports")?.map(|key| list(&lines, key, inside.1)).transpose()?;
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let gone = list.as_ref().map_or(Ok(BTreeSet::new()), |list| gone(&lines, list, remove))?;
    if let Some(port) = remove.iter().find(|port| !gone.iter().any(|at| published(lines[*at].text) == Some(**port))) {
        return Err(EditError::Missing(format!("{port} is published, but not by a line `- \"{0}:{0}\"` of its own", port.port)));
    }
    let (after, indent, quote) = match &list {
        Some(list) => (list.items.last().map_or(list.key, |(_, last)| *last), list.indent, quote(&lines, list)),
        None => (last_of(&lines, inside, own), indentation(&lines, inside, own), '"'),
    };
    let mut new: String = if list.is_none() { format!("{}ports:{end}", " ".repeat(indent)) } else { String::new() };
    let deeper = if list.is_none() { indent + 2 } else { indent };
    for port in add {
        let protocol = if port.protocol == Protocol::Udp { "/udp" } else { "" };
        new.push_str(&format!("{}- {quote}{1}:{1}{protocol}{quote}{end}", " ".repeat(deeper), port.port));
    }
    // A key without a single item left would be a null, which is no list.
    let bare = list.as_ref().filter(|list| add.is_empty() && list.items.len() == gone.len()).map(|list| list.key);
    let mut out = String::with_capacity(text.len() + new.len());
    for (at, line) in lines.iter().enumerate() {
        if !gone.contains(&at) && bare != Some(at) {
            out.push_str(line.raw);
        }
        if at == after && !add.is_empty() {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push_str(end);
            }
            out.push_str(&new);
        }
    }
    Ok(out)
}

fn line(raw: &str) -> Line<'_> {
    let bare = raw.trim_end_matches(['\n', '\r', ' ']);
    let text = bare.trim_start_matches(' ');
    Line { raw, indent: bare.len() - text.len(), text }
}

/// The line of the key `name` among the entries of a map, by the indentation of its first entry. Twice is refused, and so is a value on the key's own line.
fn only(lines: &[Line<'_>], (from, to): (usize, usize), name: &str) -> Result<Option<usize>, EditError> {
    let Some(first) = (from..to).find(|at| !lines[*at].is_blank() && lines[*at].text != "---") else { return Ok(None) };
    let mut found = (first..to).filter(|at| lines[*at].indent == lines[first].indent && lines[*at].key(name).is_some());
    let Some(key) = found.next() else { return Ok(None) };
    if let Some(second) = found.next() {
        return Err(EditError::Line { line: second + 1, why: "the same key again" });
    }
    match lines[key].key(name) {
        Some("") => Ok(Some(key)),
        _ => Err(EditError::Line { line: key + 1, why: "a value on the same line as its key; write it below, an entry a line" }),
    }
}

/// The lines below a key: from the first entry to where something stands at the key's own indentation or left of it.
fn block(lines: &[Line<'_>], key: usize) -> (usize, usize) {
    let inside = |line: &Line<'_>| line.is_blank() || line.indent > lines[key].indent;
    let end = (key + 1..lines.len()).find(|at| !inside(&lines[*at])).unwrap_or(lines.len());
    let start = (key + 1..end).find(|at| !lines[*at].is_blank()).unwrap_or(end);
    (start, end)
}

/// The items below `ports:`; a list may stand at its key's own indentation.
fn list(lines: &[Line<'_>], key: usize, end: usize) -> Result<List, EditError> {
    let first = (key + 1..end).find(|at| !lines[*at].is_blank());
    let first = first.filter(|at| lines[*at].is_item() && lines[*at].indent >= lines[key].indent);
    let Some(first) = first else { return Ok(List { key, items: Vec::new(), indent: lines[key].indent + 2 }) };
    let indent = lines[first].indent;
    let mut items: Vec<(usize, usize)> = Vec::new();
    for at in first..end {
        let line = &lines[at];
        if line.is_blank() {
            continue;
        }
        if line.indent == indent && line.is_item() {
            items.push((at, at));
        } else if line.indent > indent {
            if let Some(item) = items.last_mut() {
                item.1 = at;
            }
        } else if line.indent == indent && line.indent > lines[key].indent {
            return Err(EditError::Line { line: at + 1, why: "no entry of the list that it stands in" });
        } else {
            break;
        }
    }
    Ok(List { key, items, indent })
}

/// The lines of the items that publish one of `remove`.
fn gone(lines: &[Line<'_>], list: &List, remove: &BTreeSet<Listen>) -> Result<BTreeSet<usize>, EditError> {
    let mut gone = BTreeSet::new();
    for (first, last) in &list.items {
        let port = published(lines[*first].text).filter(|port| remove.contains(port));
        if port.is_some() && last > first {
            return Err(EditError::Line { line: last + 1, why: "a port goes on over several lines" });
        }
        gone.extend(port.map(|_| *first));
    }
    Ok(gone)
}

/// What an item of the form `- "port:port[/protocol]"` publishes.
fn published(item: &str) -> Option<Listen> {
    let value = uncommented(item.strip_prefix("- ")?);
    let bare = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value);
    let (numbers, protocol) = bare.split_once('/').unwrap_or((bare, "tcp"));
    let (outside, inside) = numbers.split_once(':')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let port = outside.parse().ok().filter(|_| outside == inside)?;
    Some(Listen { port, protocol })
}

/// The quotes of the list's last line that has some. Without them YAML reads `22:22` as a number to the base of 60.
fn quote(lines: &[Line<'_>], list: &List) -> char {
    let quotes = list.items.iter().rev().filter_map(|(first, _)| lines[*first].text.strip_prefix("- ")?.chars().next());
    quotes.into_iter().find(|c| matches!(c, '"' | '\'')).unwrap_or('"')
}

/// How far the entries of a service are indented.
fn indentation(lines: &[Line<'_>], (from, to): (usize, usize), key: usize) -> usize {
    lines[from..to].first().map_or(lines[key].indent + 2, |line| line.indent)
}

/// The last line of a service that is none of the blank ones behind it.
fn last_of(lines: &[Line<'_>], (from, to): (usize, usize), key: usize) -> usize {
    (from..to).rfind(|at| !lines[*at].is_blank()).unwrap_or(key)
}

fn uncommented(text: &str) -> &str {
    let text = text.trim();
    if text.starts_with('#') {
        return "";
    }
    text.find(" #").map_or(text, |at| &text[..at]).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# the proxies\nservices:\n  web:\n    image: nginx:1.27\n    ports:\n      - \"80:80\"\n\n  stream: # games\n    image: nginx:1.27\n    ports:   # one a game\n      # terraria\n      - '7777:7777' # calamity\n      - target: 9000\n        published: \"9000\"\n\n      # voice\n      - 24454:24454/udp\n    volumes:\n      - ./conf.d:/etc/nginx/stream.d:ro\n";

    fn set(ports: &[(u16, Protocol)]) -> BTreeSet<Listen> {
        ports.iter().map(|(port, protocol)| Listen { port: *port, protocol: *protocol }).collect()
    }

    fn tcp(ports: &[u16]) -> BTreeSet<Listen> {
        ports.iter().map(|port| Listen { port: *port, protocol: Protocol::Tcp }).collect()
    }

    #[test]
    fn lines_go_and_come_and_every_other_byte_stays() {
        let out = edit(FILE, "stream", &tcp(&[7777]), &set(&[(25565, Protocol::Tcp), (19132, Protocol::Udp)])).unwrap();
        let expected = FILE
            .replace("      - '7777:7777' # calamity\n", "")
            .replace("      - 24454:24454/udp\n", "      - 24454:24454/udp\n      - '19132:19132/udp'\n      - '25565:25565'\n");
        assert_eq!(out, expected);
        assert_eq!(
            edit(&out, "stream", &set(&[(19132, Protocol::Udp)]), &BTreeSet::new()).unwrap(),
            expected.replace("      - '19132:19132/udp'\n", "")
        );
        assert_eq!(edit(FILE, "stream", &BTreeSet::new(), &BTreeSet::new()).unwrap(), FILE);
    }

    #[test]
    fn a_service_without_ports_gets_some_and_loses_them_again() {
        let file = "services:\n  stream:\n    image: nginx\n\n# the end\nvolumes: {}\n";
        let with = edit(file, "stream", &BTreeSet::new(), &tcp(&[80])).unwrap();
        assert_eq!(with, "services:\n  stream:\n    image: nginx\n    ports:\n      - \"80:80\"\n\n# the end\nvolumes: {}\n");
        assert_eq!(edit(&with, "stream", &tcp(&[80]), &BTreeSet::new()).unwrap(), file);
        let cut = edit("services:\r\n  stream:\r\n    image: nginx", "stream", &BTreeSet::new(), &tcp(&[80])).unwrap();
        assert_eq!(cut, "services:\r\n  stream:\r\n    image: nginx\r\n    ports:\r\n      - \"80:80\"\r\n");
    }

    #[test]
    fn a_list_may_stand_at_its_keys_indentation() {
        let file = "services:\n  stream:\n    ports:\n    - \"80:80\"\n    image: nginx\n";
        let out = edit(file, "stream", &tcp(&[80]), &tcp(&[81])).unwrap();
        assert_eq!(out, "services:\n  stream:\n    ports:\n    - \"81:81\"\n    image: nginx\n");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (file, told) in [
            ("services:\n  stream:\n    ports: [\"80:80\"]\n", "line 3: a value on the same line"),
            ("services:\n  stream:\n    ports: *ports\n", "line 3: a value on the same line"),
            ("services:\n  stream: &x\n    ports:\n", "line 2: a value on the same line"),
            ("services: {stream: {}}\n", "line 1: a value on the same line"),
            ("services:\n  stream:\n\t  ports:\n", "line 3: a tab"),
            ("services:\n  stream:\n    image: a\n---\nservices:\n", "line 4: a second document"),
            ("services:\n  stream:\n    image: a\n  stream:\n    image: b\n", "line 4: the same key again"),
            ("services:\n  web:\n    image: a\n", "there is no service `stream`"),
            ("volumes:\n", "there is no `services:`"),
            ("", "there is no `services:`"),
        ] {
            let error = edit(file, "stream", &BTreeSet::new(), &tcp(&[80])).unwrap_err().to_string();
            assert!(error.contains(told), "{file}: {error}");
        }
        for line in ["- 9000-9010:9000-9010", "- \"127.0.0.1:9000:9000\"", "- 9000", "- target: 9000"] {
            let error =
                edit(&format!("services:\n  stream:\n    ports:\n      {line}\n"), "stream", &tcp(&[9000]), &BTreeSet::new()).unwrap_err();
            assert_eq!(error.to_string(), "9000/tcp is published, but not by a line `- \"9000:9000\"` of its own", "{line}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::walks::cases(256))]

        #[test]
        fn no_text_brings_it_down_and_what_comes_out_only_adds_lines(text in "(services:\n|  stream:\n|    ports:\n|      - \"80:80\"\n|# c\n|\n|    image: x\n|  |- |: |\t|\"|é){0,30}") {
            if let Ok(out) = edit(&text, "stream", &BTreeSet::new(), &tcp(&[81])) {
                let kept: Vec<&str> = out.lines().filter(|line| !line.contains("81:81")).collect();
                proptest::prop_assert!(kept.len() <= text.lines().count() + 1);
            }
        }
    }
}
