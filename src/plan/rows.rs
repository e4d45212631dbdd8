//! Type rows for tests: the declarations of the inventory's types (what they write, where they act), with methods that do nothing.

use std::time::Duration;

use crate::lang::types::{Field, Kind, Object, Type};
use crate::model::contract::{Acts, At, Effect, Failure, Instance, MethodRow, Observer, Outcome, SpecRow, TypeRow, Writes};
use crate::model::contract::{Call, Context};
use crate::value::Value;

/// The type of that name.
pub fn find(name: &str) -> Option<&'static TypeRow> {
    ROWS.iter().find(|row| row.name == name)
}

/// Fields out of one line: `vmName! ticket* waitSeconds=120`: `!` must be set, `*` is a credential, `$` a secret.
pub fn fields(line: &str) -> Object {
    let field = |word: &str| {
        let (name, default) = match word.split_once('=') {
            Some((name, text)) => (name, Some(text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from))),
            None => (word, None),
        };
        let bare = name.trim_end_matches(['!', '*', '$']);
        let has = |mark: char| name[bare.len()..].contains(mark);
        let ty = Type { secret: has('*') || has('$'), credential: has('*'), ..Type::of(Kind::Any) };
        (bare.to_owned(), Field { ty, required: has('!'), default, doc: String::new() })
    };
    line.split_whitespace().map(field).collect()
}

pub fn nothing<'a>(_: &'a Context, _: Call) -> futures_util::future::BoxFuture<'a, Result<Outcome, Failure>> {
    Box::pin(async { Ok(Outcome::unchanged("nothing")) })
}

pub const fn method(
    name: &'static str,
    effect: Effect,
    arguments: fn() -> Object,
    writes: &'static [Writes],
    acts: &'static [Acts],
) -> MethodRow {
    MethodRow { name, doc: "", effect, by_command: false, arguments, writes, acts, fresh: Duration::ZERO, phases: &[], run: nothing }
}

pub const fn spec(name: &'static str, observer: Option<Observer>, trust: Option<u64>) -> SpecRow {
    let trust = match trust {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => None,
    };
    SpecRow { name, doc: "", attributes: Object::new, observer, trust }
}

pub const fn observed(one: &'static str, argument: Option<&'static str>, all: Option<&'static str>) -> Option<Observer> {
    Some(Observer { one, argument, all })
}

pub const fn single(spec: &'static str, name: &'static str) -> Writes {
    Writes { spec, instance: Instance::Single(name) }
}

pub const fn by(spec: &'static str, argument: &'static str) -> Writes {
    Writes { spec, instance: Instance::Argument(argument) }
}

const VM: Writes = by("vm", "vmName");
const ALL: Writes = Writes { spec: "vm", instance: Instance::All };
const MACHINE: &[Acts] = &[Acts { at: At::Machine(VM), shared: false }];
const HOST: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: false }];
const UPLOAD: &[Acts] = &[Acts { at: At::Host("sshHost"), shared: true }];
const RESULT: &[Writes] = &[single("result", "result")];
const SERVER: &[Writes] = &[single("server", "server")];

const fn row(name: &'static str, globals: fn() -> Object, specs: &'static [SpecRow], methods: &'static [MethodRow]) -> TypeRow {
    TypeRow { name, revision: 1, doc: "", globals, specs, methods }
}

use Effect::{Act, Converge, Destroy, Observe};

