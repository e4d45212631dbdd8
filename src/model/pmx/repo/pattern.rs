//! Patterns of paths that stay at home: a name at any depth, or a path from the root, with `*`, `?` and `**`.

use crate::model::contract::Failure;

/// What is left out.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Patterns as users write them: `*.log`, `docs/drafts`, `/build`, `cache/**/old`.
    pub fn new(written: &[String]) -> Result<Self, Failure> {
        let read = |text: &String| {
            let bare = text.trim_end_matches('/');
            let odd = bare.is_empty() || bare.trim_start_matches('/').split('/').any(|part| matches!(part, "" | "." | ".."));
            if odd {
                let message = format!("`{}` under `excludes` is neither a name nor a path below the project", text.escape_debug());
                return Err(Failure::yours(message).help("such as \"*.log\", \"docs/drafts\" or \"/build\""));
            }
            Ok(bare.to_owned())
        };
        written.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether `path`, below the root, is one of them. What is below a directory that fits is never asked for.
    pub fn fit(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        self.0.iter().any(|pattern| {
            if pattern.contains('/') {
                let wanted: Vec<&str> = pattern.trim_start_matches('/').split('/').collect();
                path_fits(&wanted, &parts)
            } else {
                parts.last().is_some_and(|name| name_fits(pattern, name))
            }
        })
    }
}

fn path_fits(wanted: &[&str], parts: &[&str]) -> bool {
    match (wanted.split_first(), parts.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((&"**", after)), None) => path_fits(after, parts),
        (Some((&"**", after)), Some((_, rest))) => path_fits(after, parts) || path_fits(wanted, rest),
        (Some(_), None) => false,
        (Some((first, after)), Some((part, rest))) => name_fits(first, part) && path_fits(after, rest),
    }
}

/// `*` stands for any text, `?` for one character.
fn name_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, here));
            at += 1;
        } else if pattern.get(at).is_some_and(|c| *c == '?' || *c == name[here]) {
            (at, here) = (at + 1, here + 1);
        } else if let Some((back, from)) = star {
            // The last star takes one character more.
            star = Some((back, from + 1));
            (at, here) = (back + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_at_any_depth_and_paths_from_the_root() {
        let fits = |pattern: &str, path: &str| Patterns::new(&[pattern.to_owned()]).unwrap().fit(path);
        for (pattern, path) in [
            ("*.log", "a/b/x.log"),
            ("node_modules/", "web/node_modules"),
            ("/build", "build"),
            ("docs/draft?", "docs/drafts"),
            ("a/**/z", "a/z"),
            ("a/**/z", "a/b/c/z"),
            ("*a*b", "xaab"),
            ("[x]", "a/[x]"),
        ] {
            assert!(fits(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("*.log", "x.logs"), ("/build", "a/build"), ("docs/*", "docs/a/b"), ("docs/a", "x/docs/a"), ("?", "ab")] {
            assert!(!fits(pattern, path), "{pattern} {path}");
        }
        for odd in ["", "/", "..", "a/../b", "./a", "a//b"] {
            assert!(Patterns::new(&[odd.to_owned()]).is_err(), "{odd}");
        }
    }
}
