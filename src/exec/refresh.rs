//! Refreshing: credentials opened at each request and renewed once for all holders, and observations that expired run again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::digest::Digest;
use crate::exec::act;
use crate::exec::engine::Engine;
use crate::exec::horizon::Horizon;
use crate::exec::view::Held;
use crate::model::contract::{Credentials, Failure};
use crate::name::ResourceName;
use crate::plan::graph::Action;
use crate::secret::{Credential, Origin, Secret};
use crate::value::Value;

/// Runs observations outside the list of actions, one at a time per resource.
#[derive(Default)]
pub struct Refresher {
    engine: OnceLock<Weak<Engine>>,
    flights: Mutex<BTreeMap<ResourceName, Arc<Flight>>>,
    /// What was found fresh without running again, and for how long.
    pub horizon: Horizon,
}

/// The observations of one resource, one after the other.
#[derive(Default)]
struct Flight {
    /// How many have ended.
    ended: AtomicU64,
    /// Held while one runs; what the last one failed with.
    last: Mutex<Option<Failure>>,
}

impl Refresher {
    /// Ties the refresher to its engine, which owns it.
    pub fn attach(&self, engine: &Arc<Engine>) {
        // A second attach would be the same engine again.
        let _ = self.engine.set(Arc::downgrade(engine));
    }

    fn engine(&self) -> Result<Arc<Engine>, Failure> {
        self.engine.get().and_then(Weak::upgrade).ok_or_else(|| Failure::bug("a refresh was asked for after its run had ended"))
    }

    async fn flight(&self, name: &ResourceName) -> Arc<Flight> {
        Arc::clone(self.flights.lock().await.entry(name.clone()).or_default())
    }

    /// The newest version of `name`, observed again if `still_good` refuses it. Concurrent callers share one observation, and its failure too: fifty
    /// holders of a ticket must not try a wrong password fifty times.
    ///
    /// Boxed: an observation may open credentials, which may need an observation.
    pub fn current<'a>(
        &'a self,
        name: &'a ResourceName,
        still_good: &'a (dyn Fn(&Held) -> bool + Sync),
    ) -> BoxFuture<'a, Result<Held, Failure>> {
        Box::pin(async move {
            let engine = self.engine()?;
            let head = || async { engine.view.head(name).await.map_err(|e| Failure::bug(e.to_string())) };
            if let Some(held) = head().await?.filter(|held| still_good(held)) {
                return Ok(held);
            }
            let flight = self.flight(name).await;
            let asked = flight.ended.load(Ordering::SeqCst);
            let mut last = flight.last.lock().await;
            if let (true, Some(failure)) = (flight.ended.load(Ordering::SeqCst) != asked, &*last) {
                return Err(failure.clone());
            }
            if let Some(held) = head().await?.filter(|held| still_good(held)) {
                return Ok(held);
            }
            let result = run_all(&engine, engine.planner.observe(name)?).await;
            last.clone_from(&result.as_ref().err().cloned());
            flight.ended.fetch_add(1, Ordering::SeqCst);
            drop(last);
            result?;
            head().await?.ok_or_else(|| Failure::bug(format!("{name} was observed, but has no version")))
        })
    }
}

/// Runs a chain of observations in order; the last one always observes, those before it only when they are not fresh.
async fn run_all(engine: &Arc<Engine>, actions: Vec<Arc<Action>>) -> Result<(), Failure> {
    let last = actions.len().saturating_sub(1);
    for (index, action) in actions.into_iter().enumerate() {
        let done = act::perform(engine, &action, index == last, || ()).await;
        if let Some(failure) = done.failure {
            return Err(failure);
        }
    }
    Ok(())
}

/// The credentials of one engine.
pub struct Keys {
    /// The engine.
    pub engine: Arc<Engine>,
}

impl Keys {
    fn trust(&self, name: &ResourceName) -> Option<Duration> {
        self.engine.planner.trust(name)
    }

    fn field(held: &Held, name: &ResourceName, field: &str) -> Result<Secret, Failure> {
        match held.attributes.get(field) {
            Some(Value::Secret(secret)) => Ok(secret.clone()),
            _ => Err(Failure::theirs(format!("{name} has no {field}")).help(format!("`pmx build {name}` reads it again"))),
        }
    }
}

impl Credentials for Keys {
    fn open<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            let Origin::Resource { name, field } = credential.0.origin() else { return Ok(credential.0.clone()) };
            let trust = self.trust(name);
            let now = self.engine.wire.clock.now();
            let young = move |held: &Held| trust.is_none_or(|window| now.since(held.version.made.at) < window);
            let held = self.engine.refresher.current(name, &young).await?;
            Self::field(&held, name, field)
        })
    }

    fn keyed_digest(&self, secret: &Secret) -> Digest {
        self.engine.view.sealer.keyed_digest(secret.expose().as_bytes())
    }

    fn renew<'a>(&'a self, credential: &'a Credential, stale: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            let Origin::Resource { name, field } = credential.0.origin() else {
                return Err(Failure::theirs(format!("the credential from {} was refused", credential.0.origin()))
                    .help("it cannot be renewed: store a new one"));
            };
            let other = |held: &Held| Self::field(held, name, field).is_ok_and(|present| present != *stale);
            let held = self.engine.refresher.current(name, &other).await?;
            Self::field(&held, name, field)
        })
    }
}
