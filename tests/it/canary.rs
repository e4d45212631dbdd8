//! Canaries: secrets put into a practice fleet that nothing else in the world looks like, and the search for them in every byte that pmx left behind.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::collections::BTreeMap;
use std::ops::Deref;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use pmx::lab::control::Request;

use super::fleet::Fleet;
use super::sandbox::Sandbox;

/// The letters that get lost, doubled or escaped on their way; no space, because a tailnet's key may hold none.
const AWKWARD: &str = "'q\"$(x)`%41+/\\=&;|ü☃~";

/// The keys of the project's vault, with what its value has to begin with.
const KEYS: [(&str, &str); 3] = [("password", ""), ("tailscaleAuthKey", "tskey-auth-"), ("discordToken", "")];

/// What every ticket of the node begins with.
const TICKETS: [&str; 2] = ["PVE:root@pam:", "PVE%3Aroot%40pam%3A"];

/// One secret: two random words with what is awkward between them. A form of it that leaves letters and digits alone shows both words, whatever it does
/// with the rest; the other forms of the words are looked for by themselves.
#[derive(Clone, Debug)]
pub struct Canary {
    /// The whole secret.
    pub text: String,
    signs: Vec<(&'static str, String)>,
}

impl Canary {
    /// A new one behind `prefix`.
    pub fn new(prefix: &str) -> Self {
        let word = || uuid::Uuid::new_v4().simple().to_string()[..14].to_owned();
        let words = [word(), word()];
        let signs = words.iter().flat_map(|word| signs(word)).collect();
        Self { text: format!("{prefix}{}{AWKWARD}{}", words[0], words[1]), signs }
    }

    /// The form in which it stands in `text`.
    pub fn found_in(&self, text: &str) -> Option<&'static str> {
        self.signs.iter().find(|(_, sign)| text.contains(sign)).map(|(form, _)| *form)
    }
}

/// What gives a word away. Base64 depends on the place inside a group of three, and shares its first and last letters with its neighbours.
fn signs(word: &str) -> Vec<(&'static str, String)> {
    let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut signs = vec![("plain", word.to_owned()), ("HEX", hex.to_uppercase()), ("hex", hex)];
    for before in 0..3_usize {
        let encoded = STANDARD_NO_PAD.encode([&[0; 2][..before], word.as_bytes()].concat());
        signs.push(("base64", encoded[(before * 8).div_ceil(6)..(before + word.len()) * 8 / 6].to_owned()));
    }
    signs
}

/// `66D1E2F3:` and 43 characters of Base64: a token against forged requests.
fn csrf(text: &str) -> bool {
    let token = |at: usize| {
        let (before, after) = (text.get(at.checked_sub(8)?..at)?, text.get(at + 1..at + 44)?);
        let hex = before.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        Some(hex && after.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte)))
    };
    text.match_indices(':').any(|(at, _)| token(at) == Some(true))
}

/// How much was searched, for people who read the output of the tests.
static BYTES: AtomicU64 = AtomicU64::new(0);
static BIRDS: AtomicU64 = AtomicU64::new(0);

/// What gives one of these canaries, a ticket or a token away in `bytes`.
fn given_away(canaries: &[Canary], bytes: &[u8]) -> Option<String> {
    BYTES.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    let text = String::from_utf8_lossy(bytes);
    let bird = canaries.iter().find_map(|canary| Some((canary.found_in(&text)?, &canary.text)));
    let ticket = TICKETS.iter().find(|ticket| text.contains(**ticket));
    bird.map(|(form, secret)| format!("{secret} ({form})"))
        .or_else(|| ticket.map(|ticket| format!("a ticket, {ticket}…")))
        .or_else(|| csrf(&text).then(|| "a CSRF token".to_owned()))
}

/// Canaries of all fleets of this process, for the one that looks at the lists of processes.
struct Watch {
    known: Mutex<BTreeMap<u64, Vec<Canary>>>,
    found: Mutex<Vec<(u64, String)>>,
    looks: AtomicU64,
}

