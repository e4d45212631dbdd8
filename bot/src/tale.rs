//! A run as a chat tells it: the events of its journal folded into a line per step.

use std::collections::VecDeque;

use pmx::event::{Ending, Event, Lasting, RunState, Stamped, Time};
use pmx::name::RunId;

use crate::card::{block, length, plain};

/// The last lines of output that are kept of a step.
const TAIL: usize = 8;
/// The most that a failure's output takes of a message.
const BLOCK: usize = 900;
/// The most warnings that are shown.
const WARNINGS: usize = 3;

/// What is known of a run by now.
#[derive(Clone, Debug, Default)]
pub struct Tale {
    /// Its id, once it has one.
    pub run: Option<RunId>,
    /// How it ended.
    pub state: Option<RunState>,
    /// When it began.
    pub began: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    steps: Vec<Step>,
    waiting: String,
    stopping: Option<String>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug)]
struct Step {
    name: String,
    call: String,
    stage: Stage,
    tail: VecDeque<String>,
}

#[derive(Clone, Debug)]
enum Stage {
    Pending,
    Running { since: Time, phase: Option<(String, Time, Option<u64>)>, sent: Option<(u64, u64)>, retry: Option<String> },
    Over { ending: Ending, summary: String },
}

impl Tale {
    /// A run that will have these steps, in this order.
    pub fn of(steps: impl IntoIterator<Item = String>) -> Self {
        let mut tale = Self::default();
        for name in steps {
            tale.step(&name);
        }
        tale
    }

    fn step(&mut self, name: &str) -> &mut Step {
        let at = self.steps.iter().position(|step| step.name == name).unwrap_or_else(|| {
            self.steps.push(Step { name: name.to_owned(), call: String::new(), stage: Stage::Pending, tail: VecDeque::new() });
            self.steps.len() - 1
        });
        &mut self.steps[at]
    }

    /// Takes one event.
    pub fn take(&mut self, stamped: &Stamped) {
        let at = stamped.at;
        match &stamped.event {
            Event::RunStarted { run, .. } => (self.run, self.began) = (Some(run.clone()), Some(at)),
            Event::RunResumed { run, .. } => {
                (self.run, self.began, self.state, self.ended) = (Some(run.clone()), Some(at), None, None);
                (self.stopping, self.waiting) = (None, String::new());
                for step in &mut self.steps {
                    let again =
                        matches!(step.stage, Stage::Running { .. } | Stage::Over { ending: Ending::Failed | Ending::Cancelled, .. });
                    if again || matches!(&step.stage, Stage::Over { ending: Ending::Skipped, .. }) {
                        step.stage = Stage::Pending;
                    }
                }
            }
            Event::Leases { waiting, .. } => self.waiting.clone_from(waiting),
            Event::Stopping { by, .. } => self.stopping = Some(by.clone()),
            Event::Warning { message, .. } => self.warnings.push(message.clone()),
            Event::RunFinished { state, .. } => (self.state, self.ended) = (Some(*state), Some(at)),
            event => self.take_step(at, event),
        }
    }

