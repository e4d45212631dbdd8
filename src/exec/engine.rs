//! The engine: everything the actions of one run share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::event::Time;
use crate::exec::herald::Herald;
use crate::exec::lease::Leases;
use crate::exec::past::Past;
use crate::exec::refresh::Refresher;
use crate::exec::scope::Environment;
use crate::exec::view::View;
use crate::lang::template::Absent;
use crate::model::contract::Failure;
use crate::name::{Actor, ResourceName, RunId};
use crate::plan::graph::{Action, Graph};
use crate::plan::variant::Variants;
use crate::secret::{Sealer, Secret};
use crate::store::Store;
use crate::store::words::RunRow;
use crate::value::Value;
use crate::wire::Wire;

/// Everything the actions of one run share.
pub struct Engine {
    /// The outside world.
    pub wire: Wire,
    /// Resources.
    pub view: View,
    /// Events and the journal.
    pub herald: Herald,
    /// Vaults.
    pub secrets: Arc<dyn Secrets>,
    /// Who asked for what.
    pub who: Asked,
    /// The environment.
    pub env: Arc<Environment>,
    /// Answers of the planner during the run.
    pub planner: Arc<dyn Planner>,
    /// Asks before what cannot be undone.
    pub confirmer: Arc<dyn Confirmer>,
    /// What the project says about all runs.
    pub settings: Settings,
    /// The run's leases.
    pub leases: Leases,
    /// Runs observations again when they have expired.
    pub refresher: Refresher,
    /// How far the run is being stopped.
    pub stop: watch::Receiver<Stop>,
}

/// Who asked for what.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The run.
    pub run: RunId,
    /// Who.
    pub actor: Actor,
    /// For what, as typed.
    pub targets: Vec<String>,
    /// What the run did before it was resumed; empty for a new one.
    pub past: Arc<Past>,
}

/// What the project says about all runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The project's root.
    pub root: PathBuf,
    /// Names that delete refuses.
    pub protected: Vec<String>,
    /// Actions at once.
    pub jobs: usize,
    /// Actions at once per host.
    pub per_host: usize,
    /// Start what is independent of a failure too.
    pub keep_going: bool,
    /// Which definitions keep their single instances apart.
    pub variants: Arc<Variants>,
}

/// How far a run is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It goes on.
    No,
    /// Nothing new starts.
    Starting,
    /// What runs is cancelled.
    Running,
}

/// Vaults by name.
pub trait Secrets: Send + Sync {
    /// A secret; may wait for a program, with a deadline of its own. Only for threads that may block.
    fn get_blocking(&self, vault: &str, key: &str) -> Result<Secret, Absent>;
}

/// What the runner asks the planner while it runs.
pub trait Planner: Send + Sync {
    /// The observation of one resource, with what it needs before it; the last action writes it.
    fn observe(&self, name: &ResourceName) -> Result<Vec<Arc<Action>>, Failure>;
    /// How long a reader may trust a version of a resource; `None` is for ever.
    fn trust(&self, name: &ResourceName) -> Option<Duration>;
    /// Whether some method observes a resource.
    fn observable(&self, name: &ResourceName) -> bool;
    /// What to do to get a first version of a resource.
    fn how_to_read(&self, name: &ResourceName) -> String;
    /// The graph of another run, from its own recipe; why not, when it cannot be made again.
    fn remake(&self, store: &mut dyn Store, run: &RunRow, sealer: &dyn Sealer) -> Result<Graph, String> {
        let _ = (store, sealer);
        Err(format!("nobody keeps the recipe of run {}", run.id.short()))
    }
}

/// Asks a person before what cannot be undone.
pub trait Confirmer: Send + Sync {
    /// Whether a question about `name` could be answered at all: nobody is asked here.
    fn could_confirm(&self, name: &str) -> bool {
        let _ = name;
        true
    }
    /// Whether to go on. `false` refuses the action.
    fn confirm<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, bool>;
    /// Whether something happened of which nobody knows. Nobody is there to be asked, unless somebody says otherwise.
    fn recall<'a>(&'a self, doubt: &'a Doubt) -> BoxFuture<'a, Recall> {
        let _ = doubt;
        Box::pin(async { Recall::Unknown })
    }
}

/// An action of a run that is resumed, of which nobody knows whether it acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// The step.
    pub step: String,
    /// What it calls: `calamityTerraria.warnShutdown`.
    pub call: String,
    /// When it began.
    pub since: Time,
    /// How it ended; `None` when its process died first.
    pub why: Option<String>,
}

/// What a person knows about a doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recall {
    /// It happened: it counts as done.
    Done,
    /// It did not, or may happen again: it is done again.
    Again,
    /// Leave everything as it is.
    Stop,
    /// Nobody was there to be asked.
    Unknown,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The step that asks.
    pub step: String,
    /// What is about to happen: `fleet.delete`.
    pub call: String,
    /// The name that confirms: the VM's, or the step's for `confirm`.
    pub name: String,
    /// What is known of it.
    pub attributes: Option<Value>,
    /// The step's own question.
    pub text: Option<String>,
    /// Whether this is for a Destroy: its name must be typed or given, a plain yes is not enough.
    pub destroys: bool,
}
