//! `proxmox/node`: a Proxmox node and the account that pmx uses on it.

use std::time::Duration;

use jiff::fmt::rfc2822;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::model::contract::{Call, Context, Effect, Failure, Instance, MethodRow, Observer, Outcome, PhaseRow, SpecRow, TypeRow, Writes};
use crate::model::proxmox::api::{Account, Api, ApiError, Endpoint, ErrorKind, is_token, number, subject, text};
use crate::model::proxmox::rights::{self, Missing};
use crate::model::schema::object;
use crate::name::{ResourceName, nearest};
use crate::secret::{Credential, Origin, Secret};
use crate::value::{Map, Value};

/// How long a ticket opens doors.
const TICKET_LIFE: Duration = Duration::from_secs(2 * 3600);
/// A ticket is renewed this long before its end, so that no method meets the end.
const MARGIN: Duration = Duration::from_secs(10 * 60);
/// Clocks further apart than this make fresh tickets look expired.
const SKEW: Duration = Duration::from_secs(5 * 60);

const DOC: &str = r#"
A Proxmox VE node, and the account that pmx uses on it. Other definitions read the ticket:

```toml
type = "proxmox/node"

[global]
apiUrl = "https://10.0.0.4:8006"
node = "keeb-dev-02"
username = "root"
realm = "pam"
password = '${{ vault.get("proxmox-vault", "password") }}'
fingerprint = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
```

With `tokenId` and `tokenSecret` instead of a password nobody logs in at all: the token becomes the ticket. Tokens do not expire, pass two-factor
authentication, and can be given only the rights that pmx needs.

One login serves every workflow until ten minutes before its two hours are over; then the old ticket is exchanged for a new one.

The certificate is checked against `fingerprint`, else `caFile`, else the system's authorities. `skipTlsVerify = true` turns the check off and warns.

What goes wrong: a login that Proxmox refuses shows Proxmox's own words, the usual causes, and how far the node's clock is off; an account that needs a
second factor is refused (exit code 3), because pmx cannot give one; a misspelt `node` is told with the nodes there are. `status` lists the rights that the
account lacks in `missingRights`, each with the command that grants it.

Every call, as a step of a workflow:

```toml
[[step]]
name = "auth"
call = "keebDev02.auth"

[[step]]
name = "status"
call = "keebDev02.status"
```
"#;

/// The row of `proxmox/node`.
pub static TYPE: TypeRow = TypeRow {
    name: "proxmox/node",
    revision: 1,
    doc: DOC,
    globals: object::<Globals>,
    specs: &[
        SpecRow {
            name: "node",
            doc: "The account: whose it is, and what opens it.",
            attributes: object::<Login>,
            observer: Some(Observer { one: "auth", argument: None, all: None }),
            trust: Some(Duration::from_secs(TICKET_LIFE.as_secs() - MARGIN.as_secs())),
        },
        SpecRow {
            name: "status",
            doc: "How busy the node is, and which version it runs.",
            attributes: object::<Status>,
            observer: Some(Observer { one: "status", argument: None, all: None }),
            trust: Some(Duration::from_secs(60)),
        },
    ],
    methods: &[
        MethodRow {
            name: "auth",
            doc: "Logs in, or exchanges a ticket that still holds for a new one; with an API token it only hands the token on.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<NoArguments>,
            writes: &[Writes { spec: "node", instance: Instance::Single("node") }],
            acts: &[],
            fresh: Duration::from_secs(TICKET_LIFE.as_secs() - MARGIN.as_secs()),
            phases: &[PhaseRow { name: "the login", argument: None, seconds: 40 }],
            run: |ctx, call| Box::pin(auth(ctx, call)),
        },
        MethodRow {
            name: "status",
            doc: "Reads the node's load, memory, uptime and version, how far its clock is off, and what the account lacks of the rights that pmx needs.",
            effect: Effect::Observe,
            by_command: false,
            arguments: object::<NoArguments>,
            writes: &[Writes { spec: "status", instance: Instance::Single("status") }],
            acts: &[],
            fresh: Duration::ZERO,
            phases: &[PhaseRow { name: "the node's status", argument: None, seconds: 40 }],
            run: |ctx, call| Box::pin(status(ctx, call)),
        },
    ],
};