/// The watch: a thread that looks at what every user of this machine can see of its processes, about fifty times a second, while any canary lives.
fn watch() -> &'static Watch {
    static WATCH: OnceLock<Watch> = OnceLock::new();
    static THREAD: OnceLock<()> = OnceLock::new();
    let watch = WATCH.get_or_init(|| Watch { known: Mutex::default(), found: Mutex::default(), looks: AtomicU64::default() });
    THREAD.get_or_init(|| {
        std::thread::spawn(|| {
            loop {
                watch.look();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    });
    watch
}

impl Watch {
    /// From now on it looks for these too; the number is theirs.
    fn add(&self, canaries: Vec<Canary>) -> u64 {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.set(number, canaries);
        number
    }

    fn set(&self, number: u64, canaries: Vec<Canary>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(number, canaries);
    }

    fn remove(&self, number: u64) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// Where canaries of that number were seen.
    fn found(&self, number: u64) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.iter().filter(|(of, _)| *of == number).map(|(_, text)| text.clone()).collect()
    }

    fn look(&self) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() {
            return;
        }
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
            let line = read("cmdline");
            // Only the kernel's own threads have none. A process that knows no sandbox has got nothing from pmx through its environment.
            let environ = if line.is_empty() { Vec::new() } else { read("environ") };
            let (line, environ) = (String::from_utf8_lossy(&line).into_owned(), String::from_utf8_lossy(&environ).into_owned());
            let environ = if environ.contains("PMX_SANDBOX=") { environ } else { String::new() };
            for (fleet, canaries) in &known {
                for (place, text) in [("the words", &line), ("the environment", &environ)] {
                    if let Some(form) = canaries.iter().find_map(|canary| canary.found_in(text)) {
                        let found = format!("{place} of process {} show a canary ({form}): {text:?}", entry.file_name().to_string_lossy());
                        self.found.lock().unwrap_or_else(PoisonError::into_inner).push((*fleet, found));
                    }
                }
            }
        }
        self.looks.fetch_add(1, Ordering::Relaxed);
    }
}

/// A fleet whose secrets are canaries. When it goes, everything is searched for them.
pub struct Guarded {
    fleet: Fleet,
    canaries: Vec<Canary>,
    number: u64,
    /// The watch's looks before it.
    looks: u64,
}

impl Deref for Guarded {
    type Target = Fleet;

    fn deref(&self) -> &Fleet {
        &self.fleet
    }
}

impl Guarded {
    /// This fleet, started, with canaries for secrets.
    pub fn of(fleet: Fleet) -> Self {
        let canaries: Vec<Canary> = KEYS.iter().map(|(_, prefix)| Canary::new(prefix)).collect();
        for ((key, _), canary) in KEYS.iter().zip(&canaries) {
            let set = ["--profile", "lab", "vault", "set", "proxmox-vault", key];
            fleet.sandbox.pmx_with_input(&set, &canary.text).exits(0);
        }
        fleet.wake();
        fleet.ask(&Request::Password { user: "root@pam".into(), password: canaries[0].text.clone() });
        let looks = watch().looks.load(Ordering::Relaxed);
        Self { fleet, number: watch().add(canaries.clone()), canaries, looks }
    }

    /// A fleet that runs, with canaries for secrets.
    pub fn up() -> Self {
        Self::of(Fleet::new())
    }

    /// One more canary, under a key of its own.
    pub fn keep(&mut self, key: &str) {
        let canary = Canary::new("");
        self.fleet.sandbox.pmx_with_input(&["--profile", "lab", "vault", "set", "proxmox-vault", key], &canary.text).exits(0);
        self.canaries.push(canary);
        watch().set(self.number, self.canaries.clone());
    }

    /// Has pmx show all that it knows, for people and as JSON: what it prints is searched with the rest.
    fn tell_all(&self) {
        let lines = |arguments: &[&str]| self.pmx(&[arguments, &["--json"]].concat()).exits(0).lines();
        let word = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
        self.pmx(&["log"]).exits(0);
        drop(lines(&["log"]));
        for resource in lines(&["ls"]).iter().map(|line| word(line, "resource")) {
            self.pmx(&["show", &resource]).exits(0);
            drop(self.pmx(&["show", &resource, "--json"]).exits(0));
            drop(self.pmx(&["diff", &format!("{resource}@1"), &resource]));
        }
        for (age, run) in lines(&["runs"]).iter().map(|line| word(line, "id")).enumerate() {
            let events = lines(&["run", &run]);
            if age > 0 {
                continue;
            }
            self.pmx(&["run", &run]).exits(0);
            for event in events.iter().filter(|event| event["event"] == "action-finished") {
                let step = word(event, "step");
                drop(self.pmx(&["why", &run, &step]));
                drop(self.pmx(&["run", &run, "--log", &step]));
            }
        }
    }

    /// Every file below the sandbox, large blobs unpacked, and every cell of every index. The fleet's own state is left out, as the other side of the wire,
    /// and so is what the test itself typed.
    fn everything(&self) -> Vec<(String, Vec<u8>)> {
        let root = self.sandbox.root();
        let files = Sandbox::files(root, &["project/store/lab/world"]);
        let files = files.into_iter().filter(|(name, _)| !(name.starts_with("said/") && name.ends_with(".in")));
        let mut all = Vec::new();
        for (name, bytes) in files {
            if name.contains("/objects/") {
                all.extend(zstd::stream::decode_all(bytes.as_slice()).map(|plain| (format!("{name}, unpacked"), plain)));
            }
            if name.ends_with("/index.db") {
                all.extend(cells(&root.join(&name)).into_iter().map(|(place, bytes)| (format!("{name}, {place}"), bytes)));
            }
            all.push((name, bytes));
        }
        all
    }

