//! `pmx build`.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cli::args::BuildArgs;
use crate::cli::ask::Asker;
use crate::cli::exit::Exit;
use crate::cli::out::Out;
use crate::cli::progress::Progress;
use crate::event::Stamped;
use crate::exec::engine::{Confirmer, Stop};
use crate::exec::herald::Listener;
use crate::ops::build::{self, Report, Request};
use crate::ops::front::Front;
use crate::ops::resume::Resuming;
use crate::source::Diagnostic;

/// Builds, shows how it goes, and says what failed.
pub fn run(front: &Front, args: &BuildArgs, out: &mut Out) -> Result<Exit, Vec<Diagnostic>> {
    let runtime = super::runtime()?;
    let progress = Progress::new(out.json, args.verbose, out.choice);
    let (stopper, stop) = watch::channel(Stop::No);
    let listener = progress.clone();
    let confirmer = Arc::new(Asker::new(&args.yes, progress));
    let request = request(args, confirmer, Arc::new(move |stamped: &Stamped| listener.take(stamped)), stop);
    let report = runtime.block_on(async {
        let watcher = tokio::spawn(watch_signals(stopper));
        let report = build::build(front, request).await;
        watcher.abort();
        report
    })?;
    // A task that a cancelled method left behind must not keep the process.
    runtime.shutdown_background();
    if !out.json {
        told(&report, &|step| out.paint_err("31", step)).iter().for_each(|line| out.say(line));
    }
    Ok(exit(&report))
}

/// What is asked for, by whoever asks: who is asked back, who hears of it, and who stops it.
pub(super) fn request(args: &BuildArgs, confirmer: Arc<dyn Confirmer>, listener: Listener, stop: watch::Receiver<Stop>) -> Request {
    Request {
        targets: args.targets.clone(),
        inputs: args.inputs.clone(),
        resume: args.resume.clone().map(|run| Resuming { run, assume: args.assume.clone() }),
        jobs: args.jobs,
        keep_going: args.keep_going,
        wait: !args.no_wait,
        confirmer,
        listener,
        stop,
    }
}

/// What the end of a run means.
pub(super) fn exit(report: &Report) -> Exit {
    Exit::of_run(report.ran.state, report.ran.failures.iter().map(|(_, failure)| failure.kind))
}

/// The first ctrl-c (or SIGTERM) stops starting, the second cancels what runs, the third ends the process.
pub(super) async fn watch_signals(stopper: watch::Sender<Stop>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else { return };
    for next in [Stop::Starting, Stop::Running] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stopper.send_replace(next);
    }
    interrupt.recv().await;
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// Each failure once more at the end, with what to do and the last lines of its log.
pub(super) fn told(report: &Report, paint: &dyn Fn(&str) -> String) -> Vec<String> {
    let mut lines = Vec::new();
    for (step, failure) in &report.ran.failures {
        lines.extend([String::new(), format!("{}: {}", paint(step), failure.message)]);
        lines.extend(failure.tail.iter().map(|line| format!("    {line}")));
        lines.extend(failure.help.iter().map(|help| format!("  help: {help}")));
    }
    lines
}
