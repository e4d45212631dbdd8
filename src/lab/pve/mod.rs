//! Proxmox VE's HTTP API: from a request to its answer.
//!
//! Holds: the HTTP server, the parameter checks, the table of routes and one file per family of calls
//! Imports: none
//! Effects: listens on the address that the lab's options name
//! Never: keeps state of its own: all of it is in the world

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::ambush;
use super::faults::FaultKind;
use super::running::{Lab, Served};
use super::world::account::Actor;

pub mod access;
pub mod agent;
pub mod cluster;
pub mod config;
pub mod create;
pub mod disks;
pub mod drive;
pub mod form;
pub mod guest;
pub mod http;
pub mod login;
pub mod options;
pub mod pools;
pub mod power;
pub mod qemu;
pub mod reply;
pub mod schema;
pub mod snapshot;
pub mod storage;
pub mod tasks;

use form::{Params, Upload};
use http::Request;
use reply::{Answer, Fail, Reply};
use schema::Param;

/// What a handler is given.
#[derive(Clone)]
pub struct Call {
    /// The lab.
    pub lab: Arc<Lab>,
    /// Who asks; a stand-in without rights before a login.
    pub actor: Actor,
    /// Parameters of path, query and body, checked.
    pub params: Params,
    /// The file of an upload: name and size.
    pub upload: Option<Arc<Upload>>,
}

impl Call {
    /// A parameter's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name)?.first().map(String::as_str)
    }

    /// A parameter as a number: the check has let only numbers through.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// Whether a flag is given as 1.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("1")
    }

    /// The vmid.
    pub fn vmid(&self) -> u32 {
        self.text("vmid").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Whether the actor has a privilege at a path; the fault `no-rights` takes all away.
    pub fn may(&self, path: &str, privilege: &str) -> bool {
        let nine = self.lab.nine();
        self.lab.read(|world| {
            world.fault(None, &FaultKind::NoRights).is_none() && world.accounts.rights(&self.actor, path, nine).contains(privilege)
        })
    }
}

