//! What the stand-in saw and refused, for tests to look at.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::rates::Limited;
use super::refusal::Refusal;
use super::rest::Call;

/// A refused request.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Of HTTP, or `GATEWAY`.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Why.
    pub refusal: Refusal,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { status, code, message, errors } = &self.refusal;
        write!(out, "{} {}: {status} {code} {message}", self.method, self.path)?;
        errors.as_ref().map_or(Ok(()), |errors| write!(out, " {errors}"))
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Since the stand-in began.
    pub at: Duration,
    /// Of HTTP.
    pub method: String,
    /// Behind the version of the API.
    pub path: String,
    /// Of the answer.
    pub status: u16,
    /// What was sent.
    pub body: Value,
}

/// A connection that said who it is.
#[derive(Clone, Debug)]
pub struct Identify {
    /// Since the stand-in began.
    pub at: Duration,
    /// What it wants to hear of.
    pub intents: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Record {
    /// In the order they came.
    pub requests: Vec<Request>,
    /// Every refusal but those of limits.
    pub violations: Vec<Violation>,
    /// Refusals of limits.
    pub limited: Vec<Limited>,
    /// How many answers were 401, 403 or 429: ten thousand in ten minutes are a ban.
    pub invalid: usize,
    /// Every token that was shown, right or wrong.
    pub tokens: BTreeSet<String>,
    /// In the order they came.
    pub identifies: Vec<Identify>,
    /// How many sessions were taken up again.
    pub resumes: usize,
}

impl Record {
    /// Notes a request and how it was answered.
    pub fn request(&mut self, call: Call, status: u16, at: Duration) {
        let path = call.path.strip_prefix("/api/v10").unwrap_or(&call.path).to_owned();
        self.requests.push(Request { at, method: call.method, path, status, body: call.body });
    }
}
