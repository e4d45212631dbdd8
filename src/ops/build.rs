//! Building: from targets as typed to a run that ended.

use std::sync::Arc;

use tokio::sync::watch;

use crate::digest::Digest;
use crate::event::{Ending, Event, RunState};
use crate::exec::drive::{self, Ran};
use crate::exec::engine::{Asked, Confirmer, Engine, Settings, Stop};
use crate::exec::herald::{Herald, Listener};
use crate::exec::keeper::Keeper;
use crate::exec::lease::Leases;
use crate::exec::refresh::Refresher;
use crate::exec::view::View;
use crate::model::contract::Effect;
use crate::name::{Place, ResourcePattern, RunId};
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::planner::{ProjectPlanner, find};
use crate::ops::site::Site;
use crate::ops::world;
use crate::ops::{project, ready, secrets};
use crate::plan::explain;
use crate::plan::graph::{ActionId, Graph};
use crate::plan::{Target, inputs, lower};
use crate::secret::Redactor;
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::lease::Change;
use crate::store::words::{Commit, RunRow, StoreError};
use crate::value::{Map, Value};

/// What to build, and how.
pub struct Request {
    /// Targets as typed: workflows, calls, resources.
    pub targets: Vec<String>,
    /// Inputs as typed, `name=value`.
    pub inputs: Vec<String>,
    /// Actions at once; the Pmxfile's number otherwise.
    pub jobs: Option<usize>,
    /// Start what is independent of a failure.
    pub keep_going: bool,
    /// Wait for leases.
    pub wait: bool,
    /// Asks before what cannot be undone.
    pub confirmer: Arc<dyn Confirmer>,
    /// Hears every event.
    pub listener: Listener,
    /// Stops the run.
    pub stop: watch::Receiver<Stop>,
}

/// A run that ended.
#[derive(Debug)]
pub struct Report {
    /// Its id.
    pub run: RunId,
    /// What became of it.
    pub ran: Ran,
}

/// Compiles targets under the profile of `site`. Pure but for reading the project's files.
pub fn compile(site: &Site, targets: &[String], inputs: &[String]) -> Result<(ProjectPlanner, Graph, Map), Vec<Diagnostic>> {
    let project = project::load(site)?.sound()?;
    let planner = ProjectPlanner { project: Arc::clone(&project), profile: site.settings().cloned() };
    let targets = targets.iter().map(|text| Target::parse(text)).collect::<Result<Vec<_>, _>>().map_err(|d| vec![d])?;
    let inputs = inputs::parse(&project, &find, site.settings(), &targets, inputs)?;
    let graph = lower(&project, &find, site.settings(), &targets, &inputs)?;
    Ok((planner, graph, inputs))
}

/// Runs the targets. Errors are what keeps the run from beginning; what goes wrong in it is in the report.
pub async fn build(front: &Front, request: Request) -> Result<Report, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let (planner, graph, inputs) = compile(&site, &request.targets, &request.inputs)?;
    answerable(&graph, &*request.confirmer)?;
    ready::make_ready(&site, front).await.map_err(|d| vec![d])?;
    let opened = world::open_or_create(&site, front).map_err(|d| vec![d])?;
    let redactor = Redactor::new();
    let keeper = Keeper::start(opened.store);
    let wire = world::wire(&site, front, &keeper).map_err(|d| vec![d])?;
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let herald = Herald::new(run.clone(), keeper.clone(), Arc::clone(&wire.clock), redactor.clone(), Arc::clone(&request.listener));
    let asked = Asked { run: run.clone(), actor: front.actor.clone(), targets: request.targets.clone() };
    begin(&keeper, &asked, (&graph, &inputs), wire.clock.now()).await.map_err(|e| trouble(&e))?;
    let vaults = secrets::vaults(&site, front, &opened.key).map_err(|d| vec![d])?;
    let secrets = secrets::RunSecrets::new(vaults, redactor.clone());
    let leases = Leases::new(run.clone(), keeper.clone(), Arc::clone(&wire.clock), herald.clone(), request.wait);
    let view = View { keeper: keeper.clone(), sealer: opened.key, redactor };
    let started = Event::RunStarted {
        run: run.clone(),
        targets: asked.targets.clone(),
        actor: asked.actor.clone(),
        actions: u32::try_from(graph.actions.len()).unwrap_or(u32::MAX),
    };
    let engine = Arc::new(Engine {
        wire,
        view,
        herald: herald.clone(),
        secrets: Arc::new(secrets),
        who: asked,
        env: Arc::new(front.env.clone()),
        planner: Arc::new(planner),
        confirmer: Arc::clone(&request.confirmer),
        settings: settings(&site, &request, &graph),
        leases,
        refresher: Refresher::default(),
        stop: request.stop.clone(),
    });
    engine.refresher.attach(&engine);
    herald.tell(started);
    let stopping = tokio::spawn(tell_stops(herald.clone(), request.stop.clone()));
    let ran = drive::drive(Arc::clone(&engine), graph).await;
    stopping.abort();
    // What was cancelled ends on its host before the leases do.
    engine.wire.ssh.settle().await;
    finish(&engine, &ran).await.map_err(|e| trouble(&e))?;
    Ok(Report { run, ran })
}

