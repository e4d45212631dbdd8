//! `pmx foo`: runs `pmx-foo` from the PATH when `foo` is no command of pmx.
#![expect(clippy::disallowed_methods, reason = "hands over to another program")]

use std::os::unix::process::CommandExt;

use clap::CommandFactory;

use crate::cli::args::Cli;
use crate::source::Diagnostic;

/// Becomes `pmx-<word>`; returns only when there is none.
pub fn run(words: &[String]) -> Vec<Diagnostic> {
    let Some((word, rest)) = words.split_first() else { return vec![Diagnostic::yours("no command was given")] };
    let error = std::process::Command::new(format!("pmx-{word}")).args(rest).exec();
    if error.kind() != std::io::ErrorKind::NotFound {
        return vec![Diagnostic::yours(format!("pmx-{word} cannot be run: {error}"))];
    }
    let cli = Cli::command();
    let known: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let complaint = Diagnostic::yours(format!("there is no command `{word}`, and no pmx-{word} on the PATH"));
    let near = crate::name::nearest(word, known);
    vec![complaint.help(near.map_or_else(|| "`pmx --help` lists the commands".to_owned(), |near| format!("did you mean `pmx {near}`?")))]
}
