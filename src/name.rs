//! Names: of resources, places, runs and actors, each with its one text form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name of the kind that was asked for.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{given}` is not {wanted}")]
pub struct BadName {
    given: String,
    wanted: &'static str,
}

fn refuse(given: &str, wanted: &'static str) -> BadName {
    BadName { given: given.chars().take(200).collect(), wanted }
}

/// The longest name of a resource in bytes: that of the longest path on Linux, because a file is named by its path.
const LONGEST: usize = 4096;

/// The name of a resource: `definition/spec/instance`, for example `fleet/vm/allthemons`.
///
/// Definition and spec hold no slash; the instance is anything non-empty without control characters, slashes and spaces included (`fleet/vm/VM 102`,
/// `testVmSsh/file//etc/motd`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName {
    /// The definition's name, `fleet`.
    pub def: String,
    /// The spec, `vm`.
    pub spec: String,
    /// The instance, `allthemons`.
    pub instance: String,
}

impl ResourceName {
    /// Puts a name together. Use `parse` for text that a person wrote.
    pub fn new(def: impl Into<String>, spec: impl Into<String>, instance: impl Into<String>) -> Self {
        Self { def: def.into(), spec: spec.into(), instance: instance.into() }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.def, self.spec, self.instance)
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ResourceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let wanted = "a resource name: definition/spec/instance, such as fleet/vm/allthemons";
        if text.len() > LONGEST {
            return Err(refuse(text, "a resource name: it is longer than 4096 bytes"));
        }
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(def), Some(spec), Some(instance))
                if !def.is_empty() && !spec.is_empty() && !instance.is_empty() && !text.contains(char::is_control) =>
            {
                Ok(Self::new(def, spec, instance))
            }
            _ => Err(refuse(text, wanted)),
        }
    }
}

/// One resource or every instance of a spec: what an action reads or writes, as far as it is known before it runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourcePattern {
    /// The definition's name.
    pub def: String,
    /// The spec.
    pub spec: String,
    /// The instance; `None` is every instance (`vm/*`).
    pub instance: Option<String>,
}

impl ResourcePattern {
    /// Every instance of `def/spec`.
    pub fn all(def: impl Into<String>, spec: impl Into<String>) -> Self {
        Self { def: def.into(), spec: spec.into(), instance: None }
    }

    /// Whether some resource is named by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let either_open = self.instance.is_none() || other.instance.is_none();
        self.def == other.def && self.spec == other.spec && (either_open || self.instance == other.instance)
    }

    /// Whether `name` is one of those meant.
    pub fn contains(&self, name: &ResourceName) -> bool {
        self.overlaps(&Self::from(name.clone()))
    }

    /// Whether every resource that `other` means is meant by this one too.
    pub fn covers(&self, other: &Self) -> bool {
        self.overlaps(other) && (self.instance.is_none() || other.instance.is_some())
    }

    /// The single resource that is meant, if it is one.
    pub fn exact(&self) -> Option<ResourceName> {
        let instance = self.instance.clone()?;
        Some(ResourceName::new(self.def.clone(), self.spec.clone(), instance))
    }
}

impl From<ResourceName> for ResourcePattern {
    fn from(name: ResourceName) -> Self {
        Self { def: name.def, spec: name.spec, instance: Some(name.instance) }
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.def, self.spec, self.instance.as_deref().unwrap_or("*"))
    }
}

impl fmt::Debug for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where an action acts. Two actions at one place keep their order unless both share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "at", rename_all = "lowercase")]
pub enum Place {
    /// The machine that a resource stands for, such as the VM `fleet/vm/calamity`.
    Machine(ResourcePattern),
    /// A host by the name that the user's ssh config or DNS knows, such as `treehouse`.
    Host(String),
    /// A file that several definitions share: host or machine in text form, then the path.
    File(String, String),
}

impl Place {
    /// Whether both may mean one spot of the world.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Machine(mine), Self::Machine(theirs)) => mine.overlaps(theirs),
            _ => self == other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(pattern) => write!(f, "{pattern}"),
            Self::Host(name) => write!(f, "host {name}"),
            Self::File(host, path) => write!(f, "{host}:{path}"),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The id of a run: a version-7 UUID in 32 lower-case hex digits, so ids sort by time. People use any unambiguous prefix or suffix of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(String);

impl RunId {
    /// The id made of a UUID's 16 bytes.
    pub fn from_uuid(uuid: uuid::Uuid) -> Self {
        Self(uuid.simple().to_string())
    }

    /// The last 7 digits: the random end, which tells runs of one day apart better than their common beginning.
    pub fn short(&self) -> &str {
        &self.0[self.0.len() - 7..]
    }

