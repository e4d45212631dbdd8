//! Rows, files and frames as a damaged disk may give them: read, or refused in words.
#![expect(clippy::disallowed_methods, reason = "spoils the files of a store on purpose")]

use std::fs;
use std::sync::Arc;

use super::blob::{Objects, SMALL};
use super::conformance::{append, made, name, run_id};
use super::dir::DirStore;
use super::words::{ActionRecord, Cancel, Output};
use super::{cancel, verify};
use crate::digest::Digest;
use crate::event::{Ending, Time};
use crate::files::Disk;
use crate::name::Actor;
use crate::walks::{feed, swift};

#[test]
fn records_are_read_or_refused_however_spoiled() {
    let record = ActionRecord {
        made: made(7),
        subject: "fleet.stop vm/calamity".to_owned(),
        manifest: Digest::of(b"manifest"),
        ending: Ending::Done,
        summary: "VM 102 is off".to_owned(),
        outputs: vec![Output { resource: name("fleet/vm/calamity"), content: Digest::of(b"c"), version: None }],
        reads: vec![(name("keebDev02/node/node"), Digest::of(b"v"))],
        log: Some(Digest::of(b"log")),
        began: Time(3),
    };
    feed(&[serde_json::to_string(&record).unwrap()], |bytes| {
        serde_json::from_slice::<ActionRecord>(bytes).map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn asked_cancels_are_read_or_refused_however_spoiled() {
    let dir = swift();
    let ask = serde_json::to_string(&Cancel { by: Actor::new("discord", "1234/nick"), now: true }).unwrap();
    feed(&[ask], move |bytes| {
        fs::write(dir.path().join(format!("{}.cancel", run_id(1))), bytes).unwrap();
        cancel::read(&Disk, dir.path(), &run_id(1)).map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn blob_files_are_read_or_refused_however_spoiled() {
    let dir = swift();
    let plain: Vec<u8> = (0..20_000_u32).map(|at| Digest::of(&[at as u8, (at >> 8) as u8]).as_bytes()[0]).collect();
    assert!(plain.len() > SMALL);
    let digest = Digest::of(&plain);
    let objects = Objects::at(dir.path().to_path_buf(), Arc::new(Disk));
    objects.put(&digest, &plain).unwrap();
    let hex = digest.to_string();
    let path = dir.path().join(&hex[..2]).join(&hex[2..]);
    let frame = fs::read(&path).unwrap();
    feed(&[frame], move |bytes| {
        let _held = &dir;
        fs::write(&path, bytes).unwrap();
        objects.get(&digest).map(|read| assert_eq!(read.as_ref(), Some(&plain))).map_err(|error| error.to_string())
    });
}

#[test]
fn formats_are_read_or_refused_however_spoiled() {
    let dir = swift();
    let root = dir.path().join("store");
    drop(DirStore::open_or_create(&root).unwrap());
    feed(&["2\n", " 2"], move |bytes| {
        let _held = &dir;
        fs::write(root.join("FORMAT"), bytes).unwrap();
        DirStore::open(&root).map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn indexes_are_read_or_refused_however_spoiled() {
    let dir = swift();
    let root = dir.path().join("store");
    let mut store = DirStore::open_or_create(&root).unwrap();
    for number in 0..30 {
        append(&mut store, &format!("fleet/vm/{}", number % 3), format!("{number}").repeat(200).as_bytes(), number);
    }
    drop(store);
    let index = root.join("index.db");
    let whole = fs::read(&index).unwrap();
    feed(&[whole], move |bytes| {
        let _held = &dir;
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(root.join(format!("index.db{end}")));
        }
        fs::write(&index, bytes).unwrap();
        let mut store = DirStore::open(&root).map_err(|error| error.to_string())?.ok_or("no store")?;
        let damages = verify::verify(&mut store);
        if damages.is_empty() { Ok(()) } else { Err(damages.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")) }
    });
}
