//! Processes that are killed with SIGKILL before and after every call of their store: what was acknowledged is there, the store is whole, and the same run
//! goes on to its end in another process without repeating anything.
#![expect(
    clippy::disallowed_methods,
    reason = "starts the test binary as a second process, whose world is a directory; how often, the environment says"
)]
#![expect(clippy::print_stdout, reason = "what the second process says, and the figures, for whoever asks with --nocapture")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::digest::Digest;
use crate::event::{Event, RunState, Stamped};
use crate::exec::past::{Past, Standing};
use crate::exec::rig::{Rig, Watch};
use crate::exec::rig_types::{outcome, usual};
use crate::store::Store as _;
use crate::store::dir::DirStore;
use crate::store::verify::verify;
use crate::store::words::Version;
use crate::value::Value;
use crate::walks::swift;

/// How many runs are killed; `PMX_KILLS` says otherwise.
const KILLS: usize = 100;

/// Calls that write: before and after each of them a process may die.
const WRITES: [&str; 9] = ["commit", "release", "begin_run", "resume_run", "end_run", "lease", "leave", "orphan", "settled"];

/// Steps that act each time; those of the loop too.
const ACTS: [&str; 6] = ["w/one", "w/two", "w/three", "w/each[0]", "w/each[1]", "w/clean"];

fn step(name: &str, call: &str, with: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n")
}

/// An observation, acts in a row, one that makes a thing, a loop over what another step tells, and a cleanup.
fn steps() -> String {
    let after = |before: &str| format!("x = '${{{{ model.fleet.resource.note.{before}.attributes.as }}}}'");
    [
        step("see", "fleet.look", "name = 'a'"),
        step("one", "fleet.note", "as = 'one'"),
        step("two", "fleet.note", &format!("as = 'two', {}", after("one"))),
        step("three", "fleet.note", &format!("as = 'three', {}", after("two"))),
        step("make", "fleet.put", "name = 'b'"),
        step("list", "fleet.put", "name = 'l'"),
        "[[step]]\nname = \"each\"\ncall = \"fleet.note\"\nfor_each = 'model.fleet.resource.thing.l.attributes.items'\nwith = { as = '${{ each.value }}' }\n".to_owned(),
        step("clean", "fleet.note", "as = 'clean'") + "always = true\nafter = [\"three\"]\n",
    ]
    .concat()
}

/// A rig whose world is a directory: `deeds` has a line for everything that was ever done.
fn rig(world: &Path) -> Rig {
    let rig = Rig::new(&steps());
    let at = world.to_path_buf();
    rig.on("fleet.note", move |ctx, call| {
        let at = at.clone();
        async move {
            ctx.reporter.task(&format!("UPID:{}", ctx.who.step)).await?;
            did(&at, &ctx.who.step);
            Ok(usual(&ctx, &call))
        }
    });
    let at = world.to_path_buf();
    rig.on("make", move |ctx, call| {
        let at = at.clone();
        async move {
            // Looks first: what is there is not made again. Its line is the thing itself: no death comes between the two.
            if !deeds(&at).contains_key(&ctx.who.step) {
                did(&at, &ctx.who.step);
            }
            Ok(usual(&ctx, &call))
        }
    });
    rig.on("list", |ctx, call| async move {
        let items = Value::from(serde_json::json!({"name": "l", "items": ["x", "y"]}));
        Ok(outcome(&ctx, &call, items))
    });
    rig
}

fn did(world: &Path, step: &str) {
    let mut deeds = fs::OpenOptions::new().append(true).create(true).open(world.join("deeds")).unwrap();
    deeds.write_all(format!("{step}\n").as_bytes()).unwrap();
}

fn deeds(world: &Path) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for line in fs::read_to_string(world.join("deeds")).unwrap_or_default().lines() {
        *counted.entry(line.to_owned()).or_default() += 1;
    }
    counted
}

/// Not a test of its own: the process that is killed. `PMX_TEST_BUILDER` is the store's directory, `PMX_TEST_WORLD` the world, `PMX_TEST_KILL` before or
/// after which of its writes it dies.
#[tokio::test]
async fn builder() {
    let Ok(root) = std::env::var("PMX_TEST_BUILDER") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let kill: usize = variable("PMX_TEST_KILL").parse().unwrap();
    let moments = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&moments);
    let watch: Watch = Arc::new(move |call, written: Option<&[Version]>| {
        let moment = if WRITES.contains(&call) { seen.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
        if let Some(versions) = written {
            versions.iter().for_each(|version| println!("ack {}", version.digest()));
        }
        if moment == kill {
            // Not by a signal of our own making: the shell has `kill` on every machine.
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {}", std::process::id())]).status();
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    });
    let told = rig(Path::new(&variable("PMX_TEST_WORLD"))).on_disk(Path::new(&root), Some(watch), None).run().await;
    assert_eq!(told.ran.state, RunState::Succeeded, "{:#?}", told.lines());
    println!("moments {}", moments.load(Ordering::SeqCst));
}

/// A builder's life: what was acknowledged, and how many moments it had unless it died.
fn life(root: &Path, world: &Path, kill: usize) -> (Vec<Digest>, Option<usize>) {
    fs::create_dir_all(world).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "exec::kill_tests::builder", "--nocapture"]).stdin(Stdio::null());
    command.env("PMX_TEST_BUILDER", root).env("PMX_TEST_WORLD", world).env("PMX_TEST_KILL", kill.to_string());
    let ended = command.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let after = |word: &str| said.lines().filter_map(move |line| Some(line.split_once(word)?.1.to_owned())).collect::<Vec<_>>();
    let acks = after("ack ").iter().map(|digest| digest.parse().unwrap()).collect();
    let moments = after("moments ").first().map(|count| count.parse().unwrap());
    assert!(
        ended.status.success() || ended.status.signal() == Some(9),
        "{:?}: {said}{}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    assert_eq!(moments.is_some(), ended.status.success(), "{said}");
    (acks, moments)
}

