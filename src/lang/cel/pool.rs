//! Threads with a large stack, on which CEL is parsed and run.
//!
//! The library recurses once per level of the tree and leaves long chains unbounded: `1+1+…` within 4 KiB overflows the 2 MiB of a tokio worker. A
//! thread is taken from the idle ones or begun, and goes back when its task is done; there are never more than there are callers waiting.

use std::cell::Cell;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Stack of each thread: 16 KiB for each byte of the longest expression. A walk over spoiled ones overflowed a quarter of that in a build without
/// optimisation. Pages that are never touched cost nothing.
const STACK: usize = 64 << 20;
/// Threads that are kept when nothing is to be done.
const MOST_IDLE: usize = 8;

/// Something to be run.
pub(in crate::lang) type Task = Box<dyn FnOnce() + Send>;

static IDLE: Mutex<Vec<Sender<Task>>> = Mutex::new(Vec::new());

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is one of the pool, so that work may be done in place.
pub(in crate::lang) fn is_ours() -> bool {
    OURS.get()
}

/// Runs `task` on a thread of the pool. Fails when the system gives no thread.
pub(in crate::lang) fn run(task: Task) -> std::io::Result<()> {
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let Some(worker) = idle else { return begin(task) };
    // A thread that has ended gives the task back.
    match worker.send(task) {
        Ok(()) => Ok(()),
        Err(returned) => begin(returned.0),
    }
}

fn begin(task: Task) -> std::io::Result<()> {
    let (send, receive) = channel::<Task>();
    thread::Builder::new().name("cel".to_owned()).stack_size(STACK).spawn(move || {
        OURS.set(true);
        let mut next = Some(task);
        while let Some(task) = next.take() {
            // A panic of the library must not take the thread's other users with it; its caller sees the closed channel.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MOST_IDLE {
                idle.push(send.clone());
                drop(idle);
                next = receive.recv().ok();
            }
        }
    })?;
    Ok(())
}
