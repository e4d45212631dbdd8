//! What is shown: a run, the fleet, one VM, and the help.

use std::sync::Arc;

use pmx::event::{Lasting, RunState, Time};

use pmx::name::{ResourceName, ResourcePattern};
use pmx::ops::build::{self, Report};
use pmx::ops::chat::Store;
use pmx::ops::front::Front;
use pmx::ops::history;
use pmx::source::Diagnostic;
use serde_json::Value as Json;

use crate::book::Known;
use crate::card::{cut, length, plain};
use crate::chat::{Card, Heard, Tone, Who};
use crate::command;
use crate::desk::Desk;
use crate::players::{self, Online, newest, quiet};
use crate::session::{begin, once, sentence};
use crate::tale::Tale;

/// The most that a run's lines take of a message.
pub const BODY: usize = 3800;

/// A run as it stands.
pub fn run(label: &str, tale: &Tale, by: &str, now: Time) -> Card {
    let tone = match tale.state {
        None => Tone::Busy,
        Some(RunState::Succeeded) => Tone::Good,
        Some(RunState::Failed) => Tone::Bad,
        Some(_) => Tone::Open,
    };
    let lasted = tale.began.map(|began| tale.ended.unwrap_or(now).since(began));
    let title = match (tale.state, lasted) {
        (None, _) => label.to_owned(),
        (Some(RunState::Interrupted), _) | (Some(_), None) => format!("{label}: {}", tale.state.unwrap_or(RunState::Interrupted)),
        (Some(state), Some(lasted)) => format!("{label}: {state} after {}", Lasting(lasted)),
    };
    let run = tale.run.as_ref();
    let footer = run.map(|run| format!(" · run {}", run.short())).unwrap_or_default();
    let card = Card::new(tone, plain(&title), tale.body(now, BODY)).footer(format!("asked by {by}{footer}"));
    match (tale.state, run) {
        (None | Some(RunState::Running), Some(run)) => card.button(format!("cancel:{run}"), "Cancel", true),
        (Some(RunState::Failed), Some(run)) => card.button(format!("resume:{run}"), "Retry", false),
        (Some(RunState::Interrupted | RunState::Cancelled), Some(run)) => card.button(format!("resume:{run}"), "Resume", false),
        _ => card,
    }
}

/// `!help`.
pub async fn help(desk: Arc<Desk>, heard: Heard, known: &Known) {
    let Some(row) = begin(&desk, &heard, "help").await else { return };
    let card = Card::new(Tone::Good, "What I can do", command::help(&known.table, &known.prefix));
    once(&desk, &heard, row, (card, "told".to_owned())).await;
}

/// `!list`: every VM as it is now.
pub async fn list(desk: Arc<Desk>, heard: Heard) {
    let Some(row) = begin(&desk, &heard, "list").await else { return };
    let looked = look(&desk, &heard.who, vec!["fleet/vm/*".to_owned()], Vec::new()).await;
    let vms = desk.keeper.call(|store| fleet(store)).await;
    let trouble = trouble(&looked);
    let (tone, answer) =
        if trouble.is_some() { (Tone::Bad, "told what was known before".to_owned()) } else { (Tone::Good, "told".to_owned()) };
    let running = vms.iter().filter(|vm| vm["status"] == "running").count();
    let mut body = trouble.map(|why| format!("❌ {}\nThis is what was known before:\n", cut(&plain(&why), 600))).unwrap_or_default();
    body.push_str(&listed(&vms, crate::card::BODY - length(&body)));
    let card = Card::new(tone, format!("{} VMs, {running} running", vms.len()), body);
    once(&desk, &heard, row, (card, answer)).await;
}

/// `!status vm`.
pub async fn status(desk: Arc<Desk>, heard: Heard, vm: String, known: &Known) {
    let label = format!("status {vm}");
    let Some(meaning) = known.meanings.get(&(vm.clone(), "status".to_owned())).cloned() else { return };
    let Some(mut row) = begin(&desk, &heard, &label).await else { return };
    let looked = look(&desk, &heard.who, meaning.targets, meaning.inputs).await;
    let server = known.players.get(&vm).and_then(|call| pmx::ops::chat::written(&known.project, call));
    let name = vm.clone();
    let facts = desk.keeper.call(move |store| Facts::read(store, &name, server.as_ref())).await;
    row.run = looked.as_ref().ok().and_then(|(report, _)| report.as_ref().map(|report| report.run.clone()).ok());
    let said = looked.as_ref().map(|(_, said)| said.clone()).unwrap_or_default();
    let (tone, answer, body) = match trouble(&looked) {
        Some(why) => (Tone::Bad, format!("failed: {why}"), format!("❌ {}\n{}", cut(&plain(&why), 1500), facts.known_before())),
        None => (Tone::Good, "told".to_owned(), facts.body(&said)),
    };
    once(&desk, &heard, row, (Card::new(tone, plain(&vm), body), answer)).await;
}

