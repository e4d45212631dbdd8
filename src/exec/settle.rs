//! Settling: what a dead run left unfinished is brought to an end before its heir begins anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Event;
use crate::exec::engine::Engine;
use crate::model::contract::Failure;
use crate::name::RunId;
use crate::store::Store;
use crate::store::words::StoreError;

/// How many journal lines are held at once.
const PAGE: usize = 500;

/// Tells which effects of dead runs began and never ended: nobody knows whether they happened. The methods that follow look before they act.
pub async fn settle(engine: &Arc<Engine>, dead: &[RunId]) -> Result<(), Failure> {
    for run in dead {
        let asked = run.clone();
        let begun = engine.view.keeper.call(move |store| unfinished(store, &asked)).await.map_err(|e| Failure::bug(e.to_string()))?;
        for (step, call) in begun {
            let id = run.short();
            let message = format!("run {id} died during {step} ({call}): what became of it is not known; see `pmx run {id}`");
            engine.herald.tell(Event::Warning { step: None, message });
        }
    }
    Ok(())
}

/// The actions that the journal of `run` says began and not that they ended: step and call.
fn unfinished(store: &mut dyn Store, run: &RunId) -> Result<Vec<(String, String)>, StoreError> {
    let mut open = BTreeMap::new();
    let mut from = 0;
    // Bounded by the journal.
    loop {
        let page = store.journal(run, from, PAGE)?;
        if page.is_empty() {
            return Ok(open.into_iter().collect());
        }
        from += page.len() as u64;
        for line in page {
            match line.event {
                Event::ActionStarted { step, call, .. } => drop(open.insert(step, call)),
                Event::ActionFinished { step, .. } => drop(open.remove(&step)),
                _ => {}
            }
        }
    }
}
