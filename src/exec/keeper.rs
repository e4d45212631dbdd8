//! The keeper: the one thread of this process on which the store lives.

use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::store::Store;

type Job = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// A handle to the store's thread; cheap to clone. The thread ends, and the store closes, when the last handle is gone.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
}

/// The store's thread is gone: only after a panic on it.
const GONE: &str = "the store's thread ended early: a job on it panicked, see the message above";

impl Keeper {
    /// Moves `store` onto a thread of its own.
    pub fn start(mut store: Box<dyn Store>) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&mut *store);
            }
        });
        Self { jobs }
    }

    /// Runs `job` on the store's thread and waits for its result.
    pub async fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut dyn Store) -> R + Send + 'static) -> R {
        let (answer, result) = oneshot::channel();
        let sent = self.jobs.send(Box::new(move |store| drop(answer.send(job(store)))));
        match (sent, result.await) {
            (Ok(()), Ok(result)) => result,
            _ => panic!("{GONE}"),
        }
    }

    /// The same for threads that may block: expression evaluation, commands without a runtime.
    pub fn call_blocking<R: Send + 'static>(&self, job: impl FnOnce(&mut dyn Store) -> R + Send + 'static) -> R {
        let (answer, result) = mpsc::channel();
        let sent = self.jobs.send(Box::new(move |store| drop(answer.send(job(store)))));
        match (sent, result.recv()) {
            (Ok(()), Ok(result)) => result,
            _ => panic!("{GONE}"),
        }
    }
}
