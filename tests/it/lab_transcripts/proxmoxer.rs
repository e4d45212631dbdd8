//! The unmodified proxmoxer of PyPI against the lab.

use std::process::{Command, Stdio};

use pmx::lab::{Dialect, Seed};

use super::wire::Bench;
use crate::real::present;

fn has_proxmoxer() -> Option<()> {
    let found = Command::new("python3").args(["-c", "import proxmoxer, requests"]).stderr(Stdio::null()).status();
    present("proxmoxer", found.is_ok_and(|status| status.success()).then_some(()))
}

async fn check(dialect: Dialect) {
    let bench = Bench::start_with(Seed::Fleet, |options| options.dialect = dialect).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/lab/proxmoxer_check.py");
    let mut command = Command::new("python3");
    command
        .arg(script)
        .arg("127.0.0.1")
        .arg(bench.ready.api.port().to_string())
        .arg(bench.dir.path().join("certificate.pem"))
        .arg("pmx-lab");
    let out = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}\n{}", text(&out.stdout), text(&out.stderr));
    for step in ["version", "list 10", "create", "start", "agent 10.0.0.2", "delete", "token UPID:"] {
        assert!(text(&out.stdout).lines().any(|line| line.starts_with(step)), "no step {step:?} in\n{}", text(&out.stdout));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmodified_proxmoxer_is_content() {
    if has_proxmoxer().is_some() {
        check(Dialect::Eight).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_content_with_nine_too() {
    if has_proxmoxer().is_some() {
        check(Dialect::Nine).await;
    }
}
