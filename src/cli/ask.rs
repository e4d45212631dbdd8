//! Asking: confirmation by name, on a terminal or by `--yes NAME`.

use std::collections::BTreeSet;
use std::io::{BufRead, IsTerminal, Write};

use futures_util::future::BoxFuture;

use crate::cli::progress::Progress;
use crate::exec::engine::{Confirmer, Doubt, Question, Recall};
use crate::value::Value;

/// How often a question is repeated that got another answer.
const TRIES: u32 = 5;

/// Confirms what `--yes` names, and asks for the rest if somebody is there.
pub struct Asker {
    yes: BTreeSet<String>,
    progress: Progress,
}

impl Asker {
    /// `yes` are the names that were given on the command line.
    pub fn new(yes: &[String], progress: Progress) -> Self {
        Self { yes: yes.iter().cloned().collect(), progress }
    }

    fn ask(&self, question: &Question) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        self.progress.aside(|| prompt(question, &mut std::io::stdin().lock(), &mut std::io::stderr()))
    }
}

impl Confirmer for Asker {
    fn could_confirm(&self, name: &str) -> bool {
        self.yes.contains(name) || std::io::stdin().is_terminal()
    }

    fn confirm<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, bool> {
        // The terminal blocks: only a run that waits for this answer waits here.
        Box::pin(async move { self.yes.contains(&question.name) || tokio::task::block_in_place(|| self.ask(question)) })
    }

    fn recall<'a>(&'a self, doubt: &'a Doubt) -> BoxFuture<'a, Recall> {
        Box::pin(async move {
            if !std::io::stdin().is_terminal() {
                return Recall::Unknown;
            }
            let ask = || remember(doubt, &mut std::io::stdin().lock(), &mut std::io::stderr());
            tokio::task::block_in_place(|| self.progress.aside(ask))
        })
    }
}

/// Asks what became of something until one of the three words comes; a closed input leaves everything as it is.
fn remember(doubt: &Doubt, input: &mut impl BufRead, output: &mut impl Write) -> Recall {
    let how = doubt.why.as_ref().map_or_else(|| "and its process died before it ended".to_owned(), |why| format!("and ended with: {why}"));
    let told = writeln!(output, "{} ({}) began at {}, {how}.", doubt.step, doubt.call, doubt.since);
    for _ in 0..TRIES {
        let asked = write!(output, "Nobody knows whether it happened. Did it happen? [done/again/stop] ").and_then(|()| output.flush());
        let mut answer = String::new();
        if told.is_err() || asked.is_err() || !input.read_line(&mut answer).is_ok_and(|read| read > 0) {
            return Recall::Stop;
        }
        match answer.trim() {
            "done" => return Recall::Done,
            "again" => return Recall::Again,
            "stop" => return Recall::Stop,
            _ => {}
        }
    }
    Recall::Stop
}

/// Shows what is known and reads one line: the name for a Destroy, `yes` or the name otherwise.
fn prompt(question: &Question, input: &mut impl BufRead, output: &mut impl Write) -> bool {
    let mut show = || -> std::io::Result<()> {
        if let Some(text) = &question.text {
            writeln!(output, "{text}")?;
        }
        if let Some(Value::Map(attributes)) = &question.attributes {
            writeln!(output, "{} is about to act on {}:", question.call, question.name)?;
            for (key, value) in attributes {
                writeln!(output, "  {key} = {value}")?;
            }
        }
        let what = if question.destroys { "This cannot be undone. Type its name to go on: " } else { "Type yes to go on: " };
        write!(output, "{what}")?;
        output.flush()
    };
    let mut answer = String::new();
    if show().is_err() || input.read_line(&mut answer).is_err() {
        return false;
    }
    let answer = answer.trim();
    answer == question.name || (!question.destroys && answer == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(destroys: bool, typed: &str) -> bool {
        let question =
            Question { step: "delete".into(), call: "fleet.delete".into(), name: "slate".into(), attributes: None, text: None, destroys };
        prompt(&question, &mut typed.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn a_doubt_takes_one_of_three_words() {
        let doubt = Doubt { step: "warn".into(), call: "game.warn".into(), since: crate::event::Time(0), why: None };
        let answered = |typed: &str| {
            let mut shown = Vec::new();
            let recall = remember(&doubt, &mut typed.as_bytes(), &mut shown);
            (recall, String::from_utf8(shown).unwrap().matches("[done/again/stop]").count())
        };
        assert_eq!(answered("done\n"), (Recall::Done, 1));
        assert_eq!(answered("yes\nagain\n"), (Recall::Again, 2));
        assert_eq!((answered("stop\n"), answered("")), ((Recall::Stop, 1), (Recall::Stop, 1)));
        assert_eq!(answered(&"what\n".repeat(9)), (Recall::Stop, 5));
    }

    #[test]
    fn only_the_name_destroys() {
        assert!(answered(true, "slate\n"));
        assert!(!answered(true, "yes\n") && !answered(true, "\n") && !answered(true, "") && !answered(true, "slate2\n"));
        assert!(answered(false, "yes\n") && !answered(false, "no\n"));
    }
}
