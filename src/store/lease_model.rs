//! The model of the lease protocol: every state that a few runs on a few spots can reach with the real rules, deaths at every point included.
//!
//! The world below knows what each run does and what a dead one left undone; what it may conclude from the table, it computes again in its own, simpler way.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::conformance::run_id;
use super::lease::{Ask, Change, Claim, Request, Spot, Standing, Table};
use crate::event::Time;
use crate::name::RunId;

/// What a run is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// It lives and has asked for nothing.
    Begun,
    /// It waits in the queue.
    Waiting,
    /// It holds the claims of these numbers, and has yet to settle these runs.
    Holding { claims: BTreeSet<u32>, unsettled: Vec<usize> },
    /// It ended, its lock is free, and it left nothing.
    Ended,
    /// It died.
    Dead,
}

/// Something that a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Asks for its leases, or asks again.
    Ask,
    /// Asks and will not wait.
    AskAtOnce,
    /// Leaves the queue.
    Leave,
    /// Settles the first run that it has to.
    Settle,
    /// Cannot settle it.
    FailToSettle,
    /// Gives a claim back.
    Release(u32),
    /// Dies.
    Die,
    /// Goes on under its old id.
    Return,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    table: Table,
    phases: Vec<Phase>,
    /// The claims under which each run had effects when it died, until somebody has settled them.
    undone: Vec<BTreeSet<u32>>,
    /// Which runs have come back, or begun anew after a failure to settle: once is enough.
    again: Vec<bool>,
}

/// What the runs claim, and how many of them, from the first, may come back after death.
struct World {
    claims: Vec<Arc<[Claim]>>,
    may_return: usize,
}

fn run(index: usize) -> RunId {
    run_id(index as u64)
}

/// `Xa Sb X*`: exclusive on a, shared on b, exclusive on every member.
fn claims(text: &str) -> Arc<[Claim]> {
    let claim = |(number, word): (usize, &str)| {
        let member = Some(word[1..].to_owned()).filter(|member| member != "*");
        let spot = Spot { group: "resource fleet/vm".to_owned(), member };
        Claim { number: u32::try_from(number).unwrap(), spot, shared: word.starts_with('S'), step: format!("step {number}") }
    };
    text.split_whitespace().enumerate().map(claim).collect()
}

impl World {
    fn start(&self) -> State {
        let count = self.claims.len();
        State {
            table: Table::default(),
            phases: vec![Phase::Begun; count],
            undone: vec![BTreeSet::new(); count],
            again: vec![false; count],
        }
    }

    /// Whether two runs may not hold these of their claims at the same time.
    fn conflict(&self, (mine, some): (usize, &BTreeSet<u32>), (theirs, others): (usize, &BTreeSet<u32>)) -> bool {
        let mut pairs =
            some.iter().flat_map(|a| others.iter().map(move |b| (&self.claims[mine][*a as usize], &self.claims[theirs][*b as usize])));
        pairs.any(|(a, b)| {
            let same = a.spot.member.is_none() || b.spot.member.is_none() || a.spot.member == b.spot.member;
            same && !(a.shared && b.shared)
        })
    }

    fn all(&self, of: usize) -> BTreeSet<u32> {
        self.claims[of].iter().map(|claim| claim.number).collect()
    }

    fn steps(&self, state: &State, of: usize) -> Vec<Step> {
        match &state.phases[of] {
            Phase::Begun => vec![Step::Ask, Step::AskAtOnce, Step::Die],
            Phase::Waiting => vec![Step::Ask, Step::Leave, Step::Die],
            Phase::Holding { unsettled, claims } if unsettled.is_empty() => {
                claims.iter().map(|number| Step::Release(*number)).chain([Step::Die]).collect()
            }
            Phase::Holding { .. } if state.again[of] => vec![Step::Settle, Step::Die],
            Phase::Holding { .. } => vec![Step::Settle, Step::FailToSettle, Step::Die],
            Phase::Dead if of < self.may_return && !state.again[of] => vec![Step::Return],
            Phase::Ended | Phase::Dead => vec![],
        }
    }

