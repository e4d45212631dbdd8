//! A scene for tests of methods: a context over the scripted wire, what the method reported, and credentials that can be renewed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value as Json;

use crate::digest::Digest;
use crate::event::Stream;
use crate::model::contract::{Call, Context, Credentials, Failure, Guard, Outcome, Reporter, Who};
use crate::model::registry;
use crate::name::{Actor, RunId};
use crate::secret::{Credential, Origin, Secret};
use crate::value::{Map, Value};
use crate::wire::scripted::{ScriptedHttp, ScriptedSsh, ScriptedTcp, TestClock, wire};

/// The run of every scene.
pub const RUN: &str = "0193567890abcdef0193567890abcdef";

/// Everything a test holds on to while a method runs.
pub struct Scene {
    /// The HTTP script.
    pub http: ScriptedHttp,
    /// The SSH script.
    pub ssh: ScriptedSsh,
    /// The TCP script; where it has nothing, nobody listens.
    pub tcp: ScriptedTcp,
    /// The clock.
    pub clock: TestClock,
    /// What was reported: `phase …`, `transfer …`, `warn …`, `line …`, `task …`.
    pub told: Arc<Told>,
    /// Which text of a credential is renewed to which.
    pub keys: Arc<Keys>,
    /// The context, to be changed before the call.
    pub ctx: Context,
}

/// Records reports; cancels the run when `cancel_after` reports were made.
#[derive(Default)]
pub struct Told {
    lines: Mutex<Vec<String>>,
    cancel_at: Mutex<Option<String>>,
}

impl Told {
    /// All reports, in order.
    pub fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a report holds this text.
    pub fn has(&self, text: &str) -> bool {
        self.all().iter().any(|line| line.contains(text))
    }

    /// Cancels the run as soon as a report holds this text.
    pub fn cancel_at(&self, text: &str) {
        *self.cancel_at.lock().unwrap() = Some(text.to_owned());
    }

    fn add(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Reporter for Told {
    fn phase(&self, phase: &str, deadline: Option<Duration>) {
        self.add(format!("phase {phase} {}", deadline.map_or(0, |deadline| deadline.as_secs())));
    }
    fn transfer(&self, sent: u64, total: u64) {
        self.add(format!("transfer {sent} of {total}"));
    }
    fn line(&self, _: Stream, line: &str) {
        self.add(format!("line {line}"));
    }
    fn warn(&self, message: &str) {
        self.add(format!("warn {message}"));
    }
    fn task<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        self.add(format!("task {id}"));
        Box::pin(async { Ok(()) })
    }
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let at = self.cancel_at.lock().unwrap().clone();
            if !at.is_some_and(|text| self.has(&text)) {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Credentials by their text: renewed ones open as what they were renewed to.
#[derive(Default)]
pub struct Keys {
    next: Mutex<BTreeMap<String, String>>,
    renewed: Mutex<BTreeMap<String, String>>,
    own: Mutex<BTreeMap<String, String>>,
}

impl Keys {
    /// When `old` is refused, `new` is given.
    pub fn renews(&self, old: &str, new: &str) {
        self.next.lock().unwrap().insert(old.to_owned(), new.to_owned());
    }

    /// A resource's field opens as `text`.
    pub fn holds(&self, field: &str, text: &str) {
        self.own.lock().unwrap().insert(field.to_owned(), text.to_owned());
    }
}

impl Credentials for Keys {
    fn open<'a>(&'a self, credential: &'a Credential) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            if let Origin::Resource { name, field } = credential.0.origin() {
                let own = self.own.lock().unwrap();
                let text = own.get(field).ok_or_else(|| Failure::yours(format!("no version of {name} yet")))?;
                return Ok(Secret::new(text.as_str(), credential.0.origin().clone()));
            }
            let renewed = self.renewed.lock().unwrap();
            let text = renewed.get(credential.0.expose()).map_or(credential.0.expose(), String::as_str);
            Ok(Secret::new(text, Origin::Computed))
        })
    }

    fn renew<'a>(&'a self, credential: &'a Credential, stale: &'a Secret) -> BoxFuture<'a, Result<Secret, Failure>> {
        Box::pin(async move {
            let new = self.next.lock().unwrap().get(stale.expose()).cloned();
            let new = new.ok_or_else(|| Failure::theirs("the ticket cannot be renewed"))?;
            self.renewed.lock().unwrap().insert(credential.0.expose().to_owned(), new.clone());
            Ok(Secret::new(new, Origin::Computed))
        })
    }

    /// As a runner does it: with a key. The provided one takes a tenth of a second.
    fn keyed_digest(&self, secret: &Secret) -> Digest {
        Digest::keyed(&[7; 32], secret.expose().as_bytes())
    }
}

