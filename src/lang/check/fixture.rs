//! The project of the inventory's Terraria server with schemas of its types, and a way to change it, for tests.

use std::sync::Arc;

use crate::lang::check::{MethodSchema, Schemas, TypeSchema, check};
use crate::lang::project::{Sources, parse};
use crate::lang::types::{Field, Kind, Object, Type};
use crate::source::{Diagnostic, Source};
use crate::value::Value;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("testdata/", $name)))),*]
    };
}

/// The files by path.
pub(super) const FILES: &[(&str, &str)] = files![
    "Pmxfile.toml",
    "definitions/calamity.toml",
    "definitions/calamityTerraria.toml",
    "definitions/fleet.toml",
    "definitions/keebDev02.toml",
    "definitions/testVmSsh.toml",
    "workflows/create-vm.toml",
    "workflows/delete-vm.toml",
    "workflows/destroy-slate.toml",
    "workflows/guest-agent-test.toml",
    "workflows/reboot-calamity.toml",
    "workflows/start-calamity.toml",
    "workflows/start-vm.toml",
    "workflows/status-calamity.toml",
    "workflows/stop-calamity.toml",
    "workflows/stop-vm.toml",
    "workflows/sync-fleet.toml",
    "workflows/update-calamity.toml",
    "workflows/vm-lifecycle-test.toml",
];

/// One field: `name type`, with `!` for required, `?` for nullable and `*` for secret behind the type.
fn field(text: &str) -> (String, Field) {
    let (name, ty) = text.split_once(' ').unwrap();
    let word = ty.trim_end_matches(['!', '?', '*']);
    let kind = match word {
        "int" => Kind::Int,
        "bool" => Kind::Bool,
        "float" => Kind::Float,
        "strings" => Kind::List(Box::new(Type::of(Kind::String))),
        "map" => Kind::Map(Box::new(Type::of(Kind::String))),
        "secrets" => Kind::Map(Box::new(Type { secret: true, ..Type::of(Kind::String) })),
        "any" => Kind::Any,
        words if words.contains('|') => Kind::Enum(words.split('|').map(str::to_owned).collect()),
        _ => Kind::String,
    };
    let mut ty_of = Type { nullable: ty.contains('?'), secret: ty.contains('*'), ..Type::of(kind) };
    if word == "int" {
        ty_of.min = Some(0.0);
    }
    (
        name.to_owned(),
        Field { ty: ty_of, required: ty.contains('!'), default: (!ty.contains('!')).then_some(Value::Null), doc: String::new() },
    )
}

fn object(text: &str) -> Object {
    text.split(", ").filter(|text| !text.is_empty()).map(field).collect()
}

/// A type: globals, specs as `name: fields`, methods likewise (`~` before the name of one that only looks).
fn schema(globals: &str, specs: &[(&str, &str)], methods: &[(&str, &str)]) -> TypeSchema {
    let method = |(name, arguments): &(&str, &str)| {
        (name.trim_start_matches('~').to_owned(), MethodSchema { arguments: object(arguments), observes: name.starts_with('~') })
    };
    TypeSchema {
        globals: object(globals),
        methods: methods.iter().map(method).collect(),
        specs: specs.iter().map(|(name, fields)| ((*name).to_owned(), object(fields))).collect(),
        singles: [("node", "node"), ("server", "server")].map(|(spec, only)| (spec.to_owned(), [only.to_owned()].into())).into(),
    }
}

/// The types of the files.
pub(super) fn schemas() -> Schemas {
    let vm = "vmid int, vmName string, node string, status running|stopped|gone|deleted, ip string?, maxmem int, maxcpu int, uuid string, tags strings";
    let one = "vmName string!";
    let host = "sshHost string?, sshUser string, sshPort int";
    let types = [
        (
            "proxmox/node",
            schema(
                "apiUrl string!, node string!, realm string, username string, password string?*, tokenId string?, tokenSecret string?*",
                &[("node", "username string, ticket string*, csrfToken string*"), ("status", "cpu float, memory int")],
                &[("~auth", ""), ("~status", "")],
            ),
        ),
        (
            "proxmox/vm",
            schema(
                "apiUrl string!, node string!, ticket string?*, csrfToken string?*",
                &[("vm", vm)],
                &[
                    ("~lookup", one),
                    ("~sync", ""),
                    ("create", "vmName string!, memory int, cores int, diskSize int, bootOrder string"),
                    ("start", "vmName string!, waitSeconds int"),
                    ("stop", "vmName string!, mode shutdown|stop, timeout int"),
                    ("delete", "vmName string!, purge bool"),
                    ("setConfig", "vmName string!, config map!"),
                ],
            ),
        ),
        (
            "docker/compose",
            schema(
                &format!("{host}, composePath string!, serviceName string?"),
                &[("result", "services any")],
                &[("start", ""), ("stop", ""), ("update", ""), ("~status", "")],
            ),
        ),
        (
            "terraria/server",
            schema(
                &format!("{host}, containerName string, port int"),
                &[("server", "online int, players strings, serverRunning bool")],
                &[("say", "message string!"), ("warnShutdown", "seconds int"), ("~status", "")],
            ),
        ),
        (
            "ssh/host",
            schema(
                "host string!?, user string, port int",
                &[("result", "stdout string, exitCode int"), ("file", "bytes int, digest string")],
                &[
                    ("exec", "command string!, timeout int, env secrets, args strings, more any"),
                    ("writeFile", "dest string!, content string!*, mode string"),
                ],
            ),
        ),
    ];
    Schemas { types: types.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect() }
}

/// The files with one of them replaced or added.
pub(super) fn with(changed: &[(&str, &str)]) -> Sources {
    let text = |name: &str, text: &str| changed.iter().find(|(one, _)| *one == name).map_or(text, |(_, text)| *text).to_owned();
    let added = changed.iter().filter(|(name, _)| !FILES.iter().any(|(known, _)| known == name));
    let sources: Vec<Arc<Source>> = FILES.iter().chain(added).map(|(name, old)| Source::new(*name, text(name, old))).collect();
    let under = |folder: &str| sources.iter().filter(|source| source.name.starts_with(folder)).cloned().collect();
    Sources { pmxfile: Arc::clone(&sources[0]), definitions: under("definitions"), workflows: under("workflows") }
}

/// Everything that parsing, and checking when parsing found no error, say about these files.
pub(super) fn complaints(changed: &[(&str, &str)]) -> Vec<Diagnostic> {
    let (project, mut complaints) = parse(&with(changed));
    if let Some(project) = project.filter(|_| !crate::lang::project::has_errors(&complaints)) {
        complaints.extend(check(&project, &schemas()));
    }
    complaints
}

/// One line each.
pub(super) fn lines(changed: &[(&str, &str)]) -> Vec<String> {
    complaints(changed).iter().map(ToString::to_string).collect()
}
