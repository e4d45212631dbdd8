//! Waiting inside a method: a named phase with a deadline, intervals that grow, an end as soon as the run is cancelled.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::event::Stream;
use crate::model::contract::{Context, Failure, FailureKind, Reporter};

/// After this long a wait says what it waits for.
const SILENCE: Duration = Duration::from_secs(30);

/// Sleeps, unless the run is being cancelled: then a `Cancelled` failure, at once.
pub async fn pause(ctx: &Context, duration: Duration) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = ctx.reporter.cancelled() => Err(cancelled("the run was cancelled")),
        () = ctx.wire.clock.sleep(duration) => Ok(()),
    }
}

/// The failure of a method that ends because its run is cancelled.
pub fn cancelled(message: impl Into<String>) -> Failure {
    Failure { kind: FailureKind::Cancelled, ..Failure::theirs(message) }
}

/// The same context for what must be finished though the run is cancelled: taking back a change that is half made. It takes `time` at most.
pub fn undeterred(ctx: &Context, time: Duration) -> Context {
    ctx.reporter.insists(time);
    Context { reporter: Arc::new(Undeterred(Arc::clone(&ctx.reporter))), ..ctx.clone() }
}

struct Undeterred(Arc<dyn Reporter>);

impl Reporter for Undeterred {
    fn phase(&self, phase: &str, deadline: Option<Duration>) {
        self.0.phase(phase, deadline);
    }
    fn transfer(&self, sent: u64, total: u64) {
        self.0.transfer(sent, total);
    }
    fn line(&self, stream: Stream, line: &str) {
        self.0.line(stream, line);
    }
    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
    fn task<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.task(id)
    }
    fn cancelled(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
    fn insists(&self, time: Duration) {
        self.0.insists(time);
    }
}

/// One named wait: `while wait.again(why).await? { look }`.
pub struct Wait<'a> {
    ctx: &'a Context,
    phase: String,
    began: Duration,
    deadline: Duration,
    interval: Duration,
    longest: Duration,
    said: Duration,
}

impl<'a> Wait<'a> {
    /// Begins a phase and reports it. Intervals grow by half from `shortest` to `longest`.
    pub fn begin(ctx: &'a Context, phase: &str, deadline: Duration, (shortest, longest): (Duration, Duration)) -> Self {
        ctx.reporter.phase(phase, Some(deadline));
        let began = ctx.wire.clock.elapsed();
        Self { ctx, phase: phase.to_owned(), began, deadline, interval: shortest, longest, said: SILENCE }
    }

    /// How long the phase has lasted.
    pub fn lasted(&self) -> Duration {
        self.ctx.wire.clock.elapsed().saturating_sub(self.began)
    }

    /// Seconds of the deadline, for messages.
    pub const fn seconds(&self) -> u64 {
        self.deadline.as_secs()
    }

    /// Waits one interval and says whether there is time left to look again. `why` is what the last look found; it is told after half a minute, then each
    /// time the silence has doubled.
    pub async fn again(&mut self, why: &str) -> Result<bool, Failure> {
        let lasted = self.lasted();
        if lasted >= self.deadline {
            return Ok(false);
        }
        if lasted >= self.said {
            self.said = lasted.saturating_mul(2);
            self.ctx.reporter.warn(&format!("still waiting for {} after {} s: {why}", self.phase, lasted.as_secs()));
        }
        // The last interval is cut short, so that the final look happens at the deadline and not beyond it.
        pause(self.ctx, self.interval.min(self.deadline - lasted)).await?;
        self.interval = self.interval.mul_f64(1.5).min(self.longest);
        Ok(true)
    }
}