impl Scene {
    /// A scene over these scripts.
    pub fn new(http: ScriptedHttp, ssh: ScriptedSsh) -> Self {
        let (clock, told, keys) = (TestClock::new(), Arc::new(Told::default()), Arc::new(Keys::default()));
        let ctx = Context {
            wire: wire(&http, &ssh, &clock),
            who: Who { run: RUN.parse::<RunId>().unwrap(), actor: Actor::new("cli", "test"), step: "step".into(), def: "thing".into() },
            previous: BTreeMap::new(),
            identity: "vm:11111111-2222-4333-8444-555555555555".into(),
            guard: Guard::default(),
            reporter: told.clone(),
            credentials: keys.clone(),
            root: PathBuf::from("/project"),
            unfinished: Vec::new(),
        };
        Self { http, ssh, tcp: ScriptedTcp::new(), clock, told, keys, ctx }
    }

    /// A scene over HTTP only.
    pub fn http(http: ScriptedHttp) -> Self {
        Self::new(http, ScriptedSsh::new())
    }

    /// A scene over SSH only.
    pub fn ssh(ssh: ScriptedSsh) -> Self {
        Self::new(ScriptedHttp::new(), ssh)
    }

    /// The same over this TCP script too.
    #[must_use]
    pub fn tcp(mut self, tcp: ScriptedTcp) -> Self {
        self.ctx.wire.tcp = Arc::new(tcp.clone());
        Self { tcp, ..self }
    }

    /// What the store knows before the call.
    pub fn knows(&mut self, spec: &str, instance: &str, attributes: Value) {
        self.ctx.previous.insert((spec.to_owned(), instance.to_owned()), attributes);
    }

    /// Calls a method by its names in the registry, checks that what it wrote fits what it declared, and that the scripts are used up.
    pub async fn call(&self, ty: &str, method: &str, globals: Json, arguments: Json) -> Result<Outcome, Failure> {
        let row = registry::find(ty).unwrap();
        let method = registry::method(row, method).unwrap();
        let done = (method.run)(&self.ctx, Call { globals: map(globals), arguments: map(arguments) }).await;
        if let Ok(outcome) = &done {
            for written in &outcome.writes {
                let spec = row.spec(written.spec).unwrap();
                let Value::Map(fields) = &written.attributes else { panic!("attributes must be a map") };
                let declared = (spec.attributes)();
                let undeclared: Vec<&String> = fields.keys().filter(|key| !declared.contains_key(*key)).collect();
                assert!(undeclared.is_empty(), "{ty}: {} writes fields that its schema lacks: {undeclared:?}", written.spec);
                let missing: Vec<&String> =
                    declared.iter().filter(|(key, f)| f.required && !fields.contains_key(*key)).map(|(k, _)| k).collect();
                assert!(missing.is_empty(), "{ty}: {} lacks required fields: {missing:?}", written.spec);
                assert!(
                    method.writes.iter().any(|writes| writes.spec == written.spec),
                    "{ty}.{} does not declare {}",
                    method.name,
                    written.spec
                );
            }
        }
        self.http.finish();
        self.ssh.finish();
        self.tcp.finish();
        done
    }
}

fn map(json: Json) -> Map {
    match Value::from(json) {
        Value::Map(map) => map,
        other => panic!("a map is expected, not {}", other.kind()),
    }
}

/// The only resource that an outcome wrote, as JSON with secrets shown as `[secret]`.
pub fn written(outcome: &Outcome) -> Json {
    assert_eq!(outcome.writes.len(), 1, "{outcome:?}");
    serde_json::to_value(&outcome.writes[0].attributes).unwrap()
}
