//! Secrets: after everything was done with them, they stand nowhere in plain text.

use pmx::lab::control::Request;

use super::canary::Guarded;
use super::fleet::{Fleet, logins};
use super::sandbox::Sandbox;

/// A secret that commands tell again on both streams, in one piece, in pieces of a line, and when they fail.
const LEAK: &str = r#"
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
with = { vmName = "calamity", command = "cat /root/secret; echo; cat /root/secret >&2; echo \"token is <$(cat /root/secret)>\"" }

[[step]]
name = "fail"
call = "testVmSsh.exec"
with = { vmName = "calamity", command = "cat /root/secret >&2; exit 7" }
"#;

/// What every workflow does with canaries for secrets is searched in `workflows`; here commands tell a secret again, accounts are refused and a run dies.
#[test]
fn a_secret_that_comes_back_stands_nowhere() {
    let mut fleet = Guarded::of(Fleet::of(Sandbox::own().file("workflows/leak.toml", LEAK)));
    fleet.keep("game");
    let leak = fleet.build(&["leak", "-v", "--json"]).exits(1);
    assert!(leak.stdout.contains("token is <[secret]>"), "the output of the commands is there, without the secret: {leak}");
    fleet.build(&["leak", "-v"]).exits(1).says("token is <[secret]>").says("exit code 7");
    fleet.build(&["leak"]).exits(1).says("[secret]");
    fleet.pmx(&["show", "keebDev02/node/node"]).exits(0).says("[secret]");
    fleet.fault("ticket-expired", None);
    fleet.build(&["sync-fleet", "-v"]).exits(0);
    fleet.ask(&Request::Password { user: "root@pam".into(), password: "another".into() });
    fleet.fault("ticket-expired", None);
    fleet.build(&["sync-fleet"]).exits(1);
    assert!(logins(&fleet.requests()) >= 2, "tickets were there to be leaked");
}

#[test]
fn a_run_that_was_killed_and_resumed_leaves_no_secret_behind() {
    let fleet = Guarded::up();
    fleet.fault("locked", Some(super::fleet::CALAMITY));
    let mut running = fleet.start(&["build", "stop-calamity", "-v"]);
    running.wait_for("locked (backup)").kill();
    drop(running.end());
    let runs = fleet.pmx(&["runs", "--json"]).exits(0).lines();
    fleet.heal();
    let id = runs[0]["id"].as_str().unwrap_or_default().to_owned();
    fleet.build(&["--resume", &id, "-v"]).exits(0);
}
