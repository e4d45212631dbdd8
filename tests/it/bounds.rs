//! Bounds: much history, large resources, long logs and many actions, in little memory.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pmx::digest::Digest;
use pmx::event::Time;
use pmx::name::{Actor, ResourceName};
use pmx::store::Store;
use pmx::store::dir::DirStore;
use pmx::store::words::{Commit, Made, NewVersion, Version};

use super::fleet::Fleet;
use super::process::{bytes_read, signal, wait_until};
use super::real::sshd::Sshd;
use super::real_types::site::project;
use super::sandbox::{Ran, Sandbox};

/// What no command may ever need.
const MEMORY: u64 = 200 << 20;

/// How many times as much is done, for `just torture`.
fn times() -> u64 {
    std::env::var("PMX_BOUNDS").map_or(1, |text| text.parse().expect("PMX_BOUNDS is a number"))
}

const CALAMITY: &str = "fleet/vm/calamity";

fn made(number: u64) -> Made {
    Made {
        run: format!("{number:032x}").parse().expect("the id of a run"),
        step: "stop-calamity/stop-vm".to_owned(),
        call: "fleet.stop".to_owned(),
        key: Digest::of(b"key"),
        at: Time(1_700_000_000_000 + i64::try_from(number).unwrap_or(0)),
        actor: Actor::new("cli", "tester@bounds"),
    }
}

/// Writes versions of one resource into a store, by their contents.
fn history(store: &Path, name: &str, contents: impl Iterator<Item = Vec<u8>>) {
    let mut store = DirStore::open_or_create(store).expect("a store can be made");
    let resource: ResourceName = name.parse().expect("the name of a resource");
    let (mut parent, mut page) = (None, Vec::new());
    let mut write = |page: &mut Vec<NewVersion>| {
        store.commit(Commit { versions: std::mem::take(page), ..Commit::default() }).expect("versions can be written");
    };
    for (number, content) in (1..).zip(contents) {
        let (resource, digest, made) = (resource.clone(), Digest::of(&content), made(number));
        page.push(NewVersion { resource: resource.clone(), content, expected: parent, made: made.clone(), log: None });
        parent = Some(Version { resource, number, parent, content: digest, made, log: None }.digest());
        if page.len() == 5000 {
            write(&mut page);
        }
    }
    write(&mut page);
}

/// Writes one version of each of so many resources of one spec into a store.
fn fleet_of(store: &Path, spec: &str, count: u64, content: impl Fn(u64) -> String) {
    let mut store = DirStore::open_or_create(store).expect("a store can be made");
    let new = |number: u64| NewVersion {
        resource: format!("{spec}/thing-{number:06}").parse().expect("the name of a resource"),
        content: content(number).into_bytes(),
        expected: None,
        made: made(number),
        log: None,
    };
    for first in (0..count).step_by(5000) {
        let versions = (first..count.min(first + 5000)).map(new).collect();
        store.commit(Commit { versions, ..Commit::default() }).expect("versions can be written");
    }
}

/// The project with one more host, at a fixed address.
fn big() -> Sandbox {
    Sandbox::own().file("definitions/big.toml", "type = \"ssh/host\"\n[global]\nhost = \"10.0.0.107\"\n").deadline(Duration::from_secs(300))
}

/// Runs it to its end in bounded memory.
#[track_caller]
fn bounded(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    below(MEMORY, sandbox, arguments)
}

/// Runs it to its end in less memory than this.
#[track_caller]
fn below(limit: u64, sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let (ran, most) = sandbox.start(arguments).end_measured();
    println!("pmx {}: {} MiB at most, {:?}", arguments.join(" "), most >> 20, ran.took);
    assert!(most < limit, "`pmx {}` took {} MiB", arguments.join(" "), most >> 20);
    ran.exits(0)
}

