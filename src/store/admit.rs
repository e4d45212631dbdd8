//! What both stores ask of a commit before they write any of it, and the text form of journal lines.

use super::words::{Commit, Made, RunRow, StoreError};
use crate::event::{Event, Stamped};
use crate::name::{Actor, BadName, ResourceName};

/// Refuses names whose text form would not read back as the same name: they would be found damaged later.
pub(super) fn commit(commit: &Commit) -> Result<(), StoreError> {
    for new in &commit.versions {
        let text = new.resource.to_string();
        let refuse = |cause: String| StoreError::Io { attempt: format!("store a version of `{text}`"), cause };
        let read: ResourceName = text.parse().map_err(|e: BadName| refuse(e.to_string()))?;
        if read != new.resource {
            return Err(refuse("a definition or spec holds a slash".to_owned()));
        }
        made(&new.made)?;
    }
    commit.records.iter().try_for_each(|record| made(&record.made))
}

/// The same for the first row of a run.
pub(super) fn run(row: &RunRow) -> Result<(), StoreError> {
    actor(&row.actor, &format!("begin run {}", row.id))
}

fn made(made: &Made) -> Result<(), StoreError> {
    actor(&made.actor, &format!("store what {} did", made.step))
}

fn actor(actor: &Actor, attempt: &str) -> Result<(), StoreError> {
    let read: Result<Actor, _> = actor.as_str().parse();
    read.map(|_| ()).map_err(|e| StoreError::Io { attempt: attempt.to_owned(), cause: e.to_string() })
}

/// One journal line as JSON.
pub(super) fn line_text(line: &Stamped) -> Result<String, StoreError> {
    let refuse = |cause: String| StoreError::Io { attempt: "write a journal line".to_owned(), cause };
    if let Event::ActionFinished { seconds, .. } = &line.event
        && !seconds.is_finite()
    {
        return Err(refuse(format!("an action that took {seconds} seconds has no JSON form")));
    }
    serde_json::to_string(line).map_err(|e| refuse(e.to_string()))
}

/// Reads a journal line. An event of a newer pmx becomes a warning that quotes it: old readers must not stop at it.
pub(super) fn line_of(text: &str) -> Result<Stamped, String> {
    let whole = match serde_json::from_str::<Stamped>(text) {
        Ok(line) => return Ok(line),
        Err(e) => e,
    };
    #[derive(serde::Deserialize)]
    struct Outline {
        at: crate::event::Time,
        event: String,
    }
    let outline: Outline = serde_json::from_str(text).map_err(|_| whole.to_string())?;
    let message = format!("`{}` is no event this pmx knows ({whole}): {text}", outline.event);
    Ok(Stamped { at: outline.at, event: Event::Warning { step: None, message } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Time;

    #[test]
    fn an_event_of_the_future_is_a_warning_and_nonsense_is_an_error() {
        let line = line_of(r#"{"at":"1970-01-01T00:00:01.000Z","event":"teleported","step":"a"}"#).unwrap();
        assert_eq!(line.at, Time(1000));
        assert!(matches!(&line.event, Event::Warning { message, .. } if message.contains("teleported")), "{line:?}");
        assert!(line_of("{").is_err());
        assert!(line_of(r#"{"event":"teleported"}"#).is_err());
    }

    #[test]
    fn journal_lines_are_read_or_refused_however_spoiled() {
        let lines = [
            r#"{"at":"1970-01-01T00:00:00.000Z","event":"phase","step":"a/b","phase":"the guest agent","deadline":120}"#,
            r#"{"at":"2026-11-23T11:44:26.042Z","event":"action-started","step":"w/one","call":"fleet.stop","why":"it acts each time"}"#,
            r#"{"at":"2026-11-23T11:44:26.042Z","event":"task","step":"w/one","id":"UPID:pve:0000017D:0002C75E:6B04272F:qmstart:107:root@pam:"}"#,
            r#"{"at":"2026-11-23T11:44:26.042Z","event":"teleported","step":"a","far":[1,{"x":null}]}"#,
        ];
        crate::walks::feed(&lines, |bytes| line_of(&String::from_utf8_lossy(bytes)).map(drop));
    }
}