/// The killed run: whole, and its deeds are those that its journal knows of.
fn after_the_kill(store: &mut DirStore, acks: &[Digest], world: &Path, place: &str) -> Option<(crate::name::RunId, Vec<Stamped>)> {
    for ack in acks {
        assert!(store.version(ack).unwrap().is_some(), "{place}: version {ack} was acknowledged");
    }
    sound(store, place);
    let row = store.runs(1).unwrap().into_iter().next().filter(|row| row.state != RunState::Succeeded)?;
    assert_eq!(row.state, RunState::Interrupted, "{place}");
    let journal = store.journal(&row.id, 0, usize::MAX).unwrap();
    let (past, deeds) = (Past::read(&journal), deeds(world));
    for step in ACTS {
        let done = deeds.get(step).copied().unwrap_or(0);
        match past.standing(step) {
            Standing::Never => assert_eq!(done, 0, "{place}: {step} was done before the journal knew that it began"),
            Standing::Ended { .. } => assert_eq!(done, 1, "{place}: {step} has ended"),
            Standing::Doubt { .. } => assert!(done <= 1, "{place}: {step}"),
        }
    }
    Some((row.id, journal))
}

/// Everything but the graphs, which a rig has none of, is here and is what it was.
fn sound(store: &mut DirStore, place: &str) {
    let damages: Vec<_> =
        verify(store).into_iter().filter(|damage| !damage.hurts.iter().all(|hurt| hurt.starts_with("the graph of run "))).collect();
    assert_eq!(damages, [], "{place}");
}

/// Goes on with a run to its end, in this process.
async fn go_on(root: &Path, world: &Path, run: &crate::name::RunId, journal: &[Stamped], place: &str) {
    let past = Past::read(journal);
    let before = deeds(world);
    let mut rig = rig(world).on_disk(root, None, Some(run.clone()));
    rig.past = Arc::new(past.clone());
    let told = rig.run().await;
    assert_eq!(told.ran.state, RunState::Succeeded, "{place}: {:#?}", told.lines());
    let after = deeds(world);
    for step in ACTS {
        let was = before.get(step).copied().unwrap_or(0);
        let again = usize::from(!matches!(past.standing(step), Standing::Ended { .. }));
        assert_eq!(after.get(step).copied(), Some(was + again), "{place}: {step}");
    }
    assert_eq!(after.get("w/make"), Some(&1), "{place}: what was made is made once");
    let begun = told.journal[journal.len()..]
        .iter()
        .filter_map(|line| if let Event::ActionStarted { step, .. } = &line.event { Some(step) } else { None });
    let ended = |step: &&String| matches!(past.standing(step), Standing::Ended { .. });
    assert_eq!(begun.filter(ended).collect::<Vec<_>>(), Vec::<&String>::new(), "{place}: begun again");
}

#[tokio::test]
async fn a_run_killed_before_or_after_any_write_keeps_what_it_promised_and_goes_on() {
    let kills = std::env::var("PMX_KILLS").ok().map_or(KILLS, |text| text.parse().expect("PMX_KILLS is how many runs are killed"));
    let mut dir = swift();
    let (_, moments) = life(&dir.path().join("store"), &dir.path().join("world-0"), usize::MAX - 1);
    let moments = moments.expect("nobody killed it");
    assert!(moments > 40, "{moments} moments");
    let (mut died, mut resumed, mut acknowledged, mut events) = (0, 0, 0, BTreeSet::new());
    for number in 1..=kills {
        let kill = (number - 1) % moments;
        // A store of its own for each hundred: all of it is verified each time.
        if number.is_multiple_of(100) {
            dir = swift();
        }
        let (root, world) = (dir.path().join("store"), dir.path().join(format!("world-{number}")));
        let place = format!("run {number}, killed at moment {kill} of {moments}");
        let (acks, whole) = life(&root, &world, kill);
        acknowledged += acks.len();
        // Two runs are not quite alike: what happens side by side may be written at once.
        died += usize::from(whole.is_none());
        let mut store = DirStore::open(&root).unwrap().expect("a store");
        if let Some((run, journal)) = after_the_kill(&mut store, &acks, &world, &place) {
            drop(store);
            events.insert(journal.len());
            go_on(&root, &world, &run, &journal, &place).await;
            resumed += 1;
            store = DirStore::open(&root).unwrap().expect("a store");
        }
        assert_eq!(store.requests().unwrap(), [], "{place}: nothing is left in the queue");
        sound(&mut store, &place);
        let _ = fs::remove_dir_all(&world);
    }
    assert!(died * 10 > kills * 8 && resumed * 10 > kills * 7, "{died} died, {resumed} went on");
    println!(
        "{died} of {kills} runs died, before or after one of {moments} writes, with {} different lengths of journal; {resumed} went on; {acknowledged} versions had been acknowledged",
        events.len()
    );
}