/// Where the node is and who asks.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Globals {
    #[serde(flatten)]
    endpoint: Endpoint,
    /// Who logs in: `root`, or `root@pam` with the realm in it. With an API token it may be left out.
    #[serde(default)]
    username: String,
    /// Where the account lives: `pam` for the node's own accounts, `pve` for Proxmox's.
    #[serde(default = "pam")]
    realm: String,
    /// The account's password; not needed with an API token.
    #[serde(default)]
    password: Option<Credential>,
    /// An API token's name: `root@pam!pmx`, or only `pmx` when it belongs to `username`.
    #[serde(default)]
    token_id: Option<String>,
    /// The API token's secret, a UUID.
    #[serde(default)]
    token_secret: Option<Credential>,
}

#[derive(Deserialize, JsonSchema)]
struct NoArguments {}

/// What `auth` leaves.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is read: the value is put together with its secrets")]
struct Login {
    /// The account with its realm, `root@pam`; for a token the token's name, `root@pam!pmx`.
    username: String,
    /// Opens the API: a ticket that holds for two hours, or an API token.
    ticket: Credential,
    /// Goes with each write under a ticket; null with an API token, which needs none.
    csrf_token: Option<Credential>,
    /// `ticket` or `token`.
    kind: String,
    /// The API's address.
    api_url: String,
    /// The node's name.
    node: String,
}

/// What `status` leaves.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Status {
    /// The share of all processors in use, 0 to 1.
    cpu: f64,
    /// Main memory.
    memory: Memory,
    /// Seconds since the node started.
    uptime: u64,
    /// The version of Proxmox VE, `8.4.1`.
    version: String,
    /// The node's exact name.
    node: String,
    /// Who asked: `root@pam`, or an API token's name.
    account: String,
    /// Seconds by which the node's clock is ahead of this machine's; null when its answer named no time.
    clock_skew: Option<i64>,
    /// What this account lacks of the rights that pmx's methods need.
    missing_rights: Vec<Missing>,
}

/// Main memory in bytes.
#[derive(Serialize, JsonSchema)]
struct Memory {
    /// Bytes in use.
    used: u64,
    /// Bytes there are.
    total: u64,
}

fn pam() -> String {
    "pam".to_owned()
}

async fn auth(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, NoArguments {}) = call.typed::<Globals, _>()?;
    let api = Api::new(ctx, &globals.endpoint, Account::Nobody)?;
    if let Some((name, token)) = token(ctx, &globals).await? {
        let attributes = attributes(&globals, api.base(), &name, token, None);
        return Ok(Outcome::unchanged(format!("uses the API token {name}; no login is needed")).write("node", "node", attributes));
    }
    ctx.reporter.phase("the login", Some(Duration::from_secs(40)));
    let (name, ticket, csrf, how) = log_in(&api, &globals).await?;
    let attributes = attributes(&globals, api.base(), &name, ticket, Some(csrf));
    Ok(Outcome::unchanged(format!("{how} as {name} at {}", api.host())).write("node", "node", attributes))
}

async fn status(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, NoArguments {}) = call.typed::<Globals, _>()?;
    let api = account(ctx, &globals).await?;
    let (found, date) = match api.get_dated(&format!("/nodes/{}/status", api.node)).await {
        Ok(found) => found,
        Err(error) => return Err(denied(&api, error).await),
    };
    let memory = found.get("memory").unwrap_or(&Json::Null);
    let version = text(&found, "pveversion").unwrap_or_default();
    let version = version.split('/').nth(1).unwrap_or(&version).to_owned();
    let account = api.subject().await.unwrap_or_default();
    let permissions = api.get("/access/permissions", &[]).await?;
    let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    let status = Status {
        cpu: found.get("cpu").and_then(Json::as_f64).unwrap_or_default(),
        memory: Memory { used: number(memory, "used").unwrap_or_default(), total: number(memory, "total").unwrap_or_default() },
        uptime: number(&found, "uptime").unwrap_or_default(),
        node: api.node.clone(),
        clock_skew: date.map(|date| date - ctx.wire.clock.now().0 / 1000),
        missing_rights: rights::missing(&permissions, &account, major),
        version,
        account,
    };
    let summary = format!("{} runs Proxmox VE {}, up for {} h", api.node, status.version, status.uptime / 3600);
    let attributes = Value::from_typed(&status).map_err(|e| Failure::bug(format!("status: {e}")))?;
    Ok(Outcome::unchanged(summary).write("status", "status", attributes))
}

