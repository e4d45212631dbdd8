//! The keeper: the one way to this process's store, which one thread at a time may use.
//!
//! What may take long, every transaction, waits in one queue and is done on a thread of its own. Commits that wait there together share one wait for the
//! disk. A look that finds the store idle is done where it is asked: handing it over and back takes longer than the look.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::store::Store;
use crate::store::words::StoreError;

type Work = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// Makes one commit; the other half hears whether it is durable.
type Making = Box<dyn FnOnce(&mut dyn Store) -> After + Send>;

/// What follows a commit: the error is that of the transaction that it was a part of.
type After = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

enum Job {
    /// Only reads: its place among commits does not matter.
    Look(Work),
    Commit(Making),
    Other(Work),
}

/// So many commits share a transaction at most.
const TOGETHER: usize = 64;

type Shared = Arc<Mutex<Box<dyn Store>>>;

/// Hears what became of a commit in the end.
pub type Aftermath<R> = Box<dyn FnOnce(&Result<R, StoreError>) + Send>;

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
                work(&mut **kept.lock().unwrap_or_else(PoisonError::into_inner), job, &queue);
            }
        });
        Self { jobs, store }
    }

    /// Runs `job` on the store's thread and waits for its result.
    pub async fn call<R: Send + 'static>(&self, job: impl FnOnce(&mut dyn Store) -> R + Send + 'static) -> R {
        self.queued(|answer| Job::Other(Box::new(move |store| drop(answer.send(job(store)))))).await
    }

    /// Makes one commit on the store's thread, perhaps together with others. `make` commits and leaves nothing behind when it fails; its aftermath hears,
    /// also there, whether the commit is durable or was taken back: in the order of the commits, or in the opposite one.
    pub async fn commit<R: Send + 'static>(
        &self,
        make: impl FnOnce(&mut dyn Store) -> Result<(R, Aftermath<R>), StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        let making = |answer: oneshot::Sender<Result<R, StoreError>>| {
            Job::Commit(Box::new(move |store| match make(store) {
                Ok((made, aftermath)) => Box::new(move |durable| {
                    let result = durable.map(|()| made);
                    aftermath(&result);
                    drop(answer.send(result));
                }),
                Err(error) => {
                    drop(answer.send(Err(error)));
                    Box::new(|_| {})
                }
            }))
        };
        self.queued(making).await
    }

    async fn queued<R>(&self, job: impl FnOnce(oneshot::Sender<R>) -> Job) -> R {
        let (answer, result) = oneshot::channel();
        let sent = self.jobs.send(job(answer));
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
        self.queued(|answer| Job::Look(Box::new(move |store| drop(answer.send(job(store)))))).await
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

/// Does `job`, and when it is a commit those that wait behind it.
fn work(store: &mut dyn Store, job: Job, queue: &mpsc::Receiver<Job>) {
    let mut commits = Vec::new();
    let mut next = Some(job);
    while let Some(job) = next {
        match job {
            Job::Look(look) => look(store),
            Job::Commit(making) => commits.push(making),
            Job::Other(other) => {
                commit_all(store, std::mem::take(&mut commits));
                other(store);
            }
        }
        next = if commits.is_empty() || commits.len() >= TOGETHER { None } else { queue.try_recv().ok() };
    }
    commit_all(store, commits);
}

/// All of them in one transaction, unless it is one alone.
fn commit_all(store: &mut dyn Store, commits: Vec<Making>) {
    // A transaction that cannot be opened is refused to each of them by itself, in its own words.
    let gathers = commits.len() > 1 && store.gather().is_ok();
    let mut afters: Vec<After> = commits.into_iter().map(|make| make(store)).collect();
    let synced = if gathers { store.release() } else { Ok(()) };
    match synced {
        Ok(()) => afters.into_iter().for_each(|after| after(Ok(()))),
        Err(error) => {
            afters.reverse();
            afters.into_iter().for_each(|after| after(Err(error.clone())));
        }
    }
}
