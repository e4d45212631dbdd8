//! Ambushes: what a test has done to the fleet in the moment before a certain request is served.

use std::sync::{Arc, Mutex, PoisonError};

use super::control::{Request, carry_out};
use super::running::Lab;

/// One that waits for its request.
#[derive(Clone, Debug)]
pub struct Ambush {
    /// `GET`, …
    pub method: String,
    /// The path, without `/api2/json` and without the query.
    pub path: String,
    /// So many requests of that kind until it springs; 1 is the next.
    pub count: u32,
    /// What is done.
    pub then: Request,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Ambushes(Mutex<Vec<Ambush>>);

impl Ambushes {
    /// Lays one.
    pub fn lay(&self, ambush: Ambush) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ambush);
    }

    /// What is to be done before this request is served, in the order in which it was laid.
    fn sprung(&self, method: &str, path: &str) -> Vec<Request> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |ambush: &Ambush| ambush.method == method && ambush.path == path;
        waiting.iter_mut().filter(|ambush| fits(ambush)).for_each(|ambush| ambush.count = ambush.count.saturating_sub(1));
        waiting.extract_if(.., |ambush| fits(ambush) && ambush.count == 0).map(|ambush| ambush.then).collect()
    }
}

/// A request is about to be served: whatever waits for it happens now.
pub fn spring(lab: &Arc<Lab>, method: &str, path: &str) {
    for request in lab.ambushes().sprung(method, path) {
        // Nobody is there to be told of a refusal: the test sees that nothing happened.
        carry_out(lab, request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_springs_once_at_its_request_and_at_no_other() {
        let ambushes = Ambushes::default();
        let lay = |count, vmid| {
            ambushes.lay(Ambush { method: "GET".into(), path: "/a".into(), count, then: Request::Gone { vmid } });
        };
        lay(2, 1);
        lay(2, 2);
        lay(1, 3);
        let sprung = |method: &str, path: &str| {
            let gone = |request: Request| if let Request::Gone { vmid } = request { vmid } else { 0 };
            ambushes.sprung(method, path).into_iter().map(gone).collect::<Vec<_>>()
        };
        assert_eq!(sprung("PUT", "/a"), [0; 0]);
        assert_eq!(sprung("GET", "/a/b"), [0; 0]);
        assert_eq!(sprung("GET", "/a"), [3]);
        assert_eq!(sprung("GET", "/a"), [1, 2]);
        assert_eq!(sprung("GET", "/a"), [0; 0]);
    }
}