#[test]
fn a_long_history_is_told_from_its_first_page() {
    let versions = 25_000 * times();
    let content =
        |number: u64| format!(r#"{{"name":"calamity","status":"{}","uptime":{number}}}"#, ["running", "stopped"][number as usize % 2]);
    let sandbox = Sandbox::own().deadline(Duration::from_secs(300));
    history(&sandbox.path("store"), CALAMITY, (1..=versions).map(|number| content(number).into_bytes()));

    // Nobody reads on after the first line: it blocks when the pipe is full, and has not read the rest of the store by then.
    let size = std::fs::metadata(sandbox.path("store/index.db")).expect("a store has an index").len();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pmx"));
    command.args(["log", CALAMITY]).current_dir(sandbox.path("")).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("pmx can be started");
    let mut lines = BufReader::with_capacity(512, child.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a first line").expect("a line of text");
    let (mut before, mut still) = (None, 0);
    wait_until("it waits for its reader", Duration::from_secs(60), || {
        let now = bytes_read(child.id());
        still = if now == before { still + 1 } else { 0 };
        before = now;
        still == 20
    });
    drop(lines);
    signal("KILL", &[child.id()]);
    child.wait().expect("a killed child ends");
    assert!(first.contains(&format!("version {versions} ")), "{first}");
    let read = before.expect("it lives until it is killed");
    println!("after the first page it has read {read} bytes of {size}");
    assert!(read < size / 4, "it has read {read} of {size} bytes before anybody asked for more");

    let lines = bounded(&sandbox, &["log", CALAMITY, "--json"]).lines();
    assert_eq!(lines.len() as u64, versions);
    assert_eq!(lines[0]["changes"].as_array().map(Vec::len), Some(2), "{}", lines[0]);
    bounded(&sandbox, &["show", &format!("{CALAMITY}@{}", versions / 2), "--json"]).says(&format!("\"uptime\":{}", versions / 2));
    bounded(&sandbox, &["show", &format!("{CALAMITY}@2023-11-14T22:13:40Z"), "--json"]).says("\"uptime\":20000");
    bounded(&sandbox, &["ls"]).says(&format!("@{versions}"));
    bounded(&sandbox, &["gc", "--keep", "10", "--older-than", "0s", "--dry-run"]).says("drop ");
    bounded(&sandbox, &["fsck"]).says("every chain is whole");
}

#[test]
fn a_resource_of_sixty_four_mebibytes_is_shown_compared_and_read() {
    const RESULT: &str = "big/result/result";
    let content = |code: i32| {
        let text = "0123456789abcdef".repeat(4 << 20);
        format!(r#"{{"command":"cat","exitCode":{code},"host":"10.0.0.7","stderr":"","stdout":"{text}"}}"#).into_bytes()
    };
    let fleet = Fleet::of(big());
    fleet.wake();
    history(&fleet.store(), RESULT, [0, 1].into_iter().map(content));
    let pmx = |arguments: &[&str]| bounded(&fleet.sandbox, &[&["--profile", "lab"], arguments].concat());
    let log = pmx(&["log", RESULT]);
    assert!(log.stdout.len() < 2000, "{} bytes", log.stdout.len());
    log.says("exitCode: 0 → 1").says("(67108864 bytes, ");
    pmx(&["log", RESULT, "--json"]);
    pmx(&["diff", &format!("{RESULT}@1")]).says("exitCode: 0 → 1");
    pmx(&["ls"]).says(RESULT);
    for shown in [pmx(&["show", RESULT]), pmx(&["show", RESULT, "--json"])] {
        assert!(shown.stdout.len() > 64 << 20, "whole");
    }
    pmx(&["fsck"]).says("every chain is whole");
    // An expression may not unfold it.
    let step =
        format!("description = \"Reads much\"\n[[step]]\nname = \"look\"\ncall = \"fleet.lookup\"\nwith = {{ vmName = '{}' }}\n", READ);
    std::fs::write(fleet.sandbox.path("workflows/much.toml"), step).expect("a workflow can be written");
    let (ran, most) = fleet.sandbox.start(&["--profile", "lab", "build", "much"]).end_measured();
    assert!(most < MEMORY, "{} MiB", most >> 20);
    ran.exits(2).says("it reads or makes more than 64 MiB of text and lists");
}

const READ: &str = r#"${{ size(model.big.resource.result["result"].attributes.stdout) == 67108864 ? "VM 102" : "nobody" }}"#;

#[test]
fn thousands_of_resources_are_asked_in_one_query() {
    let count = 12_800 * times();
    let sandbox = Sandbox::own().deadline(Duration::from_secs(600));
    let content = |number: u64| {
        let status = if number % 100 == 7 { "running" } else { "stopped" };
        format!(r#"{{"ip":"10.0.0.7","name":"thing-{number}","status":"{status}","uptime":{number}}}"#)
    };
    fleet_of(&sandbox.path("store"), "bench/thing", count, content);
    let all = "model.bench.resource.thing";
    assert_eq!(bounded(&sandbox, &["query", &format!("size({all})")]).stdout.trim(), count.to_string());
    let running = bounded(&sandbox, &["query", &format!(r#"{all}.filter(n, {all}[n].attributes.status == "running")"#), "--json"]).json();
    assert_eq!((running.as_array().map(Vec::len), &running[0]), (Some(count as usize / 100), &serde_json::json!("thing-000007")));
    bounded(&sandbox, &["query", &format!("{all}.all(n, {all}[n].attributes.uptime < {count})")]).says("true");
    bounded(&sandbox, &["query", &format!("{all}[\"thing-000007\"].attributes.uptime")]).says("7");
    // What one question may cost is bounded, and said so.
    let much = format!("{all}.map(n, lists.range(10000))");
    sandbox.pmx(&["query", &much]).exits(2).says("the expression costs too much: it reads or makes more than 64 MiB of text and lists");
}

#[test]
fn a_command_may_say_more_than_fits_into_memory() {
    let Some(sshd) = Sshd::start() else { return };
    let sandbox = project(&sshd).deadline(Duration::from_secs(900));
    let bytes = (128 << 20) * times();
    // Once in lines, once in a single line that never ends; and at the end something that is to be kept.
    let lines = format!("command=yes 'a line of a long log, as a compiler writes them' | head -c {bytes}; echo; echo the end");
    below(MEMORY.min(bytes), &sandbox, &["build", "testVmSsh.exec", "-i", "timeout=900", "-i", &lines]);
    let log = bounded(&sandbox, &["show", "testVmSsh/result/result", "--json"]).json();
    let kept = log["attributes"]["stdout"].as_str().expect("a text");
    assert!(kept.len() == 1 << 20 && kept.ends_with("\nthe end\n"), "{} bytes", kept.len());
    let endless = format!("command=head -c {bytes} /dev/zero | tr '\\0' x; echo; echo the end");
    below(MEMORY.min(bytes), &sandbox, &["build", "testVmSsh.exec", "-i", "timeout=900", "-i", &endless]);
}

#[test]
fn a_run_of_thousands_of_actions_fits_into_memory() {
    let actions = 1_000 * times();
    let fleet = Fleet::of(big());
    fleet.wake();
    let mut text = "description = \"Looks often\"\n".to_owned();
    for number in 0..actions {
        // Equal observations would be one.
        let (name, with) = (format!("look-{number}"), format!("{{ timeout = {} }}", 60 + number));
        text.push_str(&format!("[[step]]\nname = \"{name}\"\ncall = \"big.waitForConnection\"\nwith = {with}\nfresh = \"1h\"\n"));
    }
    std::fs::write(fleet.sandbox.path("workflows/many.toml"), text).expect("a workflow can be written");
    let limit = if actions < 10_000 { MEMORY / 2 } else { MEMORY };
    let done = below(limit, &fleet.sandbox, &["--profile", "lab", "build", "many"]);
    done.says(&format!("{actions} done"));
    fleet.pmx(&["fsck"]).exits(0);
}
