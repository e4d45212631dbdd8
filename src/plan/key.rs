//! The action key: what decides an action's result, as a digest and as the manifest that explains it, both from one walk.
//!
//! The manifest is canonical JSON and the key is its digest, so a part cannot be in one and missing in the other. `docs/design/0001-action-key.md`
//! holds the table of what counts; a test stands for each of its rows.

use std::collections::BTreeMap;
use std::fmt;

use crate::digest::{Digest, Fields};
use crate::model::contract::Call;
use crate::plan::graph::{Action, BoundCall, Bounds, Secrecy};
use crate::secret::{Origin, Secret};
use crate::value::{Map, SEALED_KEY, Value, sealed_marker};

/// Raised when the manifest's form changes: every key then differs from those before, and `verdict` says so.
const DOMAIN: &str = "pmx action key 1";

/// The one map key that stands for an account in a manifest: `{"$account":"vault proxmox-vault, key password"}`.
const ACCOUNT_KEY: &str = "$account";

/// What went into an action key: canonical JSON without any secret. Readers of another form find no fields that they know and say that all differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(String);

/// One part of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Field {
    /// Which: `revision`, `arguments.vmName`, `globals.apiUrl`.
    pub path: String,
    /// Its value for people: accounts by their names, secrets by a digest.
    pub value: String,
}

/// One part of two manifests that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which: `revision`, `arguments.vmName`, `globals.apiUrl`.
    pub field: String,
    /// What it was; `None` when it was not set.
    pub old: Option<String>,
    /// What it is; `None` when it is not set any more.
    pub new: Option<String>,
}

/// The key and manifest of a call with these evaluated arguments. `keyed` is the store's keyed digest of a secret.
pub fn key(call: &BoundCall, evaluated: &Call, keyed: &dyn Fn(&Secret) -> Digest) -> (Digest, Manifest) {
    let part = |values: &Map, bounds: &Bounds| {
        let parts = values.iter().filter(|(_, value)| **value != Value::Null).map(|(name, value)| {
            let secrecy = bounds.get(name).map_or(Secrecy::Plain, |bound| bound.secrecy);
            format!("{}:{}", quoted(name), counted(value, secrecy, keyed))
        });
        parts.collect::<Vec<_>>().join(",")
    };
    let variant = call.variant.as_deref().map_or_else(|| "null".to_owned(), quoted);
    let text = format!(
        r#"{{"arguments":{{{}}},"definition":{},"globals":{{{}}},"method":{},"revision":{},"type":{},"variant":{variant}}}"#,
        part(&evaluated.arguments, &call.arguments),
        quoted(&call.def),
        part(&evaluated.globals, &call.globals),
        quoted(call.method.name),
        call.kind.revision,
        quoted(call.kind.name),
    );
    (Fields::new(DOMAIN).text(&text).finish(), Manifest(text))
}

/// The canonical text by which an argument counts.
fn counted(value: &Value, secrecy: Secrecy, keyed: &dyn Fn(&Secret) -> Digest) -> String {
    let sealed = |secret: &Secret| sealed_marker(&keyed(secret));
    match (value, secrecy) {
        (Value::Secret(secret), Secrecy::Credential) => match secret.origin() {
            // Put together or written by hand: nothing but its value tells which account it opens.
            Origin::Computed => sealed(secret),
            origin => format!("{{\"{ACCOUNT_KEY}\":{}}}", quoted(&origin.to_string())),
        },
        // A secret that somebody wrote in the clear is no reason to repeat it.
        (Value::String(text), Secrecy::Secret | Secrecy::Credential) => sealed(&Secret::new(text.clone(), Origin::Computed)),
        _ => value.canonical(&sealed),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).display()
}

/// What an action is about, whatever its arguments: the call and what it writes, `fleet.stop vm/calamity`. Finds the record to compare with.
pub fn subject(action: &Action) -> String {
    let mut subject = action.call.name();
    for write in &action.touch.writes {
        subject.push_str(&format!(" {}/{}", write.resource.spec, write.resource.instance.as_deref().unwrap_or("*")));
    }
    subject
}

impl Manifest {
    /// The manifest that was stored as this text.
    pub fn stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its canonical JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What differs from an older manifest, by field.
    pub fn differences(&self, old: &Self) -> Vec<Difference> {
        let (old, new) = (old.fields(), self.fields());
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = |name: &&String| old.get(*name) != new.get(*name);
        let shown = |value: Option<&Value>| value.map(shown);
        let difference = |name: &String| Difference { field: name.clone(), old: shown(old.get(name)), new: shown(new.get(name)) };
        names.into_iter().filter(differs).map(difference).collect()
    }

    /// Every part that counts, in the order of the paths.
    pub fn walk(&self) -> Vec<Field> {
        self.fields().into_iter().map(|(path, value)| Field { path, value: shown(&value) }).collect()
    }

    /// Every leaf by its path.
    fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::new();
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&self.0) {
            flatten(String::new(), Value::from(json), &mut fields);
        }
        fields
    }
}

/// Maps become their fields, except the markers. Recursion is as deep as an argument.
fn flatten(path: String, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Map(map) if !map.is_empty() && !is_marker(&map) => {
            for (name, value) in map {
                flatten(if path.is_empty() { name } else { format!("{path}.{name}") }, value, fields);
            }
        }
        Value::Null => {}
        Value::Map(map) if map.is_empty() => {}
        leaf => {
            fields.insert(path, leaf);
        }
    }
}

fn is_marker(map: &Map) -> bool {
    map.len() == 1 && (map.contains_key(SEALED_KEY) || map.contains_key(ACCOUNT_KEY))
}

fn shown(value: &Value) -> String {
    match (value.get(ACCOUNT_KEY), value.get(SEALED_KEY)) {
        (Some(account), _) => format!("the account of {account}"),
        (_, Some(digest)) => format!("a secret ({})", digest.to_string().chars().take(8).collect::<String>()),
        _ => format!("`{value}`"),
    }
}

/// `vmName was `a`, is `b``.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field.strip_prefix("arguments.").or_else(|| self.field.strip_prefix("globals.")).unwrap_or(&self.field);
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{field} was {old}, is {new}"),
            (Some(old), None) => write!(f, "{field} was {old}, is not set any more"),
            (None, Some(new)) => write!(f, "{field} was not set, is {new}"),
            (None, None) => write!(f, "{field} differs"),
        }
    }
}
