//! The past of a run: every state of the table, and random journals against an oracle that reads them backwards.

use proptest::prelude::*;

use super::*;
use crate::name::{Actor, RunId};

/// What may happen to one step in a run's lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    Task(u8),
    End(Option<Left>),
    Resume,
    /// A line of another step.
    Noise,
}

const STEP: &str = "w/a";

fn stamped(at: usize, line: Line) -> Stamped {
    let finished = |step: &str, left: Option<Left>| Event::ActionFinished {
        step: step.to_owned(),
        call: "fleet.note".into(),
        ending: if left.is_none() { Ending::Done } else { Ending::Failed },
        summary: format!("line {at}"),
        seconds: 0.0,
        left,
    };
    let event = match line {
        Line::Start => Event::ActionStarted { step: STEP.into(), call: "fleet.note".into(), why: String::new() },
        Line::Task(id) => Event::Task { step: STEP.into(), id: format!("UPID:{id}") },
        Line::End(left) => finished(STEP, left),
        Line::Resume => Event::RunResumed {
            run: RunId::from_uuid(uuid::Uuid::nil()),
            targets: Vec::new(),
            actor: Actor::new("cli", "test"),
            kept: 0,
            left: 1,
            changed: Vec::new(),
        },
        Line::Noise => finished("w/b", Some(Left::Unclear)),
    };
    Stamped { at: Time(i64::try_from(at).unwrap()), event }
}

fn past(lines: &[Line]) -> Past {
    Past::read(&lines.iter().enumerate().map(|(at, line)| stamped(at, *line)).collect::<Vec<_>>())
}

/// The state as it follows from the last line that decides, looked for from the end.
fn oracle(lines: &[Line]) -> &'static str {
    let life = lines.iter().rposition(|line| *line == Line::Resume).map_or(0, |at| at + 1);
    let (before, now) = lines.split_at(life);
    match now.iter().rev().find(|line| matches!(line, Line::Start | Line::End(_))) {
        Some(Line::Start | Line::End(Some(Left::Unclear))) => "doubt",
        Some(Line::End(None)) => "ended",
        // It did not act in this life: only a start in this life makes that the whole truth.
        Some(Line::End(Some(Left::All))) if now.contains(&Line::Start) || life == 0 => "never",
        _ if life == 0 => "never",
        _ => oracle(&before[..life - 1]),
    }
}

fn state(past: &Past) -> &'static str {
    match past.standing(STEP) {
        Standing::Never => "never",
        Standing::Ended { .. } => "ended",
        Standing::Doubt { .. } => "doubt",
    }
}

/// A life as a runner writes it: a start with tasks and perhaps an end, or an end alone, or nothing.
fn life() -> impl Strategy<Value = Vec<Line>> {
    let end = prop_oneof![Just(None), Just(Some(Left::All)), Just(Some(Left::Unclear))];
    let tried = (prop::collection::vec(0..4_u8, 0..3), prop::option::of(end)).prop_map(|(tasks, end)| {
        let tasks = tasks.into_iter().flat_map(|id| [Line::Noise, Line::Task(id)]);
        std::iter::once(Line::Start).chain(tasks).chain(end.map(Line::End)).collect::<Vec<_>>()
    });
    let skipped = prop_oneof![Just(vec![Line::End(Some(Left::All))]), Just(vec![Line::End(None)]), Just(vec![Line::Noise]), Just(vec![])];
    prop_oneof![tried, skipped]
}

/// Lives one after the other; once the step has ended for good, later lives leave it alone.
fn journal() -> impl Strategy<Value = Vec<Line>> {
    prop::collection::vec(life(), 1..6).prop_map(|lives| {
        let mut lines = Vec::new();
        for (number, life) in lives.into_iter().enumerate() {
            let over = lines.contains(&Line::End(None));
            lines.extend((number > 0).then_some(Line::Resume));
            lines.extend(if over { Vec::new() } else { life });
        }
        lines
    })
}

proptest! {
    #![proptest_config(crate::walks::cases(256))]

    #[test]
    fn every_prefix_of_every_journal_says_what_the_oracle_says(lines in journal()) {
        for end in 0..=lines.len() {
            let prefix = &lines[..end];
            let past = past(prefix);
            prop_assert_eq!(state(&past), oracle(prefix), "{:?}", prefix);
            // What began is never taken for something that never did.
            prop_assert_eq!(past.begun(STEP), prefix.contains(&Line::Start));
            // No task is forgotten before its action has ended.
            let told: std::collections::BTreeSet<String> =
                prefix.iter().filter_map(|line| if let Line::Task(id) = line { Some(format!("UPID:{id}")) } else { None }).collect();
            let known: std::collections::BTreeSet<String> = past.tasks(STEP).iter().cloned().collect();
            let expected = if state(&past) == "ended" { std::collections::BTreeSet::new() } else { told };
            prop_assert_eq!(known, expected);
        }
    }

    #[test]
    fn lines_of_other_steps_change_nothing(lines in journal()) {
        let quiet: Vec<Line> = lines.iter().copied().filter(|line| *line != Line::Noise).collect();
        let (loud, quiet) = (past(&lines), past(&quiet));
        prop_assert_eq!(state(&loud), state(&quiet));
        prop_assert_eq!(loud.tasks(STEP), quiet.tasks(STEP));
    }
}

#[test]
fn each_row_of_the_table() {
    let says = |lines: &[Line]| state(&past(lines));
    assert_eq!(says(&[]), "never");
    assert_eq!(says(&[Line::Start, Line::End(None)]), "ended");
    assert_eq!(says(&[Line::Start, Line::End(Some(Left::All))]), "never");
    assert_eq!(says(&[Line::Start, Line::End(Some(Left::Unclear))]), "doubt");
    assert_eq!(says(&[Line::Start]), "doubt");
    // Skipped in its second life: what was in doubt stays so.
    assert_eq!(says(&[Line::Start, Line::Resume, Line::End(Some(Left::All))]), "doubt");
    assert_eq!(says(&[Line::Start, Line::Resume, Line::Start, Line::End(Some(Left::All))]), "never");
    // A person said that it happened.
    assert_eq!(says(&[Line::Start, Line::End(None), Line::Resume]), "ended");
}

#[test]
fn a_doubt_says_since_when_and_why() {
    let past = past(&[Line::Noise, Line::Start, Line::Task(7), Line::End(Some(Left::Unclear))]);
    assert_eq!(past.standing(STEP), &Standing::Doubt { since: Time(1), why: Some("line 3".into()) });
    assert_eq!(past.doubts().map(|(step, tasks)| (step, tasks.len())).collect::<Vec<_>>(), [(STEP, 1), ("w/b", 0)]);
}
