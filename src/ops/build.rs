//! Building: from targets as typed to a run that ended.

use std::sync::Arc;

use tokio::sync::watch;

use crate::event::{Ending, Event, RunState, Stamped};
use crate::exec::drive::{self, Ran};
use crate::exec::engine::{Asked, Confirmer, Engine, Settings, Stop};
use crate::exec::herald::{Herald, Listener};
use crate::exec::keeper::Keeper;
use crate::exec::lease::Leases;
use crate::exec::past::{Past, Standing};
use crate::exec::refresh::Refresher;
use crate::exec::view::View;
use crate::lang::project::Sources;
use crate::model::contract::Effect;
use crate::name::{Place, ResourcePattern, RunId};
use crate::ops::front::Front;
use crate::ops::history::trouble;
use crate::ops::planner::{ProjectPlanner, find};
use crate::ops::recipe;
use crate::ops::repeat::{self, Deciding, Found};
use crate::ops::resume::{self, Resuming};
use crate::ops::site::Site;
use crate::ops::stopping;
use crate::ops::world::{self, Opened};
use crate::ops::{project, ready, secrets};
use crate::plan::graph::{ActionId, Graph};
use crate::plan::{Target, inputs};
use crate::secret::Redactor;
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::lease::Change;
use crate::store::words::{Commit, RunRow, StoreError};
use crate::value::{Map, Value};
use crate::wire::clock::{Clock as _, SystemClock};

