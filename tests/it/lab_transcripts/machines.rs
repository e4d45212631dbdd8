//! The SSH hosts behind the VMs' addresses: there exactly while their VM is up.

use std::net::SocketAddr;
use std::time::Duration;

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
