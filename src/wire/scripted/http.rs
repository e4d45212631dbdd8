//! HTTP that follows a script.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use serde_json::Value as Json;

use super::{Times, locked, matches, pending};
use crate::wire::http::{Field, Http, HttpError, Method, Request, Response};

/// An HTTP client that answers as its script says and panics with both sides shown when asked for anything else.
///
/// A line names a request: `GET /api2/json/nodes`, `DELETE /x?purge=1&force=1` (parameters as given, not encoded), or with the host,
/// `GET https://10.0.0.4:8006/x`. A `*` stands for any text. Entries made by `expect…` are used once each, in their order; `always` answers at any time.
#[derive(Clone)]
pub struct ScriptedHttp {
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    entries: Vec<Entry>,
    any_order: bool,
    seen: Vec<Request>,
    complaint: Option<String>,
}

struct Entry {
    line: String,
    form: Option<Vec<(String, String)>>,
    headers: Vec<(String, String)>,
    answer: Result<Response, HttpError>,
    times: Times,
    used: usize,
}

/// The body of a scripted answer; made from JSON, text, bytes, or `()` for none.
pub struct Body(Vec<u8>);

impl From<Json> for Body {
    fn from(json: Json) -> Self {
        Self(json.to_string().into_bytes())
    }
}
impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}
impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}
impl From<()> for Body {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}

impl ScriptedHttp {
    /// An empty script: every request is a complaint.
    pub fn new() -> Self {
        Self { script: Arc::default() }
    }

    /// Next comes the request `line`; a form, if there is one, is not looked at.
    #[must_use]
    pub fn expect(self, line: &str, status: u16, body: impl Into<Body>) -> Self {
        self.push(line, None, answer(status, "", body.into()), Times::Once)
    }

    /// Next comes the request `line` with exactly this form, in any order of its keys.
    #[must_use]
    pub fn expect_form<'a>(
        self,
        line: &str,
        form: impl IntoIterator<Item = (&'a str, &'a str)>,
        status: u16,
        body: impl Into<Body>,
    ) -> Self {
        let form = form.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.push(line, Some(form), answer(status, "", body.into()), Times::Once)
    }

    /// Next comes the request `line`, answered with this reason phrase: Proxmox says there what went wrong.
    #[must_use]
    pub fn expect_reason(self, line: &str, status: u16, reason: &str, body: impl Into<Body>) -> Self {
        self.push(line, None, answer(status, reason, body.into()), Times::Once)
    }

    /// Next comes the request `line`, and there is no answer.
    #[must_use]
    pub fn expect_error(self, line: &str, error: HttpError) -> Self {
        self.push(line, None, Err(error), Times::Once)
    }

    /// Whenever the request `line` comes, any number of times, also never.
    #[must_use]
    pub fn always(self, line: &str, status: u16, body: impl Into<Body>) -> Self {
        self.push(line, None, answer(status, "", body.into()), Times::Always)
    }

    /// The entry before must carry this header (name in lower case), secret or not.
    #[must_use]
    pub fn with_header(self, name: &str, value: &str) -> Self {
        if let Some(entry) = locked(&self.script).entries.last_mut() {
            entry.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// The `expect…` entries may be used in any order (the first unused one that fits): for requests that run at once.
    #[must_use]
    pub fn any_order(self) -> Self {
        locked(&self.script).any_order = true;
        self
    }

    /// The same, and after it all of another script.
    #[must_use]
    pub fn followed_by(self, other: Self) -> Self {
        let entries = std::mem::take(&mut locked(&other.script).entries);
        locked(&self.script).entries.extend(entries);
        self
    }

    /// The requests that came so far.
    pub fn seen(&self) -> Vec<Request> {
        locked(&self.script).seen.clone()
    }

    /// The requests that came so far as lines: `POST /api2/json/access/ticket`.
    pub fn lines(&self) -> Vec<String> {
        locked(&self.script).seen.iter().map(|request| line_of(request, false)).collect()
    }

    /// Asserts that everything expected came and nothing else.
    pub fn finish(&self) {
        let script = locked(&self.script);
        if let Some(complaint) = &script.complaint {
            panic!("{complaint}");
        }
        let unused: Vec<&str> = script.waiting().map(|entry| entry.line.as_str()).collect();
        assert!(unused.is_empty(), "the HTTP script was not used up; never requested:{}", pending(unused.into_iter()));
    }

    fn push(self, line: &str, form: Option<Vec<(String, String)>>, answer: Result<Response, HttpError>, times: Times) -> Self {
        let entry = Entry { line: line.to_owned(), form, headers: Vec::new(), answer, times, used: 0 };
        locked(&self.script).entries.push(entry);
        self
    }
}

impl Default for ScriptedHttp {
    fn default() -> Self {
        Self::new()
    }
}

impl Http for ScriptedHttp {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>> {
        Box::pin(async move {
            let answer = locked(&self.script).take(&request);
            answer.unwrap_or_else(|complaint| panic!("{complaint}"))
        })
    }
}

impl Script {
    fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.times == Times::Once && entry.used == 0)
    }

    fn take(&mut self, request: &Request) -> Result<Result<Response, HttpError>, String> {
        self.seen.push(request.clone());
        let reach = if self.any_order { usize::MAX } else { 1 };
        let once = (0..self.entries.len()).filter(|&i| self.entries[i].times == Times::Once && self.entries[i].used == 0).take(reach);
        let always = (0..self.entries.len()).filter(|&i| self.entries[i].times == Times::Always);
        let found = once.chain(always).find(|&i| self.entries[i].differs(request).is_none());
        if let Some(entry) = found.and_then(|i| self.entries.get_mut(i)) {
            entry.used += 1;
            return Ok(entry.answer.clone());
        }
        let nearest = self.waiting().find(|entry| entry.fits_line(request)).and_then(|entry| entry.differs(request));
        let nearest = nearest.map(|difference| format!("\n  what differs: {difference}")).unwrap_or_default();
        let complaint = format!(
            "the HTTP script has no answer\n  got:\n    {}{nearest}\n  expected next:{}",
            line_of(request, false),
            pending(self.waiting().map(|entry| entry.line.as_str())),
        );
        self.complaint.get_or_insert_with(|| complaint.clone());
        Err(complaint)
    }
}

