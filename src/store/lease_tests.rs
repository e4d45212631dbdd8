//! The promises of leases as scenarios over every backend: the queue, what is shared, what is given back, and what the dead leave.

use std::sync::Arc;

use super::Store;
use super::conformance::{Bench, InDirectory, InMemory, run_id, run_row, scenarios};
use super::lease::{Ask, Blocker, Change, Claim, Left, Spot, Standing};
use super::memory::MemoryStore;
use super::words::Commit;
use crate::event::{RunState, Time};
use crate::name::RunId;

scenarios![
    who_came_first_acts_first,
    what_is_shared_is_held_by_many_and_nobody_is_overtaken,
    an_open_name_meets_every_member,
    claims_are_given_back_one_by_one,
    a_commit_that_fails_changes_no_lease,
    who_will_not_wait_leaves_no_trace,
    who_waits_no_longer_leaves_no_trace,
    who_leaves_the_queue_blocks_nobody,
    what_a_dead_run_held_is_settled_by_one_heir,
    an_heir_that_dies_or_fails_hands_on,
    a_run_that_died_waiting_is_forgotten,
    a_run_that_returns_is_its_own_heir,
    a_run_that_returns_waits_for_its_heir,
    asking_again_changes_nothing,
    ten_thousand_claims_are_no_trouble,
];

/// `Xvm a`, `Shost h`: exclusive on the member `a` of `vm`, shared on `h` of `host`; `*` is every member.
fn claim(number: u32, text: &str) -> Claim {
    let (group, member) = text[1..].split_once(' ').unwrap();
    let spot = Spot { group: format!("resource fleet/{group}"), member: Some(member.to_owned()).filter(|member| member != "*") };
    Claim { number, spot, shared: text.starts_with('S'), step: format!("step-{number}") }
}

fn ask(run: u64, claims: &[&str], at: i64) -> Ask {
    let claims: Arc<[Claim]> = (0..).zip(claims).map(|(number, text)| claim(number, text)).collect();
    Ask { run: run_id(run), claims, at: Time(at), wait: true }
}

/// Begins a run and asks.
fn begin(store: &mut dyn Store, run: u64, claims: &[&str]) -> Standing {
    store.begin_run(run_row(run, 1)).unwrap();
    store.lease(&ask(run, claims, i64::try_from(run).unwrap())).unwrap()
}

fn again(store: &mut dyn Store, run: u64, claims: &[&str]) -> Standing {
    store.lease(&ask(run, claims, 100)).unwrap()
}

const GRANTED: Standing = Standing::Granted(Vec::new());

fn waits_for(standing: &Standing) -> Vec<RunId> {
    match standing {
        Standing::Waiting(on) => on.iter().map(|blocker| blocker.run.clone()).collect(),
        Standing::Granted(_) => panic!("granted"),
    }
}

fn inherits(standing: Standing) -> Vec<RunId> {
    match standing {
        Standing::Granted(lefts) => lefts.into_iter().map(|left| left.run).collect(),
        Standing::Waiting(on) => panic!("it waits for {on:?}"),
    }
}

fn change(store: &mut dyn Store, run: u64, change: Change) {
    store.commit(Commit { leases: Some((run_id(run), change)), ..Commit::default() }).unwrap();
}

fn released(claims: &[u32]) -> Change {
    Change { released: claims.to_vec(), ..Change::default() }
}

fn everything() -> Change {
    Change { all: true, ..Change::default() }
}

fn who_came_first_acts_first(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    assert_eq!(begin(&mut *mine, 1, &["Xvm a", "Xvm b"]), GRANTED);
    let Standing::Waiting(on) = begin(&mut *other, 2, &["Xvm b", "Xvm c"]) else { panic!("b is taken") };
    let blocker = Blocker { spot: claim(0, "Xvm b").spot, run: run_id(1), step: "step-1".into(), held: Some(Time(1)), settles: None };
    assert_eq!(on, [blocker]);
    let Standing::Waiting(on) = begin(&mut *mine, 3, &["Xvm c"]) else { panic!("2 came first") };
    assert_eq!((on.len(), &on[0].run, on[0].held), (1, &run_id(2), None));
    assert_eq!(begin(&mut *other, 4, &["Xvm d"]), GRANTED, "nobody is in its way");
    assert_eq!(waits_for(&again(&mut *mine, 3, &["Xvm c"])), [run_id(2)]);
    change(&mut *mine, 1, everything());
    assert_eq!(waits_for(&again(&mut *mine, 3, &["Xvm c"])), [run_id(2)], "2 has not looked yet, and keeps its turn");
    assert_eq!(again(&mut *other, 2, &["Xvm b", "Xvm c"]), GRANTED);
    change(&mut *other, 2, everything());
    assert_eq!(again(&mut *mine, 3, &["Xvm c"]), GRANTED);
    let all = mine.requests().unwrap();
    let held: Vec<_> = all.iter().map(|request| (request.ticket, request.run.clone(), request.held)).collect();
    assert_eq!(held, [(3, run_id(3), Some(Time(100))), (4, run_id(4), Some(Time(4)))]);
}