    /// The state after a step, with all that the step itself must keep.
    fn after(&self, state: &State, of: usize, step: Step) -> Result<State, String> {
        let mut next = state.clone();
        let phases = state.phases.clone();
        let alive = move |id: &RunId| (0..phases.len()).any(|other| run(other) == *id && lives(&phases[other]));
        match step {
            Step::Ask | Step::AskAtOnce => self.ask(state, &mut next, (of, step == Step::Ask), &alive)?,
            Step::Leave => {
                next.table.leave(&run(of));
                next.phases[of] = Phase::Ended;
            }
            Step::FailToSettle => {
                // It lives on without a lease, and may ask again for other effects.
                next.again[of] = true;
                next.table.leave(&run(of));
                next.phases[of] = Phase::Begun;
            }
            Step::Settle => {
                if let Phase::Holding { unsettled, .. } = &mut next.phases[of] {
                    let dead = unsettled.remove(0);
                    next.undone[dead].clear();
                    next.table.settled(&run(of), &run(dead));
                }
            }
            Step::Release(number) => {
                if let Phase::Holding { claims, .. } = &mut next.phases[of] {
                    claims.remove(&number);
                    let last = claims.is_empty();
                    // The last claim goes with the run's last transaction.
                    let change = if last {
                        Change { all: true, ..Change::default() }
                    } else {
                        Change { released: vec![number], ..Change::default() }
                    };
                    next.table.change(&run(of), &change);
                    if last {
                        next.phases[of] = Phase::Ended;
                    }
                }
            }
            Step::Die => {
                if let Phase::Holding { claims, unsettled } = &state.phases[of]
                    && unsettled.is_empty()
                {
                    next.undone[of].extend(claims);
                }
                next.phases[of] = Phase::Dead;
            }
            Step::Return => {
                next.again[of] = true;
                next.table.orphan(&run(of));
                next.phases[of] = Phase::Begun;
            }
        }
        Ok(next)
    }

    fn ask(&self, state: &State, next: &mut State, (of, wait): (usize, bool), alive: &dyn Fn(&RunId) -> bool) -> Result<(), String> {
        let ask = Ask { run: run(of), claims: Arc::clone(&self.claims[of]), at: Time(1), wait };
        let free = self.free(state, of);
        match next.table.ask(&ask, alive) {
            Standing::Granted(_) if !free => Err(format!("{of} is granted out of turn")),
            Standing::Granted(lefts) if lefts.iter().any(|left| !died_holding(state, &left.run)) => {
                Err(format!("{of} is to settle what never began: {lefts:?}"))
            }
            Standing::Granted(lefts) => {
                let dead = |id: &RunId| (0..self.claims.len()).find(|other| run(*other) == *id).unwrap();
                let unsettled = lefts.iter().map(|left| dead(&left.run)).collect();
                next.phases[of] = Phase::Holding { claims: self.all(of), unsettled };
                Ok(())
            }
            Standing::Waiting(on) if free || on.is_empty() => Err(format!("{of} waits for nobody that it has to wait for: {on:?}")),
            Standing::Waiting(on) if on.iter().any(|blocker| !alive(&blocker.run) || blocker.run == run(of)) => {
                Err(format!("{of} waits for one that cannot go on: {on:?}"))
            }
            Standing::Waiting(_) => {
                next.phases[of] = if wait { Phase::Waiting } else { Phase::Ended };
                Ok(())
            }
        }
    }