/// The API under the account that `auth` keeps, so that reading the status costs no login of its own; with one only when there is nothing kept.
async fn account<'a>(ctx: &'a Context, globals: &Globals) -> Result<Api<'a>, Failure> {
    let api = Api::new(ctx, &globals.endpoint, Account::Nobody)?;
    if let Some((_, ticket)) = token(ctx, globals).await? {
        return Ok(api.with_account(Account::Open { ticket, csrf: None }));
    }
    let own = |field: &str| {
        let origin = Origin::Resource { name: ResourceName::new(ctx.who.def.as_str(), "node", "node"), field: field.to_owned() };
        Credential(Secret::new("", origin))
    };
    let kept = own("ticket");
    if ctx.credentials.open(&kept).await.is_ok_and(|ticket| !ticket.expose().is_empty()) {
        return Ok(api.with_account(Account::Handle { ticket: kept, csrf: Some(own("csrfToken")) }));
    }
    let (_, ticket, csrf, _) = log_in(&api, globals).await?;
    Ok(api.with_account(Account::Open { ticket, csrf: Some(csrf) }))
}

/// The API token as `user@realm!id` and as the text that stands for a ticket, when the definition has one.
async fn token(ctx: &Context, globals: &Globals) -> Result<Option<(String, Secret)>, Failure> {
    let id = globals.token_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
    let (id, secret) = match (id, &globals.token_secret) {
        (None, None) => return Ok(None),
        (Some(id), Some(secret)) => (id, secret),
        (Some(_), None) => return Err(Failure::yours("tokenId is given without tokenSecret")),
        (None, Some(_)) => return Err(Failure::yours("tokenSecret is given without tokenId")),
    };
    let name = if id.contains('!') { id.to_owned() } else { format!("{}!{id}", user(globals)?) };
    if !name.split_once('!').is_some_and(|(user, _)| user.contains('@')) {
        return Err(Failure::yours(format!("the token `{name}` names no realm")).help("write it as user@realm!id, such as root@pam!pmx"));
    }
    let secret = ctx.credentials.open(secret).await?;
    // `pveum user token add` prints only the UUID, but people paste the whole header value too.
    let uuid = secret.expose().rsplit('=').next().unwrap_or_default().trim();
    let token = Secret::new(format!("{name}={uuid}"), Origin::Computed);
    Ok(Some((name, token)))
}

/// The account with its realm.
fn user(globals: &Globals) -> Result<String, Failure> {
    let name = globals.username.trim();
    if name.is_empty() {
        return Err(Failure::yours("username is missing").help("set username and password, or tokenId and tokenSecret"));
    }
    if name.contains('@') || globals.realm.is_empty() { Ok(name.to_owned()) } else { Ok(format!("{name}@{}", globals.realm)) }
}

/// Exchanges the old ticket for a new one while it holds, else logs in with the password: account, ticket, CSRF token, and what was done.
async fn log_in(api: &Api<'_>, globals: &Globals) -> Result<(String, Secret, Secret, &'static str), Failure> {
    let user = user(globals)?;
    if let Some(old) = old_ticket(api.ctx, &user)
        && let Ok(answer) = api.login(&user, old).await
        && let Ok((name, ticket, csrf)) = read_login(api, &user, &answer)
    {
        return Ok((name, ticket, csrf, "renewed the ticket"));
    }
    let Some(password) = &globals.password else {
        return Err(Failure::yours("neither a password nor an API token is given").help("set password, or tokenId and tokenSecret"));
    };
    let password = api.ctx.credentials.open(password).await?;
    let answer = api.login(&user, password).await.map_err(|error| refused(api, &user, error))?;
    let (name, ticket, csrf) = read_login(api, &user, &answer)?;
    Ok((name, ticket, csrf, "logged in"))
}

/// The ticket of the last login, if it is this account's and its own date says that it still holds: a refused one costs 3 s.
fn old_ticket(ctx: &Context, user: &str) -> Option<Secret> {
    let Some(Value::Secret(ticket)) = ctx.previous.get(&("node".to_owned(), "node".to_owned()))?.get("ticket") else { return None };
    if is_token(ticket) || subject(ticket).as_deref() != Some(user) {
        return None;
    }
    let made = i64::from_str_radix(ticket.expose().split(':').nth(2)?, 16).ok()?;
    let age = (ctx.wire.clock.now().0 / 1000).checked_sub(made)?;
    let life = i64::try_from(TICKET_LIFE.as_secs()).ok()?;
    (0..life).contains(&age).then(|| ticket.clone())
}