fn what_is_shared_is_held_by_many_and_nobody_is_overtaken(bench: &dyn Bench) {
    let mut store = bench.open();
    assert_eq!(begin(&mut *store, 1, &["Svm a"]), GRANTED);
    assert_eq!(begin(&mut *store, 2, &["Svm a"]), GRANTED);
    assert_eq!(waits_for(&begin(&mut *store, 3, &["Xvm a"])), [run_id(1), run_id(2)]);
    assert_eq!(waits_for(&begin(&mut *store, 4, &["Svm a"])), [run_id(3)], "readers do not starve a writer");
    change(&mut *store, 1, everything());
    assert_eq!(waits_for(&again(&mut *store, 3, &["Xvm a"])), [run_id(2)]);
    change(&mut *store, 2, everything());
    assert_eq!(again(&mut *store, 3, &["Xvm a"]), GRANTED);
    change(&mut *store, 3, everything());
    assert_eq!(again(&mut *store, 4, &["Svm a"]), GRANTED);
}

fn an_open_name_meets_every_member(bench: &dyn Bench) {
    let mut store = bench.open();
    assert_eq!(begin(&mut *store, 1, &["Xvm *"]), GRANTED);
    let Standing::Waiting(on) = begin(&mut *store, 2, &["Svm a"]) else { panic!("a is one of all") };
    assert_eq!(on[0].spot.to_string(), "fleet/vm/a", "the narrower of both names is told");
    assert_eq!(begin(&mut *store, 3, &["Xnode a", "Xvm2 a"]), GRANTED, "another group");
    change(&mut *store, 1, everything());
    assert_eq!(again(&mut *store, 2, &["Svm a"]), GRANTED);
    let Standing::Waiting(on) = begin(&mut *store, 4, &["Xvm *"]) else { panic!("a is held") };
    assert_eq!((on[0].spot.to_string().as_str(), &on[0].run), ("fleet/vm/a", &run_id(2)));
    assert_eq!(waits_for(&begin(&mut *store, 5, &["Svm *"])), [run_id(4)]);
    assert_eq!(waits_for(&begin(&mut *store, 6, &["Svm b"])), [run_id(4)]);
}

fn claims_are_given_back_one_by_one(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Xvm a", "Xvm b"]);
    assert_eq!(waits_for(&begin(&mut *other, 2, &["Xvm a"])), [run_id(1)]);
    let used = Change { used: vec![(0, "the step that acts now".to_owned()), (7, "no such claim".to_owned())], ..Change::default() };
    change(&mut *mine, 1, used);
    let Standing::Waiting(on) = again(&mut *other, 2, &["Xvm a"]) else { panic!("a is taken") };
    assert_eq!(on[0].step, "the step that acts now");
    change(&mut *mine, 1, released(&[0, 9]));
    assert_eq!(again(&mut *other, 2, &["Xvm a"]), GRANTED);
    assert_eq!(waits_for(&begin(&mut *other, 3, &["Xvm b"])), [run_id(1)]);
    change(&mut *mine, 1, released(&[1]));
    assert_eq!(mine.requests().unwrap().len(), 2, "who has given everything back has no request");
    assert_eq!(again(&mut *other, 3, &["Xvm b"]), GRANTED);
    change(&mut *mine, 1, released(&[1]));
    change(&mut *mine, 1, everything());
}

fn a_commit_that_fails_changes_no_lease(bench: &dyn Bench) {
    let mut store = bench.open();
    begin(&mut *store, 1, &["Xvm a"]);
    let state = Some((run_id(99), RunState::Failed, None));
    assert!(store.commit(Commit { state, leases: Some((run_id(1), everything())), ..Commit::default() }).is_err());
    assert_eq!(waits_for(&begin(&mut *store, 2, &["Xvm a"])), [run_id(1)]);
    let state = Some((run_id(1), RunState::Failed, None));
    store.commit(Commit { state, leases: Some((run_id(1), everything())), ..Commit::default() }).unwrap();
    assert_eq!(again(&mut *store, 2, &["Xvm a"]), GRANTED);
}

