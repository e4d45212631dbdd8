//! Secrets: after everything was done with them, they stand nowhere in plain text.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use pmx::lab::control::Request;

use super::fleet::{Fleet, logins};
use super::sandbox::{Ran, Sandbox};

const PASSWORD: &str = "correct-Horse+battery=Staple";
const TOKEN: &str = "s3cret-of-the-game-4711";

/// What gives a secret away, in plain text or in a form that decodes to it at a glance: the password, the game's secret, a ticket, a CSRF token.
fn give_away(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let plain = [PASSWORD, TOKEN, "PVE:root@pam:", "PVE%3Aroot%40pam%3A"];
    let encoded = ["correct-Horse%2Bbattery%3DStaple", "Y29ycmVjdC1Ib3JzZStiYXR0ZXJ5PVN0YXBsZ"];
    let word = plain.iter().chain(&encoded).find(|word| text.contains(**word));
    word.map(|word| (*word).to_owned()).or_else(|| csrf(&text))
}

/// `66D1E2F3:` and 43 characters of Base64.
fn csrf(text: &str) -> Option<String> {
    let token = |at: usize| {
        let (before, after) = (text.get(at.checked_sub(8)?..at)?, text.get(at + 1..at + 44)?);
        let hex = before.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
        let base64 = after.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
        (hex && base64).then(|| text[at - 8..at + 44].to_owned())
    };
    text.match_indices(':').find_map(|(at, _)| token(at))
}

#[track_caller]
fn clean(ran: &Ran) {
    assert_eq!(give_away(ran.to_string().as_bytes()), None, "{ran}");
}

/// The words that any process of this machine was started with, while `work` is done.
fn watched<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut found = None;
            while !done.load(Ordering::Relaxed) && found.is_none() {
                let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
                let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
                found = lines.filter_map(|line| give_away(&line)).next();
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            found
        });
        // Set when `work` panics too: the scope waits for the watcher.
        let ending = Ending(&done);
        let result = work();
        drop(ending);
        assert_eq!(watcher.join().expect("the watcher ends"), None, "a secret stood on a command line");
        result
    })
}

/// Ends the watcher when it goes.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every file below the sandbox, large blobs unpacked. The fleet's own state is left out: it is the other side of the wire.
fn everything(fleet: &Fleet) -> BTreeMap<String, Vec<u8>> {
    let mut files = Sandbox::files(fleet.sandbox.root(), &["project/store/lab/world"]);
    for (name, bytes) in &mut files {
        if name.contains("/objects/") {
            let plain = zstd::stream::decode_all(bytes.as_slice()).unwrap_or_else(|_| bytes.clone());
            *bytes = plain;
        }
    }
    files
}

#[test]
fn a_pattern_finds_what_it_is_made_for() {
    assert!(give_away(b"x PVE:root@pam:66D1E2F3::abc").is_some());
    assert!(give_away(format!("CSRFPreventionToken: 66D1E2F3:{}", "aB3+/".repeat(9)).as_bytes()).is_some());
    assert!(give_away(format!("?password={PASSWORD}").as_bytes()).is_some());
    assert_eq!(give_away(b"UPID:keeb-dev-02:00000385:02625A00:66D1E2F3:qmshutdown:107:root@pam:"), None);
}

#[test]
fn no_secret_stands_anywhere_in_plain_text() {
    let workflow = r#"
[[step]]
name = "auth"
call = "keebDev02.auth"

[[step]]
name = "write"
call = "testVmSsh.writeFile"
with = { vmName = "calamity", dest = "/root/secret", content = '${{ vault.get("proxmox-vault", "game") }}' }

[[step]]
name = "read"
call = "testVmSsh.exec"
with = { vmName = "calamity", command = "cat /root/secret; cat /root/secret >&2" }

[[step]]
name = "fail"
call = "testVmSsh.exec"
with = { vmName = "calamity", command = "cat /root/secret >&2; exit 7" }
"#;
    let sandbox = Sandbox::own().file("workflows/leak.toml", workflow);
    let fleet = Fleet::of(sandbox);
    fleet.wake();
    fleet.ask(&Request::Password { user: "root@pam".into(), password: PASSWORD.into() });
    let keep = |key: &str, secret: &str| {
        fleet.sandbox.pmx_with_input(&["--profile", "lab", "vault", "set", "proxmox-vault", key], secret).exits(0)
    };
    // What the test itself typed is no leak of pmx.
    let typed = |name: &String| name.starts_with("said/") && name.ends_with(".in");
    watched(|| {
        clean(&keep("password", PASSWORD));
        clean(&keep("game", TOKEN));
        clean(&fleet.build(&["stop-calamity", "-v"]).exits(0));
        clean(&fleet.build(&["start-calamity", "--json"]).exits(0));
        let leak = fleet.build(&["leak", "-v", "--json"]).exits(1);
        assert!(leak.stdout.contains("[secret]"), "the output of the commands is there, without the secret: {leak}");
        clean(&leak);
        clean(&fleet.build(&["leak"]).exits(1));
        fleet.fault("ticket-expired", None);
        clean(&fleet.build(&["sync-fleet"]).exits(0));
        clean(&fleet.pmx(&["log", "--json"]).exits(0));
        clean(&fleet.pmx(&["show", "keebDev02/node/node"]).exits(0).says("[secret]"));
        for run in fleet.pmx(&["runs", "--json"]).exits(0).lines() {
            clean(&fleet.pmx(&["run", run["id"].as_str().unwrap_or_default(), "--json"]).exits(0));
        }
        fleet.ask(&Request::Password { user: "root@pam".into(), password: "another".into() });
        fleet.fault("ticket-expired", None);
        let refused = fleet.build(&["sync-fleet"]).exits(1);
        clean(&refused);
    });
    assert_eq!(logins(&fleet.requests()), 2, "tickets were there to be leaked");
    let files = everything(&fleet);
    let holds =
        |part: &str, text: &str| files.iter().any(|(name, bytes)| name.contains(part) && String::from_utf8_lossy(bytes).contains(text));
    assert!(holds("/index.db", "[secret]") && holds("/vaults/", "password"), "the files that matter are among {:?}", files.keys());
    for (name, bytes) in files.iter().filter(|(name, _)| !typed(name)) {
        assert_eq!(give_away(bytes), None, "in {name}");
    }
}

#[test]
fn a_vault_gives_back_what_was_put_in_and_forgets() {
    let sandbox = Sandbox::own();
    sandbox.pmx_with_input(&["vault", "set", "proxmox-vault", "password"], &format!("{PASSWORD}\n")).exits(0);
    let got = sandbox.pmx(&["vault", "get", "proxmox-vault", "password"]).exits(0);
    assert_eq!((got.stdout.as_str(), got.stderr.as_str()), (format!("{PASSWORD}\n").as_str(), ""));
    assert!(!sandbox.read("vaults/proxmox-vault.toml").contains(PASSWORD));
    sandbox.pmx(&["vault", "list"]).exits(0).says("proxmox-vault");
    sandbox.pmx(&["vault", "list", "proxmox-vault"]).exits(0).says("password");
    sandbox.pmx_with_input(&["vault", "set", "proxmox-vault", "empty"], "").exits(2).says("nothing was stored");
    sandbox.pmx(&["vault", "get", "proxmox-vault", "pasword"]).exits(2).says("pasword");
    sandbox.pmx(&["vault", "get", "proxmx-vault", "password"]).exits(2).says("proxmx-vault");
    sandbox.pmx(&["vault", "rm", "proxmox-vault", "password"]).exits(0);
    sandbox.pmx(&["vault", "get", "proxmox-vault", "password"]).exits(2);
}