    /// All 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RunId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let hex = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if text.len() == 32 && text.as_bytes().iter().all(hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(refuse(text, "a run id: 32 hex digits"))
        }
    }
}

/// Who asked for something: `cli:root@slate`, `discord:1234/nick`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Actor(String);

impl Actor {
    /// An actor who came in by `channel` (`cli`, `discord`, `schedule`) under the name `name`; control characters are replaced.
    pub fn new(channel: &str, name: &str) -> Self {
        Self(format!("{channel}:{name}").replace(char::is_control, "?"))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Actor {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.split_once(':') {
            Some((channel, name)) if !channel.is_empty() && !name.is_empty() => Ok(Self::new(channel, name)),
            _ => Err(refuse(text, "an actor: channel:name, such as cli:root@slate")),
        }
    }
}

impl FromStr for ResourcePattern {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let name: ResourceName = text.parse()?;
        Ok(if name.instance == "*" { Self::all(name.def, name.spec) } else { name.into() })
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
serde_as_text!(ResourceName, ResourcePattern, RunId, Actor);

/// Types of the system whose projects pmx takes over, by the names that they had there.
const RENAMED: [(&str, &str); 1] = [("swamp/repo", "pmx/repo")];

/// What a type is called here that had another name before.
pub fn renamed(given: &str) -> Option<&'static str> {
    RENAMED.into_iter().find_map(|(before, now)| (before == given).then_some(now))
}

/// The known name nearest to `given`, if one is near enough to be a slip: at most a third of its letters differ.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (given.chars().count() / 3).max(1);
    let scored = known.into_iter().map(|name| (edits(given, name), name));
    scored.filter(|(distance, _)| *distance <= bound).min().map(|(_, name)| name)
}

/// Damerau-Levenshtein distance (adjacent swaps count one), case folded: `pmxfile` and `Pmxfile` are one letter apart at most.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.to_lowercase().chars().collect(), right.to_lowercase().chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let cost = usize::from(left[i - 1] != right[j - 1]);
            let mut best = (row[j - 1] + 1).min(rows[i - 1][j] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_names_keep_slashes_and_spaces_in_the_instance() {
        let name: ResourceName = "testVmSsh/file//etc/motd".parse().unwrap();
        assert_eq!(name.instance, "/etc/motd");
        assert_eq!("fleet/vm/VM 102".parse::<ResourceName>().unwrap().to_string(), "fleet/vm/VM 102");
        for bad in ["", "fleet", "fleet/vm", "fleet/vm/", "/vm/x", "fleet//x", "fleet/vm/a\nb"] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad:?}");
        }
        let named = |letters: usize| format!("a/b/{}", "x".repeat(letters)).parse::<ResourceName>();
        assert!(named(LONGEST - 4).is_ok());
        assert!(named(LONGEST - 3).unwrap_err().to_string().ends_with("xx` is not a resource name: it is longer than 4096 bytes"));
    }

    #[test]
    fn patterns_overlap_by_instance() {
        let one: ResourcePattern = "fleet/vm/a".parse().unwrap();
        let other: ResourcePattern = "fleet/vm/b".parse().unwrap();
        let all: ResourcePattern = "fleet/vm/*".parse().unwrap();
        assert!(one.overlaps(&all) && all.overlaps(&other) && !one.overlaps(&other));
        assert!(all.covers(&one) && !one.covers(&all) && one.covers(&one));
    }

    #[test]
    fn nearest_takes_slips_and_refuses_strangers() {
        assert_eq!(nearest("atributes", ["attributes", "version"]), Some("attributes"));
        assert_eq!(nearest("vmNmae", ["vmName", "memory"]), Some("vmName"));
        assert_eq!(nearest("zebra", ["attributes", "version"]), None);
    }

    #[test]
    fn names_are_read_or_refused_however_spoiled() {
        let seeds = ["fleet/vm/VM 102", "testVmSsh/file//etc/motd", "fleet/vm/*", "cli:root@slate", "0193567890abcdef0193567890abcdef"];
        crate::walks::feed(&seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            // What is read is written as it was read.
            if let Ok(name) = text.parse::<ResourceName>() {
                assert_eq!(name.to_string().parse(), Ok(name));
            }
            let errors = [
                text.parse::<ResourcePattern>().err().map(|e| e.to_string()),
                text.parse::<Actor>().err().map(|e| e.to_string()),
                text.parse::<RunId>().err().map(|e| e.to_string()),
            ];
            errors.into_iter().reduce(|one, other| one.and(other)).flatten().map_or(Ok(()), Err)
        });
    }
}