fn read_login(api: &Api<'_>, user: &str, answer: &Json) -> Result<(String, Secret, Secret), Failure> {
    let ticket = text(answer, "ticket").unwrap_or_default();
    if number(answer, "NeedTFA") == Some(1) || ticket.starts_with("PVE:!tfa!") {
        return Err(Failure::refused(format!("{}: {user} needs a second factor, which pmx cannot give", api.host())).help(format!(
            "use an API token, which passes it: `pveum user token add {user} pmx --privsep 0` on the node, then tokenId and tokenSecret"
        )));
    }
    let csrf = text(answer, "CSRFPreventionToken").unwrap_or_default();
    if ticket.is_empty() || csrf.is_empty() {
        return Err(Failure::theirs(format!("{}: the answer to the login holds no ticket", api.host())));
    }
    let name = text(answer, "username").unwrap_or_else(|| user.to_owned());
    Ok((name, Secret::new(ticket, Origin::Computed), Secret::new(csrf, Origin::Computed)))
}

/// Proxmox says only `authentication failure`, whatever was wrong: the usual causes, and what its clock shows.
fn refused(api: &Api<'_>, user: &str, error: ApiError) -> Failure {
    let ErrorKind::Refused { status: 401, date, .. } = &*error.kind else { return error.into() };
    let realm = user.split_once('@').map_or("none", |(_, realm)| realm);
    let mut help = format!(
        "one of: the password is wrong; the realm is ({realm}: `pam` for the node's own accounts, `pve` for Proxmox's); the account is disabled, expired or \
         locked; a second factor is asked for in an old way"
    );
    let theirs = date.as_deref().and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp().as_second());
    if let Some(theirs) = theirs {
        let apart = theirs.abs_diff(api.ctx.wire.clock.now().0 / 1000);
        if apart > SKEW.as_secs() {
            help.push_str(&format!("; and the node's clock is {apart} s away from this machine's: set both by NTP"));
        }
    }
    Failure::theirs(format!("{}: the login of {user} was refused: {}", api.host(), error.reason())).help(help)
}

/// Who may not read a node's state usually lacks more: all of it is told at once.
async fn denied(api: &Api<'_>, error: ApiError) -> Failure {
    if !matches!(&*error.kind, ErrorKind::Refused { status: 403, .. }) {
        return missing_node(api, error).await;
    }
    let failure = Failure::from(error);
    let (Ok(permissions), Some(account)) = (api.get("/access/permissions", &[]).await, api.subject().await) else { return failure };
    let lines = rights::missing(&permissions, &account, 0).into_iter().map(|missing| format!("`{}` {}", missing.grant, missing.needed));
    failure.help(format!("on a node: {}", lines.collect::<Vec<_>>().join("; ")))
}

/// An unknown node is answered by a failed name lookup; the list of nodes says what was meant.
async fn missing_node(api: &Api<'_>, error: ApiError) -> Failure {
    let failure = Failure::from(error.clone());
    if !error.reason().contains("hostname lookup") {
        return failure;
    }
    let Ok(nodes) = api.get("/nodes", &[]).await else { return failure };
    let names: Vec<String> = nodes.as_array().map(|rows| rows.iter().filter_map(|row| text(row, "node")).collect()).unwrap_or_default();
    let near = nearest(&api.node, names.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::theirs(format!("{}: there is no node `{}`", api.host(), api.node)).help(format!("nodes there are: {}{near}", names.join(", ")))
}

fn attributes(globals: &Globals, base: &str, name: &str, ticket: Secret, csrf: Option<Secret>) -> Value {
    let kind = if csrf.is_some() { "ticket" } else { "token" };
    Value::Map(Map::from([
        ("username".to_owned(), name.into()),
        ("ticket".to_owned(), ticket.into()),
        ("csrfToken".to_owned(), csrf.into()),
        ("kind".to_owned(), kind.into()),
        ("apiUrl".to_owned(), base.into()),
        ("node".to_owned(), globals.endpoint.node.as_str().into()),
    ]))
}