impl Entry {
    fn fits_line(&self, request: &Request) -> bool {
        matches(&self.line, &line_of(request, self.line.contains("://")))
    }

    fn differs(&self, request: &Request) -> Option<String> {
        if !self.fits_line(request) {
            return Some(format!("the line is {}", line_of(request, false)));
        }
        if let Some(form) = &self.form {
            let (expected, got) = (sorted(form.clone()), sorted(plain(&request.form)));
            if expected != got {
                return Some(format!("the form\n    expected {expected:?}\n    got      {got:?}"));
            }
        }
        let headers = plain(&request.headers);
        let missing = self.headers.iter().find(|(name, value)| !headers.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v == value));
        missing.map(|(name, value)| format!("no header `{name}: {value}` among {headers:?}"))
    }
}

fn answer(status: u16, reason: &str, body: Body) -> Result<Response, HttpError> {
    let reason = if reason.is_empty() && status == 200 { "OK" } else { reason };
    let headers = vec![("content-type".to_owned(), "application/json;charset=UTF-8".to_owned())];
    Ok(Response { status, reason: reason.to_owned(), headers, body: body.0 })
}

fn line_of(request: &Request, with_host: bool) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
    };
    let after_scheme = request.url.find("://").map_or(0, |at| at + 3);
    let path_at = request.url[after_scheme..].find('/').map_or(request.url.len(), |at| after_scheme + at);
    let address = if with_host { &request.url } else { &request.url[path_at..] };
    let query: Vec<String> = plain(&request.query).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("{method} {address}{query}")
}

fn plain(fields: &[(String, Field)]) -> Vec<(String, String)> {
    fields.iter().map(|(key, field)| (key.clone(), field.expose().to_owned())).collect()
}

fn sorted(mut pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    pairs.sort();
    pairs
}
