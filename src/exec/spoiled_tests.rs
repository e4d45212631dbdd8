//! Contents of versions and graphs of runs as a store may hold them: read, or refused in words.

use crate::digest::Digest;
use crate::event::{RunState, Time};
use crate::exec::rig::RigSealer;
use crate::exec::view::attributes;
use crate::name::{Actor, ResourceName};
use crate::secret::Redactor;
use crate::store::Store as _;
use crate::store::memory::MemoryStore;
use crate::store::words::{Made, Version};
use crate::walks::feed;

fn version(content: Digest) -> Version {
    let made = Made {
        run: "0193567890abcdef0193567890abcdef".parse().unwrap(),
        step: "w/one".to_owned(),
        call: "fleet.look".to_owned(),
        key: Digest::of(b"key"),
        at: Time(1),
        actor: Actor::new("cli", "root@slate"),
    };
    Version { resource: ResourceName::new("fleet", "vm", "a"), number: 1, parent: None, content, made, log: None }
}

#[test]
fn contents_are_read_or_refused_however_spoiled() {
    let digest = Digest::of(b"secret");
    let seeds = [
        r#"{"vmid":107,"ip":"10.0.0.107","on":true,"ratio":0.5,"tags":["a",null]}"#.to_owned(),
        format!(r#"{{"ticket":{{"{}":"{digest}"}},"deep":[[[{{"a":{{}}}}]]]}}"#, crate::value::SEALED_KEY),
    ];
    feed(&seeds, move |bytes| {
        let mut store = MemoryStore::new();
        let mut version = version(Digest::of(bytes));
        version.content = store.put_blob(bytes).unwrap();
        let sealed = vec![(digest, b"\x8c\x9a".to_vec())];
        store.commit(crate::store::words::Commit { sealed, ..Default::default() }).unwrap();
        let redactor = Redactor::new();
        let shown = attributes(&mut store, None, &version).map(drop);
        let opened = attributes(&mut store, Some((&RigSealer, &redactor)), &version).map(drop);
        let _ = RunState::Running;
        shown.and(opened).map_err(|error| error.to_string())
    });
}
