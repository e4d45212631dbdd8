//! Going on with a run and asking it to stop, the same over both stores.

use super::Store;
use super::conformance::{run_id, run_row};
use super::dir::DirStore;
use super::memory::MemoryStore;
use super::words::{Cancel, Commit};
use crate::event::{RunState, Time};
use crate::name::Actor;

/// Runs a scenario over both; each `open` is another process on the same store.
fn over_both(scenario: fn(&dyn Fn() -> Box<dyn Store>)) {
    let memory = MemoryStore::new();
    scenario(&|| Box::new(memory.another()));
    let dir = tempfile::tempdir().unwrap();
    scenario(&|| Box::new(DirStore::open_or_create(&dir.path().join("store")).unwrap()));
}

#[test]
fn a_dead_run_is_gone_on_with_by_one() {
    over_both(a_run_may_be_gone_on_with_once_its_holder_is_gone);
}

#[test]
fn a_cancel_is_heard_by_the_living() {
    over_both(a_cancel_reaches_only_a_run_that_lives);
}

fn a_run_may_be_gone_on_with_once_its_holder_is_gone(open: &dyn Fn() -> Box<dyn Store>) {
    let mut first = open();
    first.begin_run(run_row(1, 1)).unwrap();
    let mut second = open();
    assert!(!second.resume_run(&run_id(1)).unwrap(), "it lives");
    assert!(!first.resume_run(&run_id(1)).unwrap(), "its own holder neither");
    drop(first);
    assert_eq!(second.runs(1).unwrap()[0].state, RunState::Interrupted);
    assert!(second.resume_run(&run_id(1)).unwrap());
    let mut third = open();
    assert!(!third.resume_run(&run_id(1)).unwrap(), "somebody else went on with it");
    assert_eq!(third.runs(1).unwrap()[0].state, RunState::Running);
    let state = Some((run_id(1), RunState::Failed, Some(Time(9))));
    second.commit(Commit { state, ..Commit::default() }).unwrap();
    second.end_run(&run_id(1)).unwrap();
    // A run that ended badly may be gone on with too: its end is taken back.
    assert!(third.resume_run(&run_id(1)).unwrap());
    let row = third.runs(1).unwrap().remove(0);
    assert_eq!((row.state, row.ended), (RunState::Running, None));
    assert!(third.resume_run(&run_id(2)).is_err(), "there is no such run");
}

fn a_cancel_reaches_only_a_run_that_lives(open: &dyn Fn() -> Box<dyn Store>) {
    let (mut one, mut other) = (open(), open());
    let ask = |now| Cancel { by: Actor::new("discord", "1234/nick"), now };
    assert!(!other.ask_cancel(&run_id(1), &ask(false)).unwrap(), "there is no such run");
    one.begin_run(run_row(1, 1)).unwrap();
    assert_eq!(one.cancel_asked(&run_id(1)).unwrap(), None);
    assert!(other.ask_cancel(&run_id(1), &ask(false)).unwrap());
    assert_eq!(one.cancel_asked(&run_id(1)).unwrap(), Some(ask(false)));
    assert!(other.ask_cancel(&run_id(1), &ask(true)).unwrap());
    assert_eq!(one.cancel_asked(&run_id(1)).unwrap(), Some(ask(true)));
    drop(one);
    assert!(!other.ask_cancel(&run_id(1), &ask(true)).unwrap(), "it is dead");
    // What was asked of its first life is not asked of its second.
    assert!(other.resume_run(&run_id(1)).unwrap());
    assert_eq!(other.cancel_asked(&run_id(1)).unwrap(), None);
    assert!(other.ask_cancel(&run_id(1), &ask(false)).unwrap());
    other.end_run(&run_id(1)).unwrap();
    assert_eq!(other.cancel_asked(&run_id(1)).unwrap(), None);
}
