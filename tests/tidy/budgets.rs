//! Budgets: how long a file and a function may be, how many parameters and fields there may be, and who raised them.

use super::scan::Source;
use super::tree::{Offence, Tree};

/// What may be raised, with its ordinary limit.
const LIMITS: [(&str, usize); 5] = [("file", 600), ("function", 70), ("parameters", 5), ("fields", 12), ("argument fields", 20)];

/// Structs whose fields a user fills in: as many as the method or command has arguments.
const ARGUMENTS: [&str; 3] = ["Args", "Globals", "Arguments"];

/// Every budget that a Rust file of the repository breaks.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for source in &tree.rust {
        let lines = source.lines.len();
        let limit = limit(source, "file");
        if lines > limit {
            found.push(Offence::new(&source.path, lines, format!("a file has at most {limit} lines, this one {lines}: split it")));
        }
        functions(source, &mut found);
        structs(source, &mut found);
        found.extend(raises(source).into_iter().filter_map(Result::err));
    }
    found
}

/// Every budget that a file raised, as it says so.
pub fn raised(tree: &Tree) -> Vec<String> {
    let of =
        |source: &Source| raises(source).into_iter().flatten().map(|raise| format!("{}: {}", source.path, raise.text)).collect::<Vec<_>>();
    tree.rust.iter().flat_map(of).collect()
}

struct Raise {
    what: &'static str,
    limit: usize,
    text: String,
}

/// The lines `// tidy: file ≤ 700 lines, because …` of a file, or what is wrong with them.
fn raises(source: &Source) -> Vec<Result<Raise, Offence>> {
    let read = |text: &str| {
        let (what, rest) = text.split_once('≤')?;
        let (number, reason) = rest.split_once(',')?;
        let (what, _) = LIMITS.into_iter().find(|(name, _)| *name == what.trim())?;
        let limit = number.split_whitespace().next()?.parse().ok()?;
        let because = reason.trim().strip_prefix("because ")?;
        (because.len() > 10).then(|| Raise { what, limit, text: text.trim().to_owned() })
    };
    let said = source
        .comments
        .iter()
        .filter(|comment| !comment.doc)
        .filter_map(|comment| Some((comment.line, comment.text.trim().strip_prefix("tidy:")?)));
    let wrong = |line| {
        let names: Vec<&str> = LIMITS.iter().map(|(name, _)| *name).collect();
        Offence::new(
            &source.path,
            line,
            format!("a raised budget reads `// tidy: WHAT ≤ N, because REASON`, with WHAT one of: {}", names.join(", ")),
        )
    };
    said.map(|(line, text)| read(text).ok_or_else(|| wrong(line))).collect()
}

fn limit(source: &Source, what: &str) -> usize {
    let own = raises(source).into_iter().flatten().find(|raise| raise.what == what).map(|raise| raise.limit);
    own.or_else(|| LIMITS.iter().find(|(name, _)| *name == what).map(|(_, limit)| *limit)).unwrap_or(0)
}

fn functions(source: &Source, found: &mut Vec<Offence>) {
    let (most_lines, most_parameters) = (limit(source, "function"), limit(source, "parameters"));
    for index in 0..source.tokens.len() {
        let Some(name) = source.word(index + 1).filter(|_| source.is(index, "fn")) else { continue };
        let line = source.tokens[index].line;
        let open = skip_generics(source, index + 2);
        let parameters = items(source, open);
        // A foreign trait decides the parameters of its methods; clippy judges it the same way.
        if parameters > most_parameters && !in_trait_impl(source, index) {
            let rule = format!(
                "a function has at most {most_parameters} parameters, `{name}` has {parameters}: make a struct of what belongs together"
            );
            found.push(Offence::new(&source.path, line, rule));
        }
        let body = source.head_end(source.close(open));
        let lines = if source.is(body, "{") { code_lines(source, body) } else { 0 };
        if lines > most_lines {
            found.push(Offence::new(
                &source.path,
                line,
                format!("a function has at most {most_lines} lines of code, `{name}` has {lines}"),
            ));
        }
    }
}

/// Lines with code between the brackets at `open`: comments and empty lines are free, as they are for clippy.
fn code_lines(source: &Source, open: usize) -> usize {
    let close = source.close(open) - 1;
    let first = source.tokens[open].line;
    let last = source.tokens.get(close).map_or(first, |token| token.line);
    let inside = source.tokens[open + 1..close].iter().flat_map(|token| token.line..=token.end);
    inside.filter(|line| *line > first && *line < last).collect::<std::collections::BTreeSet<_>>().len()
}

