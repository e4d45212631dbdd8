//! The keeper: the one way to this process's store, which one thread at a time may use.
//!
//! What may take long, every transaction, waits in one queue and is done on a thread of its own. A look that finds the store idle is done where it is
//! asked: handing it over and back takes longer than the look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::store::Store;

type Job = Box<dyn FnOnce(&mut dyn Store) + Send>;

type Shared = Arc<Mutex<Box<dyn Store>>>;

/// A handle to the store; cheap to clone. Its thread ends, and the store closes, when the last handle is gone.
#[derive(Clone)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    store: Shared,
}

/// The store's thread is gone: only after a panic on it.
const GONE: &str = "the store's thread ended early: a job on it panicked, see the message above";

impl Keeper {
    /// Takes `store` into its care.
    pub fn start(store: Box<dyn Store>) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let store: Shared = Arc::new(Mutex::new(store));
        let kept = Arc::clone(&store);
        std::thread::spawn(move || {
            while let Ok(job) = queue.recv() {
                // A job that panicked elsewhere has told so there.
                job(&mut **kept.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
        Self { jobs, store }
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

    /// A look that takes microseconds: done at once where nobody else uses the store, else in the queue. Never a transaction: that waits for the disk.
    pub async fn look<R: Send + 'static>(&self, job: impl FnOnce(&mut dyn Store) -> R + Send + 'static) -> R {
        if let Some(mut store) = self.idle() {
            return job(&mut **store);
        }
        self.call(job).await
    }

    /// The same where nobody can be awaited: expression evaluation, commands without a runtime. Waits for whoever uses the store.
    pub fn call_blocking<R>(&self, job: impl FnOnce(&mut dyn Store) -> R) -> R {
        if let Some(mut store) = self.idle() {
            return job(&mut **store);
        }
        let wait = || job(&mut **self.store.lock().unwrap_or_else(PoisonError::into_inner));
        // A worker of the runtime lets another one take its tasks over meanwhile.
        match Handle::try_current() {
            Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }

    fn idle(&self) -> Option<MutexGuard<'_, Box<dyn Store>>> {
        match self.store.try_lock() {
            Ok(store) => Some(store),
            Err(TryLockError::Poisoned(store)) => Some(store.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
