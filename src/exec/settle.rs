//! Settling: what a dead run left unfinished is brought to an end before its heir begins anything.
//!
//! - The actions in doubt are those that its journal says began and does not say ended; their calls come from its own recipe.
//! - Tasks are waited for by the type that began them, commands over SSH by their marks. Nothing is begun again, and nothing of the dead run goes on.
//! - Then what they write is looked at, so that nobody trusts a version from before.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::event::{Event, Stamped};
use crate::exec::engine::Engine;
use crate::exec::evaluate::{self, Evaluation};
use crate::exec::past::{self, Past};
use crate::exec::refresh::Keys;
use crate::exec::reporter::Reporter;
use crate::exec::view::Held;
use crate::model::contract::{Call, Context, Failure, Guard, Who};
use crate::model::{leftover, registry};
use crate::name::{ResourceName, RunId};
use crate::plan::graph::{Action, Graph};
use crate::store::Store;
use crate::store::words::{Commit, RunRow, StoreError};

/// A dead run: its past, and its graph as far as that can be made again.
struct Dead {
    row: RunRow,
    past: Past,
    graph: Result<Graph, String>,
}

/// Ends what the runs `dead` left unfinished: waits for what still runs, looks at what came of it, and tells both.
///
/// Takes no lease. An error means that something still runs, or that the run was stopped: its heir must not begin.
pub async fn settle(engine: &Arc<Engine>, dead: &[RunId]) -> Result<(), Failure> {
    // A run that goes on under its own id takes its own work up again by itself.
    for run in dead.iter().filter(|run| **run != engine.who.run) {
        let Some(dead) = read(engine, run).await? else { continue };
        for (step, tasks) in dead.past.doubts() {
            let found = one(engine, &dead, (step, tasks)).await?;
            tell(engine, &dead.row.id, step, found).await;
        }
    }
    Ok(())
}

async fn read(engine: &Arc<Engine>, run: &RunId) -> Result<Option<Dead>, Failure> {
    let (run, planner, sealer) = (run.clone(), Arc::clone(&engine.planner), Arc::clone(&engine.view.sealer));
    let job = move |store: &mut dyn Store| -> Result<Option<Dead>, StoreError> {
        let Some(row) = store.find_runs(run.as_str())?.into_iter().next() else { return Ok(None) };
        let past = Past::read(&past::journal(store, &row.id)?);
        let graph = planner.remake(store, &row, &*sealer);
        Ok(Some(Dead { row, past, graph }))
    };
    engine.view.keeper.call(job).await.map_err(|e| Failure::bug(e.to_string()))
}

/// Settles one action of a dead run: what was found, in a sentence.
async fn one(engine: &Arc<Engine>, dead: &Dead, (step, tasks): (&str, &[String])) -> Result<String, Failure> {
    let unknown = |why: String| Ok(format!("what became of it is not known: {why}"));
    let graph = match &dead.graph {
        Ok(graph) => graph,
        Err(why) => return unknown(why.clone()),
    };
    let actions = dead.past.actions(graph).unwrap_or_default();
    let Some(action) = actions.into_iter().find(|action| action.step == step) else {
        return unknown("it is no step of its graph".to_owned());
    };
    if !action.call.method.effect.acts() {
        return Ok("it only looked".to_owned());
    }
    let call = match evaluate::action(engine, &action).await {
        Ok(Evaluation::Values(values)) => Call { globals: values.globals, arguments: values.arguments },
        Ok(Evaluation::Not(condition)) => return unknown(format!("its condition `{condition}` is false by now")),
        Err(failure) => return unknown(failure.message),
    };
    let began = engine.wire.clock.now();
    let context = context(engine, &action, (&dead.row.id, tasks));
    leftover::wait(&context).await?;
    if let Some(settle) = registry::settler(action.call.kind.name) {
        settle(&context, call).await?;
    }
    let mut looked = Vec::new();
    for name in action.touch.writes.iter().filter_map(|write| write.resource.exact()) {
        if let Some(found) = look(engine, &name, &|held| held.version.made.at >= began).await {
            looked.push(found);
        }
    }
    let waited = if tasks.is_empty() { "nothing of it was known to run".to_owned() } else { "nothing of it runs any more".to_owned() };
    Ok(if looked.is_empty() { waited } else { format!("{waited}; looked at {}", looked.join(", ")) })
}

/// Observes a resource anew. One that cannot be looked at now is left to whoever reads it.
async fn look(engine: &Arc<Engine>, name: &ResourceName, fresh: &(dyn Fn(&Held) -> bool + Sync)) -> Option<String> {
    if !engine.planner.observable(name) {
        return None;
    }
    match engine.refresher.current(name, fresh).await {
        Ok(_) => Some(name.to_string()),
        Err(failure) => Some(format!("{name} in vain ({})", engine.herald.redacted(&failure.message))),
    }
}

fn context(engine: &Arc<Engine>, action: &Action, (run, tasks): (&RunId, &[String])) -> Context {
    let step = format!("{} of run {}", action.step, run.short());
    Context {
        wire: engine.wire.clone(),
        reporter: Reporter::new(&step, engine.herald.clone(), engine.stop.clone(), false),
        who: Who { run: engine.who.run.clone(), actor: engine.who.actor.clone(), step, def: action.call.def.clone() },
        previous: BTreeMap::new(),
        identity: String::new(),
        guard: Guard::default(),
        credentials: Arc::new(Keys { engine: Arc::clone(engine) }),
        root: PathBuf::new(),
        unfinished: tasks.to_vec(),
    }
}

/// Tells those who listen here, and writes it into the journal of the dead run, where whoever looks at that finds it.
async fn tell(engine: &Arc<Engine>, dead: &RunId, step: &str, found: String) {
    let found = engine.herald.redacted(&found);
    let message = format!("run {} died during {step}: {found}", dead.short());
    engine.herald.tell(Event::Warning { step: None, message });
    let event = Event::Settled { step: step.to_owned(), by: engine.who.run.clone(), found };
    let line = Stamped { at: engine.wire.clock.now(), event };
    let commit = Commit { journal: Some((dead.clone(), vec![line])), ..Commit::default() };
    if let Err(error) = engine.view.keeper.call(move |store| store.commit(commit)).await {
        engine.herald.tell(Event::Warning { step: None, message: format!("that could not be written into its journal: {error}") });
    }
}
