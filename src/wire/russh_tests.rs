//! The SSH client against the machine's own sshd, on loopback, with its own host key and one user.
#![expect(clippy::disallowed_methods, reason = "tests start sshd and look at files")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use super::*;
use crate::event::Stream;
use crate::secret::{Origin, Secret};
use crate::wire::command::Command;
use crate::wire::hostkey::MemoryPins;
use crate::wire::ssh::{Input, Pinning};
use crate::wire::sshd::{Sshd, me};

const SOON: Duration = Duration::from_secs(30);

fn target(host: &str) -> Target {
    Target { host: host.into(), port: None, user: Some(me()), identity: format!("host:{host}"), pinning: Pinning::Pinned }
}

fn script(text: &str) -> Exec {
    Exec::new(Command::script(text), SOON)
}

async fn run(client: &SshClient, exec: Exec) -> Result<Output, SshError> {
    client.exec(&target("game"), exec, &|_, _| ()).await
}

#[tokio::test]
async fn commands_leave_their_status_and_both_outputs() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let lines = Mutex::new(Vec::new());
    let sink = |stream: Stream, line: &str| lines.lock().unwrap().push((stream, line.to_owned()));
    let mut exec = script("read word; echo \"got $word\"; echo oops >&2; exit 3");
    exec.input = Input::Secret(Secret::new("hush\n", Origin::Computed));
    let output = client.exec(&target("game"), exec, &sink).await.unwrap();
    assert_eq!(output, Output { status: 3, stdout: "got hush\n".into(), stderr: "oops\n".into() });
    let told: BTreeSet<String> = lines.lock().unwrap().iter().map(|(stream, line)| format!("{stream:?} {line}")).collect();
    assert_eq!(told, ["Err oops", "Out got hush"].map(str::to_owned).into());
    assert_eq!(run(&client, script("kill -9 $$")).await.unwrap().status, 137);
    assert_eq!(run(&client, script("exec no-such-program")).await.unwrap().status, 127);
    let words = ["it's", "$(id)", "a\nb", "-n", "", "*", "é\\"];
    let command = Command::new("printf").arg("<%s>").args(words).in_dir("/").env("A", "b");
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(run(&client, Exec::new(command, SOON)).await.unwrap().stdout, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_go_both_ways_at_once() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let line = "0123456789abcde\n";
    let mut exec = Exec::new(Command::new("cat"), SOON);
    exec.keep = 16 << 20;
    exec.input = Input::Bytes(line.repeat(655_360).into_bytes());
    let output = run(&client, exec).await.unwrap();
    assert_eq!((output.status, output.stdout.len()), (0, 10 << 20));
    assert!(output.stdout == line.repeat(655_360));
    let mut unread = Exec::new(Command::new("true"), SOON);
    unread.input = Input::Bytes(vec![b'x'; 10 << 20]);
    assert_eq!(run(&client, unread).await.unwrap().status, 0);
}

