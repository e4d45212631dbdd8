//! History: versions with their attributes, and what differs between two of them.

use serde::Serialize;

use crate::digest::Digest;
use crate::event::Time;
use crate::exec::view;
use crate::name::{Actor, ResourceName};
use crate::source::{Diagnostic, Fault, Severity};
use crate::store::Store;
use crate::store::words::{StoreError, Version, WithContent};
use crate::value::Value;

/// A version as people and scripts see it. Secrets are closed: they show as `[secret]` and compare by their keyed digest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// The resource.
    pub resource: ResourceName,
    /// Its number in the chain, from 1.
    pub version: u64,
    /// The digest that names the version.
    pub digest: Digest,
    /// When it was written.
    pub at: Time,
    /// By which call.
    pub call: String,
    /// In which step.
    pub step: String,
    /// Of which run.
    pub run: String,
    /// Asked for by whom.
    pub actor: Actor,
    /// The attributes; null when `pmx gc` has dropped them.
    pub attributes: Value,
    /// Whether they were dropped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The path of the field: `status`, `services.tmodloader.state`.
    pub field: String,
    /// What it was; absent when the field is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is; absent when the field is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What a store's trouble means to a command.
pub fn trouble(error: &StoreError) -> Vec<Diagnostic> {
    vec![told(error)]
}

/// A store's trouble as a complaint: only a head that moved where nobody else may write is a bug of pmx.
pub fn told(error: &StoreError) -> Diagnostic {
    let (fault, help) = match error {
        StoreError::HeadMoved { .. } => (Fault::Ours, "`pmx fsck` tells whether the store is whole"),
        StoreError::Damaged { .. } => (Fault::Theirs, "`pmx fsck` tells what is lost; a copy of the store's directory brings it back"),
        StoreError::Dropped { .. } => (Fault::Yours, "who wrote it, when and why is still known: `pmx log`"),
        StoreError::Format { .. } => {
            (Fault::Yours, "use the pmx that wrote it, or name another directory: `path` under [store] of the Pmxfile")
        }
        StoreError::Io { .. } => (Fault::Theirs, "see who may write in the store's directory, and whether its disk is full"),
    };
    Diagnostic::new(Severity::Error, fault, error.to_string()).help(help)
}

/// What looks like a version in a name that nobody ever wrote: the part before the last `@`, and the part after it.
fn typed_version(text: &str) -> Option<(&str, &str)> {
    text.rsplit_once('@').filter(|(name, which)| name.parse::<ResourceName>().is_ok() && !which.is_empty())
}

/// Reads the attributes of a version, whole.
pub fn shown(store: &mut dyn Store, version: Version) -> Result<Shown, StoreError> {
    let attributes = view::attributes(store, None, &version)?;
    Ok(told_with(version, attributes, false))
}

/// The same with long texts cut, for what compares or lists.
pub fn outlined(store: &mut dyn Store, version: Version) -> Result<Shown, StoreError> {
    let attributes = view::outline(store, &version, None)?;
    Ok(told_with(version, attributes, false))
}

/// The same for a list, which goes on where attributes were dropped.
pub fn listed(store: &mut dyn Store, (version, bytes): WithContent) -> Result<Shown, StoreError> {
    match view::outline(store, &version, bytes) {
        Ok(attributes) => Ok(told_with(version, attributes, false)),
        Err(StoreError::Dropped { .. }) => Ok(told_with(version, Value::Null, true)),
        Err(other) => Err(other),
    }
}

fn told_with(version: Version, attributes: Value, dropped: bool) -> Shown {
    let digest = version.digest();
    let made = version.made;
    Shown {
        resource: version.resource,
        version: version.number,
        digest,
        at: made.at,
        call: made.call,
        step: made.step,
        run: made.run.as_str().to_owned(),
        actor: made.actor,
        attributes,
        dropped,
    }
}

/// A version as a person names it: `NAME`, `NAME@NUMBER` or `NAME@TIME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The resource.
    pub name: ResourceName,
    /// Which version.
    pub which: Which,
}

