//! The network's and Discord's weather: what goes wrong when a test wants it to.

use std::time::Duration;

use super::session::{Door, Order};
use super::{Discord, Gateway};

impl Discord {
    /// Cuts the gateway's connection without a word.
    pub fn drop_gateway(&self) {
        self.shared.change(|state| state.sessions.order(Order::Drop));
    }

    /// Asks the client to connect again and resume (op 7).
    pub fn reconnect_gateway(&self) {
        self.shared.change(|state| state.sessions.order(Order::Reconnect));
    }

    /// Says that the session is over (op 9), or that it can be resumed.
    pub fn invalidate_session(&self, resumable: bool) {
        self.shared.change(|state| state.sessions.order(Order::Invalidate(resumable)));
    }

    /// Closes the gateway's connection with a code.
    pub fn close_gateway(&self, code: u16) {
        self.shared.change(|state| state.sessions.order(Order::Close(code)));
    }

    /// What becomes of new connections to the gateway.
    pub fn hold_gateway(&self, door: Door) {
        self.shared.change(|state| state.sessions.door = door);
    }

    /// What `GET /gateway` answers.
    pub fn set_gateway_answer(&self, gateway: Gateway) {
        self.shared.change(|state| state.gateway = gateway);
    }

    /// Turns the portal's switches for privileged intents on or off.
    pub fn set_privileged(&self, on: bool) {
        self.shared.change(|state| state.sessions.privileged = on);
    }

    /// How often new connections are to send a heartbeat.
    pub fn set_heartbeat(&self, interval: Duration) {
        self.shared.change(|state| state.sessions.heartbeat = interval);
    }

    /// Whether heartbeats go unacknowledged.
    pub fn miss_acks(&self, miss: bool) {
        self.shared.change(|state| state.sessions.miss_acks = miss);
    }

    /// Whether a RESUME brings one event again that the client had before.
    pub fn repeat_on_resume(&self, repeat: bool) {
        self.shared.change(|state| state.sessions.repeat_on_resume = repeat);
    }

    /// Whether every IDENTIFY is answered by a close that says nothing (4000).
    pub fn refuse_identifies(&self, refuse: bool) {
        self.shared.change(|state| state.sessions.refuse_identifies = refuse);
    }

    /// Refuses a part of all requests at random (0.1 is every tenth), but never the first answer to an interaction.
    pub fn random_429(&self, seed: u64, chance: f64) {
        assert!((0.0..1.0).contains(&chance), "a chance of {chance}");
        self.shared.change(|state| {
            state.rates.seed = seed;
            state.rates.chance = (chance * 1e6) as u64;
        });
    }

    /// How many messages may be written, and how many edited, in a channel within a time.
    pub fn rate(&self, limit: u64, window: Duration) {
        self.shared.change(|state| state.rates.messages = (limit, window));
    }

    /// Every bucket is full again.
    pub fn forget_limits(&self) {
        self.shared.change(|state| state.rates.forget());
    }
}
