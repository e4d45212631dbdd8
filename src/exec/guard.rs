//! What stands between an action and the world: the proofs that a Destroy needs, and the questions to a person.

use std::sync::Arc;

use crate::exec::engine::{Engine, Question};
use crate::exec::evaluate::Values;
use crate::exec::keep::Attempt;
use crate::model::contract::{At, Effect, Failure, FailureKind, Guard};
use crate::name::ResourceName;
use crate::plan::graph::Action;
use crate::value::Value;

/// What a Destroy destroys: the machine on which it acts, and only where it acts on none the first resource that it writes. A record of what was done
/// to a machine proves nothing about which machine that is.
fn subject(action: &Action, values: &Values, attempt: &Attempt) -> Result<Option<ResourceName>, Failure> {
    if let Some(machine) = values.machine.as_ref().or(attempt.machine.as_ref()) {
        return Ok(Some(machine.name.clone()));
    }
    let on_a_host = action.call.method.acts.iter().any(|acts| matches!(acts.at, At::Host(_)));
    if on_a_host && action.call.method.effect == Effect::Destroy {
        let host = values.host.as_deref().unwrap_or("nothing");
        let message =
            format!("{} acts on {host}, an address that no resource stands for: nothing proves which machine is meant", action.call.name());
        return Err(Failure::refused(message)
            .help("read the address from the machine's resource: `${{ model.fleet.resource.vm[…].attributes.ip }}`"));
    }
    Ok(attempt.subject_resource())
}

/// Asks for what must be asked, and gathers the proofs that a Destroy needs.
pub async fn guard(engine: &Arc<Engine>, action: &Action, values: &Values, attempt: &Attempt) -> Result<Guard, Failure> {
    let options = &action.flow.options;
    let destroys = action.call.method.effect == Effect::Destroy;
    let mut guard = Guard { protected: engine.settings.protected.clone(), shown: None, own_only: options.always };
    let subject = subject(action, values, attempt)?;
    let mut ours = false;
    if destroys {
        let name = subject.as_ref().ok_or_else(|| Failure::refused("it is not known which resource this would destroy"))?;
        let held = known(engine, name).await?;
        ours = made_here(engine, name).await?;
        guard.shown = Some(held);
    }
    if (destroys && !ours && !options.always) || options.confirm.is_some() {
        let question = Question {
            step: action.step.clone(),
            call: action.call.name(),
            name: subject.map_or_else(|| action.step.clone(), |name| name.instance),
            attributes: guard.shown.clone(),
            text: options.confirm.clone(),
            destroys,
        };
        if !asked(engine, &question).await? {
            let help = format!("type the name when asked, or give `--yes {}`", question.name);
            return Err(Failure::refused(format!("{} of {} was not confirmed", question.call, question.name)).help(help));
        }
    }
    Ok(guard)
}

/// The answer to a question; a stop of the run ends the wait for it.
async fn asked(engine: &Arc<Engine>, question: &Question) -> Result<bool, Failure> {
    let mut stop = engine.stop.clone();
    let before = *stop.borrow_and_update();
    let stopped = async {
        // A cleanup step is asked about after the first stop too: only a further one ends its wait.
        if stop.wait_for(|stop| *stop > before).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        answer = engine.confirmer.confirm(question) => Ok(answer),
        () = stopped => {
            let message = format!("stopped before {} of {} was confirmed", question.call, question.name);
            Err(Failure { kind: FailureKind::Cancelled, ..Failure::theirs(message) })
        }
    }
}

/// What is known of a resource that is to be destroyed; observed now when nothing is known yet.
async fn known(engine: &Arc<Engine>, name: &ResourceName) -> Result<Value, Failure> {
    let head = engine.view.head(name).await.map_err(|e| Failure::bug(e.to_string()))?;
    if let Some(held) = head {
        return Ok(Arc::unwrap_or_clone(held.attributes));
    }
    if !engine.planner.observable(name) {
        return Err(Failure::refused(format!("no version of {name} is known, so nothing proves which machine is meant")));
    }
    engine.refresher.current(name, &|_| true).await.map(|held| Arc::unwrap_or_clone(held.attributes))
}

/// Whether this very run created the resource: one of its versions was written here by a method that is no observation of it.
async fn made_here(engine: &Arc<Engine>, name: &ResourceName) -> Result<bool, Failure> {
    let (run, name) = (engine.who.run.clone(), name.clone());
    let chain = engine.view.keeper.call(move |store| store.chain(&name, None, 64)).await.map_err(|e| Failure::bug(e.to_string()))?;
    Ok(chain.iter().any(|version| version.made.run == run && version.made.call.ends_with(".create")))
}
