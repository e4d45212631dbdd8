//! The recipe of a run: all that its graph is made of, kept beside the graph's drawing so that the run can be resumed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::lang::project::Sources;
use crate::ops::planner::{ProjectPlanner, find};
use crate::ops::project;
use crate::plan::Target;
use crate::plan::explain::Drawing;
use crate::plan::graph::Graph;
use crate::secret::Sealer;
use crate::source::Source;
use crate::store::Store;
use crate::store::words::{Commit, RunRow, StoreError};
use crate::value::{Map, Value};

/// Raised when the recipe's form changes; another form is not resumed.
const FORMAT: u32 = 1;
/// A longer text is sealed in parts of so many bytes: sealing and storing one takes four times its size for a moment.
const PART: usize = 1 << 20;
/// So many sealed bytes are stored at once.
const AT_ONCE: usize = 4 << 20;
/// The name of the project's own file.
const PMXFILE: &str = "Pmxfile.toml";

/// All that a graph is made of. File texts are sealed: a password may stand in one, and the store holds nothing secret in the clear.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    format: u32,
    /// The profile.
    pub profile: Option<String>,
    /// The targets as typed.
    pub targets: Vec<String>,
    /// The inputs.
    pub inputs: Value,
    /// The revision of each type that the graph calls.
    pub types: BTreeMap<String, u32>,
    /// Every file of the project by its path.
    pub files: BTreeMap<String, Text>,
}

/// The text of a file, as keyed digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    /// Of all of it.
    Whole(Digest),
    /// Of its parts, in their order.
    Parts(Vec<Digest>),
}

impl Text {
    fn of(text: &str, sealer: &dyn Sealer) -> Self {
        match parts(text).as_slice() {
            [whole] => Self::Whole(sealer.keyed_digest(whole)),
            parts => Self::Parts(parts.iter().map(|part| sealer.keyed_digest(part)).collect()),
        }
    }

    fn digests(&self) -> &[Digest] {
        match self {
            Self::Whole(digest) => std::slice::from_ref(digest),
            Self::Parts(digests) => digests,
        }
    }
}

/// What is sealed of a text, one by one: all of it, unless it is long.
fn parts(text: &str) -> Vec<&[u8]> {
    if text.len() <= PART { vec![text.as_bytes()] } else { text.as_bytes().chunks(PART).collect() }
}

/// The blob that a run's row names as its graph.
#[derive(Serialize)]
struct Blob<'a> {
    #[serde(flatten)]
    drawing: &'a Drawing<'a>,
    recipe: &'a Recipe,
}

/// What is made of a recipe again.
pub struct Remade {
    /// Answers of the planner, from the files as they were.
    pub planner: ProjectPlanner,
    /// The graph.
    pub graph: Graph,
}

fn files(sources: &Sources) -> impl Iterator<Item = &Arc<Source>> {
    std::iter::once(&sources.pmxfile).chain(&sources.definitions).chain(&sources.workflows)
}

/// Every file's text by its path.
pub fn texts(sources: &Sources) -> BTreeMap<String, &str> {
    files(sources).map(|file| (file.name.display().to_string(), file.text.as_str())).collect()
}

