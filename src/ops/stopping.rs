//! Stopping: ctrl-c here and `pmx cancel` from elsewhere, as one ladder.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::event::Event;
use crate::exec::engine::Stop;
use crate::exec::herald::Herald;
use crate::exec::keeper::Keeper;
use crate::name::RunId;
use crate::wire::clock::Clock;

/// How often a run looks whether somebody asked it to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How far a run is being stopped, whoever asked; nobody is heard any more when it is dropped.
pub struct Stops {
    /// What the run watches.
    pub stop: watch::Receiver<Stop>,
    task: JoinHandle<()>,
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens for both, and tells each step of the ladder once: whoever asked learns that it was heard.
pub fn watch(keeper: &Keeper, herald: &Herald, clock: &Arc<dyn Clock>, (run, typed): (RunId, watch::Receiver<Stop>)) -> Stops {
    let (sender, stop) = watch::channel(Stop::No);
    let listening = listen(keeper.clone(), herald.clone(), Arc::clone(clock), Ladder { run, typed, sender });
    Stops { stop, task: tokio::spawn(listening) }
}

struct Ladder {
    run: RunId,
    typed: watch::Receiver<Stop>,
    sender: watch::Sender<Stop>,
}

async fn listen(keeper: Keeper, herald: Herald, clock: Arc<dyn Clock>, mut ladder: Ladder) {
    let mut here = true;
    // Ends with the run, which drops the task, or at the ladder's end.
    loop {
        tokio::select! {
            changed = ladder.typed.changed(), if here => here = changed.is_ok(),
            () = clock.sleep(LOOK) => {}
        }
        let typed = *ladder.typed.borrow_and_update();
        let run = ladder.run.clone();
        // What cannot be read is asked for again in a moment.
        let asked = keeper.call(move |store| store.cancel_asked(&run)).await.ok().flatten();
        let asked = asked.map(|ask| (if ask.now { Stop::Running } else { Stop::Starting }, ask.by.to_string()));
        let (stop, by) = asked.filter(|(stop, _)| *stop > typed).unwrap_or_else(|| (typed, "ctrl-c".to_owned()));
        if stop > *ladder.sender.borrow() {
            herald.tell(Event::Stopping { by, now: stop == Stop::Running });
            ladder.sender.send_replace(stop);
        }
        if stop == Stop::Running {
            // Nothing is above it. The sender stays: a channel without one could not be waited on.
            std::future::pending::<()>().await;
        }
    }
}
