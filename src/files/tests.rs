//! Drafts on the real disk, and what a file system that forgets makes of them.
#![expect(clippy::disallowed_methods, reason = "looks at the files that were written")]

use std::fs;
use std::path::Path;

use super::faulty::{FAULTS, Faulty};
use super::{Disk, Draft, Files, clear_drafts, make_way};

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn place(files: &dyn Files, at: &Path, text: &str) -> std::io::Result<()> {
    let mut draft = Draft::new(files, at.parent().unwrap(), 0o644)?;
    draft.write(text.as_bytes())?;
    draft.place(at)
}

#[test]
fn a_draft_has_its_name_when_it_is_whole_and_goes_when_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("a");
    let mut draft = Draft::new(&Disk, dir.path(), 0o600).unwrap();
    draft.write(b"one").unwrap();
    assert!(!at.exists());
    draft.place(&at).unwrap();
    drop(Draft::new(&Disk, dir.path(), 0o600).unwrap());
    assert_eq!((names(dir.path()), fs::read_to_string(&at).unwrap()), (vec!["a".to_owned()], "one".to_owned()));
    let other = Draft::new(&Disk, dir.path(), 0o600).unwrap();
    assert!(!other.place_new(&at).unwrap(), "the name is taken");
    assert!(Draft::new(&Disk, dir.path(), 0o600).unwrap().place_new(&dir.path().join("b")).unwrap());
    assert_eq!((names(dir.path()), fs::read_to_string(&at).unwrap()), (vec!["a".to_owned(), "b".to_owned()], "one".to_owned()));
    fs::write(dir.path().join(".new-left-behind"), "").unwrap();
    assert_eq!(clear_drafts(&Disk, dir.path()).unwrap(), 1);
    assert_eq!(names(dir.path()), ["a", "b"]);
}

#[test]
fn what_was_placed_outlives_every_power_cut_and_before_that_the_old_file_does() {
    let dir = tempfile::tempdir().unwrap();
    let files = Faulty::new(dir.path(), None);
    let at = dir.path().join("deep/er/a");
    make_way(&files, at.parent().unwrap(), 0o755).unwrap();
    for (number, text) in ["one", "two"].iter().enumerate() {
        place(&files, &at, text).unwrap();
        files.promised(number + 1);
    }
    let mut tried = 0;
    for cut in files.cuts() {
        for left in cut.left() {
            let dir = tempfile::tempdir().unwrap();
            left.lay(dir.path());
            let found = fs::read_to_string(dir.path().join("deep/er/a")).ok();
            let allowed: &[Option<&str>] = match cut.promised {
                0 => &[None, Some("one")],
                1 => &[Some("one"), Some("two")],
                _ => &[Some("two")],
            };
            assert!(allowed.contains(&found.as_deref()), "after {}: {found:?}", cut.after);
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn whatever_fails_the_same_again_succeeds() {
    for fault in FAULTS {
        for number in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let files = Faulty::new(dir.path(), None);
            files.strike(number, fault);
            let at = dir.path().join("deep/a");
            let make = || make_way(&files, at.parent().unwrap(), 0o755).and_then(|()| place(&files, &at, "one"));
            let first = make();
            let struck = files.heal();
            if first.is_err() {
                make().unwrap();
            }
            assert_eq!(fs::read_to_string(&at).unwrap(), "one", "{fault:?} at operation {number}");
            let survives = |left: super::faulty::Left| {
                let dir = tempfile::tempdir().unwrap();
                left.lay(dir.path());
                assert_eq!(
                    fs::read_to_string(dir.path().join("deep/a")).unwrap(),
                    "one",
                    "{fault:?} at operation {number}, then a power cut"
                );
            };
            files.promised(1);
            survives(files.cuts().pop().unwrap().least());
            if number >= files.operations() {
                assert_eq!(struck, None);
                break;
            }
        }
    }
}
