//! Progress: a run as a person follows it, on a terminal with live lines and a bar, elsewhere as plain lines, or as JSON lines.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::out::counted;
use crate::event::{Ending, Event, Lasting, RunState, Stamped, Stream};

/// Shows the events of one run. Lines go to standard error, JSON to standard output.
#[derive(Clone)]
pub struct Progress {
    show: Arc<Mutex<Show>>,
}

enum Show {
    Json,
    Plain(Story),
    Live(Box<Live>),
}

/// What is said of an event as a line, and what is remembered for it.
#[derive(Default)]
struct Story {
    verbose: bool,
    colour: bool,
    phases: BTreeMap<String, String>,
}

struct Live {
    story: Story,
    bars: MultiProgress,
    whole: ProgressBar,
    running: BTreeMap<String, ProgressBar>,
}

impl Progress {
    /// JSON lines when `json`, live lines on a terminal, plain lines elsewhere. `verbose` shows the output of commands too.
    pub fn new(json: bool, verbose: bool, colour: Option<bool>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        // A terminal that can move no cursor would be shown nothing at all.
        let live = terminal && !ProgressDrawTarget::stderr().is_hidden();
        let story = Story { verbose, colour: colour.unwrap_or(terminal), phases: BTreeMap::new() };
        let show = match (json, live) {
            (true, _) => Show::Json,
            (false, false) => Show::Plain(story),
            (false, true) => Show::Live(Box::new(Live::new(story))),
        };
        Self { show: Arc::new(Mutex::new(show)) }
    }

    /// Takes one event.
    pub fn take(&self, stamped: &Stamped) {
        let mut show = self.show.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *show {
            Show::Json => {
                if let Ok(text) = serde_json::to_string(stamped) {
                    // A reader that went away must not end the run.
                    let _ = writeln!(std::io::stdout(), "{text}");
                }
            }
            Show::Plain(story) => {
                let text: String = story.lines(&stamped.event).into_iter().map(|line| line + "\n").collect();
                // In one piece: standard error is not buffered.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            Show::Live(live) => live.take(&stamped.event),
        }
    }

    /// Runs `ask` with the live lines out of the way.
    pub fn aside<R>(&self, ask: impl FnOnce() -> R) -> R {
        let show = self.show.lock().unwrap_or_else(PoisonError::into_inner);
        match &*show {
            Show::Live(live) => live.bars.suspend(ask),
            _ => ask(),
        }
    }
}

/// The live line of an action that waits.
const WAITING: &str = "{spinner} {prefix}  {msg} {elapsed}";

impl Live {
    fn new(story: Story) -> Self {
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new(0));
        whole.set_style(style("{bar:24} {pos}/{len} {msg} {elapsed}"));
        Self { story, bars, whole, running: BTreeMap::new() }
    }

