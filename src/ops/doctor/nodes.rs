//! The Proxmox nodes: whether they answer, whose account is used, what it lacks, and whose clock is wrong.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{Files, Finding, Health, Told};
use crate::exec::engine::{Confirmer, Question, Stop};
use crate::exec::view;
use crate::name::ResourceName;
use crate::ops::build::{self, Request};
use crate::ops::front::Front;
use crate::ops::site::Site;
use crate::ops::world;
use crate::value::Value;

/// Clocks further apart than this make a fresh ticket look expired.
const SKEW: i64 = 60;

/// Observing asks nobody.
struct Nobody;

impl Confirmer for Nobody {
    fn could_confirm(&self, _name: &str) -> bool {
        false
    }

    fn confirm<'a>(&'a self, _question: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }
}

/// Reads the status of every node that a definition names, by the ordinary method.
pub(super) async fn look(front: &Front, project: &Files, tell: Told<'_>) {
    for name in project.definitions.values().filter(|definition| definition.kind.value == "proxmox/node").map(|definition| &definition.name)
    {
        let (_stopper, stop) = watch::channel(Stop::No);
        let request = Request {
            targets: vec![format!("{name}.status")],
            inputs: Vec::new(),
            resume: None,
            jobs: None,
            keep_going: false,
            wait: false,
            confirmer: Arc::new(Nobody),
            listener: Arc::new(|_| {}),
            stop,
        };
        match build::build(front, request).await {
            Err(complaints) => {
                for complaint in complaints {
                    tell(Finding { help: complaint.help.into_iter().collect(), ..Finding::new(name, Health::Bad, complaint.message) });
                }
            }
            Ok(report) if !report.ran.failures.is_empty() => {
                for (_, failure) in report.ran.failures {
                    tell(Finding { help: failure.help.into_iter().collect(), ..Finding::new(name, Health::Bad, failure.message) });
                }
            }
            Ok(_) => judge(name, status(front, name), tell),
        }
    }
}

/// The status as it was just stored.
fn status(front: &Front, definition: &str) -> Option<Value> {
    let site = Site::find(front).ok()?;
    let mut store = world::open(&site).ok()??;
    let head = store.head(&ResourceName::new(definition, "status", "status")).ok()??;
    view::attributes(&mut *store, None, &head).ok()
}

fn judge(name: &str, status: Option<Value>, tell: Told<'_>) {
    let Some(status) = status else { return tell(Finding::new(name, Health::Bad, "its status was read and is not in the store")) };
    let text =
        |field: &str| status.get(field).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).unwrap_or_default();
    tell(Finding::good(name, format!("{} at Proxmox VE {}, as {}", text("node"), text("version"), text("account"))));
    let skew = status.get("clockSkew").and_then(Value::as_int).unwrap_or_default();
    if skew.abs() > SKEW {
        let message = format!("its clock is {} s {} this machine's", skew.abs(), if skew > 0 { "ahead of" } else { "behind" });
        tell(Finding::new(name, Health::Bad, message).help("set both by NTP: tickets are judged by the clock"));
    }
    let Some(Value::List(missing)) = status.get("missingRights") else { return };
    for right in missing {
        let of = |field: &str| right.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let message = format!("the account lacks {} on {}: {}", of("privileges"), of("path"), of("needed"));
        tell(Finding::new(name, Health::Bad, message).help(format!("on a node: `{}`", of("grant"))));
    }
    if !missing.is_empty() && text("account").contains('!') {
        let message = "an API token with privilege separation has the rights that both it and its user have";
        tell(Finding::new(name, Health::Note, message).help("grant them to the user too, or make the token with --privsep 0"));
    }
}
