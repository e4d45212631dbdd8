//! Words: module names nobody may take, code that has no place outside tests, paths of one machine, dependencies without a reason.

use super::scan::{Comment, Source};
use super::tree::{Offence, Tree};

/// Names that say nothing about what is inside.
const NAMELESS: [&str; 11] = ["util", "utils", "common", "helper", "helpers", "misc", "core", "manager", "service", "handler", "base"];

/// Words that begin a line which ends in a semicolon or a bracket.
const ITEMS: [&str; 10] = ["let", "use", "pub", "fn", "impl", "struct", "enum", "mod", "return", "async"];

/// Words that begin a line which ends in a bracket; before a semicolon they are prose.
const BLOCKS: [&str; 6] = ["for", "while", "if", "match", "else", "}"];

/// Every word that is out of place.
pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut found = Vec::new();
    for source in &tree.rust {
        names(source, &mut found);
        if !tree.is_test(source) {
            code(source, &mut found);
            let dead = source.comments.iter().filter(|comment| is_code(comment) && !source.line_in_tests(comment.line));
            found.extend(dead.map(|comment| Offence::new(&source.path, comment.line, "code that is commented out is deleted instead")));
        }
    }
    for (path, text) in &tree.texts {
        machine_paths(path, text, &mut found);
        if path.ends_with("Cargo.toml") {
            dependencies(path, text, &mut found);
        }
    }
    found
}

fn names(source: &Source, found: &mut Vec<Offence>) {
    let rule = |name: &str| format!("nothing is called `{name}`: name the thing that is inside");
    let path = source.path.trim_end_matches(".rs").split('/');
    found.extend(path.filter(|part| NAMELESS.contains(part)).map(|part| Offence::new(&source.path, 1, rule(part))));
    for index in 0..source.tokens.len() {
        let name = source.word(index + 1).filter(|name| source.is(index, "mod") && NAMELESS.contains(name));
        found.extend(name.map(|name| Offence::new(&source.path, source.tokens[index].line, rule(name))));
    }
}

fn code(source: &Source, found: &mut Vec<Offence>) {
    let speaks = source.path.starts_with("src/cli/") || !source.path.starts_with("src/") || source.path == "src/main.rs";
    for index in 0..source.tokens.len() {
        let Some(word) = source.word(index).filter(|_| !source.in_tests(index)) else { continue };
        let call = source.is(index + 1, "(") && index > 0 && source.is(index - 1, ".");
        let bang = source.is(index + 1, "!") && !source.is(index + 2, "=");
        let rule = match word {
            "unwrap" if call => "`unwrap()` has no place outside tests: return the error or say with `expect` why it cannot be",
            "todo" | "unimplemented" if bang => "unfinished code does not land",
            "dbg" if bang => "`dbg!` is for the desk",
            "unsafe" => "there is no unsafe code in this house",
            "println" | "eprintln" | "print" | "eprint" if bang && !speaks => {
                "only src/cli and src/main.rs print; everything else sends events"
            }
            _ => continue,
        };
        found.push(Offence::new(&source.path, source.tokens[index].line, rule));
    }
}

/// Whether a comment reads like a line of Rust: it ends as a statement does and begins as one does.
fn is_code(comment: &Comment) -> bool {
    let text = comment.text.trim();
    if comment.doc || text.is_empty() {
        return false;
    }
    if ["}", "};", "})", "});", "),", "},"].contains(&text) {
        return true;
    }
    let (statement, opens) = (text.ends_with(';'), text.ends_with('{'));
    let first = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '}').next().unwrap_or_default();
    let path_end = text.find(|letter: char| !letter.is_alphanumeric() && !"_.:".contains(letter)).unwrap_or(text.len());
    let behind = &text[path_end..];
    let calls = path_end > 0 && [" = ", " += ", "(", "!("].iter().any(|start| behind.starts_with(start));
    (statement || opens) && (ITEMS.contains(&first) || calls) || opens && BLOCKS.contains(&first)
}

fn machine_paths(path: &str, text: &str, found: &mut Vec<Offence>) {
    // Put together, so that this file may be read by its own rule.
    let desk = ["/wo", "rk/"].concat();
    let named = text.lines().enumerate().filter(|(_, line)| line.contains(&desk));
    found.extend(named.map(|(index, _)| Offence::new(path, index + 1, "no file names a path of one machine")));
}

