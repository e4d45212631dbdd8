//! The horizon of a run: what it found fresh, and until when all that it rested on holds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::event::Time;

/// An observation that was fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// Its step.
    pub step: String,
    /// What it calls.
    pub call: String,
    /// When what is known was observed.
    pub at: Time,
    /// How old it may be; `None` is for ever.
    pub window: Option<Duration>,
}

/// Filled while a run goes on.
#[derive(Default)]
pub struct Horizon(Mutex<Known>);

#[derive(Default)]
struct Known {
    fresh: Vec<Fresh>,
    end: Option<Time>,
}

impl Known {
    fn lower(&mut self, end: Time) {
        self.end = Some(self.end.map_or(end, |known| known.min(end)));
    }
}

impl Horizon {
    /// An observation was fresh.
    pub fn fresh(&self, fresh: Fresh) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = fresh.window {
            known.lower(fresh.at.plus(window));
        }
        known.fresh.push(fresh);
    }

    /// Something was read that is trusted until `end`.
    pub fn until(&self, end: Time) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lower(end);
    }

    /// All that was fresh, and the first end of anything it rested on, if anything ends.
    pub fn take(&self) -> (Vec<Fresh>, Option<Time>) {
        let known = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (known.fresh, known.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts() {
        let horizon = Horizon::default();
        let fresh = |at, window| Fresh { step: "s".into(), call: "c".into(), at: Time(at), window };
        horizon.fresh(fresh(1000, None));
        horizon.fresh(fresh(1000, Some(Duration::from_secs(9))));
        horizon.until(Time(7000));
        horizon.fresh(fresh(5000, Some(Duration::from_secs(3))));
        let (fresh, end) = horizon.take();
        assert_eq!((fresh.len(), end), (3, Some(Time(7000))));
        assert_eq!(horizon.take(), (Vec::new(), None));
    }
}
