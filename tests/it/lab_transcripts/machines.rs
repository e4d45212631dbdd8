//! The SSH hosts behind the VMs' addresses: there exactly while their VM is up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use pmx::lab::Seed;
use pmx::lab::control::{Tinker, VmStatus};
use pmx::lab::world::Phase;

use super::wire::Bench;

const NODE: &str = "/nodes/keeb-dev-02";

async fn vm(bench: &Bench, vmid: u32) -> VmStatus {
    let status = bench.control().await.status().await.unwrap();
    status.vms.into_iter().find(|vm| vm.vmid == vmid).unwrap()
}

/// Waits until the SSH host of a VM listens (or does not).
async fn until(bench: &Bench, vmid: u32, listens: bool) -> VmStatus {
    for _ in 0..600 {
        let vm = vm(bench, vmid).await;
        if vm.ssh.is_some() == listens {
            return vm;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("VM {vmid}: {:?}", vm(bench, vmid).await);
}

async fn banner(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(at).await?;
    let mut bytes = [0_u8; 4];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn an_ssh_host_comes_with_the_boot_and_goes_with_the_power() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let up = until(&bench, 107, true).await;
    let at = up.ssh.unwrap();
    assert_eq!((up.phase, at), (Phase::Up, SocketAddr::from(([127, 0, 10, 107], bench.ready.ssh_port))));
    assert_eq!(banner(at).await.unwrap(), "SSH-");
    let mut open = TcpStream::connect(at).await.unwrap();
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/107/status/stop"), &[]).await, "OK");
    until(&bench, 107, false).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), open.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "a connection to a machine without power breaks");
    assert!(banner(at).await.is_err());
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/107/status/start"), &[]).await, "OK");
    assert_eq!(vm(&bench, 107).await.phase, Phase::Booting);
    until(&bench, 107, true).await;
}

#[tokio::test]
async fn a_diskless_vm_boots_from_the_network_and_gets_a_new_address() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let pairs = [("vmid", "200"), ("name", "test-guest-agent-vm"), ("net0", "virtio,bridge=vmbr0"), ("boot", "order=net0"), ("agent", "1")];
    assert_eq!(root.task("POST", &format!("{NODE}/qemu"), &pairs).await, "OK");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/200/status/start"), &[]).await, "OK");
    let up = until(&bench, 200, true).await;
    assert_eq!(up.address.octets(), [10, 0, 0, 200]);
    assert_eq!(root.call("GET", &format!("{NODE}/qemu/200/agent/network-get-interfaces"), &[]).await.status(), 200);
    let nothing = [("vmid", "201"), ("agent", "1"), ("scsi0", "local-lvm:8"), ("boot", "order=scsi0")];
    assert_eq!(root.task("POST", &format!("{NODE}/qemu"), &nothing).await, "OK");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/201/status/start"), &[]).await, "OK");
    assert_eq!(
        root.task("POST", &format!("{NODE}/qemu/201/status/shutdown"), &[("timeout", "2")]).await,
        "VM quit/powerdown failed - got timeout"
    );
    assert_eq!(vm(&bench, 201).await.phase, Phase::Booting, "an empty disk and no network: nothing ever answers");
}

#[tokio::test]
async fn the_host_key_of_a_machine_outlives_the_lab() {
    let bench = Bench::start(Seed::Fleet).await;
    until(&bench, 100, true).await;
    let key = |bench: &Bench| {
        std::fs::read_to_string(bench.dir.path().join("host-100.json")).map(|text| {
            let host: serde_json::Value = serde_json::from_str(&text).unwrap();
            host["state"]["host_key"].as_str().unwrap().to_owned()
        })
    };
    let bench = bench.restart(Seed::Fleet).await;
    let first = key(&bench).unwrap();
    assert!(first.contains("PRIVATE KEY"));
    until(&bench, 100, true).await;
    bench.control().await.tinker(100, Tinker::PowerOff).await.unwrap();
    until(&bench, 100, false).await;
    let bench = bench.restart(Seed::Fleet).await;
    assert_eq!(key(&bench).unwrap(), first);
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

async fn session(at: SocketAddr) -> client::Handle<Trusting> {
    let mut session = client::connect(Arc::new(client::Config::default()), at, Trusting).await.unwrap();
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[5; 32]));
    let auth = session.authenticate_publickey("root", PrivateKeyWithHashAlg::new(Arc::new(key), None)).await.unwrap();
    assert!(auth.success());
    session
}

async fn run(session: &client::Handle<Trusting>, command: &str) -> String {
    let mut channel = session.channel_open_session().await.unwrap();
    channel.exec(true, command).await.unwrap();
    let mut out = Vec::new();
    while let Some(message) = channel.wait().await {
        if let russh::ChannelMsg::Data { data } = message {
            out.extend_from_slice(&data);
        }
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a_connection_carries_more_commands_than_sessions_at_a_time() {
    let bench = Bench::start(Seed::Fleet).await;
    let at = until(&bench, 107, true).await.ssh.unwrap();
    let session = session(at).await;
    for count in 0..25 {
        assert_eq!(run(&session, &format!("echo {count}")).await, format!("{count}\n"));
    }
}

#[tokio::test]
async fn what_a_netbooted_vm_holds_in_memory_is_gone_after_a_reboot_from_within() {
    let bench = Bench::start(Seed::Fleet).await;
    let root = bench.root().await;
    let pairs = [("vmid", "210"), ("name", "diskless"), ("net0", "virtio,bridge=vmbr0"), ("boot", "order=net0"), ("agent", "1")];
    assert_eq!(root.task("POST", &format!("{NODE}/qemu"), &pairs).await, "OK");
    assert_eq!(root.task("POST", &format!("{NODE}/qemu/210/status/start"), &[]).await, "OK");
    let first = session(until(&bench, 210, true).await.ssh.unwrap()).await;
    assert_eq!(run(&first, "echo here > /root/x; cat /root/x").await, "here\n");
    run(&first, "reboot").await;
    until(&bench, 210, false).await;
    let second = session(until(&bench, 210, true).await.ssh.unwrap()).await;
    assert_eq!(run(&second, "cat /root/x 2>/dev/null; echo end").await, "end\n");
    run(&second, "poweroff").await;
    until(&bench, 210, false).await;
    assert_eq!(root.call("GET", &format!("{NODE}/qemu/210/status/current"), &[]).await.data()["status"], "stopped");
}

#[tokio::test]
async fn the_state_file_is_whole_at_every_moment() {
    let bench = Bench::start(Seed::Fleet).await;
    let mut control = bench.control().await;
    let path = bench.dir.path().join("world.json");
    for round in 0..60 {
        control.tinker(101, Tinker::Name(format!("round-{round}"))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(4)).await;
        let world: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).expect("a whole file, old or new");
        assert_eq!(world["vms"].as_object().unwrap().len(), 10);
    }
}