/// What to build, and how.
pub struct Request {
    /// Targets as typed: workflows, calls, resources. None for a run that is resumed.
    pub targets: Vec<String>,
    /// Inputs as typed, `name=value`.
    pub inputs: Vec<String>,
    /// The run to go on with, instead of targets.
    pub resume: Option<Resuming>,
    /// Actions at once; the Pmxfile's number otherwise.
    pub jobs: Option<usize>,
    /// Start what is independent of a failure.
    pub keep_going: bool,
    /// Wait for leases.
    pub wait: bool,
    /// Asks before what cannot be undone, and about what nobody knows.
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

/// A run that is about to be driven.
pub(super) struct Planned {
    /// Answers of the planner during the run.
    pub planner: ProjectPlanner,
    /// Its graph.
    pub graph: Graph,
    /// Its id, its actor and its past.
    pub who: Asked,
    /// How it comes into the store.
    pub beginning: Beginning,
}

/// How a run comes into the store.
pub(super) enum Beginning {
    /// With a row of its own.
    New(Box<New>),
    /// Its row is there.
    Again {
        /// So many lines its journal had when its past was read.
        lines: u64,
        /// What somebody knows of its doubts, as journal lines.
        known: Vec<Stamped>,
        /// Told first.
        told: Event,
    },
}

/// A run with a row of its own.
pub(super) struct New {
    row: RunRow,
    deciding: Option<Deciding>,
}

impl Beginning {
    /// The row and what decided the run, where its like may be repeated.
    fn repeatable(&mut self, graph: &Graph) -> Option<(RunRow, Deciding)> {
        let Self::New(new) = self else { return None };
        let deciding = new.deciding.take()?;
        repeat::repeatable(graph).then(|| (new.row.clone(), deciding))
    }
}

/// Compiles targets under the profile of `site`; the planner knows the definitions alone. Pure but for reading the project's files.
pub fn compile(site: &Site, targets: &[String], inputs: &[String]) -> Result<(ProjectPlanner, Graph, Map), Vec<Diagnostic>> {
    compile_sources(site, &project::sources(site)?, targets, inputs)
}

fn compile_sources(
    site: &Site,
    sources: &Sources,
    targets: &[String],
    inputs: &[String],
) -> Result<(ProjectPlanner, Graph, Map), Vec<Diagnostic>> {
    let project = project::read(sources).sound()?;
    let targets = targets.iter().map(|text| Target::parse(text)).collect::<Result<Vec<_>, _>>().map_err(|d| vec![d])?;
    let inputs = inputs::parse(&project, &find, site.settings(), &targets, inputs)?;
    let (planner, graph) = ProjectPlanner::plan(project, site.settings().cloned(), &targets, &inputs)?;
    Ok((planner, graph, inputs))
}

/// Runs the targets, or goes on with a run. Errors are what keeps the run from beginning; what goes wrong in it is in the report.
pub async fn build(front: &Front, request: Request) -> Result<Report, Vec<Diagnostic>> {
    let site = Site::find(front)?;
    let (opened, planned) = match &request.resume {
        None => {
            let sources = project::sources(&site)?;
            let mut opened = world::open_if_there(&site, front);
            let deciding = opened.as_mut().and_then(|opened| repeat::deciding(front, &request, &sources, opened).ok());
            if let (Some(opened), Some(deciding)) = (&mut opened, &deciding)
                && let Some(memo) = repeat::known(&mut *opened.store, deciding)
            {
                return repeat::play(front, &request, &mut *opened.store, memo).map_err(|e| trouble(&e));
            }
            plan_new(front, &site, &request, Given { sources, opened, deciding }).await?
        }
        Some(resuming) => {
            let mut opened = world::open_with_key(&site, front).map_err(|d| vec![d])?;
            let planned = resume::plan(front, &site, (resuming, &*request.confirmer), &mut opened).await?;
            ready::make_ready(&site, front).await.map_err(|d| vec![d])?;
            (opened, planned)
        }
    };
    let redactor = Redactor::new();
    let keeper = Keeper::start(opened.store);
    let wire = world::wire(&site, front, &keeper).map_err(|d| vec![d])?;
    let vaults = secrets::vaults(&site, front, &opened.key).map_err(|d| vec![d])?;
    let secrets = secrets::RunSecrets::new(vaults, redactor.clone());
    let Planned { planner, graph, who, mut beginning } = planned;
    let repeatable = beginning.repeatable(&graph);
    let run = who.run.clone();
    let herald = Herald::new(run.clone(), keeper.clone(), Arc::clone(&wire.clock), redactor.clone(), Arc::clone(&request.listener));
    let started = begin(&keeper, &who, &graph, beginning).await?;
    let leases = Leases::new(run.clone(), keeper.clone(), Arc::clone(&wire.clock), herald.clone(), request.wait);
    herald.tell(started);
    let stops = stopping::watch(&keeper, &herald, &wire.clock, (run.clone(), request.stop.clone()));
    let engine = Arc::new(Engine {
        wire,
        view: View { keeper: keeper.clone(), sealer: opened.key, redactor },
        herald: herald.clone(),
        secrets: Arc::new(secrets),
        who,
        env: Arc::new(front.env.clone()),
        planner: Arc::new(planner),
        confirmer: Arc::clone(&request.confirmer),
        settings: settings(&site, &request, &graph),
        leases,
        refresher: Refresher::default(),
        stop: stops.stop.clone(),
    });
    engine.refresher.attach(&engine);
    let ran = drive::drive(Arc::clone(&engine), graph).await;
    drop(stops);
    // What was cancelled ends on its host before the leases do.
    engine.wire.ssh.settle().await;
    finish(&engine, &ran, repeatable).await.map_err(|e| trouble(&e))?;
    Ok(Report { run, ran })
}

/// What is known before the targets are compiled.
struct Given {
    sources: Sources,
    /// The store, if there was one.
    opened: Option<Opened>,
    deciding: Option<Deciding>,
}

/// Compiles the targets, makes the machines ready and the store.
async fn plan_new(front: &Front, site: &Site, request: &Request, given: Given) -> Result<(Opened, Planned), Vec<Diagnostic>> {
    let Given { sources, opened, deciding } = given;
    let (planner, graph, inputs) = compile_sources(site, &sources, &request.targets, &request.inputs)?;
    answerable(&graph, &Past::default(), &*request.confirmer)?;
    ready::make_ready(site, front).await.map_err(|d| vec![d])?;
    let mut opened = opened.map_or_else(|| world::open_or_create(site, front), Ok).map_err(|d| vec![d])?;
    let graph_blob = recipe::keep(&sources, front.profile.as_deref(), (&graph, &inputs), (&mut *opened.store, &*opened.key));
    let graph_blob = graph_blob.map_err(|e| trouble(&e))?;
    let run = RunId::from_uuid(uuid::Uuid::now_v7());
    let who = Asked { run, actor: front.actor.clone(), targets: request.targets.clone(), past: Arc::default() };
    let row = RunRow {
        id: who.run.clone(),
        targets: who.targets.clone(),
        inputs: Value::Map(inputs).display(),
        actor: who.actor.clone(),
        began: SystemClock::new().now(),
        ended: None,
        state: RunState::Running,
        graph: graph_blob,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok((opened, Planned { planner, graph, who, beginning: Beginning::New(Box::new(New { row, deciding })) }))
}

/// A question that nobody will be there to answer is refused before anything is done: a workflow that stops a machine and may not delete it then
/// must not stop it either. A machine that an earlier step makes needs no answer.
pub(super) fn answerable(graph: &Graph, past: &Past, confirmer: &dyn Confirmer) -> Result<(), Vec<Diagnostic>> {
    let made = |name: &ResourcePattern, before: ActionId| {
        let makers = graph.actions[..before.index()].iter().filter(|action| action.call.method.name == "create");
        makers.flat_map(|action| &action.touch.writes).any(|write| write.resource == *name)
    };
    for action in &graph.actions {
        let over = matches!(past.standing(&action.step), Standing::Ended { .. });
        if over || action.call.method.effect != Effect::Destroy || action.flow.options.always {
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

/// Brings the run into the store, with its lock. Returns what is told first.
async fn begin(keeper: &Keeper, who: &Asked, graph: &Graph, beginning: Beginning) -> Result<Event, Vec<Diagnostic>> {
    match beginning {
        Beginning::New(new) => {
            let started = Event::RunStarted {
                run: who.run.clone(),
                targets: who.targets.clone(),
                actor: who.actor.clone(),
                actions: u32::try_from(graph.actions.len()).unwrap_or(u32::MAX),
            };
            keeper.call(move |store| store.begin_run(new.row)).await.map_err(|e| trouble(&e))?;
            Ok(started)
        }
        Beginning::Again { lines, known, told } => {
            let run = who.run.clone();
            keeper.call(move |store| resume::take(store, &run, lines, known)).await?;
            Ok(told)
        }
    }
}

/// How many actions ended how, by the name of the ending.
pub(super) fn summary(ran: &Ran) -> Value {
    let counts = [Ending::Done, Ending::Unchanged, Ending::Fresh, Ending::Skipped, Ending::Failed, Ending::Cancelled];
    let count = |ending: &Ending| {
        let name = format!("{ending:?}").to_lowercase();
        (name, Value::Int(i64::try_from(ran.count(*ending)).unwrap_or(i64::MAX)))
    };
    Value::Map(counts.iter().map(count).collect())
}

/// The last transaction of a run, and the end of its lock; between them what is left for its like.
async fn finish(engine: &Arc<Engine>, ran: &Ran, repeatable: Option<(RunRow, Deciding)>) -> Result<(), StoreError> {
    let run = engine.who.run.clone();
    engine.herald.tell(Event::RunFinished { run: run.clone(), state: ran.state, summary: summary(ran) });
    let state = Some((run.clone(), ran.state, Some(engine.wire.clock.now())));
    let leases = Some((run.clone(), Change { all: true, ..Change::default() }));
    engine.herald.commit(move |_| Ok(Commit { state, leases, ..Commit::default() })).await?;
    if let Some((row, deciding)) = repeatable {
        let horizon = engine.refresher.horizon.take();
        // Should it fail, the next run works everything out.
        let _ = engine.view.keeper.call_blocking(|store| repeat::remember(store, &deciding, Found { row: &row, ran, horizon }));
    }
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
