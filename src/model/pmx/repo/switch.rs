//! The scripts that turn an old tree into a new one on the far side.
//!
//! ```text
//! .pmx/<kind>/next-<digest>/tree/…    files that have travelled, each whole
//!                          /list      what will be there and is pmx's, NUL after each path
//!                          /ready     checks and prepares; nothing outside of .pmx changes but new empty directories
//!                          /switch    moves, removes, and puts the list in place; may be run again
//! .pmx/<kind>/switching               the same directory once the switch is decided: one rename
//! .pmx/<kind>/list                    what pmx has put there
//! ```
//!
//! Until that rename the tree is the old one, whatever breaks. After it the new one comes: the switch does not need the connection, and if the host itself
//! dies in it, the next sync runs it again first.

use crate::wire::command::{BadWord, quote};

/// Names in one command: far below the longest that a kernel takes.
const AT_ONCE: usize = 200;

/// What is to be done, paths below the directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// New directories, parents first.
    pub dirs: Vec<String>,
    /// Files and links that go from the stage to their places.
    pub moves: Vec<String>,
    /// Links to make in the stage: path and target.
    pub links: Vec<(String, String)>,
    /// Files to make in the stage from ones that are there: path, where the content is, mode.
    pub copies: Vec<(String, String, u32)>,
    /// Files to remove before anything else, because a directory takes their place.
    pub first: Vec<String>,
    /// Files to remove.
    pub gone: Vec<String>,
    /// Directories to remove if they are empty then, deepest first.
    pub empty: Vec<String>,
}

/// Directory and name; the directory of a name alone is `.`.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn words(paths: &[String]) -> Result<String, BadWord> {
    let quoted: Vec<String> = paths.iter().map(|path| quote(&format!("./{path}"))).collect::<Result<_, _>>()?;
    Ok(quoted.join(" "))
}

/// `command` over all paths, some at a time.
fn over(command: &str, paths: &[String], script: &mut String) -> Result<(), BadWord> {
    for some in paths.chunks(AT_ONCE) {
        script.push_str(&format!("{command} {}\n", words(some)?));
    }
    Ok(())
}

/// Checks and prepares. It runs in the directory, with the stage's path as its argument; any status but 0 means that nothing has changed.
pub fn ready(steps: &Steps) -> Result<String, BadWord> {
    let mut script = "s=$1/tree\nfail() { echo \"$1\" >&2; undo; exit 1; }\nundo() { :\n".to_owned();
    let deepest: Vec<String> = steps.dirs.iter().rev().filter(|dir| !below_any(dir, &steps.first)).cloned().collect();
    over("rmdir 2>/dev/null", &deepest, &mut script)?;
    script.push_str("}\n");
    for (path, target) in &steps.links {
        let at = quote(&format!("/{path}"))?;
        let dir = quote(&format!("/{}", split(path).0))?;
        script.push_str(&format!(
            "mkdir -p \"$s\"{dir} && rm -f \"$s\"{at} && ln -s -- {} \"$s\"{at} || fail 'a link could not be made'\n",
            quote(target)?
        ));
    }
    for (path, from, mode) in &steps.copies {
        let (at, from) = (quote(&format!("/{path}"))?, quote(&format!("./{from}"))?);
        let dir = quote(&format!("/{}", split(path).0))?;
        script.push_str(&format!(
            "mkdir -p \"$s\"{dir} && rm -f \"$s\"{at} && cp {from} \"$s\"{at} && chmod {mode:o} \"$s\"{at} || fail 'a file could not be copied'\n"
        ));
    }
    script.push_str("staged() { for p do [ -L \"$s/$p\" ] || [ -f \"$s/$p\" ] || fail \"$p is not in the stage\"; done; }\n");
    over("staged", &steps.moves, &mut script)?;
    script.push_str("made() { mkdir -p \"$@\" || fail 'a directory could not be made'; }\n");
    let now: Vec<String> = steps.dirs.iter().filter(|dir| !below_any(dir, &steps.first)).cloned().collect();
    over("made", &now, &mut script)?;
    Ok(script)
}

fn below_any(dir: &str, files: &[String]) -> bool {
    files.iter().any(|file| dir == file || dir.strip_prefix(file.as_str()).is_some_and(|rest| rest.starts_with('/')))
}

/// The switch. It runs in the directory, with the stage's path as its first argument and the list's place as its second; running it again does what is left.
pub fn switch(steps: &Steps) -> Result<String, BadWord> {
    let mut script = "s=$1/tree\nbad=\n".to_owned();
    over("rm -f", &steps.first, &mut script)?;
    over("mkdir -p", &steps.dirs, &mut script)?;
    // Whatever is no longer in the stage has been moved before.
    script.push_str(
        "m() { d=$1; shift; for f do shift; if [ -L \"$s/$d/$f\" ] || [ -f \"$s/$d/$f\" ]; then set -- \"$@\" \"$s/$d/$f\"; fi; done\n\
         [ $# = 0 ] || mv -f \"$@\" \"./$d/\" || bad=1; }\n",
    );
    let mut rest = steps.moves.as_slice();
    while let Some(first) = rest.first() {
        let dir = split(first).0;
        let count = rest.iter().take(AT_ONCE).take_while(|path| split(path).0 == dir).count();
        let names: Vec<String> = rest[..count].iter().map(|path| quote(split(path).1)).collect::<Result<_, _>>()?;
        script.push_str(&format!("m {} {}\n", quote(dir)?, names.join(" ")));
        rest = &rest[count..];
    }
    over("rm -f", &steps.gone, &mut script)?;
    over("rmdir 2>/dev/null", &steps.empty, &mut script)?;
    script.push_str("[ -z \"$bad\" ] || exit 1\nif [ -f \"$1/list\" ]; then mv -f \"$1/list\" \"$2\" || exit 1; fi\nrm -rf \"$1\"\n");
    Ok(script)
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