fn who_will_not_wait_leaves_no_trace(bench: &dyn Bench) {
    let mut store = bench.open();
    begin(&mut *store, 1, &["Xvm a"]);
    store.begin_run(run_row(2, 1)).unwrap();
    let at_once = Ask { wait: false, ..ask(2, &["Xvm a"], 2) };
    assert_eq!(waits_for(&store.lease(&at_once).unwrap()), [run_id(1)]);
    assert_eq!(store.requests().unwrap().len(), 1);
    change(&mut *store, 1, everything());
    assert_eq!(store.lease(&at_once).unwrap(), GRANTED);
    assert_eq!(store.requests().unwrap().len(), 1);
}

fn who_waits_no_longer_leaves_no_trace(bench: &dyn Bench) {
    let mut store = bench.open();
    begin(&mut *store, 1, &["Xvm a"]);
    assert_eq!(waits_for(&begin(&mut *store, 2, &["Xvm a"])), [run_id(1)]);
    let at_once = Ask { wait: false, ..ask(2, &["Xvm a"], 2) };
    assert_eq!(waits_for(&store.lease(&at_once).unwrap()), [run_id(1)]);
    assert_eq!(store.requests().unwrap().len(), 1);
}

fn who_leaves_the_queue_blocks_nobody(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Svm a"]);
    begin(&mut *other, 2, &["Xvm a"]);
    assert_eq!(waits_for(&begin(&mut *mine, 3, &["Svm a"])), [run_id(2)]);
    other.leave(&run_id(2)).unwrap();
    other.leave(&run_id(2)).unwrap();
    assert_eq!(again(&mut *mine, 3, &["Svm a"]), GRANTED);
}

fn what_a_dead_run_held_is_settled_by_one_heir(bench: &dyn Bench) {
    let (mut dying, mut mine) = (bench.open(), bench.open());
    begin(&mut *dying, 1, &["Xvm a", "Xvm b", "Svm c"]);
    change(&mut *dying, 1, released(&[2]));
    assert_eq!(waits_for(&begin(&mut *mine, 2, &["Xvm b"])), [run_id(1)]);
    drop(dying);
    assert_eq!(begin(&mut *mine, 3, &["Xvm c"]), GRANTED, "it had given that back");
    let left = Left { run: run_id(1), spots: vec![claim(0, "Xvm a").spot, claim(0, "Xvm b").spot] };
    assert_eq!(again(&mut *mine, 2, &["Xvm b"]), Standing::Granted(vec![left.clone()]));
    assert_eq!(again(&mut *mine, 2, &["Xvm b"]), Standing::Granted(vec![left]), "until it says that it is settled");
    let Standing::Waiting(on) = begin(&mut *mine, 4, &["Xvm a"]) else { panic!("2 settles what 1 left on a") };
    assert_eq!((&on[0].run, &on[0].settles), (&run_id(2), &Some(run_id(1))));
    mine.settled(&run_id(3), &run_id(1)).unwrap();
    assert_eq!(waits_for(&again(&mut *mine, 4, &["Xvm a"])), [run_id(2)], "3 is not the heir");
    mine.settled(&run_id(2), &run_id(1)).unwrap();
    assert_eq!(again(&mut *mine, 4, &["Xvm a"]), GRANTED, "b is still held, a is nobody's");
    assert_eq!(again(&mut *mine, 2, &["Xvm b"]), GRANTED);
}

fn an_heir_that_dies_or_fails_hands_on(bench: &dyn Bench) {
    let (mut dying, mut heir, mut mine) = (bench.open(), bench.open(), bench.open());
    begin(&mut *dying, 1, &["Xvm a"]);
    drop(dying);
    assert_eq!(inherits(begin(&mut *heir, 2, &["Xvm a", "Xvm b"])), [run_id(1)]);
    assert_eq!(waits_for(&begin(&mut *mine, 3, &["Xvm *"])), [run_id(2), run_id(2)]);
    drop(heir);
    assert_eq!(inherits(again(&mut *mine, 3, &["Xvm *"])), [run_id(1), run_id(2)], "oldest first");
    mine.settled(&run_id(3), &run_id(1)).unwrap();
    mine.leave(&run_id(3)).unwrap();
    assert_eq!(begin(&mut *mine, 4, &["Xvm c"]), GRANTED);
    assert_eq!(inherits(begin(&mut *mine, 5, &["Svm b"])), [run_id(2)], "1 was settled");
}

