//! Commits that wait together share a transaction, and hear together what became of it.

use std::sync::{Arc, Mutex, mpsc};

use crate::exec::keeper::{Aftermath, Keeper};
use crate::exec::rig_store::watched;
use crate::store::Store;
use crate::store::words::{Commit, StoreError};

type Told = Arc<Mutex<Vec<String>>>;

/// A keeper whose store is busy until the sender is used, and all that is told.
fn busy(full: bool) -> (Keeper, Told, mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let store = watched(
        Arc::new(move |call, after| {
            if after.is_none() {
                heard.lock().unwrap().push(call.to_owned())
            }
        }),
        full,
    );
    let keeper = Keeper::start(store);
    let (go, wait) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let held = keeper.clone();
    let busy = tokio::spawn(async move {
        held.call(move |_| {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        })
        .await;
    });
    // On another thread, so that this one may poll the task.
    std::thread::spawn(move || begins.recv().unwrap()).join().unwrap();
    (keeper, told, go, busy)
}

fn committing(told: &Told, name: &'static str) -> impl FnOnce(&mut dyn Store) -> Result<((), Aftermath<()>), StoreError> + Send + 'static {
    let told = Arc::clone(told);
    move |store| {
        if name == "refused" {
            return Err(StoreError::Io { attempt: "commit".into(), cause: name.into() });
        }
        store.commit(Commit::default())?;
        let after: Aftermath<()> =
            Box::new(move |result| told.lock().unwrap().push(format!("{name} {}", if result.is_ok() { "durable" } else { "lost" })));
        Ok(((), after))
    }
}

async fn three(full: bool) -> (Vec<String>, Vec<Result<(), StoreError>>) {
    let (keeper, told, go, busy) = busy(full);
    let (one, two, three) = (committing(&told, "one"), committing(&told, "refused"), committing(&told, "three"));
    let looked = Arc::clone(&told);
    let all = async {
        tokio::join!(
            keeper.commit(one),
            keeper.commit(two),
            keeper.look(move |_| looked.lock().unwrap().push("looked".into())),
            keeper.commit(three)
        )
    };
    let free = async {
        // All of them are polled first, and wait in the queue.
        tokio::task::yield_now().await;
        go.send(()).unwrap();
    };
    let ((one, two, (), three), ()) = tokio::join!(all, free);
    busy.await.unwrap();
    let told = told.lock().unwrap().clone();
    (told, vec![one, two, three])
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_share_one_transaction() {
    let (told, results) = three(false).await;
    assert_eq!(told, ["looked", "gather", "commit", "commit", "release", "one durable", "three durable"]);
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true], "one that is refused takes nobody along");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_together_is_taken_back_last_first() {
    let (told, results) = three(true).await;
    assert_eq!(told, ["looked", "gather", "commit", "commit", "release", "three lost", "one lost"]);
    assert!(results.iter().all(Result::is_err), "{results:?}");
}