    fn take_step(&mut self, at: Time, event: &Event) {
        match event {
            Event::ActionStarted { step, call, .. } => {
                let step = self.step(step);
                step.call.clone_from(call);
                step.stage = Stage::Running { since: at, phase: None, sent: None, retry: None };
            }
            Event::ActionFinished { step, call, ending, summary, .. } => {
                let step = self.step(step);
                step.call.clone_from(call);
                step.stage = Stage::Over { ending: *ending, summary: summary.clone() };
            }
            Event::Output { step, line, .. } => {
                let tail = &mut self.step(step).tail;
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.chars().take(300).collect());
            }
            Event::Phase { step, phase: waits, deadline } => {
                if let Stage::Running { phase, sent, .. } = &mut self.step(step).stage {
                    (*phase, *sent) = (Some((waits.clone(), at, *deadline)), None);
                }
            }
            Event::Transfer { step, sent: by_now, total } => {
                if let Stage::Running { sent, .. } = &mut self.step(step).stage {
                    *sent = Some((*by_now, *total));
                }
            }
            Event::Retry { step, attempt, reason } => {
                if let Stage::Running { retry, .. } = &mut self.step(step).stage {
                    *retry = Some(format!("try {attempt}, because {reason}"));
                }
            }
            _ => {}
        }
    }

    /// Whether something runs whose seconds are counted.
    pub fn ticks(&self) -> bool {
        self.state.is_none() && self.steps.iter().any(|step| matches!(step.stage, Stage::Running { .. }))
    }

    /// The last lines that a call said, with the call.
    pub fn said(&self) -> impl Iterator<Item = (&str, &VecDeque<String>)> {
        self.steps.iter().filter(|step| !step.tail.is_empty()).map(|step| (step.call.as_str(), &step.tail))
    }

    /// The sentences of steps that failed, as they are.
    pub fn failures(&self) -> Vec<String> {
        let failed = |step: &Step| match &step.stage {
            Stage::Over { ending: Ending::Failed, summary } => Some(summary.clone()),
            _ => None,
        };
        self.steps.iter().filter_map(failed).collect()
    }

    /// A line per step and what is to be said about all of them, at most `limit` long. Ready to be shown.
    pub fn body(&self, now: Time, limit: usize) -> String {
        let mut after = Vec::new();
        if !self.waiting.is_empty() && self.state.is_none() {
            after.push(format!("⏳ waiting for {}", plain(&self.waiting)));
        }
        if let (Some(by), None) = (&self.stopping, self.state) {
            after.push(format!("🛑 stopping, asked by {}: what runs may end", plain(by)));
        }
        for warning in self.warnings.iter().rev().take(WARNINGS).rev() {
            after.push(format!("⚠️ {}", crate::card::cut(&plain(warning), 300)));
        }
        let failed = self.steps.iter().rev().find(|step| matches!(step.stage, Stage::Over { ending: Ending::Failed, .. }));
        if let Some(step) = failed {
            let lines: Vec<String> = step.tail.iter().cloned().collect();
            after.push(block(&lines, BLOCK));
        }
        after.retain(|line| !line.is_empty());
        let after = crate::card::cut(&after.join("\n"), limit / 2);
        let steps = self.lines(now, limit - length(&after) - 1);
        [steps, after].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    fn lines(&self, now: Time, limit: usize) -> String {
        let prefix = self.common();
        let line = |step: &Step| self.line(step, &prefix, now);
        let whole: Vec<String> = self.steps.iter().map(line).collect();
        let size = |lines: &[String]| lines.iter().map(|line| length(line) + 1).sum::<usize>();
        if size(&whole) <= limit {
            return whole.join("\n");
        }
        // What is done and what is to come are told as numbers; what runs or went wrong is told.
        let count = |wanted: fn(&Stage) -> bool| self.steps.iter().filter(|step| wanted(&step.stage)).count();
        let over = count(|stage| matches!(stage, Stage::Over { ending, .. } if *ending != Ending::Failed));
        let pending = count(|stage| matches!(stage, Stage::Pending));
        let told = |step: &&Step| matches!(step.stage, Stage::Running { .. } | Stage::Over { ending: Ending::Failed, .. });
        let mut lines = vec![format!("✅ {over} steps are over")];
        lines.extend(self.steps.iter().filter(told).map(line));
        lines.push(format!("▫️ {pending} steps are to come"));
        crate::card::cut(&lines.join("\n"), limit)
    }

    /// What all steps begin with, up to a slash: it says nothing.
    fn common(&self) -> String {
        let Some(first) = self.steps.first() else { return String::new() };
        let Some((start, _)) = first.name.split_once('/') else { return String::new() };
        let prefix = format!("{start}/");
        if self.steps.iter().all(|step| step.name.starts_with(&prefix)) { prefix } else { String::new() }
    }

    fn line(&self, step: &Step, prefix: &str, now: Time) -> String {
        let name = crate::card::cut(&plain(step.name.strip_prefix(prefix).unwrap_or(&step.name)), 80);
        match &step.stage {
            Stage::Pending if self.state.is_some() => format!("▫️ {name}: not begun"),
            Stage::Pending => format!("▫️ {name}"),
            Stage::Over { ending, summary } => {
                let (sign, word) = match ending {
                    Ending::Done => ("✅", ""),
                    Ending::Unchanged => ("✅", "nothing to do: "),
                    Ending::Fresh => ("✅", ""),
                    Ending::Skipped => ("➖", "skipped: "),
                    Ending::Failed => ("❌", "failed: "),
                    Ending::Cancelled => ("🛑", "stopped: "),
                };
                let summary = summary.strip_prefix(word).unwrap_or(summary);
                format!("{sign} **{name}** {word}{}", crate::card::cut(&plain(summary), 500))
            }
            Stage::Running { .. } if self.state.is_some() => format!("⚠️ **{name}** was cut off"),
            Stage::Running { since, phase, sent, retry } => {
                let mut told = match phase {
                    Some((phase, since, deadline)) => {
                        let most = deadline.map(|most| format!(" (at most {})", Lasting::limit(most))).unwrap_or_default();
                        format!("waiting for {}, {}{most}", plain(phase), Lasting(now.since(*since)))
                    }
                    None => format!("{}", Lasting(now.since(*since))),
                };
                if let Some((sent, total)) = sent {
                    told = format!("{} of {} MiB sent", sent >> 20, total >> 20);
                }
                if let Some(retry) = retry {
                    told.push_str(&format!("; {}", crate::card::cut(&plain(retry), 200)));
                }
                format!("⏳ **{name}** {told}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmx::event::Stream;
    use pmx::name::Actor;
    use pmx::value::{Map, Value};

    fn at(second: i64, event: Event) -> Stamped {
        Stamped { at: Time(second * 1000), event }
    }

    fn run() -> RunId {
        "01923456789abcdef0123456789abcde".parse().unwrap()
    }

    fn started() -> Event {
        Event::RunStarted { run: run(), targets: vec!["stop-calamity".into()], actor: Actor::new("discord", "1/nick"), actions: 3 }
    }

    fn finished(step: &str, ending: Ending, summary: &str) -> Event {
        Event::ActionFinished { step: step.into(), call: "a.b".into(), ending, summary: summary.into(), seconds: 1.0, left: None }
    }

    fn begun(step: &str) -> Event {
        Event::ActionStarted { step: step.into(), call: "a.b".into(), why: String::new() }
    }

    fn tale() -> Tale {
        let mut tale = Tale::of(["stop-calamity/auth", "stop-calamity/warn", "stop-calamity/stop"].map(str::to_owned));
        tale.take(&at(0, started()));
        tale.take(&at(0, finished("stop-calamity/auth", Ending::Fresh, "fresh: 3 min old")));
        tale.take(&at(1, begun("stop-calamity/warn")));
        tale
    }

    #[test]
    fn a_line_per_step_with_running_seconds_and_phase() {
        let mut tale = tale();
        let body = |tale: &Tale, second: i64| tale.body(Time(second * 1000), 3000);
        assert_eq!(body(&tale, 5), "✅ **auth** fresh: 3 min old\n⏳ **warn** 4 s\n▫️ stop");
        tale.take(&at(6, Event::Phase { step: "stop-calamity/warn".into(), phase: "the players to leave".into(), deadline: Some(30) }));
        assert!(body(&tale, 20).contains("⏳ **warn** waiting for the players to leave, 14 s (at most 30 s)"), "{}", body(&tale, 20));
        assert!(tale.ticks());
        tale.take(&at(21, finished("stop-calamity/warn", Ending::Done, "warned for 15 s; 2 online: @everyone, S_t")));
        assert!(body(&tale, 22).contains("warned for 15 s; 2 online: @\u{200b}everyone, S\\_t"));
        assert!(!tale.ticks());
    }

    #[test]
    fn a_failure_shows_its_reason_and_its_last_lines() {
        let mut tale = tale();
        for n in 0..20 {
            let line = format!("line {n} ```");
            tale.take(&at(2, Event::Output { step: "stop-calamity/warn".into(), stream: Stream::Err, line }));
        }
        tale.take(&at(3, finished("stop-calamity/warn", Ending::Failed, "the console did not answer")));
        tale.take(&at(4, Event::RunFinished { run: run(), state: RunState::Failed, summary: Value::Map(Map::new()) }));
        let body = tale.body(Time(9000), 3000);
        assert!(body.contains("❌ **warn** failed: the console did not answer"), "{body}");
        assert!(body.contains("▫️ stop: not begun") && body.contains("line 19") && !body.contains("line 11 "), "{body}");
        assert_eq!(tale.failures(), ["the console did not answer"]);
        tale.take(&at(
            10,
            Event::RunResumed { run: run(), targets: vec![], actor: Actor::new("cli", "a"), kept: 1, left: 2, changed: vec![] },
        ));
        assert!(tale.body(Time(10_000), 3000).ends_with("▫️ warn\n▫️ stop"), "{}", tale.body(Time(10_000), 3000));
    }

    #[test]
    fn whatever_happens_it_fits() {
        let mut tale = Tale::of((0..500).map(|n| format!("a/step-{n}-{}", "x".repeat(60))));
        tale.take(&at(0, started()));
        for n in 0..400 {
            tale.take(&at(1, finished(&format!("a/step-{n}-{}", "x".repeat(60)), Ending::Done, &"@everyone ".repeat(400))));
        }
        tale.take(&at(1, begun(&format!("a/step-450-{}", "x".repeat(60)))));
        for _ in 0..50 {
            tale.take(&at(1, Event::Warning { step: None, message: "*".repeat(9000) }));
        }
        for limit in [3500, 4096, 1000] {
            let body = tale.body(Time(5000), limit);
            assert!(length(&body) <= limit, "{} > {limit}", length(&body));
            assert!(body.contains("400 steps are over"), "{body}");
        }
    }

    #[test]
    fn an_unfinished_step_of_a_dead_run_was_cut_off() {
        let mut tale = tale();
        tale.state = Some(RunState::Interrupted);
        assert!(tale.body(Time(9000), 3000).contains("⚠️ **warn** was cut off"));
    }
}
