//! Who is playing: what a game's status call finds out, before anything is taken down.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pmx::event::RunState;
use pmx::name::ResourcePattern;
use pmx::ops::build::{self, Request};
use pmx::ops::chat::{self, Confirmer, Question, Stop, Store};
use pmx::ops::front::Front;
use serde_json::Value as Json;
use tokio::sync::watch;

use crate::card::{cut, plain};
use crate::chat::Who;
use crate::desk::Desk;
use crate::session::sentence as complaint;

/// How long is looked.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(45);

/// Who plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Online {
    /// The server itself said that nobody does, or it does not run.
    Nobody,
    /// So many, and the names as far as they are told.
    Some(u64, Vec<String>),
    /// Nobody knows, which is not the same as nobody.
    Unknown(String),
}

impl Online {
    /// What the attributes of a server say.
    pub fn read(server: &Json) -> Self {
        let names = server["players"].as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect();
        match server["online"].as_u64() {
            Some(0) => Self::Nobody,
            Some(count) => Self::Some(count, names),
            None => Self::Unknown("the server does not answer".to_owned()),
        }
    }
}

/// `2 are playing: Keeb, Sable.` Ready to be shown.
pub fn sentence(count: u64, names: &[String]) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    if names.is_empty() {
        return format!("{count} {verb} playing.");
    }
    let shown = names.iter().take(30).map(|name| format!("**{}**", cut(&plain(name), 40))).collect::<Vec<_>>().join(", ");
    let more = if names.len() > 30 { " and others" } else { "" };
    format!("{count} {verb} playing: {shown}{more}.")
}

/// The attributes of the resource that was looked at last.
pub fn newest(store: &mut dyn Store, pattern: &ResourcePattern) -> Option<Json> {
    serde_json::to_value(chat::newest(store, pattern)?).ok()
}

/// Looks now: a run of its own, by whoever asked.
pub async fn look(desk: &Arc<Desk>, who: &Who, call: &str) -> Online {
    let front = Front { actor: who.actor(), ..desk.front.clone() };
    let (stopper, stop) = watch::channel(Stop::No);
    let request = quiet(vec![call.to_owned()], Vec::new(), stop);
    let looking = async {
        match build::build(&front, request).await {
            Ok(report) if report.ran.state == RunState::Succeeded => Ok(()),
            Ok(report) => {
                Err(report.ran.failures.first().map_or_else(|| "the look was stopped".to_owned(), |(_, failure)| failure.message.clone()))
            }
            Err(complaints) => Err(complaint(&complaints)),
        }
    };
    tokio::pin!(looking);
    let looked = tokio::select! {
        looked = &mut looking => looked,
        () = desk.clock.sleep(DEADLINE) => {
            stopper.send_replace(Stop::Running);
            let _ = looking.await;
            Err(format!("it took longer than {} s", DEADLINE.as_secs()))
        }
    };
    if let Err(why) = looked {
        return Online::Unknown(why);
    }
    let known = desk.known().await;
    let Some(name) = chat::written(&known.project, call) else { return Online::Unknown(format!("{call} does not tell it")) };
    let server = desk.keeper.call(move |store| newest(store, &name)).await;
    server.map_or_else(|| Online::Unknown("nothing was stored".to_owned()), |server| Online::read(&server))
}

/// A build that only looks: nobody is asked, nobody hears of it.
pub fn quiet(targets: Vec<String>, inputs: Vec<String>, stop: watch::Receiver<Stop>) -> Request {
    Request {
        targets,
        inputs,
        resume: None,
        jobs: None,
        keep_going: true,
        wait: true,
        confirmer: Arc::new(Nobody),
        listener: Arc::new(|_| {}),
        stop,
    }
}

/// Nobody is there to be asked.
struct Nobody;

impl Confirmer for Nobody {
    fn could_confirm(&self, _: &str) -> bool {
        false
    }

    fn confirm<'a>(&'a self, _: &'a Question) -> BoxFuture<'a, bool> {
        Box::pin(async { false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn not_knowing_is_not_nobody() {
        assert_eq!(Online::read(&json!({"online": 0, "players": []})), Online::Nobody);
        assert_eq!(Online::read(&json!({"online": 2, "players": ["Keeb", "Sable"]})), Online::Some(2, vec!["Keeb".into(), "Sable".into()]));
        assert!(matches!(Online::read(&json!({"online": null, "players": []})), Online::Unknown(_)));
        assert!(matches!(Online::read(&json!({})), Online::Unknown(_)));
    }

    #[test]
    fn names_are_shown_and_tamed() {
        assert_eq!(sentence(1, &["@everyone".into()]), "1 is playing: **@\u{200b}everyone**.");
        assert_eq!(sentence(3, &[]), "3 are playing.");
        assert!(sentence(99, &vec!["*".repeat(200); 99]).len() < 4000);
    }
}