/// Keeps the recipe of `graph` with its drawing, and the texts of those files that the store does not hold yet. Returns the name of the run's graph blob,
/// which is durable with the run's row at the latest.
pub fn keep(
    sources: &Sources,
    profile: Option<&str>,
    (graph, inputs): (&Graph, &Map),
    (store, sealer): (&mut dyn Store, &dyn Sealer),
) -> Result<Digest, StoreError> {
    let recipe = Recipe {
        format: FORMAT,
        profile: profile.map(str::to_owned),
        targets: graph.targets.clone(),
        inputs: Value::Map(inputs.clone()),
        types: graph.actions.iter().map(|action| (action.call.kind.name.to_owned(), action.call.kind.revision)).collect(),
        files: files(sources).map(|file| (file.name.display().to_string(), Text::of(&file.text, sealer))).collect(),
    };
    let blob = Blob { drawing: &Drawing(graph), recipe: &recipe };
    let named = store.put_written(&|to| serde_json::to_writer(to, &blob).map_err(std::io::Error::from))?;
    // Files change seldom: mostly all of them are known.
    let (mut sealed, mut bytes) = (Vec::new(), 0);
    for file in files(sources) {
        let Some(text) = recipe.files.get(&file.name.display().to_string()) else { continue };
        for (digest, part) in text.digests().iter().zip(parts(&file.text)) {
            if store.sealed(digest)?.is_none() {
                sealed.push((*digest, sealer.seal(part)));
                bytes += part.len();
            }
            if bytes >= AT_ONCE {
                bytes = 0;
                store.commit(Commit { sealed: std::mem::take(&mut sealed), ..Commit::default() })?;
            }
        }
    }
    if !sealed.is_empty() {
        store.commit(Commit { sealed, ..Commit::default() })?;
    }
    Ok(named)
}

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The blob was dropped by `gc`, or holds none.
    #[error("{0}")]
    Gone(String),
    /// A type does something else now.
    #[error("{kind} had revision {then} when it began and has {now} now, so what was done then is not what would be done now")]
    Revision {
        /// The type.
        kind: String,
        /// Its revision then.
        then: u32,
        /// Its revision now, or `none`.
        now: String,
    },
    /// Compiled again, another graph comes out.
    #[error("this pmx ({now}) makes another graph of it than the pmx that began it ({then}){why}")]
    Differs {
        /// Which version began it.
        then: String,
        /// This version.
        now: &'static str,
        /// The first complaint, if there is one.
        why: String,
    },
    /// The store itself.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The recipe of a run, with the drawing of its graph.
pub fn find_recipe(store: &mut dyn Store, row: &RunRow) -> Result<(Recipe, serde_json::Value), Unusable> {
    let bytes = store.blob(&row.graph)?.ok_or_else(|| Unusable::Gone("its graph was dropped by gc".to_owned()))?;
    let mut json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| Unusable::Gone(format!("its graph cannot be read: {e}")))?;
    let recipe = json.as_object_mut().and_then(|fields| fields.remove("recipe"));
    let recipe = recipe.ok_or_else(|| Unusable::Gone(format!("pmx {} kept no recipe of its graph", row.version)))?;
    let recipe: Recipe = serde_json::from_value(recipe)
        .ok()
        .filter(|recipe: &Recipe| recipe.format == FORMAT)
        .ok_or_else(|| Unusable::Gone(format!("pmx {} kept its recipe in a form that this pmx does not know", row.version)))?;
    Ok((recipe, json))
}

/// The files of a recipe as they were.
pub fn opened(store: &mut dyn Store, recipe: &Recipe, sealer: &dyn Sealer) -> Result<Sources, Unusable> {
    let mut sources = Sources { pmxfile: Source::new(PMXFILE, ""), definitions: Vec::new(), workflows: Vec::new() };
    for (name, text) in &recipe.files {
        let lost = |why: &str| Unusable::Gone(format!("its file {name} {why}"));
        let mut plain = Zeroizing::new(Vec::new());
        for digest in text.digests() {
            let sealed = store.sealed(digest)?.ok_or_else(|| lost("is not in the store"))?;
            plain.extend_from_slice(&sealer.open(&sealed).ok_or_else(|| lost("was sealed with another key than this store's"))?);
        }
        let source = Source::new(name.as_str(), std::str::from_utf8(&plain).map_err(|_| lost("is not text"))?);
        match Path::new(name).parent().and_then(Path::to_str) {
            Some("definitions") => sources.definitions.push(source),
            Some("workflows") => sources.workflows.push(source),
            _ => sources.pmxfile = source,
        }
    }
    Ok(sources)
}