fn in_trait_impl(source: &Source, function: usize) -> bool {
    (0..function).rev().filter(|index| source.is(*index, "impl")).any(|index| {
        let open = source.head_end(index);
        let for_type = (index..open).any(|at| source.is(at, "for") && !source.is(at + 1, "<"));
        for_type && source.is(open, "{") && (open..source.close(open)).contains(&function)
    })
}

fn structs(source: &Source, found: &mut Vec<Offence>) {
    for index in 0..source.tokens.len() {
        let Some(name) = source.word(index + 1).filter(|_| source.is(index, "struct")) else { continue };
        let after = skip_generics(source, index + 2);
        let open = if source.is(after, "(") { after } else { source.head_end(after) };
        let what = if ARGUMENTS.iter().any(|ending| name.ends_with(ending)) { "argument fields" } else { "fields" };
        let (most, fields) = (limit(source, what), items(source, open));
        if fields > most {
            let rule =
                format!("a struct has at most {most} fields ({} for arguments), `{name}` has {fields}", limit(source, "argument fields"));
            found.push(Offence::new(&source.path, source.tokens[index].line, rule));
        }
    }
}

/// The index behind `<…>` when generics begin at `index`, else `index` itself.
fn skip_generics(source: &Source, index: usize) -> usize {
    if !source.is(index, "<") {
        return index;
    }
    let mut depth = 0_usize;
    for at in index..source.tokens.len() {
        match source.mark(at) {
            "<" => depth += 1,
            ">" if source.mark(at - 1) != "-" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    index
}

/// How many comma-separated things stand directly inside the brackets at `open`.
fn items(source: &Source, open: usize) -> usize {
    if !matches!(source.mark(open), "(" | "{") {
        return 0;
    }
    let end = source.close(open) - 1;
    let (mut at, mut count, mut pending) = (open + 1, 0, false);
    while at < end {
        match source.mark(at) {
            "," => {
                count += usize::from(pending);
                pending = false;
                at += 1;
            }
            "(" | "[" | "{" => at = source.close(at),
            "<" => at = skip_generics(source, at).max(at + 1),
            "#" => at = source.close(at + 1),
            _ => {
                pending = true;
                at += 1;
            }
        }
    }
    count + usize::from(pending)
}

#[cfg(test)]
mod samples {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        check(&Tree::sample(&[("src/a.rs", text)])).into_iter().map(|offence| offence.rule).collect()
    }

    #[test]
    fn a_long_file_is_caught_unless_it_gives_a_reason() {
        let long = "//! A.\n".repeat(601);
        assert_eq!(rules(&long), ["a file has at most 600 lines, this one 601: split it"]);
        let reasoned = format!("{long}// tidy: file ≤ 700 lines, because the table of all opcodes is one thing\n");
        assert!(rules(&reasoned).is_empty());
        assert_eq!(raised(&Tree::sample(&[("src/a.rs", &reasoned)])).len(), 1);
        assert!(rules("// tidy: file ≤ 700 lines\n")[0].starts_with("a raised budget reads"));
    }

    #[test]
    fn a_long_function_is_caught_and_comments_in_it_are_free() {
        let body = |line: &str, times: usize| format!("fn long() {{\n{}}}\n", format!("{line}\n").repeat(times));
        assert!(rules(&body("a();", 70)).is_empty());
        assert!(rules(&body("a(); // why", 71))[0].contains("`long` has 71"));
        assert!(rules(&body("// a reason", 200)).is_empty());
    }

    #[test]
    fn many_parameters_are_caught_where_the_name_is_ours() {
        let six = "fn six<T: Fn(u8) -> (u8, u8)>(a: u8, b: Vec<(u8, u8)>, c: M<u8, u8>, d: [u8; 2], e: T, f: u8,) {}";
        assert!(rules(six)[0].contains("`six` has 6"));
        assert!(rules("fn five(a: u8, b: Vec<(u8, u8)>, c: M<u8, u8>, d: fn(u8, u8) -> u8, e: u8,) {}").is_empty());
        assert!(rules(&format!("impl Foreign for Mine {{ {six} }}")).is_empty());
        assert_eq!(rules(&format!("impl Mine {{ {six} }}")).len(), 1);
    }

    #[test]
    fn wide_structs_are_caught_and_argument_structs_may_be_wider() {
        let fields = |count: usize| (0..count).map(|field| format!("#[x(a, b)] pub f{field}: M<u8, u8>, ")).collect::<String>();
        assert!(rules(&format!("struct Twelve<'a> {{ {} }}", fields(12))).is_empty());
        assert!(rules(&format!("struct Wide where u8: Copy {{ {} }}", fields(13)))[0].contains("`Wide` has 13"));
        assert!(rules(&format!("struct WideArgs {{ {} }}", fields(20))).is_empty());
        assert_eq!(rules(&format!("struct WideArgs {{ {} }}", fields(21))).len(), 1);
    }
}
