//! Credentials: opened at each request, renewed once for all who hold them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::event::{Ending, RunState};
use crate::exec::rig::{Gate, Rig, Running};
use crate::exec::rig_types::{outcome, ticket_of, usual};
use crate::model::contract::{Call, Failure};
use crate::secret::Credential;
use crate::value::Value;

const HOLDERS: usize = 12;

fn ticket(call: &Call) -> Credential {
    match &call.globals["ticket"] {
        Value::Secret(secret) => Credential(secret.clone()),
        other => panic!("{other:?}"),
    }
}

/// A rig with as many holders of one ticket, all in their methods at once; each login gives `t1`, `t2`, …
fn rig() -> Rig {
    let step = |n: usize| format!("[[step]]\nname = \"s{n}\"\ncall = \"api.note\"\nwith = {{ as = 's{n}' }}\n");
    let mut rig = Rig::new(&(0..HOLDERS).map(step).collect::<String>());
    (rig.settings.jobs, rig.settings.per_host) = (HOLDERS, HOLDERS);
    rig.vault.insert("password".into(), "hunter2!".into());
    rig
}

fn logins(rig: &Rig) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    rig.on("login.auth", move |ctx, call| {
        let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            // A login opens its own password, and that needs nobody.
            let Value::Secret(password) = &call.globals["password"] else { panic!("no password") };
            let open = ctx.credentials.open(&Credential(password.clone())).await?;
            assert_eq!(open.expose(), "hunter2!");
            Ok(outcome(&ctx, &call, ticket_of(&format!("ticket-{n}"))))
        }
    });
    count
}

/// Lets everybody who can go on go on.
async fn settle(run: &Running) {
    for _ in 0..20 {
        run.engine.view.keeper.call(|_| ()).await;
        for _ in 0..HOLDERS * 4 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_ticket_near_its_end_is_renewed_once_for_all_who_hold_it() {
    let rig = rig();
    let count = logins(&rig);
    let gate = Gate::default();
    let at = gate.clone();
    rig.on("api.note", move |ctx, call| {
        let at = at.clone();
        async move {
            assert_eq!(ctx.credentials.open(&ticket(&call)).await?.expose(), "ticket-1");
            at.pass().await;
            assert_eq!(ctx.credentials.open(&ticket(&call)).await?.expose(), "ticket-2");
            Ok(usual(&ctx, &call))
        }
    });
    let run = rig.start();
    gate.arrived(HOLDERS).await;
    rig.clock.advance(Duration::from_secs(3600));
    gate.open();
    let told = run.end().await;
    assert_eq!(told.ran.state, RunState::Succeeded, "{:#?}", told.ran.failures);
    assert_eq!((count.load(Ordering::SeqCst), rig.head("login/login/login").unwrap().0.number), (2, 2));
}

#[tokio::test]
async fn a_refused_ticket_is_renewed_once_for_all_who_hold_it() {
    let rig = rig();
    let count = logins(&rig);
    let gate = Gate::default();
    let at = gate.clone();
    rig.on("api.note", move |ctx, call| {
        let at = at.clone();
        async move {
            let stale = ctx.credentials.open(&ticket(&call)).await?;
            at.pass().await;
            assert_eq!(ctx.credentials.renew(&ticket(&call), &stale).await?.expose(), "ticket-2");
            assert_eq!(ctx.credentials.open(&ticket(&call)).await?.expose(), "ticket-2");
            Ok(usual(&ctx, &call))
        }
    });
    let run = rig.start();
    gate.arrived(HOLDERS).await;
    gate.open();
    let told = run.end().await;
    assert_eq!(told.ran.state, RunState::Succeeded, "{:#?}", told.ran.failures);
    assert_eq!((count.load(Ordering::SeqCst), rig.head("login/login/login").unwrap().0.number), (2, 2));
}

#[tokio::test]
async fn a_login_that_fails_fails_once_for_all_who_wait_for_it() {
    let rig = rig();
    logins(&rig);
    let gate = Gate::default();
    let at = gate.clone();
    rig.on("api.note", move |ctx, call| {
        let at = at.clone();
        async move {
            let stale = ctx.credentials.open(&ticket(&call)).await?;
            at.pass().await;
            ctx.credentials.renew(&ticket(&call), &stale).await?;
            Ok(usual(&ctx, &call))
        }
    });
    let run = rig.start();
    gate.arrived(HOLDERS).await;
    let login = rig.gate_and_fail("login.auth", Failure::theirs("wrong password"));
    gate.open();
    login.arrived(1).await;
    settle(&run).await;
    login.open();
    let told = run.end().await;
    assert_eq!(told.ran.count(Ending::Failed), HOLDERS);
    assert!(told.ran.failures.iter().all(|(_, failure)| failure.message == "wrong password"), "{:#?}", told.ran.failures);
    assert_eq!(login.count(), 1, "an account is locked after a few wrong passwords");
}

#[tokio::test]
async fn a_literal_credential_cannot_be_renewed() {
    let mut rig = Rig::new("[[step]]\nname = \"l\"\ncall = \"login.auth\"\n");
    rig.vault.insert("password".into(), "hunter2!".into());
    rig.on("l", |ctx, call| async move {
        let Value::Secret(password) = call.globals["password"].clone() else { panic!("no password") };
        ctx.credentials.renew(&Credential(password.clone()), &password).await?;
        Ok(usual(&ctx, &call))
    });
    let told = rig.run().await;
    assert_eq!(told.of("l"), "failed: the credential from vault v, key password was refused");
    assert!(told.ran.failures[0].1.help.is_some());
}

#[tokio::test]
async fn a_login_is_fresh_in_the_next_run() {
    let rig = rig();
    let count = logins(&rig);
    let first = rig.run().await;
    assert_eq!(first.ran.state, RunState::Succeeded, "{:#?}", first.ran.failures);
    rig.clock.advance(Duration::from_secs(3000));
    assert_eq!(rig.run().await.ran.state, RunState::Succeeded);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_digest_of_a_secret_is_keyed_by_the_store() {
    let mut rig = Rig::new("[[step]]\nname = \"n\"\ncall = \"fleet.note\"\nwith = { as = 'n', key = '${{ vault.get(\"v\", \"k\") }}' }\n");
    rig.vault.insert("k".into(), "secret-text".into());
    let calls = rig.spy("n");
    rig.run().await;
    let (ctx, call) = calls.lock().unwrap()[0].clone();
    let Value::Secret(secret) = &call.arguments["key"] else { panic!("no secret") };
    assert_eq!(ctx.credentials.keyed_digest(secret), crate::digest::Digest::keyed(&[7; 32], b"secret-text"));
}