fn a_run_that_died_waiting_is_forgotten(bench: &dyn Bench) {
    let (mut mine, mut dying) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Xvm a"]);
    begin(&mut *dying, 2, &["Xvm a"]);
    assert_eq!(waits_for(&begin(&mut *mine, 3, &["Xvm a"])), [run_id(1), run_id(2)]);
    drop(dying);
    assert_eq!(waits_for(&again(&mut *mine, 3, &["Xvm a"])), [run_id(1)]);
    assert_eq!(mine.requests().unwrap().len(), 2);
    change(&mut *mine, 1, everything());
    assert_eq!(again(&mut *mine, 3, &["Xvm a"]), GRANTED, "it left nothing to settle");
}

fn a_run_that_returns_is_its_own_heir(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Xvm a", "Xvm b"]);
    assert_eq!(waits_for(&begin(&mut *other, 2, &["Xvm b"])), [run_id(1)]);
    mine.orphan(&run_id(1)).unwrap();
    // Back, it would be behind 2, which now settles what 1 left: nobody acts on b before that.
    assert_eq!(inherits(again(&mut *other, 2, &["Xvm b"])), [run_id(1)]);
    other.leave(&run_id(2)).unwrap();
    assert_eq!(inherits(again(&mut *mine, 1, &["Xvm b"])), [run_id(1)], "its own");
    mine.settled(&run_id(1), &run_id(1)).unwrap();
    let all = mine.requests().unwrap();
    assert_eq!((all.len(), &all[0].run, all[0].orphaned), (1, &run_id(1), false), "what it holds now stays");
    assert_eq!(again(&mut *mine, 1, &["Xvm b"]), GRANTED);
}

fn a_run_that_returns_waits_for_its_heir(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Xvm a", "Xvm b"]);
    mine.orphan(&run_id(1)).unwrap();
    assert_eq!(inherits(begin(&mut *other, 2, &["Xvm a"])), [run_id(1)]);
    let Standing::Waiting(on) = again(&mut *mine, 1, &["Xvm b"]) else { panic!("2 settles what 1 left on b") };
    assert_eq!((&on[0].run, &on[0].settles), (&run_id(2), &Some(run_id(1))));
    // It dies waiting, and returns once more: nothing of that is left.
    mine.orphan(&run_id(1)).unwrap();
    other.settled(&run_id(2), &run_id(1)).unwrap();
    assert_eq!(again(&mut *mine, 1, &["Xvm b"]), GRANTED);
    assert_eq!(mine.requests().unwrap().len(), 2);
}

fn asking_again_changes_nothing(bench: &dyn Bench) {
    let (mut mine, mut other) = (bench.open(), bench.open());
    begin(&mut *mine, 1, &["Xvm a"]);
    begin(&mut *other, 2, &["Xvm a"]);
    let before = mine.requests().unwrap();
    for _ in 0..3 {
        assert_eq!(again(&mut *mine, 1, &["Xvm a", "Xvm b"]), GRANTED, "what was filed first counts");
        assert_eq!(waits_for(&again(&mut *other, 2, &["Xvm c"])), [run_id(1)]);
    }
    assert_eq!(mine.requests().unwrap(), before);
}

fn ten_thousand_claims_are_no_trouble(bench: &dyn Bench) {
    let mut store = bench.open();
    let many = |from: u32| -> Arc<[Claim]> { (0..10_000).map(|number| claim(number, &format!("Xvm {}", from + number))).collect() };
    store.begin_run(run_row(1, 1)).unwrap();
    store.begin_run(run_row(2, 1)).unwrap();
    assert_eq!(store.lease(&Ask { claims: many(0), ..ask(1, &[], 1) }).unwrap(), GRANTED);
    let second = Ask { claims: many(9_999), ..ask(2, &[], 2) };
    let Standing::Waiting(on) = store.lease(&second).unwrap() else { panic!("both want 9999") };
    assert_eq!(on[0].spot.to_string(), "fleet/vm/9999");
    let most: Vec<u32> = (0..9_999).collect();
    change(&mut *store, 1, released(&most));
    assert_eq!(waits_for(&store.lease(&second).unwrap()), [run_id(1)]);
    change(&mut *store, 1, released(&[9_999]));
    assert_eq!(store.lease(&second).unwrap(), GRANTED);
    assert_eq!(store.requests().unwrap()[0].claims.len(), 10_000);
}