#[tokio::test]
async fn a_deadline_ends_the_remote_process() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let mark = sshd.path("alive");
    let mut exec = script(&format!("trap '' TERM; while :; do date >{mark}; sleep 0.1; done"));
    exec.deadline = Duration::from_millis(700);
    let error = run(&client, exec).await.unwrap_err();
    assert!(matches!(&error, SshError::Deadline { what, .. } if what.contains("trap")) && !error.certainly_not_begun(), "{error:?}");
    let gone = async {
        loop {
            let _ = std::fs::remove_file(&mark);
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !Path::new(&mark).exists() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("the loop still runs");
    assert_eq!(run(&client, script("exit 0")).await.unwrap().status, 0);
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_hold_a_command_for_ever() {
    let Some(sshd) = Sshd::start("") else { return };
    let begun = SystemClock::new();
    let output = run(&sshd.client(), script("sleep 60 & echo $!")).await.unwrap();
    assert_eq!(output.status, 0);
    assert!(begun.elapsed() < Duration::from_secs(20));
    let sleeper = output.stdout.trim().to_owned();
    let _ = std::process::Command::new("kill").arg(sleeper).status();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_channels_queue_and_one_login_serves_all() {
    let Some(sshd) = Sshd::start("MaxSessions 2") else { return };
    let client = sshd.client();
    let runs = (0..20).map(|n| run(&client, script(&format!("sleep 0.05; echo {n}"))));
    let outputs = futures_util::future::join_all(runs).await;
    let said: Vec<String> = outputs.into_iter().map(|output| output.unwrap().stdout.trim().to_owned()).collect();
    assert_eq!(said, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn a_changed_host_key_never_heals_itself() {
    let Some(mut sshd) = Sshd::start("") else { return };
    let pins = Arc::new(MemoryPins::new());
    let client = SshClient::new(sshd.settings(), Arc::<MemoryPins>::clone(&pins));
    let pinned = target("game");
    let boot = Target { pinning: Pinning::ThisBoot, identity: "vm:1".into(), ..pinned.clone() };
    let go = async |client: &SshClient, target: &Target| client.exec(target, script("true"), &|_, _| ()).await;
    go(&client, &pinned).await.unwrap();
    go(&client, &boot).await.unwrap();
    assert_eq!(pins.get("vm:1").unwrap(), None);
    let old = sshd.fingerprint();
    for target in [&pinned, &boot] {
        let hop = Hop { target: target.clone(), via: Vec::new() };
        client.connection(&hop, SOON).await.unwrap().close().await;
    }
    sshd.restart(true);
    let logins = sshd.log().matches("Accepted").count();
    let said = [(&pinned, "host:game"), (&boot, "vm:1")];
    for (target, identity) in said {
        let expected = SshError::KeyChanged {
            host: format!("{}@game:22", me()),
            identity: identity.into(),
            pinned: old.clone(),
            seen: sshd.fingerprint(),
        };
        tokio::time::timeout(SOON, async {
            // The old connection may need a moment to notice its end.
            while go(&client, target).await != Err(expected.clone()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(client.wait(target, SOON).await, Err(expected));
    }
    assert!(!sshd.log().contains("Failed publickey"));
    assert_eq!(sshd.log().matches("Accepted").count(), logins);
    client.forget(&boot).await;
    go(&client, &boot).await.unwrap();
    let replace = Target { pinning: Pinning::Replace, ..pinned.clone() };
    go(&client, &replace).await.unwrap();
    go(&client, &pinned).await.unwrap();
}

#[tokio::test]
async fn strangers_are_denied_with_what_was_offered() {
    let Some(sshd) = Sshd::start("") else { return };
    let stranger = Target { user: Some("no-such-user".into()), ..target("game") };
    let error = sshd.client().exec(&stranger, script("true"), &|_, _| ()).await.unwrap_err();
    let expected = SshError::Denied { host: "no-such-user@game:22".into(), offered: "~/.ssh/id_ed25519".into() };
    assert_eq!(error, expected);
    let home = tempfile::tempdir().unwrap();
    let mut settings = SshSettings { home: home.path().into(), ..sshd.settings() };
    let pins = Arc::new(MemoryPins::new());
    let nobody = SshClient::new(settings.clone(), Arc::<MemoryPins>::clone(&pins));
    assert!(nobody.wait(&target("game"), SOON).await.unwrap_err().to_string().contains("no agent and no key file"));
    assert_eq!(pins.get("host:game").unwrap(), None, "a host that denies us is not pinned");
    std::fs::create_dir_all(home.path().join(".ssh")).unwrap();
    let locked = home.path().join(".ssh/id_ed25519");
    let made = std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "secret", "-f"]).arg(&locked).status();
    assert!(made.unwrap().success());
    settings.agent_socket = Some(home.path().join("no-socket"));
    let error = SshClient::new(settings, pins).exec(&target("game"), script("true"), &|_, _| ()).await.unwrap_err().to_string();
    assert!(error.contains("agent (skipped: ") && error.contains("~/.ssh/id_ed25519 (encrypted, skipped"), "{error}");
}

#[tokio::test]
async fn closed_maps_and_dead_ports_dial_nothing() {
    let Some(mut sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    let off = client.exec(&target("elsewhere"), script("true"), &|_, _| ()).await.unwrap_err();
    assert_eq!(off, SshError::OffTheMap { host: "elsewhere:22".into() });
    sshd.stop();
    let refused = run(&client, script("true")).await.unwrap_err();
    assert!(matches!(&refused, SshError::Connect { cause, .. } if cause.contains("refused")), "{refused:?}");
    let waited = client.wait(&target("game"), Duration::from_millis(300)).await.unwrap_err();
    assert!(waited.to_string().contains("refused"), "{waited}");
    let game = target("game");
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sshd.restart(false);
    };
    let (waited, ()) = tokio::join!(client.wait(&game, SOON), later);
    waited.unwrap();
}

#[tokio::test]
async fn a_lost_connection_is_replaced_but_a_begun_command_is_not_repeated() {
    let Some(sshd) = Sshd::start("") else { return };
    let client = sshd.client();
    // The parent of the shell is this session's sshd.
    let parent = run(&client, script("echo $PPID")).await.unwrap().stdout.trim().to_owned();
    assert!(std::process::Command::new("kill").args(["-9", &parent]).status().unwrap().success());
    assert_eq!(run(&client, script("echo again")).await.unwrap().stdout, "again\n");
    let marks = sshd.path("marks");
    let error = run(&client, script(&format!("echo x >>{marks}; kill -9 $PPID; sleep 5"))).await.unwrap_err();
    assert!(matches!(error, SshError::Broken { .. }) && !error.certainly_not_begun(), "{error:?}");
    client.wait(&target("game"), SOON).await.unwrap();
    assert_eq!(std::fs::read_to_string(marks).unwrap(), "x\n");
}

#[tokio::test]
async fn the_ssh_config_and_jump_hosts_are_honoured() {
    let Some(sshd) = Sshd::start("") else { return };
    let me = me();
    let key = sshd.path("home/.ssh/other");
    std::fs::rename(sshd.path("home/.ssh/id_ed25519"), &key).unwrap();
    let config = format!(
        "Host cal\n  HostName 10.0.0.7\n  User {me}\n  IdentityFile {key}\nHost inner\n  HostName 10.0.0.9\n  User {me}\n  \
         IdentityFile {key}\n  ProxyJump cal\n"
    );
    std::fs::write(sshd.path("home/.ssh/config"), config).unwrap();
    let client = sshd.client();
    for host in ["cal", "inner"] {
        let alias = Target { user: None, ..target(host) };
        let output = client.exec(&alias, script("echo $SSH_CONNECTION"), &|_, _| ()).await.unwrap();
        assert!(output.stdout.contains(&format!("127.0.0.1 {}", sshd.port)), "{output:?}");
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2);
}

#[tokio::test]
async fn an_agents_keys_are_offered() {
    let Some(sshd) = Sshd::start("") else { return };
    let socket = sshd.path("agent");
    let mut agent = std::process::Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::null()).spawn().unwrap();
    while !Path::new(&socket).exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let key = sshd.path("home/.ssh/id_ed25519");
    let added = std::process::Command::new("ssh-add").args(["-q", &key]).env("SSH_AUTH_SOCK", &socket).status().unwrap();
    assert!(added.success());
    std::fs::remove_file(&key).unwrap();
    let settings = SshSettings { agent_socket: Some(socket.into()), ..sshd.settings() };
    let client = SshClient::new(settings, Arc::new(MemoryPins::new()));
    let worked = run(&client, script("true")).await;
    let stranger = Target { user: Some("no-such-user".into()), ..target("game") };
    let denied = client.exec(&stranger, script("true"), &|_, _| ()).await;
    let _ = agent.kill();
    let _ = agent.wait();
    worked.unwrap();
    assert!(denied.unwrap_err().to_string().contains("(agent: 1 key)"));
}

#[tokio::test]
async fn a_command_without_a_channel_has_certainly_not_begun() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    let client = sshd.client();
    let mark = sshd.path("mark");
    let mut waiting = script(&format!("touch {mark}"));
    waiting.deadline = Duration::from_millis(600);
    let second = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        run(&client, waiting).await
    };
    let (first, second) = tokio::join!(run(&client, script("sleep 2; echo first")), second);
    assert_eq!(first.unwrap().stdout, "first\n");
    let error = second.unwrap_err();
    assert!(error.certainly_not_begun() && error.to_string().contains("no free channel"), "{error:?}");
    assert!(!Path::new(&mark).exists());
    assert_eq!(run(&client, script("echo third")).await.unwrap().stdout, "third\n");
}

#[tokio::test]
async fn those_who_wait_for_one_attempt_share_its_failure() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let knocks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&knocks);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(socket);
        }
    });
    let map = ConnectMap::parse([("game:22", address.as_str())], true).unwrap();
    let client = SshClient::new(SshSettings::new(map, "/nonexistent"), Arc::new(MemoryPins::new()));
    let all = futures_util::future::join_all((0..20).map(|_| run(&client, script("true")))).await;
    assert!(all.iter().all(|result| matches!(result, Err(SshError::Connect { .. }))), "{all:?}");
    assert!(knocks.load(Ordering::SeqCst) <= 2, "{knocks:?}");
}