/// Makes the graph again. It is the same as it was, or an error.
pub fn remake(store: &mut dyn Store, row: &RunRow, sealer: &dyn Sealer) -> Result<(Recipe, Remade), Unusable> {
    let (recipe, drawing) = find_recipe(store, row)?;
    for (kind, then) in &recipe.types {
        let now = find(kind).map(|row| row.revision);
        if now != Some(*then) {
            let now = now.map_or_else(|| "none".to_owned(), |now| now.to_string());
            return Err(Unusable::Revision { kind: kind.clone(), then: *then, now });
        }
    }
    let differs = |why: String| Unusable::Differs { then: row.version.clone(), now: env!("CARGO_PKG_VERSION"), why };
    let first = |complaints: &[crate::source::Diagnostic]| complaints.first().map(|first| format!(": {first}")).unwrap_or_default();
    let sources = opened(store, &recipe, sealer)?;
    let project = project::read(&sources).sound().map_err(|complaints| differs(first(&complaints)))?;
    let profile = recipe.profile.as_ref().and_then(|name| project.pmxfile.profiles.get(name)).cloned();
    let targets = recipe.targets.iter().map(|text| Target::parse(text)).collect::<Result<Vec<_>, _>>();
    let targets = targets.map_err(|complaint| differs(first(&[complaint])))?;
    let Value::Map(inputs) = &recipe.inputs else { return Err(differs(String::new())) };
    let (planner, graph) = ProjectPlanner::plan(project, profile, &targets, inputs).map_err(|complaints| differs(first(&complaints)))?;
    // As text: a list of places would compare equal in any other form too, but not the other way round.
    let redrawn = serde_json::to_value(Drawing(&graph)).unwrap_or_default();
    if redrawn != drawing {
        return Err(differs(String::new()));
    }
    Ok((recipe, Remade { planner, graph }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_recipes_are_read_or_refused_however_spoiled() {
        let digest = Digest::of(b"text");
        let blob = format!(
            r#"{{"actions":[],"recipe":{{"format":1,"profile":"lab","targets":["stop-calamity"],"inputs":{{"a":1}},"types":{{"proxmox/vm":3}},"files":{{"Pmxfile.toml":"{digest}"}}}}}}"#
        );
        crate::walks::feed(&[blob], |bytes| {
            let mut store = crate::store::memory::MemoryStore::new();
            let row = RunRow {
                id: "0193567890abcdef0193567890abcdef".parse().unwrap(),
                targets: Vec::new(),
                inputs: "{}".to_owned(),
                actor: crate::name::Actor::new("cli", "root@slate"),
                began: crate::event::Time(1),
                ended: None,
                state: crate::event::RunState::Running,
                graph: store.put_blob(bytes).unwrap(),
                version: "0.1.0".to_owned(),
            };
            find_recipe(&mut store, &row).map(drop).map_err(|error| error.to_string())
        });
    }

    /// Seals nothing: what is kept can be looked at.
    struct Open;

    impl Sealer for Open {
        fn seal(&self, plain: &[u8]) -> Vec<u8> {
            plain.to_vec()
        }
        fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
            Some(sealed.to_vec().into())
        }
        fn keyed_digest(&self, plain: &[u8]) -> Digest {
            Digest::keyed(&[7; 32], plain)
        }
    }

    #[test]
    fn a_long_text_is_kept_in_parts_and_read_whole() {
        // Signs of two bytes, so that a part ends inside one.
        let long = format!("#{}", "ü".repeat(3 * PART));
        let texts = ["", "short", &long, &long[1..], &"x".repeat(PART), &"y".repeat(PART + 1)];
        let workflows =
            texts.iter().zip(0..).map(|(text, number)| Source::new(format!("workflows/{number}.toml").as_str(), *text)).collect();
        let sources = Sources { pmxfile: Source::new(PMXFILE, "[project]"), definitions: Vec::new(), workflows };
        let graph = Graph {
            targets: vec!["all".to_owned()],
            actions: Vec::new(),
            edges: Vec::new(),
            merged: Vec::new(),
            omitted: Vec::new(),
            variants: Arc::default(),
        };
        let mut store = crate::store::memory::MemoryStore::new();
        let blob = keep(&sources, None, (&graph, &Map::new()), (&mut store, &Open)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&store.blob(&blob).unwrap().unwrap()).unwrap();
        let files = &json["recipe"]["files"];
        // As long as a text is short its form is that of every version.
        assert_eq!(files["workflows/1.toml"], Open.keyed_digest(b"short").to_string());
        assert_eq!(files["workflows/4.toml"], Open.keyed_digest("x".repeat(PART).as_bytes()).to_string());
        assert_eq!((files["workflows/2.toml"].as_array().unwrap().len(), files["workflows/5.toml"].as_array().unwrap().len()), (7, 2));
        let recipe: Recipe = serde_json::from_value(json["recipe"].clone()).unwrap();
        let again = opened(&mut store, &recipe, &Open).unwrap();
        assert_eq!(super::texts(&again), super::texts(&sources));
        let largest =
            files.as_object().unwrap().values().flat_map(|file| serde_json::from_value::<Text>(file.clone()).unwrap().digests().to_vec());
        assert!(largest.map(|digest| store.sealed(&digest).unwrap().unwrap().len()).max() <= Some(PART));
    }
}