/// Tells once that the run is being stopped: whoever asked for it learns that it was heard.
async fn tell_stops(herald: Herald, mut stop: watch::Receiver<Stop>) {
    if stop.wait_for(|stop| *stop != Stop::No).await.is_ok() {
        herald.tell(Event::Stopping { by: "ctrl-c".to_owned() });
    }
}

/// A question that nobody will be there to answer is refused before anything is done: a workflow that stops a machine and may not delete it then
/// must not stop it either. A machine that an earlier step makes needs no answer.
fn answerable(graph: &Graph, confirmer: &dyn Confirmer) -> Result<(), Vec<Diagnostic>> {
    let made = |name: &ResourcePattern, before: ActionId| {
        let makers = graph.actions[..before.index()].iter().filter(|action| action.call.method.name == "create");
        makers.flat_map(|action| &action.touch.writes).any(|write| write.resource == *name)
    };
    for action in &graph.actions {
        if action.call.method.effect != Effect::Destroy || action.flow.options.always {
            continue;
        }
        let machine = action.touch.places.iter().find_map(|used| if let Place::Machine(name) = &used.place { Some(name) } else { None });
        let Some(subject) = machine.or(action.touch.writes.first().map(|write| &write.resource)) else { continue };
        let Some(name) = &subject.instance else { continue };
        if !made(subject, action.id) && !confirmer.could_confirm(name) {
            let message = format!("{} of {name} was not confirmed, and nobody is there to be asked: nothing was done", action.call.name());
            return Err(vec![Diagnostic::new(Severity::Error, Fault::Refused, message).help(format!("give `--yes {name}`"))]);
        }
    }
    Ok(())
}

fn settings(site: &Site, request: &Request, graph: &Graph) -> Settings {
    let run = site.pmxfile.run;
    Settings {
        root: site.root.clone(),
        protected: site.pmxfile.protected.iter().map(|name| name.value.clone()).collect(),
        jobs: request.jobs.unwrap_or(run.jobs),
        per_host: run.per_host,
        keep_going: request.keep_going,
        variants: Arc::clone(&graph.variants),
    }
}

async fn begin(keeper: &Keeper, asked: &Asked, (graph, inputs): (&Graph, &Map), now: crate::event::Time) -> Result<(), StoreError> {
    let drawn = serde_json::to_vec(&explain::summary(graph)).unwrap_or_default();
    let row = RunRow {
        id: asked.run.clone(),
        targets: asked.targets.clone(),
        inputs: Value::Map(inputs.clone()).display(),
        actor: asked.actor.clone(),
        began: now,
        ended: None,
        state: RunState::Running,
        graph: Digest::of(&drawn),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let job = move |store: &mut dyn Store| {
        store.put_blob(&drawn)?;
        store.begin_run(row)
    };
    keeper.call(job).await
}

/// The last transaction of a run, and the end of its lock.
async fn finish(engine: &Arc<Engine>, ran: &Ran) -> Result<(), StoreError> {
    let counts = [Ending::Done, Ending::Unchanged, Ending::Fresh, Ending::Skipped, Ending::Failed, Ending::Cancelled];
    let count = |ending: &Ending| {
        let name = format!("{ending:?}").to_lowercase();
        (name, Value::Int(i64::try_from(ran.count(*ending)).unwrap_or(i64::MAX)))
    };
    let run = engine.who.run.clone();
    let summary = Value::Map(counts.iter().map(count).collect());
    engine.herald.tell(Event::RunFinished { run: run.clone(), state: ran.state, summary });
    let state = Some((run.clone(), ran.state, Some(engine.wire.clock.now())));
    let leases = Some((run.clone(), Change { all: true, ..Change::default() }));
    engine.herald.commit(move |_| Ok(Commit { state, leases, ..Commit::default() })).await?;
    engine.view.keeper.call(move |store| store.end_run(&run)).await
}

/// A project's place, and its store if it has one yet.
pub type Reading = (Site, Option<Box<dyn Store>>);

/// Opens what a command that only reads needs.
pub fn reading(front: &Front) -> Result<Reading, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let opened = world::open(&site).map_err(|d| vec![d])?;
    Ok((site, opened))
}