    /// Searches everything.
    ///
    /// # Panics
    /// Where something gives a secret away.
    fn search(&self) {
        self.tell_all();
        let everything = self.everything();
        let holds = |part: &str| everything.iter().any(|(name, _)| name.contains(part));
        assert!(holds("/index.db, journal") && holds("/vaults/") && holds("said/"), "what matters is among what is searched");
        for (name, bytes) in &everything {
            assert_eq!(given_away(&self.canaries, bytes), None, "in {name}");
        }
        for line in self.processes() {
            assert_eq!(given_away(&self.canaries, line.as_bytes()), None, "in the list of processes of a machine: {line}");
        }
        for served in self.requests() {
            assert_eq!(given_away(&self.canaries, served.path.as_bytes()), None, "in a request's address: {}", served.path);
        }
        assert!(watch().looks.load(Ordering::Relaxed) > self.looks, "somebody has looked at the lists of processes");
        assert_eq!(watch().found(self.number), Vec::<String>::new());
    }
}

/// Every cell of every table, where SQLite may have cut it into pages.
fn cells(index: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let read = || -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
        let db = rusqlite::Connection::open(index)?;
        let mut tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'")?;
        let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut cells = Vec::new();
        for table in names {
            let mut rows = db.prepare(&format!("SELECT * FROM {table}"))?;
            let width = rows.column_count();
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..width {
                    if let rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) = row.get_ref(column)? {
                        cells.push((table.clone(), bytes.to_vec()));
                    }
                }
            }
        }
        Ok(cells)
    };
    read().unwrap_or_else(|error| panic!("{} cannot be read: {error}", index.display()))
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let began = Instant::now();
            self.search();
            let birds = BIRDS.fetch_add(self.canaries.len() as u64, Ordering::Relaxed) + self.canaries.len() as u64;
            let (bytes, looks) = (BYTES.load(Ordering::Relaxed), watch().looks.load(Ordering::Relaxed));
            let forms = self.canaries[0].signs.len();
            println!(
                "searched for {:?}; so far {birds} canaries by {forms} signs in {bytes} bytes; {looks} looks at all processes",
                began.elapsed()
            );
        }
        watch().remove(self.number);
    }
}

#[test]
fn a_sign_is_seen_in_every_form_of_a_canary() {
    let canary = Canary::new("tskey-");
    let plain = &canary.text;
    let percent: String =
        plain.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02X}") }).collect();
    let hex: String = plain.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |before: &str| base64::engine::general_purpose::URL_SAFE.encode(format!("{before}{plain}\n"));
    let forms = [
        ("plain", plain.clone()),
        ("plain", percent),
        ("plain", plain.replace('\'', r"'\''")),
        ("plain", serde_json::Value::from(plain.as_str()).to_string()),
        ("plain", plain[..24].to_owned()),
        ("plain", plain[30..].to_owned()),
        ("hex", hex.clone()),
        ("HEX", hex.to_uppercase()),
        ("base64", base64("")),
        ("base64", base64("x")),
        ("base64", base64("xy")),
    ];
    for (form, text) in forms {
        // A word of digits alone looks alike in both cases.
        let found = canary.found_in(&format!("<{text}>")).map(str::to_lowercase);
        assert_eq!(found, Some(form.to_lowercase()), "{text}");
    }
    assert_eq!(canary.found_in(AWKWARD), None);
    assert!(given_away(&[], b"x PVE:root@pam:66D1E2F3::abc").is_some());
    assert!(given_away(&[], format!("CSRFPreventionToken: 66D1E2F3:{}", "aB3+/".repeat(9)).as_bytes()).is_some());
    assert_eq!(given_away(&[], b"UPID:keeb-dev-02:00000385:02625A00:66D1E2F3:qmshutdown:107:root@pam:"), None);
}

#[test]
fn the_watch_sees_a_word_and_a_variable_of_a_process() {
    let (word, variable) = (Canary::new(""), Canary::new(""));
    let number = watch().add(vec![word.clone(), variable.clone()]);
    let mut child = std::process::Command::new("sleep");
    child.arg("30").env("PMX_SANDBOX", "of-the-watch").env("VARIABLE", &variable.text);
    let mut child = child.spawn().expect("sleep can be started");
    let mut other = std::process::Command::new("sh")
        .args(["-c", "read line", &word.text])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell can be started");
    super::process::wait_until("both are seen", Duration::from_secs(20), || {
        let found = watch().found(number);
        ["the words", "the environment"].iter().all(|place| found.iter().any(|text| text.starts_with(place)))
    });
    for child in [&mut child, &mut other] {
        child.kill().and_then(|()| child.wait()).expect("it is ours to end");
    }
    watch().remove(number);
}