/// Which version of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Head,
    /// The one of this number.
    Number(u64),
    /// The one that was newest at this moment.
    At(Time),
}

impl Wanted {
    /// Reads what was typed. An `@` that is followed by neither a number nor a time belongs to the name.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let split = text.rsplit_once('@').and_then(|(name, which)| {
            let number = which.parse().ok().map(Which::Number);
            let which = number.or_else(|| which.parse().ok().map(Which::At))?;
            Some((name, which))
        });
        let (name, which) = split.unwrap_or((text, Which::Head));
        let name = name.parse().map_err(|error| vec![Diagnostic::yours(format!("{error}")).help("`pmx ls` lists all resources")])?;
        Ok(Self { name, which })
    }

    /// The version itself.
    pub fn find(&self, store: &mut dyn Store) -> Result<Version, Vec<Diagnostic>> {
        let found = match self.which {
            Which::Head => store.head(&self.name),
            Which::At(time) => store.version_at(&self.name, time),
            Which::Number(number) => store
                .chain(&self.name, number.checked_add(1), 1)
                .map(|chain| chain.into_iter().next().filter(|version| version.number == number)),
        };
        match found.map_err(|e| trouble(&e))? {
            Some(version) => Ok(version),
            None => Err(vec![self.missing(store)]),
        }
    }

    fn missing(&self, store: &mut dyn Store) -> Diagnostic {
        let name = &self.name;
        if let Ok(Some(head)) = store.head(name) {
            let which = match self.which {
                Which::Number(number) => format!("version {number}"),
                Which::At(time) => format!("version at {time}"),
                Which::Head => "version".to_owned(),
            };
            return Diagnostic::yours(format!("{name} has no {which}; its versions are 1 to {}", head.number))
                .help(format!("`pmx log {name}` lists them"));
        }
        if let Some((name, which)) = typed_version(&self.name.to_string()) {
            return Diagnostic::yours(format!("`{which}` after the @ is neither a number nor a time"))
                .help(format!("write {name}@3, or {name}@2026-11-23T14:02:00Z for what was known then"));
        }
        let known: Vec<String> = store.heads(None).unwrap_or_default().into_iter().map(|version| version.resource.to_string()).collect();
        let typed = name.to_string();
        let complaint = Diagnostic::yours(format!("no version of {name} yet"));
        match crate::name::nearest(&typed, known.iter().map(String::as_str)) {
            Some(near) => complaint.help(format!("did you mean `{near}`?")),
            None => complaint.help(format!("`pmx build {name}` reads it, if its type can; `pmx ls` lists what is known")),
        }
    }
}

/// The fields in which two values differ, in field order; depth is bounded by the store's JSON.
pub fn differences(old: &Value, new: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    compare("", Some(old), Some(new), &mut changes);
    changes
}

fn compare(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => {}
        (Some(Value::Map(before)), Some(Value::Map(after))) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&below, before.get(key), after.get(key), changes);
            }
        }
        _ => changes.push(Change { field: path.to_owned(), old: old.cloned(), new: new.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_named_by_number_time_or_neither() {
        let which = |text: &str| Wanted::parse(text).unwrap().which;
        assert_eq!(which("fleet/vm/a"), Which::Head);
        assert_eq!(which("fleet/vm/a@3"), Which::Number(3));
        assert_eq!(which("fleet/vm/a@1970-01-01T00:00:01Z"), Which::At(Time(1000)));
        assert_eq!(Wanted::parse("x/file/a@b").unwrap().name.instance, "a@b");
        assert!(Wanted::parse("fleet").is_err());
    }

    #[test]
    fn differences_name_each_field() {
        let old = Value::from(serde_json::json!({"status": "running", "net": {"ip": "10.0.0.7"}, "gone": 1}));
        let new = Value::from(serde_json::json!({"status": "stopped", "net": {"ip": null}, "fresh": true}));
        let fields: Vec<String> = differences(&old, &new).into_iter().map(|change| change.field).collect();
        assert_eq!(fields, ["fresh", "gone", "net.ip", "status"]);
        assert!(differences(&old, &old).is_empty());
    }
}
