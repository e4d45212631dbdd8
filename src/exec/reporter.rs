//! The reporter: what a method tells while it runs becomes events, its log, and journal lines.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::event::{Event, Stream};
use crate::exec::engine::Stop;
use crate::exec::herald::Herald;
use crate::model::contract::{self, Failure};
use crate::store::words::StoreError;

/// How much of an action's log is kept, in bytes; beyond it the oldest lines go.
const LOG_KEPT: usize = 4 << 20;

/// A transfer is told at each hundredth of its bytes: often enough for a bar, seldom enough for a file of events.
const STEPS: u64 = 100;

/// Takes the progress of one action.
pub struct Reporter {
    step: String,
    herald: Herald,
    stop: watch::Receiver<Stop>,
    /// Turns true when this action alone must end: its time is up.
    ended: watch::Sender<bool>,
    /// How long the method needs for what it must finish.
    insisted: watch::Sender<Duration>,
    log: Mutex<Log>,
    /// The last hundredth of a transfer that was told.
    told: AtomicU64,
    /// Whether the journal does not have the method's start yet, so that nothing may begin.
    unrecorded: AtomicBool,
}

#[derive(Default)]
struct Log {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: u64,
}

impl Reporter {
    /// A reporter for `step`, whose start the journal gets with its first task if it is `unrecorded`.
    pub fn new(step: &str, herald: Herald, stop: watch::Receiver<Stop>, unrecorded: bool) -> Arc<Self> {
        let (ended, insisted) = (watch::Sender::new(false), watch::Sender::new(Duration::ZERO));
        let unrecorded = AtomicBool::new(unrecorded);
        Arc::new(Self {
            step: step.to_owned(),
            herald,
            stop,
            ended,
            insisted,
            log: Mutex::default(),
            told: AtomicU64::default(),
            unrecorded,
        })
    }

    /// Whether the journal does not have the method's start, so that nothing was begun.
    pub fn unrecorded(&self) -> bool {
        self.unrecorded.load(Ordering::SeqCst)
    }

    /// The method sees itself cancelled from now on, whatever the run does.
    pub fn cancel(&self) {
        self.ended.send_replace(true);
    }

    /// How long the method needs at most for what it must finish though it is cancelled; zero when there is nothing of that kind.
    pub fn insisted(&self) -> Duration {
        *self.insisted.borrow()
    }

    /// The log so far as one text, without any secret that is known by now; `None` when nothing was said.
    pub fn log(&self) -> Option<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.lines.is_empty() && log.dropped == 0 {
            return None;
        }
        let mut text = String::with_capacity(log.bytes + 64);
        if log.dropped > 0 {
            text.push_str(&format!("({} earlier lines were dropped)\n", log.dropped));
        }
        for line in &log.lines {
            text.push_str(line);
            text.push('\n');
        }
        drop(log);
        // Cleaned again: the method may have learnt a secret after it had printed it.
        Some(self.herald.redacted(&text))
    }
}

/// The failure of an effect that was not begun, because nobody would know of it.
pub fn unwritten(error: &StoreError) -> Failure {
    Failure::bug(format!("the journal cannot be written, so nothing is begun: {error}"))
}

impl contract::Reporter for Reporter {
    fn phase(&self, phase: &str, deadline: Option<Duration>) {
        let deadline = deadline.map(|d| d.as_secs());
        self.herald.tell(Event::Phase { step: self.step.clone(), phase: phase.to_owned(), deadline });
    }

    fn transfer(&self, sent: u64, total: u64) {
        let part = sent.min(total).saturating_mul(STEPS).checked_div(total).unwrap_or(STEPS);
        // A smaller part than before is the first of another transfer.
        if self.told.swap(part, Ordering::SeqCst) != part {
            self.herald.tell(Event::Transfer { step: self.step.clone(), sent: sent.min(total), total });
        }
    }

    fn line(&self, stream: Stream, line: &str) {
        {
            let kept = self.herald.redacted(line);
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.bytes += kept.len() + 1;
            log.lines.push_back(kept);
            while log.bytes > LOG_KEPT {
                let Some(oldest) = log.lines.pop_front() else { break };
                log.bytes -= oldest.len() + 1;
                log.dropped += 1;
            }
        }
        self.herald.tell(Event::Output { step: self.step.clone(), stream, line: line.to_owned() });
    }

    fn warn(&self, message: &str) {
        self.herald.tell(Event::Warning { step: Some(self.step.clone()), message: message.to_owned() });
    }

    fn task<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let event = Event::Task { step: self.step.clone(), id: id.to_owned() };
            match self.herald.record(event).await {
                Ok(()) => self.unrecorded.store(false, Ordering::SeqCst),
                Err(error) if self.unrecorded() => return Err(unwritten(&error)),
                Err(error) => self.warn(&format!("the id of task {id} could not be written to the journal: {error}")),
            }
            Ok(())
        })
    }

    fn insists(&self, time: Duration) {
        self.insisted.send_replace(time);
    }

    fn cancelled(&self) -> BoxFuture<'_, ()> {
        let (mut stop, mut ended) = (self.stop.clone(), self.ended.subscribe());
        Box::pin(async move {
            // The sender lives as long as the run; if it is gone, nobody can cancel any more.
            let stopped = async {
                if stop.wait_for(|stop| *stop == Stop::Running).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stopped => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
        })
    }
}