    fn take(&mut self, event: &Event) {
        // What is waited for stands in the live line of its action.
        let told = matches!(event, Event::Phase { .. });
        for line in self.story.lines(event).into_iter().filter(|_| !told) {
            // A closed terminal is no reason to end the run.
            let _ = self.bars.println(line);
        }
        match event {
            Event::RunStarted { actions, targets, .. } => {
                self.whole.set_length(u64::from(*actions));
                self.whole.set_message(targets.join(" "));
                self.whole.enable_steady_tick(Duration::from_millis(200));
            }
            Event::RunResumed { kept, left, targets, .. } => {
                self.whole.set_length(u64::from(*kept + *left));
                self.whole.set_position(u64::from(*kept));
                self.whole.set_message(targets.join(" "));
                self.whole.enable_steady_tick(Duration::from_millis(200));
            }
            Event::ActionStarted { step, call, .. } => {
                let bar = self.bars.insert_before(&self.whole, ProgressBar::new_spinner());
                bar.set_style(style(WAITING));
                bar.set_prefix(step.clone());
                bar.set_message(call.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                self.running.insert(step.clone(), bar);
            }
            Event::Phase { step, phase, deadline } => {
                if let Some(bar) = self.running.get(step) {
                    // Back from the bytes of a transfer, if there was one.
                    bar.unset_length();
                    bar.set_style(style(WAITING));
                    bar.set_message(format!("waiting for {phase}{}", within(*deadline)));
                }
            }
            Event::Transfer { step, sent, total } => {
                if let Some(bar) = self.running.get(step) {
                    if bar.length() != Some(*total) {
                        bar.set_style(style("{spinner} {prefix}  {bar:24} {bytes}/{total_bytes}  {bytes_per_sec}  {elapsed}"));
                        bar.set_length(*total);
                    }
                    bar.set_position(*sent);
                }
            }
            Event::ActionFinished { step, .. } => {
                if let Some(bar) = self.running.remove(step) {
                    bar.finish_and_clear();
                    self.bars.remove(&bar);
                }
                self.whole.inc(1);
            }
            Event::Leases { waiting, .. } => self.whole.set_message(waiting.clone()),
            Event::RunFinished { .. } => self.whole.finish_and_clear(),
            _ => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; should one be wrong, the default style still shows the work.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn within(deadline: Option<u64>) -> String {
    deadline.map(|seconds| format!(" (at most {})", Lasting::limit(seconds))).unwrap_or_default()
}

impl Story {
    /// The lines that an event is worth.
    fn lines(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::RunStarted { run, targets, actions, .. } => {
                let actions = counted(*actions, "action");
                vec![format!("{} {}: {actions}, run {}", self.paint("1", "build"), targets.join(" "), run.short())]
            }
            Event::Leases { waiting, .. } if !waiting.is_empty() => vec![format!("  … {waiting}")],
            Event::Phase { step, phase, deadline } => {
                if self.phases.insert(step.clone(), phase.clone()).as_ref() == Some(phase) {
                    return Vec::new();
                }
                vec![self.dim(&format!("  … {step}: waiting for {phase}{}", within(*deadline)))]
            }
            Event::Output { step, stream, line } if self.verbose || *stream == Stream::Log => {
                vec![self.dim(&format!("  | {step}: {line}"))]
            }
            Event::Warning { step, message } => {
                let place = step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
                vec![format!("  {} {place}{message}", self.paint("33", "warning:"))]
            }
            Event::Retry { step, attempt, reason } => vec![format!("  ↻ {step}: attempt {attempt}, because {reason}")],
            Event::ActionFinished { step, call, ending, summary, seconds, .. } => {
                vec![self.ended((step, call), *ending, summary, *seconds)]
            }
            Event::Stopping { by, now: false } => vec![format!("  stopping ({by}): what runs is allowed to end; once more cancels it")],
            Event::Stopping { by, now: true } => vec![format!("  cancelling ({by}): what runs is ended, on the other machines too")],
            Event::RunResumed { run, targets, kept, left, changed, .. } => self.resumed((run.short(), targets), (*kept, *left), changed),
            Event::RunRepeats { of } => vec![self.dim(&format!("  nothing was recorded and nothing has expired since run {}", of.short()))],
            Event::Settled { step, by, found } => vec![format!("  {step} was settled by run {}: {found}", by.short())],
            Event::RunFinished { run, state, summary } => vec![self.finished(run.short(), *state, summary)],
            _ => Vec::new(),
        }
    }

    fn resumed(&self, (run, targets): (&str, &[String]), (kept, left): (u32, u32), changed: &[String]) -> Vec<String> {
        let mut lines = vec![format!("{} {}: run {run}, {kept} done before, {left} left", self.paint("1", "resume"), targets.join(" "))];
        if !changed.is_empty() {
            let warning = self.paint("33", "warning:");
            lines.push(format!("  {warning} changed since the run began: {}; it goes on with what they were", changed.join(", ")));
        }
        lines
    }

    fn ended(&self, (step, call): (&str, &str), ending: Ending, summary: &str, seconds: f64) -> String {
        let (code, mark) = match ending {
            Ending::Done => ("32", "✓"),
            Ending::Unchanged | Ending::Fresh => ("36", "="),
            Ending::Skipped => ("33", "-"),
            Ending::Failed => ("31", "✗"),
            Ending::Cancelled => ("33", "×"),
        };
        let word = match ending {
            Ending::Failed => "failed: ",
            Ending::Cancelled => "cancelled: ",
            _ => "",
        };
        let took = if seconds >= 0.1 { format!("  {seconds:.1} s") } else { String::new() };
        format!("  {} {step}  {}  {word}{summary}{}", self.paint(code, mark), self.dim(call), self.dim(&took))
    }

    fn finished(&self, run: &str, state: RunState, summary: &crate::value::Value) -> String {
        let words = ["done", "unchanged", "fresh", "skipped", "failed", "cancelled"];
        let counts = words.iter().filter_map(|word| match summary.get(word) {
            Some(crate::value::Value::Int(count)) if *count > 0 => Some(format!("{count} {word}")),
            _ => None,
        });
        let code = if state == RunState::Succeeded { "32" } else { "31" };
        format!("{}: {}  (`pmx run {run}`)", self.paint(code, state), counts.collect::<Vec<_>>().join(", "))
    }

    fn paint(&self, code: &str, text: impl std::fmt::Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_phase_is_told_once() {
        let mut story = Story::default();
        let phase = Event::Phase { step: "start".into(), phase: "the guest agent".into(), deadline: Some(120) };
        assert_eq!(story.lines(&phase), ["  … start: waiting for the guest agent (at most 2 min)"]);
        assert!(story.lines(&phase).is_empty());
    }

    #[test]
    fn an_ending_says_step_call_and_what_was_done() {
        let line = Story::default().ended(("stop-vm", "fleet.stop"), Ending::Unchanged, "calamity is off already", 0.04);
        assert_eq!(line, "  = stop-vm  fleet.stop  calamity is off already");
    }
}