type Looked = Result<(Result<Report, Vec<Diagnostic>>, Vec<String>), String>;

/// Looks, as a run of its own; with what was said on the way.
async fn look(desk: &Arc<Desk>, who: &Who, targets: Vec<String>, inputs: Vec<String>) -> Looked {
    let front = Front { actor: who.actor(), ..desk.front.clone() };
    let (seat, stop) = desk.sit(None, who).map_err(|_| "somebody else looks".to_owned())?;
    let tale = Arc::new(std::sync::Mutex::new(Tale::default()));
    let folded = Arc::clone(&tale);
    let mut request = quiet(targets, inputs, stop);
    request.listener = Arc::new(move |stamped| folded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(stamped));
    let report = tokio::spawn(async move { build::build(&front, request).await }).await;
    drop(seat);
    let report = report.map_err(|error| format!("a bug: {error}"))?;
    let tale = tale.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let said = tale.said().flat_map(|(_, lines)| lines.iter().cloned()).collect();
    Ok((report, said))
}

fn trouble(looked: &Looked) -> Option<String> {
    match looked {
        Err(why) => Some(why.clone()),
        Ok((Err(complaints), _)) => Some(sentence(complaints)),
        Ok((Ok(report), _)) => match report.ran.failures.first() {
            Some((_, failure)) => Some(failure.message.clone()),
            None if report.ran.state == RunState::Succeeded => None,
            None => Some(format!("the look was {}", report.ran.state)),
        },
    }
}

fn fleet(store: &mut dyn Store) -> Vec<Json> {
    let pattern = ResourcePattern::all("fleet".to_owned(), "vm".to_owned());
    let heads = store.heads(Some(&pattern)).unwrap_or_default();
    let shown = heads.into_iter().filter_map(|version| history::listed(store, (version, None)).ok());
    shown
        .filter_map(|shown| serde_json::to_value(shown.attributes).ok())
        .filter(|vm| !matches!(vm["status"].as_str(), Some("gone" | "deleted")))
        .collect()
}

/// All VMs within `limit`: a line each with its address while there is room, else only names by state.
pub fn listed(vms: &[Json], limit: usize) -> String {
    let name = |vm: &Json, most: usize| cut(&plain(vm["vmName"].as_str().unwrap_or("?")), most);
    let sign = |vm: &Json| match vm["status"].as_str() {
        Some("running") => "🟢",
        Some("stopped") => "⚫",
        _ => "❔",
    };
    let mut sorted: Vec<&Json> = vms.iter().collect();
    sorted.sort_by_key(|vm| (sign(vm) != "🟢", vm["vmName"].as_str().unwrap_or_default().to_lowercase()));
    let whole: Vec<String> = sorted
        .iter()
        .map(|vm| {
            let state = vm["status"].as_str().unwrap_or("unknown");
            let address = vm["ip"].as_str().map(|ip| format!(" {ip}")).unwrap_or_default();
            format!("{} **{}** {state}{address}", sign(vm), name(vm, 60))
        })
        .collect();
    let text = whole.join("\n");
    if length(&text) <= limit {
        return text;
    }
    let mut most = 60;
    loop {
        let short = sorted.iter().map(|vm| format!("{} {}", sign(vm), name(vm, most))).collect::<Vec<_>>().join("\n");
        if length(&short) <= limit || most <= 4 {
            return cut(&short, limit);
        }
        most -= 4;
    }
}

/// What the store knows of a VM and the server on it.
#[derive(Debug, Default)]
struct Facts {
    vm: Option<Json>,
    since: Option<Time>,
    server: Option<Json>,
}

/// How far back a chain is read for when its state began.
const BACK: usize = 500;

impl Facts {
    fn read(store: &mut dyn Store, vm: &str, server: Option<&ResourcePattern>) -> Self {
        let name = ResourceName { def: "fleet".to_owned(), spec: "vm".to_owned(), instance: vm.to_owned() };
        let found = newest(store, &name.clone().into());
        let since = found.as_ref().and_then(|found| since(store, &name, &found["status"]));
        Self { vm: found, since, server: server.and_then(|server| newest(store, server)) }
    }