    /// Whether nobody that lives and came first is in the way of all that the run claims: what the promise says, without the table's rules.
    fn free(&self, state: &State, of: usize) -> bool {
        let mine = self.all(of);
        let ticket = |other: usize| present(state, other).map(|request| request.ticket);
        let first = |other: usize| match (ticket(other), ticket(of)) {
            (Some(theirs), Some(mine)) => theirs < mine,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let in_the_way = |other: usize| match &state.phases[other] {
            Phase::Waiting => first(other) && self.conflict((of, &mine), (other, &self.all(other))),
            Phase::Holding { claims, unsettled } => {
                let settles = |dead: &usize| *dead == of || self.conflict((of, &mine), (*dead, &left(state, *dead)));
                self.conflict((of, &mine), (other, claims)) || unsettled.iter().any(settles)
            }
            Phase::Begun | Phase::Ended | Phase::Dead => false,
        };
        !(0..self.claims.len()).any(|other| other != of && in_the_way(other))
    }

    /// What must hold in every state.
    fn check(&self, state: &State) -> Result<(), String> {
        let holding = |of: usize| match &state.phases[of] {
            Phase::Holding { claims, unsettled } => Some((claims, unsettled)),
            _ => None,
        };
        for of in 0..self.claims.len() {
            let request = present(state, of);
            let claimed = |request: &Request| request.claims.iter().map(|claim| claim.number).collect::<BTreeSet<u32>>();
            match &state.phases[of] {
                Phase::Begun | Phase::Ended if request.is_some() => {
                    return Err(format!("{of} has nothing, and the table says that it has"));
                }
                Phase::Waiting if request.is_none_or(|request| request.held.is_some()) => {
                    return Err(format!("{of} waits, and holds something or is forgotten"));
                }
                Phase::Holding { claims, .. } if request.is_none_or(|request| request.held.is_none() || claimed(request) != *claims) => {
                    return Err(format!("{of} holds what the table does not know"));
                }
                _ => {}
            }
            let Some((mine, unsettled)) = holding(of) else { continue };
            for other in (0..self.claims.len()).filter(|other| *other != of) {
                if let Some((theirs, also)) = holding(other) {
                    if self.conflict((of, mine), (other, theirs)) {
                        return Err(format!("{of} and {other} hold conflicting claims"));
                    }
                    if unsettled.contains(&other) {
                        return Err(format!("{of} settles {other}, which goes on itself"));
                    }
                    if unsettled.iter().any(|dead| also.contains(dead)) {
                        return Err(format!("{of} and {other} settle the same run"));
                    }
                }
                if unsettled.is_empty() && self.conflict((of, mine), (other, &state.undone[other])) {
                    return Err(format!("{of} may act where {other} left something undone"));
                }
            }
        }
        self.check_rest(state)
    }

    /// When nobody holds anything, whoever is first in the queue can go on; when nobody waits either, a newcomer gets everything, learns of all that is
    /// undone, and leaves an empty table.
    fn check_rest(&self, state: &State) -> Result<(), String> {
        let busy = |phase: &Phase| matches!(phase, Phase::Holding { .. });
        if state.phases.iter().any(busy) {
            return Ok(());
        }
        let waiting: Vec<usize> = (0..self.claims.len()).filter(|of| state.phases[*of] == Phase::Waiting).collect();
        if !waiting.is_empty() {
            return if waiting.iter().any(|of| self.free(state, *of)) { Ok(()) } else { Err("everybody waits".to_owned()) };
        }
        let newcomer = run(self.claims.len());
        let everything: Arc<[Claim]> = claims("X*");
        let phases = state.phases.clone();
        let alive = |id: &RunId| *id == newcomer || (0..phases.len()).any(|other| run(other) == *id && lives(&phases[other]));
        let mut table = state.table.clone();
        let ask = Ask { run: newcomer.clone(), claims: everything, at: Time(1), wait: true };
        let Standing::Granted(lefts) = table.ask(&ask, &alive) else { return Err("a newcomer waits for nobody".to_owned()) };
        for (of, undone) in state.undone.iter().enumerate() {
            if !undone.is_empty() && !lefts.iter().any(|left| left.run == run(of)) {
                return Err(format!("nobody is told what {of} left undone"));
            }
        }
        lefts.iter().for_each(|left| table.settled(&newcomer, &left.run));
        table.leave(&newcomer);
        if table.requests().is_empty() { Ok(()) } else { Err(format!("left behind: {:?}", table.requests())) }
    }
}

const fn lives(phase: &Phase) -> bool {
    !matches!(phase, Phase::Ended | Phase::Dead)
}

/// The request of a run in its present life.
fn present(state: &State, of: usize) -> Option<&Request> {
    state.table.requests().iter().find(|request| request.run == run(of) && !request.orphaned)
}

/// Whether a run died while it held something.
fn died_holding(state: &State, id: &RunId) -> bool {
    state.table.requests().iter().any(|request| request.run == *id && request.held.is_some())
}

/// The claims that a run left when it died.
fn left(state: &State, of: usize) -> BTreeSet<u32> {
    let past = |request: &Request| request.orphaned || state.phases[of] == Phase::Dead;
    let dead = |request: &&Request| request.run == run(of) && request.held.is_some() && past(request);
    state.table.requests().iter().filter(dead).flat_map(|request| request.claims.iter().map(|claim| claim.number)).collect()
}

/// Every state that the world can reach; how many there are. Says how a wrong one is reached.
fn explore(world: &World) -> usize {
    let mut states = vec![(world.start(), usize::MAX, None)];
    let mut known: HashSet<State> = HashSet::from([world.start()]);
    let mut at = 0;
    while at < states.len() {
        let state = states[at].0.clone();
        for of in 0..world.claims.len() {
            for step in world.steps(&state, of) {
                let told = |wrong: String| format!("{wrong}\n{}", story(&states, at, (of, step)));
                let next = world.after(&state, of, step).unwrap_or_else(|wrong| panic!("{}", told(wrong)));
                if known.insert(next.clone()) {
                    world.check(&next).unwrap_or_else(|wrong| panic!("{}", told(wrong)));
                    states.push((next, at, Some((of, step))));
                }
            }
        }
        at += 1;
    }
    states.len()
}

type Reached = (State, usize, Option<(usize, Step)>);

fn story(states: &[Reached], mut at: usize, last: (usize, Step)) -> String {
    let mut steps = vec![format!("{last:?}")];
    let end = format!("{:#?}", states[at].0);
    while let Some((_, before, Some(step))) = states.get(at) {
        steps.push(format!("{step:?}"));
        at = *before;
    }
    steps.reverse();
    format!("{}\nfrom {end}", steps.join(", "))
}

/// What three runs claim: each a word of its own. A ring of pairs, readers beside a writer, open names, the same for all.
const CHOICES: [[&str; 3]; 9] = [
    ["Xa Xb", "Xb Xc", "Xa Xc"],
    ["Sa", "Sa", "Xa"],
    ["Sa Xb", "Xa", "Sb Sc"],
    ["X*", "Xa", "Sb"],
    ["S*", "Sa", "Xb"],
    ["Sb X*", "S*", "Xc"],
    ["Xa", "Xa", "Xa"],
    ["Xa", "Xb", "Xc"],
    ["Xa Xb Xc", "Sa Sb Sc", "Xb"],
];

/// Explores every choice of three of these shapes for three runs; the order of runs is no matter, because every interleaving is tried.
const SHAPES: [&str; 10] = ["Xa", "Xa Xb", "Xb Xc", "Xa Xb Xc", "Sa", "Sa Xb", "Sa Sb Sc", "X*", "S*", "Sb X*"];

fn explore_all(choices: &[[&str; 3]], may_return: usize) -> usize {
    choices.iter().map(|choice| explore(&World { claims: choice.map(claims).to_vec(), may_return })).sum()
}

#[test]
fn three_runs_on_three_spots_keep_every_promise_in_every_state() {
    let count = explore_all(&CHOICES, 0);
    assert!(count > 23_300, "{count} states");
}

#[test]
fn a_run_that_comes_back_after_death_keeps_them_too() {
    let count = explore_all(&[["Xa Xb", "Xb", "Xa"], ["Xa", "X*", "Sa"]], 1);
    assert!(count > 31_000, "{count} states");
}

#[test]
#[ignore = "minutes: `just torture`"]
fn every_choice_of_three_shapes_keeps_them() {
    let mut choices = Vec::new();
    for (first, one) in SHAPES.iter().enumerate() {
        for (second, two) in SHAPES.iter().enumerate().skip(first) {
            choices.extend(SHAPES.iter().skip(second).map(|three| [*one, *two, *three]));
        }
    }
    let count = explore_all(&choices, 0);
    assert!(count > 1_010_000, "{count} states of {} choices", choices.len());
}

fn random_claims() -> impl Strategy<Value = Arc<[Claim]>> {
    let word = (any::<bool>(), prop_oneof![8 => "[a-e]".boxed(), 1 => Just("*".to_owned()).boxed()]);
    proptest::collection::btree_map(word.clone().prop_map(|(_, member)| member), any::<bool>(), 1..5).prop_map(|all| {
        let words: Vec<String> = all.iter().map(|(member, shared)| format!("{}{member}", if *shared { 'S' } else { 'X' })).collect();
        claims(&words.join(" "))
    })
}

/// Found on a random way: what a run left in its first life need not be in the way of its second, and then two heirs would settle one run.
#[test]
fn who_comes_back_takes_its_own_past_along_even_where_nothing_conflicts() {
    let choice = [["Sa Xc", "Xa", "Xc"]];
    let count = explore_all(&choice, 1);
    assert!(count > 10_000, "{count} states");
}

proptest! {
    #![proptest_config(crate::walks::cases(256))]

    #[test]
    fn many_runs_keep_them_on_random_ways(
        claims in proptest::collection::vec(random_claims(), 4..8),
        choices in proptest::collection::vec(any::<prop::sample::Index>(), 1..120),
    ) {
        let world = World { claims, may_return: usize::MAX };
        let mut state = world.start();
        for choice in choices {
            let steps: Vec<(usize, Step)> = (0..world.claims.len()).flat_map(|of| world.steps(&state, of).into_iter().map(move |step| (of, step))).collect();
            if steps.is_empty() {
                break;
            }
            let (of, step) = steps[choice.index(steps.len())];
            state = world.after(&state, of, step).map_err(TestCaseError::fail)?;
            world.check(&state).map_err(TestCaseError::fail)?;
        }
    }
}