static ROWS: &[TypeRow] = &[
    row(
        "proxmox/node",
        || fields("apiUrl! node! realm=pam username! password* skipTlsVerify"),
        &[spec("node", observed("auth", None, None), Some(7_080))],
        &[MethodRow { fresh: Duration::from_secs(7_080), ..method("auth", Observe, Object::new, &[single("node", "node")], &[]) }],
    ),
    row(
        "proxmox/vm",
        || fields("apiUrl! node! ticket* csrfToken* skipTlsVerify"),
        &[spec("vm", observed("lookup", Some("vmName"), Some("sync")), Some(300))],
        &[
            method("lookup", Observe, || fields("vmName!"), &[VM], MACHINE),
            method("sync", Observe, Object::new, &[ALL], &[Acts { at: At::Machine(ALL), shared: false }]),
            method("create", Act, || fields("vmName! memory=2048 cores=2 diskSize=32"), &[VM], MACHINE),
            method("start", Converge, || fields("vmName! waitSeconds=120"), &[VM], MACHINE),
            method("stop", Converge, || fields("vmName! mode=shutdown"), &[VM], MACHINE),
            method("delete", Destroy, || fields("vmName! purge"), &[VM], MACHINE),
            method("setBootOrder", Converge, || fields("vmName! boot!"), &[VM], MACHINE),
        ],
    ),
    row(
        "docker/compose",
        || fields("sshHost sshUser=root composePath! serviceName"),
        &[spec("result", observed("status", None, None), Some(300))],
        &[
            method("start", Converge, Object::new, RESULT, HOST),
            method("stop", Converge, Object::new, RESULT, HOST),
            method("update", Converge, Object::new, RESULT, HOST),
            method("status", Observe, Object::new, RESULT, HOST),
        ],
    ),
    row(
        "docker/engine",
        || fields("sshHost sshUser=root"),
        &[
            spec("result", None, None),
            spec("image", None, None),
            spec("container", observed("inspect", Some("containerName"), None), Some(60)),
        ],
        &[
            method("install", Converge, Object::new, RESULT, HOST),
            method("build", Converge, || fields("imageTag! contextPath! inputs"), &[by("image", "imageTag")], HOST),
            method(
                "run",
                Converge,
                || fields("containerName! imageTag! imageId ports volumes env$ envFile envDigest restart"),
                &[by("container", "containerName")],
                HOST,
            ),
            method("inspect", Observe, || fields("containerName!"), &[by("container", "containerName")], HOST),
        ],
    ),
    row(
        "minecraft/server",
        || fields("sshHost serverName!"),
        &[spec("server", observed("status", None, None), Some(60))],
        &[
            method("warnShutdown", Act, || fields("seconds=30"), &[by("server", "serverName")], HOST),
            method("stopMinecraftServer", Converge, Object::new, &[by("server", "serverName")], HOST),
            method("startMinecraftServer", Converge, Object::new, &[by("server", "serverName")], HOST),
            method("status", Observe, Object::new, &[by("server", "serverName")], HOST),
        ],
    ),
    row(
        "terraria/server",
        || fields("sshHost containerName=tmodloader"),
        &[spec("server", observed("status", None, None), Some(60))],
        &[
            method("warnShutdown", Act, || fields("seconds=30"), SERVER, HOST),
            method("say", Act, || fields("message!"), SERVER, HOST),
            method("status", Observe, Object::new, SERVER, HOST),
        ],
    ),
    row(
        "alpine/install",
        || fields("sshHost"),
        &[spec("result", None, None)],
        &[method("install", Destroy, || fields("hostname! password$! disk=auto"), RESULT, HOST)],
    ),
    row(
        "alpine/overlay",
        || fields("sshHost tftpHost! tftpPath!"),
        &[spec("overlay", None, None)],
        &[method(
            "deployApkovl",
            Converge,
            Object::new,
            &[single("overlay", "overlay")],
            &[Acts { at: At::Host("sshHost"), shared: false }, Acts { at: At::File("tftpHost", "tftpPath"), shared: false }],
        )],
    ),
    row(
        "tailscale/node",
        || fields("sshHost authKey*"),
        &[spec("result", None, None)],
        &[method("install", Converge, Object::new, RESULT, HOST)],
    ),
    row(
        "nginx/stream",
        || fields("sshHost sshUser=keeb streamDir=~/stream"),
        &[spec("proxy", None, None)],
        &[method("configure", Converge, || fields("vmName! targetIp! portMap!"), &[by("proxy", "vmName")], HOST)],
    ),
    row(
        "pmx/repo",
        || fields("sshHost remoteDir!"),
        &[spec("repo", None, None)],
        &[
            method("syncCode", Converge, Object::new, &[single("repo", "code")], UPLOAD),
            method("syncBinary", Converge, Object::new, &[single("repo", "binary")], UPLOAD),
            method("syncSecrets", Converge, || fields("folder!"), &[single("repo", "secrets")], UPLOAD),
        ],
    ),
    row(
        "ssh/host",
        || fields("host user=root port=22"),
        &[spec("result", None, None), spec("file", None, None)],
        &[
            method("exec", Act, || fields("command! as=result"), &[by("result", "as")], &[Acts { at: At::Host("host"), shared: false }]),
            method(
                "writeFile",
                Converge,
                || fields("dest! content$! mode=0600"),
                &[by("file", "dest")],
                &[Acts { at: At::Host("host"), shared: true }, Acts { at: At::File("host", "dest"), shared: false }],
            ),
        ],
    ),
];
