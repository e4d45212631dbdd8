//! The rig of this room's tests: a small project on the memory store, methods that do as a test says, a clock that a test moves, and every event heard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::digest::Digest;
use crate::event::{Event, RunState, Stamped};
use crate::exec::drive::{Ran, drive};
use crate::exec::engine::{Asked, Confirmer, Engine, Planner, Question, Secrets, Settings, Stop};
use crate::exec::herald::Herald;
use crate::exec::keeper::Keeper;
use crate::exec::lease::Leases;
use crate::exec::past::Past;
use crate::exec::refresh::Refresher;
use crate::exec::rig_clock::HandClock;
use crate::exec::rig_store::RigStore;
use crate::exec::rig_types;
use crate::exec::view::View;
use crate::lang::Project;
use crate::lang::project::{Sources, parse};
use crate::lang::template::Absent;
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::name::{Actor, ResourceName, RunId};
use crate::plan::graph::{Action, Graph};
use crate::plan::{Target, lower};
use crate::secret::{Origin, Redactor, Sealer, Secret};
use crate::source::{Severity, Source};
use crate::store::Store;
use crate::store::dir::DirStore;
use crate::store::lease::Change;
use crate::store::memory::MemoryStore;
use crate::store::words::{ActionRecord, Commit, RunRow, StoreError, Version};
use crate::value::{Map, Value};
use crate::wire::Wire;
use crate::wire::scripted::{ScriptedHttp, ScriptedSsh, ScriptedTcp};

/// What a method does in a test.
pub type Behaviour = Arc<dyn Fn(Context, Call) -> BoxFuture<'static, Result<Outcome, Failure>> + Send + Sync>;
type Questions = Arc<Mutex<Vec<Question>>>;
/// Whether a transaction is refused.
pub type Refuses = Arc<dyn Fn(&Commit) -> bool + Send + Sync>;
/// Told of every call of the store before it, with `None`, and after it, with the versions it wrote.
pub type Watch = Arc<dyn Fn(&'static str, Option<&[Version]>) + Send + Sync>;
type Behaviours = Arc<Mutex<BTreeMap<String, Behaviour>>>;

/// Methods are plain functions: they find their rig by the root of its project.
static RIGS: Mutex<BTreeMap<PathBuf, Behaviours>> = Mutex::new(BTreeMap::new());
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What the step, else the call, was told to do.
pub fn behaviour(ctx: &Context, method: &str) -> Option<Behaviour> {
    let rigs = RIGS.lock().unwrap();
    let known = rigs.get(&ctx.root)?.lock().unwrap();
    let call = format!("{}.{method}", ctx.who.def);
    known.get(&ctx.who.step).or_else(|| known.get(&call)).cloned()
}

/// Every wait of a test ends.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it takes for ever")
}

// tidy: fields ≤ 13, because each is one thing that a test of a run may want otherwise.
/// A project, a store, and what its methods do.
pub struct Rig {
    pub clock: HandClock,
    pub store: MemoryStore,
    pub settings: Settings,
    pub wait: bool,
    pub actor: Actor,
    pub inputs: Map,
    pub vault: BTreeMap<String, String>,
    pub questions: Questions,
    /// Who is asked instead.
    pub asks: Option<Arc<dyn Confirmer>>,
    /// Refuses transactions: given each before it is made.
    pub broken: Option<Refuses>,
    /// What the run did before it was resumed.
    pub past: Arc<Past>,
    made: Made,
}

/// What a rig was made of.
struct Made {
    project: Arc<Project>,
    behaviours: Behaviours,
    /// A store on disk instead of the one in memory, and who watches it.
    disk: Option<(PathBuf, Option<Watch>)>,
    /// The run that is gone on with.
    again: Option<RunId>,
}

impl Rig {
    /// A rig whose workflow `w` has these steps.
    pub fn new(steps: &str) -> Self {
        Self::of(&[("workflows/w.toml", steps)])
    }

