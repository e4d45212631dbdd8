//! `pmx manual`: the man page as text for `man -l -`, and completion scripts.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::cli::args::{Cli, ManualArgs};
use crate::cli::exit::Exit;
use crate::cli::out::Out;

/// `pmx manual`.
pub fn run(args: &ManualArgs, out: &mut Out) -> Exit {
    let mut command = Cli::command();
    let text = match args.completion {
        Some(shell) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "pmx", &mut script);
            String::from_utf8_lossy(&script).into_owned()
        }
        None => page(&command),
    };
    out.line(text.trim_end());
    Exit::Done
}

/// The man page in troff, from the same declarations as `--help`.
fn page(command: &Command) -> String {
    let mut text = format!(".TH PMX 1 \"\" \"pmx {}\"\n.SH NAME\npmx \\- {}\n", env!("CARGO_PKG_VERSION"), about(command));
    text.push_str(".SH SYNOPSIS\n.B pmx\n[options] command [arguments]\n.SH OPTIONS\n");
    command.get_arguments().for_each(|argument| option(&mut text, argument));
    text.push_str(".SH COMMANDS\n");
    for sub in command.get_subcommands() {
        let _ = writeln!(text, ".SS {}\n{}", sub.get_name(), escape(&about(sub)));
        sub.get_arguments().for_each(|argument| option(&mut text, argument));
        if let Some(more) = sub.get_after_help() {
            let _ = writeln!(text, ".PP\n.nf\n{}\n.fi", escape(&more.to_string()));
        }
        for nested in sub.get_subcommands() {
            let _ = writeln!(text, ".TP\n.B {} {}\n{}", sub.get_name(), nested.get_name(), escape(&about(nested)));
        }
    }
    text.push_str(".SH EXIT STATUS\n0 done, 1 an action failed, 2 your files or arguments, 3 refused, 70 a bug of pmx, 130 interrupted.\n");
    text
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn option(text: &mut String, argument: &Arg) {
    let long = argument.get_long().map(|long| format!("\\-\\-{}", long.replace('-', "\\-")));
    let short = argument.get_short().map(|short| format!("\\-{short}, "));
    let name = match long {
        Some(long) => format!("{}{long}", short.unwrap_or_default()),
        None => argument.get_id().to_string().to_uppercase(),
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, ".TP\n.B {name}\n{}", escape(&help));
}

/// Troff reads a leading dot or quote as a request, and a backslash as an escape.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}
