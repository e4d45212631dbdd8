//! Vaults and the store's key from a terminal: kept, listed, forgotten, and sealed anew, wherever the process that does it is killed.
#![expect(clippy::print_stdout, reason = "the figures, for whoever asks with --nocapture")]

use std::path::PathBuf;

use super::fleet::{CALAMITY, Fleet};
use super::real::needs;
use super::sandbox::Sandbox;

const PASSWORD: &str = "correct-Horse+battery=Staple";

fn keep(sandbox: &Sandbox, key: &str, secret: &str) {
    sandbox.pmx_with_input(&["vault", "set", "proxmox-vault", key], secret).exits(0);
}

/// The only key file of the sandbox; drafts that killed processes left mean nothing.
fn key_file(sandbox: &Sandbox) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(sandbox.home(".config/pmx/keys")).expect("there are keys").flatten().map(|entry| entry.path()).collect();
    files.retain(|file| !file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-")));
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn a_vault_gives_back_what_was_put_in_and_forgets() {
    let sandbox = Sandbox::own();
    keep(&sandbox, "password", &format!("{PASSWORD}\n"));
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

#[test]
fn a_secret_that_is_typed_is_not_shown() {
    let Some([_, _]) = needs(["script", "stty"]) else { return };
    let sandbox = Sandbox::own();
    // Typed a moment late, when the prompt has switched the echo off.
    let script = format!("{{ sleep 2; echo '{PASSWORD}'; sleep 1; }} | script -qefc 'pmx vault set proxmox-vault password' /dev/null");
    sandbox.shell(&script).exits(0).says("password (not shown): ").keeps_quiet_about(PASSWORD);
    sandbox.pmx(&["vault", "get", "proxmox-vault", "password"]).exits(0).says(PASSWORD);
}

#[test]
fn a_key_is_replaced_and_the_old_one_opens_nothing() {
    let sandbox = Sandbox::own();
    keep(&sandbox, "password", PASSWORD);
    keep(&sandbox, "discordToken", "a token");
    let key = key_file(&sandbox);
    let old = std::fs::read_to_string(&key).expect("the key can be read");
    let told = sandbox.pmx(&["vault", "rotate"]).exits(0).says("sealed 2 values of ").says("with a new key");
    let new = std::fs::read_to_string(&key).expect("the key can be read");
    assert!(new != old && new.len() == old.len(), "{told}");
    sandbox.pmx(&["vault", "get", "proxmox-vault", "password"]).exits(0).says(PASSWORD);
    std::fs::write(&key, &old).expect("the key can be written");
    sandbox.pmx(&["vault", "get", "proxmox-vault", "password"]).exits(2).says("it is sealed with another store's key");
    std::fs::write(&key, new).expect("the key can be written");
    let json = sandbox.pmx(&["vault", "rotate", "--json"]).exits(0).json();
    assert_eq!((&json["resumed"], &json["old_key_in"]), (&false.into(), &serde_json::Value::Null), "{json}");
    sandbox.pmx(&["vault", "get", "proxmox-vault", "discordToken"]).exits(0).says("a token");
}

#[test]
fn a_key_is_not_replaced_under_a_run() {
    let fleet = Fleet::up();
    fleet.fault("locked", Some(CALAMITY));
    let mut running = fleet.start(&["build", "stop-vm", "-i", "vmName=calamity"]);
    running.wait_for("locked (backup)");
    fleet.pmx(&["vault", "rotate"]).exits(3).says("(stop-vm) by cli:tester@").says("is in progress").says("again when it has ended");
    fleet.heal();
    running.end().exits(0);
    let told = fleet.pmx(&["vault", "rotate"]).exits(0).says(" of the store with a new key");
    told.keeps_quiet_about("sealed 0 secrets");
    // The ticket of before is there still, under the new key.
    fleet.build(&["sync-fleet"]).exits(0).says("1 fresh");
    fleet.pmx(&["fsck"]).exits(0).says("every chain is whole");
}

#[test]
fn a_run_that_was_interrupted_goes_on_after_a_rotation() {
    let fleet = Fleet::up();
    fleet.fault("locked", Some(CALAMITY));
    let mut running = fleet.start(&["build", "stop-vm", "-i", "vmName=calamity"]);
    running.wait_for("locked (backup)").kill();
    drop(running.end());
    fleet.pmx(&["vault", "rotate"]).exits(0);
    fleet.heal();
    let runs = fleet.pmx(&["runs", "--json"]).exits(0).lines();
    let id = runs[0]["id"].as_str().unwrap_or_default();
    fleet.build(&["--resume", id]).exits(0).keeps_quiet_about("changed since");
}

/// Wherever it is killed, everything opens, and another one goes on to the end.
#[test]
fn a_rotation_that_is_killed_is_ended_by_the_next() {
    let sandbox = Sandbox::own();
    for number in 0..40 {
        keep(&sandbox, &format!("key{number}"), &format!("secret {number}"));
    }
    let whole = sandbox.pmx(&["vault", "rotate"]).exits(0).took;
    let (mut cut, mut begun) = (0, 0);
    for round in 0..12 {
        let mut running = sandbox.start(&["vault", "rotate"]);
        std::thread::sleep(whole * round / 12);
        running.kill();
        cut += u32::from(running.end().status.code().is_none());
        let text = std::fs::read_to_string(key_file(&sandbox)).expect("the key can be read");
        begun += u32::from(text.lines().count() == 2);
        for number in [0, 39] {
            let got = sandbox.pmx(&["vault", "get", "proxmox-vault", &format!("key{number}")]).exits(0);
            assert_eq!(got.stdout, format!("secret {number}\n"), "after {round} rounds");
        }
    }
    assert!(cut > 0, "none was killed in time");
    sandbox.pmx(&["vault", "rotate"]).exits(0);
    let text = std::fs::read_to_string(key_file(&sandbox)).expect("the key can be read");
    assert_eq!(text.len(), 65, "one key is left");
    println!("{cut} of 12 rotations were killed, {begun} of them between the new key and the end of the old one");
}

#[test]
fn a_program_that_tells_secrets_is_asked_with_a_deadline_and_quoted() {
    let vaults = "\n[vault.safe]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"sleep 30; echo {key}\"]\ntimeout = \"1s\"\n\n\
                  [vault.broken]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"echo nobody knows {key} >&2; exit 4\"]\n\n\
                  [vault.missing]\nkind = \"command\"\ncommand = [\"no-such-program\", \"{key}\"]\n\n[vault.ci]\nkind = \"env\"\nprefix = \"CI_\"\n";
    let own = Sandbox::own();
    let text = own.read("Pmxfile.toml");
    let sandbox = own.file("Pmxfile.toml", &format!("{text}{vaults}")).env("CI_DISCORD_TOKEN", "from the environment");
    let get = |vault: &str, key: &str| sandbox.pmx(&["vault", "get", vault, key]);
    get("safe", "k").exits(2).says("could not get key `k` of vault safe from sh: it did not end within 1 s and was stopped");
    get("broken", "k").exits(2).says("from sh: exit status: 4: nobody knows k");
    get("missing", "k").exits(2).says("from no-such-program: it does not start");
    get("ci", "discordToken").exits(0).says("from the environment");
    get("ci", "other").exits(2).says("vault ci has no key `other` (keys there: DISCORD_TOKEN); export CI_OTHER or CI_other");
    for (vault, why) in [("safe", "its secrets belong to sh; use that program"), ("ci", "it is the environment of this process")] {
        sandbox.pmx_with_input(&["vault", "set", vault, "k"], "x").exits(2).says(why);
        sandbox.pmx(&["vault", "rm", vault, "k"]).exits(2).says(why);
    }
}

/// A keyring is a program; on a host without one its words are shown, with what to do.
#[test]
fn a_keyring_that_is_not_there_is_said_to_be_missing() {
    let own = Sandbox::own().replace(
        "Pmxfile.toml",
        "path = \"store\"\n",
        "path = \"store\"\nkey = [\"secret-tool-of-nobody\", \"lookup\", \"pmx\", \"{id}\"]\n",
    );
    let ran = own
        .pmx(&["vault", "list", "proxmox-vault"])
        .exits(2)
        .says("the store's key (secret-tool-of-nobody) cannot be used: it does not start");
    ran.says("openssl rand -hex 32").says("take `key` out of [store]").says("PMX_STORE_KEY");
}