    /// A rig with these workflows and definitions beside its own.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let all: Vec<(&str, &str)> = rig_types::DEFINITIONS.iter().chain(files).copied().collect();
        let of = |folder: &str| all.iter().filter(|(name, _)| name.starts_with(folder)).map(|(n, t)| Source::new(*n, *t)).collect();
        let pmxfile = Source::new("Pmxfile.toml", "[project]\nname = \"rig\"\n[vault.v]\nkind = \"env\"\n");
        let sources = Sources { pmxfile, definitions: of("definitions/"), workflows: of("workflows/") };
        let (project, complaints) = parse(&sources);
        let errors: Vec<String> = complaints.iter().filter(|c| c.severity == Severity::Error).map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        let root = PathBuf::from(format!("/rig/{}", COUNT.fetch_add(1, Ordering::SeqCst)));
        let behaviours = Behaviours::default();
        RIGS.lock().unwrap().insert(root.clone(), Arc::clone(&behaviours));
        let settings =
            Settings { root, protected: vec!["precious".into()], jobs: 16, per_host: 4, keep_going: false, variants: Arc::default() };
        Self {
            clock: HandClock::new(),
            store: MemoryStore::new(),
            settings,
            wait: true,
            actor: Actor::new("cli", "test"),
            inputs: Map::new(),
            vault: BTreeMap::new(),
            questions: Arc::default(),
            asks: None,
            broken: None,
            past: Arc::default(),
            made: Made { project: Arc::new(project.unwrap()), behaviours, disk: None, again: None },
        }
    }

    /// The same with a store on disk, watched by somebody; `again` is the run there that is gone on with, its lock taken anew.
    pub fn on_disk(mut self, root: &std::path::Path, watch: Option<Watch>, again: Option<RunId>) -> Self {
        (self.made.disk, self.made.again) = (Some((root.to_path_buf(), watch)), again);
        self
    }

    /// What a step (`a` of the workflow `w`), a path (`w/a`) or a call (`fleet.look`) does from now on.
    pub fn on<F>(&self, name: &str, does: impl Fn(Context, Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let key = if name.contains(['/', '.']) { name.to_owned() } else { format!("w/{name}") };
        self.made.behaviours.lock().unwrap().insert(key, Arc::new(move |ctx, call| Box::pin(does(ctx, call))));
    }

    /// It fails so, each time.
    pub fn fails(&self, name: &str, failure: Failure) {
        self.on(name, move |_, _| std::future::ready(Err(failure.clone())));
    }

    /// It writes these attributes, whatever its arguments.
    pub fn gives(&self, name: &str, attributes: serde_json::Value) {
        self.on(name, move |ctx, call| {
            let attributes = Value::from(attributes.clone());
            async move { Ok(rig_types::outcome(&ctx, &call, attributes)) }
        });
    }

    /// It waits at a gate, then does the usual.
    pub fn gate(&self, name: &str) -> Gate {
        let gate = Gate::default();
        let at = gate.clone();
        self.on(name, move |ctx, call| {
            let at = at.clone();
            async move {
                at.pass().await;
                Ok(rig_types::usual(&ctx, &call))
            }
        });
        gate
    }

    /// It waits at a gate, then fails.
    pub fn gate_and_fail(&self, name: &str, failure: Failure) -> Gate {
        let gate = Gate::default();
        let at = gate.clone();
        self.on(name, move |_, _| {
            let (at, failure) = (at.clone(), failure.clone());
            async move {
                at.pass().await;
                Err(failure)
            }
        });
        gate
    }

    /// It does the usual; what it was called with is kept.
    pub fn spy(&self, name: &str) -> Arc<Mutex<Vec<(Context, Call)>>> {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&calls);
        self.on(name, move |ctx, call| {
            kept.lock().unwrap().push((ctx.clone(), call.clone()));
            async move { Ok(rig_types::usual(&ctx, &call)) }
        });
        calls
    }

    /// The graph of a target.
    pub fn graph(&self, target: &str) -> Graph {
        lower(&self.made.project, &rig_types::find, None, &[Target::parse(target).unwrap()], &self.inputs)
            .unwrap_or_else(|complaints| panic!("{}", complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
    }

    /// Begins a run of the workflow `w`.
    pub fn start(&self) -> Running {
        self.start_target("w")
    }

    /// Begins a run of a target, with a handle of its own on the store, as another process would have.
    pub fn start_target(&self, target: &str) -> Running {
        let graph = self.graph(target);
        let (stop, stopped) = watch::channel(Stop::No);
        let events = Arc::new(watch::Sender::new(Vec::new()));
        let heard = Arc::clone(&events);
        let listener = Arc::new(move |stamped: &Stamped| heard.send_modify(|all: &mut Vec<Stamped>| all.push(stamped.clone())));
        let id = self.made.again.clone().unwrap_or_else(|| RunId::from_uuid(uuid::Uuid::now_v7()));
        let (inner, watch): (Box<dyn Store>, _) = match &self.made.disk {
            Some((root, watch)) => (Box::new(DirStore::open_or_create(root).unwrap()), watch.clone()),
            None => (Box::new(self.store.another()), None),
        };
        let store = RigStore { inner, broken: self.broken.clone(), watch, full: false, gathered: None };
        let keeper = Keeper::start(Box::new(store));
        let redactor = Redactor::new();
        let wire = Wire {
            http: Arc::new(ScriptedHttp::new()),
            ssh: Arc::new(ScriptedSsh::new()),
            tcp: Arc::new(ScriptedTcp::new()),
            clock: Arc::new(self.clock.clone()),
        };
        let herald = Herald::new(id.clone(), keeper.clone(), Arc::clone(&wire.clock), redactor.clone(), listener);
        let who = Asked { run: id.clone(), actor: self.actor.clone(), targets: vec![target.to_owned()], past: Arc::clone(&self.past) };
        let leases = Leases::new(id.clone(), keeper.clone(), Arc::clone(&wire.clock), herald.clone(), self.wait);
        let vault = RigVault { known: self.vault.clone(), redactor: redactor.clone() };
        let confirmer = self.asks.clone().unwrap_or_else(|| Arc::new(SaysYes { questions: Arc::clone(&self.questions) }));
        let engine = Arc::new(Engine {
            view: View { keeper, sealer: Arc::new(RigSealer), redactor },
            herald,
            secrets: Arc::new(vault),
            who,
            env: Arc::new(BTreeMap::from([("HOME".to_owned(), "/root".to_owned())])),
            planner: Arc::new(RigPlanner { project: Arc::clone(&self.made.project) }),
            confirmer,
            settings: Settings { variants: Arc::clone(&graph.variants), ..self.settings.clone() },
            leases,
            refresher: Refresher::default(),
            stop: stopped,
            wire,
        });
        engine.refresher.attach(&engine);
        let ran = tokio::spawn(whole(Arc::clone(&engine), graph, self.made.again.is_some()));
        Running { id, engine, stop, events, ran }
    }

    /// Runs the workflow `w` to its end.
    pub async fn run(&self) -> Told {
        self.start().end().await
    }

    /// The head of a resource: its number and its attributes, secrets as markers.
    pub fn head(&self, name: &str) -> Option<(Version, serde_json::Value)> {
        let mut store = self.store.another();
        let version = store.head(&name.parse().unwrap()).unwrap()?;
        let bytes = store.blob(&version.content).unwrap().unwrap();
        Some((version, serde_json::from_slice(&bytes).unwrap()))
    }
}

/// What `ops` does around a run: its row before, its last transaction after.
async fn whole(engine: Arc<Engine>, graph: Graph, again: bool) -> Ran {
    let row = RunRow {
        id: engine.who.run.clone(),
        targets: engine.who.targets.clone(),
        inputs: "{}".into(),
        actor: engine.who.actor.clone(),
        began: engine.wire.clock.now(),
        ended: None,
        state: RunState::Running,
        graph: Digest::of(b""),
        version: "rig".into(),
    };
    if again {
        assert!(engine.view.keeper.call(move |store| store.resume_run(&row.id)).await.unwrap(), "somebody goes on with it");
    } else {
        engine.view.keeper.call(move |store| store.begin_run(row)).await.unwrap();
    }
    let ran = drive(Arc::clone(&engine), graph).await;
    let (run, now) = (engine.who.run.clone(), engine.wire.clock.now());
    let state = Some((run.clone(), ran.state, Some(now)));
    let leases = Some((run.clone(), Change { all: true, ..Change::default() }));
    engine.herald.commit(move |_| Ok(Commit { state, leases, ..Commit::default() })).await.unwrap();
    engine.view.keeper.call(move |store| store.end_run(&run)).await.unwrap();
    ran
}

/// A run that goes on.
pub struct Running {
    pub id: RunId,
    pub engine: Arc<Engine>,
    pub stop: watch::Sender<Stop>,
    events: Arc<watch::Sender<Vec<Stamped>>>,
    ran: tokio::task::JoinHandle<Ran>,
}

impl Running {
    /// The story so far.
    pub fn lines(&self) -> Vec<String> {
        lines(&self.events.borrow())
    }

    /// Waits until the story has a line that begins so.
    pub async fn until(&self, line: &str) {
        let mut events = self.events.subscribe();
        let heard = |events: &Vec<Stamped>| lines(events).iter().any(|told| told.starts_with(line));
        let waited = tokio::time::timeout(Duration::from_secs(30), events.wait_for(heard)).await.map(drop);
        assert!(waited.is_ok(), "`{line}` never came: {:#?}", self.lines());
    }

    /// Ends it as a `kill -9` of its process would: its locks are free, and nothing more is written.
    pub async fn kill(self, rig: &Rig) {
        let Self { id, engine, ran, .. } = self;
        ran.abort();
        soon(ran).await.unwrap_err();
        drop(engine);
        let mut store = rig.store.another();
        soon(async {
            while store.find_runs(id.as_str()).unwrap()[0].state == RunState::Running {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits for the end.
    pub async fn end(self) -> Told {
        let Ok(ran) = tokio::time::timeout(Duration::from_secs(30), self.ran).await else {
            panic!("the run never ends: {:#?}", lines(&self.events.borrow()))
        };
        let ran = ran.unwrap();
        let events = self.events.borrow().clone();
        let run = self.id.clone();
        let read = move |store: &mut dyn Store| -> Result<_, StoreError> { Ok((store.journal(&run, 0, 100_000)?, store.records(&run)?)) };
        let (journal, records) = self.engine.view.keeper.call(read).await.unwrap();
        Told { id: self.id, ran, events, journal, records }
    }
}

/// A run that ended.
#[derive(Debug)]
pub struct Told {
    pub id: RunId,
    pub ran: Ran,
    pub events: Vec<Stamped>,
    pub journal: Vec<Stamped>,
    pub records: Vec<ActionRecord>,
}

impl Told {
    /// The story as lines: see [`line`].
    pub fn lines(&self) -> Vec<String> {
        lines(&self.events)
    }

    /// How a step ended: `done`, `failed: why`.
    pub fn of(&self, step: &str) -> String {
        let step = if step.contains(['/', '.']) { step.to_owned() } else { format!("w/{step}") };
        let ended = self.ran.actions.iter().find(|(name, ..)| *name == step);
        let (_, ending, summary) = ended.unwrap_or_else(|| panic!("no step {step}: {:#?}", self.ran.actions));
        format!("{}: {summary}", format!("{ending:?}").to_lowercase())
    }

    /// Whether the story has a line that begins so.
    pub fn has(&self, line: &str) -> bool {
        self.lines().iter().any(|told| told.starts_with(line))
    }

    /// The record of a step.
    pub fn record(&self, step: &str) -> &ActionRecord {
        let step = format!("w/{step}");
        self.records.iter().find(|record| record.made.step == step).unwrap_or_else(|| panic!("no record of {step}: {:#?}", self.records))
    }
}

pub fn lines(events: &[Stamped]) -> Vec<String> {
    events.iter().map(|stamped| line(&stamped.event)).collect()
}

/// `started w/a`, `done w/a: …`, `stored fleet/thing/x 2`: what a test looks for, the workflow's name left out.
fn line(event: &Event) -> String {
    let bare = |step: &str| step.strip_prefix("w/").unwrap_or(step).to_owned();
    match event {
        Event::ActionStarted { step, why, .. } => format!("started {}: {why}", bare(step)),
        Event::ActionFinished { step, ending, summary, .. } => {
            format!("{} {}: {summary}", format!("{ending:?}").to_lowercase(), bare(step))
        }
        Event::Stored { step, resource, version, changed } => {
            format!("stored {resource} {version} by {}{}", bare(step), if *changed { ", changed" } else { "" })
        }
        Event::Retry { step, attempt, reason } => format!("retry {} {attempt}: {reason}", bare(step)),
        Event::Task { step, id } => format!("task {}: {id}", bare(step)),
        Event::Output { step, line, .. } => format!("output {}: {line}", bare(step)),
        Event::Warning { message, .. } => format!("warning {message}"),
        Event::Leases { waiting, .. } => format!("leases {waiting}"),
        other => format!("{other:?}"),
    }
}

/// A place where a method waits for the test.
#[derive(Clone)]
pub struct Gate {
    arrived: Arc<watch::Sender<usize>>,
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { arrived: Arc::new(watch::Sender::new(0)), open: Arc::new(watch::Sender::new(false)) }
    }
}

impl Gate {
    /// The method's side.
    pub async fn pass(&self) {
        self.arrived.send_modify(|count| *count += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// Waits until so many have arrived.
    pub async fn arrived(&self, count: usize) {
        soon(self.arrived.subscribe().wait_for(|arrived| *arrived >= count)).await.unwrap();
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        *self.arrived.borrow()
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Seals by turning every bit, which is enough to notice text that was not sealed.
pub struct RigSealer;

impl Sealer for RigSealer {
    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        plain.iter().map(|byte| !byte).collect()
    }
    fn open(&self, sealed: &[u8]) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        Some(self.seal(sealed).into())
    }
    fn keyed_digest(&self, plain: &[u8]) -> Digest {
        Digest::keyed(&[7; 32], plain)
    }
}

struct RigVault {
    known: BTreeMap<String, String>,
    redactor: Redactor,
}

impl Secrets for RigVault {
    fn get_blocking(&self, vault: &str, key: &str) -> Result<Secret, Absent> {
        let text = self.known.get(key).ok_or_else(|| Absent { message: format!("vault {vault} has no {key}"), help: None })?;
        let secret = Secret::new(text.as_str(), Origin::Vault { vault: vault.into(), key: key.into() });
        self.redactor.learn(&secret);
        Ok(secret)
    }
}

struct SaysYes {
    questions: Questions,
}

impl Confirmer for SaysYes {
    fn confirm<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, bool> {
        self.questions.lock().unwrap().push(question.clone());
        Box::pin(std::future::ready(true))
    }
}

struct RigPlanner {
    project: Arc<Project>,
}

impl RigPlanner {
    fn spec(&self, name: &ResourceName) -> Option<&'static crate::model::contract::SpecRow> {
        rig_types::find(&self.project.definitions.get(&name.def)?.kind.value)?.spec(&name.spec)
    }
}

impl Planner for RigPlanner {
    fn observe(&self, name: &ResourceName) -> Result<Vec<Arc<Action>>, Failure> {
        let target = Target::Resource(name.clone().into());
        let graph = lower(&self.project, &rig_types::find, None, &[target], &Map::new());
        graph.map(|graph| graph.actions).map_err(|complaints| Failure::yours(complaints[0].to_string()))
    }
    fn trust(&self, name: &ResourceName) -> Option<Duration> {
        self.spec(name)?.trust
    }
    fn observable(&self, name: &ResourceName) -> bool {
        self.spec(name).is_some_and(|spec| spec.observer.is_some())
    }
    fn how_to_read(&self, name: &ResourceName) -> String {
        format!("`pmx build {name}` reads it")
    }
}

/// Says no.
pub struct SaysNo;

impl Confirmer for SaysNo {
    fn confirm<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}