fn dependencies(path: &str, text: &str, found: &mut Vec<Offence>) {
    let (mut inside, mut depth, mut before) = (false, 0_isize, "");
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let header = line.starts_with('[') && depth == 0;
        if header {
            let name = line.trim_matches(['[', ']']);
            inside = name.ends_with("dependencies");
        }
        let single = line.starts_with('[') && line.contains("dependencies.");
        let begins = depth == 0 && (single && header || inside && !header && line.contains('=') && !line.starts_with('#'));
        if begins && !before.starts_with('#') {
            found.push(Offence::new(path, index + 1, "a dependency has a comment line of reason above it"));
        }
        if !line.starts_with('#') && !header {
            let count = |letters: [char; 2]| isize::try_from(line.matches(letters).count()).unwrap_or(0);
            depth += count(['[', '{']) - count([']', '}']);
        }
        before = line;
    }
}

#[cfg(test)]
mod samples {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<String> {
        check(&Tree::sample(&[(path, text)])).into_iter().map(|offence| offence.to_string()).collect()
    }

    #[test]
    fn names_that_say_nothing_are_caught() {
        assert!(rules("src/wire/util.rs", "")[0].contains("nothing is called `util`"));
        assert_eq!(rules("src/core/mod.rs", "").len(), 1);
        assert_eq!(rules("bot/src/main.rs", "mod handler;").len(), 1);
        assert!(rules("src/wire/database.rs", "mod bases;").is_empty());
    }

    #[test]
    fn code_without_a_place_is_caught_outside_tests() {
        let bad = ["a.unwrap();", "todo!()", "unimplemented!(\"x\")", "dbg!(a)", "unsafe { a() }", "println!(\"x\")", "eprint!(\"x\")"];
        for code in bad {
            assert_eq!(rules("src/wire/a.rs", &format!("fn f() {{ {code} }}")).len(), 1, "{code}");
            assert!(rules("src/wire/a.rs", &format!("#[test]\nfn f() {{ {code} }}")).is_empty(), "{code}");
            assert!(rules("src/wire/a.rs", &format!("/// {code}\nfn f() {{ \"{}\" }}", code.replace('"', ""))).is_empty(), "{code}");
        }
        assert!(rules("src/cli/a.rs", "fn f() { println!(\"x\") }").is_empty());
        assert!(rules("src/wire/a.rs", "#![forbid(unsafe_code)]\nfn f() { a.unwrap_or(0); todo != 1 }").is_empty());
    }

    #[test]
    fn commented_out_code_is_caught_and_prose_is_not() {
        let code =
            ["let x = 1;", "self.close(a, b);", "if a {", "}", "});", "std::fs::write(a);", "x.y = 3;", "return Err(e);", "panic!(\"a\");"];
        for line in code {
            assert_eq!(rules("src/a.rs", &format!("// {line}\nfn f() {{}}")).len(), 1, "{line}");
        }
        let prose = [
            "for a VM that is off (see above);",
            "let it be",
            "the ticket is renewed (once);",
            "as in `a.b();`",
            "if it fails, try again",
            "  ",
        ];
        for line in prose {
            assert!(rules("src/a.rs", &format!("// {line}\nfn f() {{}}")).is_empty(), "{line}");
        }
        assert!(rules("src/a.rs", "//! A.\n//! let x = 1;\n/// let y = 2;\nfn f() {}\n#[cfg(test)]\nmod t {\n// let x = 1;\n}").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_caught_in_any_file() {
        let text = format!("a\nsee {}shared", ["/wo", "rk/"].concat());
        assert_eq!(rules("docs/a.md", &text), ["docs/a.md:2: no file names a path of one machine"]);
    }

    #[test]
    fn dependencies_without_a_reason_are_caught() {
        let good = "[package]\nname = \"x\"\n[dependencies]\n# Why.\na = { version = \"1\", features = [\n  \"x\",\n] }\n\n# Why.\nb = \"1\"\n[lints]\nc = 1\n";
        assert!(rules("Cargo.toml", good).is_empty());
        let bad = "[dependencies]\n# Why.\na = \"1\"\nb = \"1\"\n[dev-dependencies.c]\nversion = \"1\"\n";
        let lines: Vec<String> = rules("bot/Cargo.toml", bad);
        assert!(lines.len() == 2 && lines[0].starts_with("bot/Cargo.toml:4:") && lines[1].starts_with("bot/Cargo.toml:5:"), "{lines:?}");
    }
}