    fn body(&self, said: &[String]) -> String {
        let mut lines = Vec::new();
        if let Some(vm) = &self.vm {
            let since = self.since.map(|since| format!(", as far as I know since <t:{}:R>", since.0 / 1000)).unwrap_or_default();
            let node = vm["node"].as_str().map(|node| format!(" on {}", plain(node))).unwrap_or_default();
            let state = vm["status"].as_str().unwrap_or("unknown");
            lines.push(format!("{} {state}{node}{since}", if state == "running" { "🟢" } else { "⚫" }));
            if let Some(ip) = vm["ip"].as_str() {
                let port =
                    self.server.as_ref().and_then(|server| server["port"].as_u64()).map(|port| format!(":{port}")).unwrap_or_default();
                lines.push(format!("Address `{}`", format!("{ip}{port}").replace('`', "")));
            }
        }
        lines.extend(said.iter().take(5).map(|line| cut(&plain(line), 300)));
        if let Some(server) = &self.server {
            lines.push(self.game(server));
        }
        lines.join("\n")
    }

    fn game(&self, server: &Json) -> String {
        if server["serverRunning"] == false {
            return "The game server does not run.".to_owned();
        }
        let most = server["max"].as_u64().map(|max| format!(" (room for {max})")).unwrap_or_default();
        let version = server["version"].as_str().map(|version| format!(" Version {}.", cut(&plain(version), 100))).unwrap_or_default();
        match Online::read(server) {
            Online::Nobody => format!("Nobody is playing{most}.{version}"),
            Online::Some(count, names) => format!("{}{most}{version}", players::sentence(count, &names)),
            Online::Unknown(_) => "The game server runs, but does not answer: nobody knows who is playing.".to_owned(),
        }
    }

    fn known_before(&self) -> String {
        match &self.vm {
            Some(vm) => format!("Before that it was {}.", plain(vm["status"].as_str().unwrap_or("unknown"))),
            None => String::new(),
        }
    }
}

/// When the state began that a VM has now, as its chain tells it.
fn since(store: &mut dyn Store, name: &ResourceName, status: &Json) -> Option<Time> {
    let chain = store.chain(name, None, BACK).ok()?;
    let mut since = None;
    for version in chain {
        let at = version.made.at;
        let shown = history::outlined(store, version).ok()?;
        let attributes = serde_json::to_value(shown.attributes).ok()?;
        if attributes["status"] != *status {
            break;
        }
        since = Some(at);
    }
    since
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hundred_vms_fit_into_one_message() {
        let vm = |n: usize, name: String, status: &str| json!({"vmid": 100 + n, "vmName": name, "status": status, "ip": "10.0.0.107", "node": "keeb"});
        let some: Vec<Json> = (0..100).map(|n| vm(n, format!("server-{n:03}"), if n % 3 == 0 { "running" } else { "stopped" })).collect();
        let text = listed(&some, 4096);
        assert!(length(&text) <= 4096);
        assert_eq!(text.lines().count(), 100, "{text}");
        let long: Vec<Json> = (0..100).map(|n| vm(n, format!("{n:03}{}", "*".repeat(60)), "running")).collect();
        let text = listed(&long, 4096);
        assert!(length(&text) <= 4096 && text.lines().count() == 100, "{text}");
        assert_eq!(listed(&[vm(1, "VM 102".into(), "stopped")], 4096), "⚫ **VM 102** stopped 10.0.0.107");
    }

    #[test]
    fn a_status_tells_players_address_and_since_when() {
        let facts = Facts {
            vm: Some(json!({"vmName": "calamity", "status": "running", "ip": "10.0.0.107", "node": "keeb-dev-02"})),
            since: Some(Time(1_700_000_000_000)),
            server: Some(json!({"serverRunning": true, "online": 2, "max": 8, "players": ["Keeb", "_x_"], "version": "1.4", "port": 7777})),
        };
        let body = facts.body(&["up for 3 h".to_owned()]);
        assert_eq!(
            body,
            "🟢 running on keeb-dev-02, as far as I know since <t:1700000000:R>\nAddress `10.0.0.107:7777`\nup for 3 h\n2 are playing: **Keeb**, **\\_x\\_**. (room for 8) Version 1.4."
        );
        let silent = Facts { server: Some(json!({"serverRunning": true, "online": null, "players": []})), ..Facts::default() };
        assert!(silent.body(&[]).contains("nobody knows who is playing"));
    }
}