/// What a call demands before it is looked at.
#[derive(Clone, Copy, Debug)]
pub enum May {
    /// Nothing: answered without a login too.
    World,
    /// Any account.
    Anyone,
    /// A privilege on `/vms/{vmid}`.
    Vm(&'static str),
    /// What the guest agent needs on `/vms/{vmid}`: `VM.Monitor` on 8.4, this one on 9.2.
    Agent(&'static str),
    /// A privilege on `/nodes/{node}`.
    Node(&'static str),
    /// A privilege at a fixed path.
    At(&'static str, &'static str),
}

/// How a call is answered.
#[derive(Clone, Copy)]
pub enum Run {
    /// At once.
    Now(fn(&Call) -> Result<Answer, Fail>),
    /// After waiting for something.
    Later(fn(Call) -> BoxFuture<'static, Result<Answer, Fail>>),
    /// With the names of what is below.
    Index(&'static str, &'static [&'static str]),
}

/// One call of the API.
pub struct Route {
    /// `GET`, …
    pub method: &'static str,
    /// Its path; `{x}` is one piece, `{x*}` the rest.
    pub path: &'static str,
    /// Whether pvedaemon answers it.
    pub protected: bool,
    /// What it demands.
    pub may: May,
    /// Its parameters.
    pub params: &'static [Param],
    /// Whether the options of a VM's configuration are parameters too.
    pub configures: bool,
    /// How it is answered.
    pub run: Run,
}

impl Route {
    /// A call that pveproxy answers itself.
    pub const fn read(path: &'static str, may: May, params: &'static [Param], run: Run) -> Self {
        Self { method: "GET", path, protected: false, may, params, configures: false, run }
    }

    /// A call that pvedaemon answers.
    pub const fn work(method: &'static str, path: &'static str, may: May, params: &'static [Param], run: Run) -> Self {
        Self { method, path, protected: true, may, params, configures: false, run }
    }

    /// The same, answered by pvedaemon.
    pub const fn behind(mut self) -> Self {
        self.protected = true;
        self
    }

    /// The same, with the options of a VM's configuration.
    pub const fn with_options(mut self) -> Self {
        self.configures = true;
        self
    }
}

/// Every family of calls; the first match answers.
const FAMILIES: &[&[Route]] = &[
    access::ROUTES,
    cluster::ROUTES,
    qemu::ROUTES,
    create::ROUTES,
    config::ROUTES,
    power::ROUTES,
    agent::ROUTES,
    guest::ROUTES,
    disks::ROUTES,
    snapshot::ROUTES,
    tasks::ROUTES,
    storage::ROUTES,
    pools::ROUTES,
];

/// Answers a request; none drops the connection without a word.
pub async fn answer(lab: &Arc<Lab>, request: Request) -> Option<Reply> {
    let method = request.method.clone();
    let path = form::decode(&request.path, false);
    let (place, actor) = place(&path);
    let mut who = actor;
    let shown = path.strip_prefix("/api2/json").or_else(|| path.strip_prefix("/api2/extjs")).unwrap_or(&path);
    ambush::spring(lab, &method, shown);
    let reply = answer_at(lab, request, place, &mut who).await;
    let status = reply.as_ref().map_or(0, |reply| reply.status);
    lab.note(Served { method, path: shown.to_owned(), actor: who, status });
    if status == 401 {
        lab.clock.wait(3.0).await;
    }
    reply
}

/// Which tree a path belongs to.
enum Place {
    Api { extjs: bool, path: String },
    Outside(String),
}

fn place(path: &str) -> (Place, String) {
    for (prefix, extjs) in [("/api2/json", false), ("/api2/extjs", true)] {
        if let Some(rest) = path.strip_prefix(prefix)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            let path = rest.trim_end_matches('/');
            return (Place::Api { extjs, path: if path.is_empty() { "/".into() } else { path.to_owned() } }, String::new());
        }
    }
    (Place::Outside(path.to_owned()), String::new())
}

async fn answer_at(lab: &Arc<Lab>, request: Request, place: Place, who: &mut String) -> Option<Reply> {
    if !matches!(request.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
        return Some(Reply::empty(501, &format!("method '{}' not available", request.method)));
    }
    if request.header("transfer-encoding").is_some() {
        return Some(Reply::empty(501, "chunked transfer encoding not supported"));
    }
    let (extjs, path) = match place {
        Place::Api { extjs, path } => (extjs, path),
        Place::Outside(path) if path == "/" => return Some(Reply::text(200, "OK")),
        Place::Outside(path) => return Some(Reply::text(500, &format!("no such file '{path}'"))),
    };
    let vmid = vmid_in(&path);
    let slow = lab.read(|world| world.fault(vmid, &FaultKind::Slow(0)).cloned());
    if let Some(FaultKind::Slow(ms)) = slow {
        lab.clock.rest(Duration::from_millis(u64::from(ms))).await;
    }
    if lab.change(|world| world.spend(vmid, &FaultKind::DropConnection(0))) {
        return None;
    }
    let actor = match login::authenticate(lab, &request, &path) {
        Ok(actor) => actor,
        Err(fail) => return Some(reply::render(&Err(fail), extjs, &mut || lab.clock.noise())),
    };
    let known = actor.is_some();
    let actor = actor.unwrap_or(Actor { user: String::new(), token: None });
    *who = actor.name();
    let (mut params, upload) = match read_params(&request, &path) {
        Ok(read) => read,
        // On 9.2 the ticket check leaves a stale TLS error behind that ends the connection here.
        Err(_) if known && lab.nine() => return None,
        Err(refusal) => return Some(refusal),
    };
    let Some(route) = find_route(&request.method, &path, &mut params) else {
        let fail = Fail::NoMethod(format!("{} {path}", request.method));
        return Some(reply::render(&Err(fail), extjs, &mut || lab.clock.noise()));
    };
    let call = Call { lab: Arc::clone(lab), actor, params, upload: upload.map(Arc::new) };
    let mut reply = perform(call, route, vmid, extjs).await;
    reply.proxied = route.protected;
    Some(reply)
}

/// Carries a call out, under the faults that lose writes.
async fn perform(call: Call, route: &Route, vmid: Option<u32>, extjs: bool) -> Reply {
    let lab = Arc::clone(&call.lab);
    let writes = route.method != "GET" && route.path != "/access/ticket";
    if writes && lab.change(|world| world.spend(vmid, &FaultKind::LostBefore(0))) {
        return Reply::empty(596, "Connection timed out");
    }
    let lost = writes && lab.change(|world| world.spend(vmid, &FaultKind::LostAfter(0)));
    let result = run(call, route).await;
    if lost {
        return Reply::empty(596, "Connection timed out");
    }
    if let Err(fail) = &result {
        let (_, reason, ..) = fail.parts();
        if !reason.is_ascii() {
            // A reason that is not Latin-1 kills the daemon's write; the proxy gives up after 5 s.
            lab.clock.wait(5.0).await;
            return Reply::empty(596, "Broken pipe");
        }
    }
    reply::render(&result, extjs, &mut || lab.clock.noise())
}

async fn run(call: Call, route: &Route) -> Result<Answer, Fail> {
    permit(&call, route.may)?;
    if let Some(node) = call.text("node")
        && call.lab.read(|world| world.site.node != node && node != "localhost")
    {
        let text = "Temporary failure in name resolution";
        return Err(Fail::Died(format!("hostname lookup '{node}' failed - failed to get address info for: {node}: {text}")));
    }
    let mut known: Vec<Param> = route.params.to_vec();
    known.extend(path_params(route.path));
    schema::check(&call.params, &known, route.configures)?;
    match route.run {
        Run::Now(answer) => answer(&call),
        Run::Later(answer) => answer(call).await,
        Run::Index(key, names) => Ok(names.iter().map(|name| json!({ key: name })).collect::<Vec<Value>>().into_answer()),
    }
}

trait IntoAnswer {
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for Vec<Value> {
    fn into_answer(self) -> Answer {
        Value::Array(self).into()
    }
}

fn permit(call: &Call, may: May) -> Result<(), Fail> {
    let (path, privilege) = match may {
        May::World | May::Anyone => return Ok(()),
        May::Vm(privilege) => (format!("/vms/{}", call.text("vmid").unwrap_or("")), privilege),
        May::Agent(privilege) => {
            (format!("/vms/{}", call.text("vmid").unwrap_or("")), if call.lab.nine() { privilege } else { "VM.Monitor" })
        }
        May::Node(privilege) => (format!("/nodes/{}", call.text("node").unwrap_or("")), privilege),
        May::At(path, privilege) => (path.to_owned(), privilege),
    };
    if call.may(&path, privilege) { Ok(()) } else { Err(Fail::Denied(format!("Permission check failed ({path}, {privilege})"))) }
}

/// The parameters that stand in the path itself.
fn path_params(path: &'static str) -> impl Iterator<Item = Param> {
    path.split('/').filter_map(|piece| piece.strip_prefix('{')).map(|piece| {
        let name = piece.trim_end_matches(['}', '*']);
        let kind = if name == "vmid" { schema::Kind::Vmid } else { schema::Kind::Text };
        schema::need(name, kind)
    })
}

fn find_route(method: &str, path: &str, params: &mut Params) -> Option<&'static Route> {
    let routes = FAMILIES.iter().flat_map(|family| family.iter());
    let (route, found) = routes.filter(|route| route.method == method).find_map(|route| Some((route, capture(route.path, path)?)))?;
    for (name, value) in found {
        params.insert(name, vec![value]);
    }
    Some(route)
}

fn capture(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut rest = path.trim_start_matches('/');
    for piece in pattern.trim_start_matches('/').split('/') {
        if let Some(name) = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix("*}")) {
            found.push((name.to_owned(), rest.to_owned()));
            return (!rest.is_empty()).then_some(found);
        }
        let (head, tail) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(name) = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}')) {
            if head.is_empty() {
                return None;
            }
            found.push((name.to_owned(), head.to_owned()));
        } else if piece != head {
            return None;
        }
        rest = tail;
    }
    rest.is_empty().then_some(found)
}

/// The vmid that a path names, for faults of one VM.
fn vmid_in(path: &str) -> Option<u32> {
    let mut pieces = path.split('/').skip_while(|piece| *piece != "qemu");
    pieces.next()?;
    pieces.next()?.parse().ok()
}

/// Reads the parameters; the error is an answer of its own (501, 500 or 506 in plain words).
fn read_params(request: &Request, path: &str) -> Result<(Params, Option<Upload>), Reply> {
    let mut params = form::decode_query(&request.query);
    if matches!(request.method.as_str(), "GET" | "DELETE") {
        if request.body.is_empty() {
            return Ok((params, None));
        }
        return Err(Reply::empty(501, &format!("Unexpected content for method '{}'", request.method)));
    }
    let content = request.header("content-type").unwrap_or("application/x-www-form-urlencoded");
    let sort = content.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let mut upload = None;
    let more = match sort.as_str() {
        "application/x-www-form-urlencoded" => form::decode_form(&request.body),
        "application/json" => form::decode_json(&request.body).map_err(|text| Reply::text(500, &text))?,
        "multipart/form-data" if path.ends_with("/upload") => {
            let boundary = content.split("boundary=").nth(1).unwrap_or("").trim_matches('"');
            let (fields, file) = form::decode_multipart(&request.body, boundary);
            upload = file;
            fields
        }
        _ if request.body.is_empty() => Params::new(),
        _ => return Err(Reply::text(506, &format!("upload 'Content-Type '{content}' not implemented"))),
    };
    params.extend(more);
    Ok((params, upload))
}
