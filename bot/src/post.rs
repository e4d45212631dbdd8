//! A message that changes: edits run behind what happens, the latest state wins, and nothing waits for them.

use std::sync::Arc;
use std::time::Duration;

use pmx::ops::chat::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::chat::{Card, Chat, ChatError, Posted};
use crate::log;

/// Between two edits of one message.
const GAP: Duration = Duration::from_millis(1500);
/// How often the last state is tried before it is given up: with waits that double up to half a minute, about a quarter of an hour.
const TRIES: u32 = 30;

/// A message that is kept up to date by a task of its own.
pub struct Message {
    sender: watch::Sender<Card>,
    task: JoinHandle<Result<Posted, ChatError>>,
}

impl Message {
    /// Keeps `posted`, which shows `shown`, up to date. `nonce` names the message that takes its place should somebody delete it.
    pub fn new(chat: Arc<dyn Chat>, clock: Arc<dyn Clock>, (posted, nonce): (Posted, String), shown: Card) -> Self {
        let (sender, receiver) = watch::channel(shown.clone());
        let editor = Editor { chat, clock, posted, nonce, shown };
        Self { sender, task: tokio::spawn(editor.keep(receiver)) }
    }

    /// What it shall show, soon.
    pub fn show(&self, card: Card) {
        self.sender.send_if_modified(|shown| {
            let other = *shown != card;
            *shown = card;
            other
        });
    }

    /// What it shall show for ever; returns when it does, or why it cannot.
    pub async fn last(self, card: Card) -> Result<Posted, ChatError> {
        self.show(card);
        drop(self.sender);
        self.task.await.unwrap_or_else(|error| Err(ChatError::Passing(format!("the editor of a message ended: {error}"))))
    }
}

struct Editor {
    chat: Arc<dyn Chat>,
    clock: Arc<dyn Clock>,
    posted: Posted,
    nonce: String,
    shown: Card,
}

impl Editor {
    async fn keep(mut self, mut wanted: watch::Receiver<Card>) -> Result<Posted, ChatError> {
        let mut tries = 0;
        loop {
            if tries == 0 && wanted.changed().await.is_err() {
                // Nobody will want anything else.
                return Ok(self.posted);
            }
            let card = wanted.borrow_and_update().clone();
            if card == self.shown {
                tries = 0;
                continue;
            }
            let edited = self.chat.edit(&self.posted, &card).await;
            // Looked at afterwards: the last state may have been told just before it was known to be the last.
            let last = wanted.has_changed().is_err() && *wanted.borrow() == card;
            match edited {
                Ok(()) => {
                    (self.shown, tries) = (card, 0);
                    if !last {
                        self.clock.sleep(GAP).await;
                    }
                }
                Err(ChatError::Passing(why)) => {
                    tries += 1;
                    if tries > TRIES {
                        return Err(ChatError::Passing(why));
                    }
                    self.clock.sleep(Duration::from_secs(1 << tries.min(5)).min(Duration::from_secs(30))).await;
                }
                // Somebody deleted it: only the end is worth another message.
                Err(ChatError::Gone) if last => {
                    self.posted = self.chat.post(self.posted.channel, &self.nonce, &card).await?;
                    self.shown = card;
                }
                Err(error) if last => return Err(error),
                Err(error) => {
                    log::say(format!("a state of message {} could not be shown: {error}", self.posted.text()));
                    (self.shown, tries) = (card, 0);
                    self.clock.sleep(GAP).await;
                }
            }
        }
    }
}
