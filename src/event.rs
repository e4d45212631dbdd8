//! Events: all that can happen in a run, as one closed enum that terminal, JSON lines, journal, bot and dashboard read alike.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{Actor, ResourceName, RunId};
use crate::value::Value;

/// A duration for people: its two largest units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lasting(pub Duration);

impl Lasting {
    /// A deadline: seconds as they are up to two minutes, because `90 s` is what people set.
    pub fn limit(seconds: u64) -> String {
        if seconds < 120 { format!("{seconds} s") } else { Self(Duration::from_secs(seconds)).to_string() }
    }
}

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) if seconds.is_multiple_of(60) => write!(f, "{minutes} min"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, _, 0) => write!(f, "{hours} h"),
            (0, ..) => write!(f, "{hours} h {minutes} min"),
            (_, 0, _) => write!(f, "{days} d"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub i64);

impl Time {
    /// Milliseconds from `earlier` to this moment; 0 when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// This moment `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment `duration` later.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl std::str::FromStr for Time {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let moment: jiff::Timestamp = text.parse().map_err(|e| format!("`{text}` is not a time: {e}"))?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One line of a run's story: when, and what. As JSON: the fields of the event beside `at`, with the event's name in `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// When it happened.
    pub at: Time,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Which of a command's two outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// A remote task's log.
    Log,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It acted or observed.
    Done,
    /// It looked and found nothing to do.
    Unchanged,
    /// What it would have read is fresh enough.
    Fresh,
    /// It did not run: condition false, or something before it failed.
    Skipped,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What is left to do of an action that ended, should its run be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// All of it: it did not act.
    All,
    /// Nobody knows: it ended badly and may have acted.
    Unclear,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Its process lives.
    Running,
    /// Everything that had to be done is done.
    Succeeded,
    /// At least one action failed.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// Its process died without an ending.
    Interrupted,
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        })
    }
}

/// A run that must go on before another may begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InTheWay {
    /// The resource or place where both meet: `fleet/vm/calamity`.
    pub what: String,
    /// The run.
    pub run: RunId,
    /// Who asked for it, as far as the store tells.
    pub actor: Option<Actor>,
    /// The step that acts there, or will first.
    pub step: String,
    /// Since when the run holds its leases; none: it waits too, and came first.
    pub since: Option<Time>,
    /// The dead run whose unfinished effects it settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles: Option<RunId>,
}

/// Something that happened in a run. Readers must tolerate new variants: in JSON the name stands in `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run began.
    RunStarted {
        /// Its id.
        run: RunId,
        /// What was asked for, as typed.
        targets: Vec<String>,
        /// Who asked.
        actor: Actor,
        /// How many actions the graph has.
        actions: u32,
    },
    /// All leases of the run are held, or it waits for them.
    Leases {
        /// What is waited for, and for whom, as a sentence; empty when all are held.
        waiting: String,
        /// Everybody who is in the way, first come first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        on: Vec<InTheWay>,
    },
    /// An action began.
    ActionStarted {
        /// Its step, `stop-calamity/stop-vm`.
        step: String,
        /// The call, `fleet.stop`.
        call: String,
        /// Why it runs: the verdict in a sentence.
        why: String,
    },
    /// An action waits for something named.
    Phase {
        /// Its step.
        step: String,
        /// What it waits for: `the guest agent`.
        phase: String,
        /// How long it will wait at most, in seconds.
        deadline: Option<u64>,
    },
    /// A remote task is known: its id is in the journal before it is waited for.
    Task {
        /// The step that began it.
        step: String,
        /// The remote id, a UPID.
        id: String,
    },
    /// Files travel: told again and again until all bytes are there.
    Transfer {
        /// The step that sends them.
        step: String,
        /// Bytes that are there by now.
        sent: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A line of output.
    Output {
        /// The step it belongs to.
        step: String,
        /// Which output.
        stream: Stream,
        /// The line, redacted.
        line: String,
    },
    /// Something worth knowing that is no failure.
    Warning {
        /// The step, if one is meant.
        step: Option<String>,
        /// The sentence.
        message: String,
    },
    /// A version was stored.
    Stored {
        /// The step that wrote it.
        step: String,
        /// The resource.
        resource: ResourceName,
        /// Its number in the chain, from 1.
        version: u64,
        /// Whether the content differs from the version before.
        changed: bool,
    },
    /// An action is tried again.
    Retry {
        /// The step.
        step: String,
        /// The coming attempt, from 2.
        attempt: u32,
        /// What went wrong before.
        reason: String,
    },
    /// An action ended.
    ActionFinished {
        /// The step.
        step: String,
        /// The call.
        call: String,
        /// How.
        ending: Ending,
        /// What was done, or why not, in a sentence.
        summary: String,
        /// Seconds it took.
        seconds: f64,
        /// What is left to do of it; absent when nothing is: it is as it should be, or its condition was false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<Left>,
    },
    /// A loop whose list was not known before became actions of its own.
    LoopExpanded {
        /// Its step.
        step: String,
        /// The list or map; nothing secret may decide a loop.
        items: Value,
    },
    /// The run goes on after its process had died or it had ended badly.
    RunResumed {
        /// Its id.
        run: RunId,
        /// What was asked for, as typed.
        targets: Vec<String>,
        /// Who asked.
        actor: Actor,
        /// Actions that are not repeated.
        kept: u32,
        /// Actions that are still to be done.
        left: u32,
        /// Files of the project that are not what they were when the run began; it goes on with what they were.
        changed: Vec<String>,
    },
    /// The run had nothing to work out: nothing was recorded and nothing has expired since a run that found all of the same fresh.
    RunRepeats {
        /// That run: its records are those of this one too.
        of: RunId,
    },
    /// Another run ended what this dead run had begun.
    Settled {
        /// The step that had begun it.
        step: String,
        /// The run that waited for its end.
        by: RunId,
        /// What was found.
        found: String,
    },
    /// Somebody asked the run to stop.
    Stopping {
        /// Who or what: `ctrl-c`, or the actor of `pmx cancel`.
        by: String,
        /// Whether what runs is cancelled too.
        #[serde(default)]
        now: bool,
    },
    /// The run ended.
    RunFinished {
        /// Its id.
        run: RunId,
        /// How.
        state: RunState,
        /// Counts by ending, and other facts worth a line.
        summary: Value,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_as_text() {
        let time = Time(1_795_434_266_042);
        assert_eq!(time.to_string(), "2026-11-23T11:44:26.042Z");
        assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn an_event_is_one_flat_json_line() {
        let stamped =
            Stamped { at: Time(0), event: Event::Phase { step: "a/b".into(), phase: "the guest agent".into(), deadline: Some(120) } };
        let text = serde_json::to_string(&stamped).unwrap();
        assert_eq!(text, r#"{"at":"1970-01-01T00:00:00.000Z","event":"phase","step":"a/b","phase":"the guest agent","deadline":120}"#);
        assert_eq!(serde_json::from_str::<Stamped>(&text).unwrap(), stamped);
    }

    #[test]
    fn times_are_read_or_refused_however_spoiled() {
        crate::walks::feed(&["2026-11-23T11:44:26.042Z", "1970-01-01T00:00:00Z", "-009999-01-02T01:59:59Z"], |bytes| {
            String::from_utf8_lossy(bytes).parse::<Time>().map(|time| drop(time.to_string()))
        });
    }
}
