//! The guest agent: who answers when, and the interfaces it names.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::reply::{Answer, Fail};
use super::schema::{Kind, need};
use super::{Call, May, Route, Run};
use crate::lab::faults::FaultKind;
use crate::lab::world::vm::{ADDRESS_AFTER, LATE_BY, Vm};
use crate::lab::world::{Phase, World};

const AUDIT: May = May::Agent("VM.GuestAgent.Audit");

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/nodes/{node}/qemu/{vmid}/agent", AUDIT, &[], Run::Index("name", COMMANDS)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/agent", AUDIT, COMMAND, Run::Later(command)),
    Route::work("POST", "/nodes/{node}/qemu/{vmid}/agent/ping", AUDIT, &[], Run::Later(|call| ask(call, "ping"))),
    Route::work(
        "POST",
        "/nodes/{node}/qemu/{vmid}/agent/shutdown",
        May::Agent("VM.GuestAgent.Unrestricted"),
        &[],
        Run::Later(|call| ask(call, "shutdown")),
    ),
    Route::read("/nodes/{node}/qemu/{vmid}/agent/info", AUDIT, &[], Run::Later(|call| ask(call, "info"))).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}/agent/get-host-name", AUDIT, &[], Run::Later(|call| ask(call, "get-host-name"))).behind(),
    Route::read("/nodes/{node}/qemu/{vmid}/agent/get-osinfo", AUDIT, &[], Run::Later(|call| ask(call, "get-osinfo"))).behind(),
    Route::read(
        "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
        AUDIT,
        &[],
        Run::Later(|call| ask(call, "network-get-interfaces")),
    )
    .behind(),
];

/// What the agent can be asked; the bare `/agent` call takes only those without arguments.
const COMMANDS: &[&str] = &[
    "exec",
    "exec-status",
    "file-read",
    "file-write",
    "get-host-name",
    "get-osinfo",
    "info",
    "network-get-interfaces",
    "ping",
    "shutdown",
];
const PLAIN: &[&str] = &["get-host-name", "get-osinfo", "info", "network-get-interfaces", "ping", "shutdown"];
const COMMAND: &[super::Param] = &[need("command", Kind::Enum(PLAIN))];

fn command(call: Call) -> BoxFuture<'static, Result<Answer, Fail>> {
    let known = PLAIN.iter().copied().find(|name| call.text("command") == Some(name));
    ask(call, known.unwrap_or("ping"))
}

fn ask(call: Call, what: &'static str) -> BoxFuture<'static, Result<Answer, Fail>> {
    async move {
        let (vmid, now, scale) = (call.vmid(), call.lab.clock.now(), call.lab.clock.scaled(1.0));
        reached(&call).await?;
        if what == "shutdown" {
            let lab = call.lab.clone();
            tokio::spawn(async move {
                lab.clock.wait(crate::lab::world::vm::SHUTDOWN_TAKES).await;
                // Somebody else may have removed the VM meanwhile.
                let _ = lab.change(|world| world.power_off(vmid));
            });
            return Ok(json!({"result": null}).into());
        }
        let result = call.lab.read(|world| {
            let vm = world.vm(vmid)?;
            Ok::<_, String>(match what {
                "network-get-interfaces" => interfaces(vm, addressed(world, vmid, now, scale)),
                "get-host-name" => json!({"host-name": vm.name(vmid)}),
                "get-osinfo" => json!({"id": "alpine", "name": "Alpine Linux", "pretty-name": "Alpine Linux v3.22", "version-id": "3.22.1", "kernel-release": "6.12.38-0-virt", "machine": "x86_64"}),
                "info" => json!({"version": "10.0.2", "supported_commands": []}),
                _ => json!({}),
            })
        })?;
        Ok(json!({"result": result}).into())
    }
    .boxed()
}

/// Waits until the agent of a call's VM has answered a ping.
///
/// # Errors
/// Proxmox's words when it does not answer, or cannot be asked.
pub async fn reached(call: &Call) -> Result<(), Fail> {
    let (vmid, now, scale) = (call.vmid(), call.lab.clock.now(), call.lab.clock.scaled(1.0));
    if call.lab.read(|world| reach(world, vmid, now, scale))? {
        return Ok(());
    }
    // Proxmox gives up after three seconds.
    call.lab.clock.wait(3.0).await;
    Err(Fail::Died("QEMU guest agent is not running".into()))
}

/// Whether the agent answers.
///
/// # Errors
/// Proxmox's words when it cannot even be asked.
fn reach(world: &World, vmid: u32, now: f64, scale: f64) -> Result<bool, String> {
    let vm = world.vm(vmid)?;
    if !vm.config.agent() {
        return Err("No QEMU guest agent configured".into());
    }
    let Some(run) = &vm.run else { return Err(format!("VM {vmid} is not running")) };
    let phase = world.phase(vmid, now, scale);
    let absent = world.fault(Some(vmid), &FaultKind::AgentAbsent).is_some();
    Ok(run.agent_socket && !run.paused && !absent && agent_is_up(world, vmid, phase, (now - run.booted, scale)))
}

/// `agent-late` holds the agent back even where sshd is up already.
fn agent_is_up(world: &World, vmid: u32, phase: Phase, (age, scale): (f64, f64)) -> bool {
    let late = world.fault(Some(vmid), &FaultKind::AgentLate).is_some();
    let in_time = !late || age >= (crate::lab::world::vm::AGENT_AFTER + LATE_BY) * scale;
    matches!(phase, Phase::Agent | Phase::Up) && in_time
}

fn addressed(world: &World, vmid: u32, now: f64, scale: f64) -> bool {
    let late = if world.fault(Some(vmid), &FaultKind::AgentLate).is_some() { LATE_BY } else { 0.0 };
    let run = world.vms.get(&vmid).and_then(|vm| vm.run.as_ref());
    run.is_some_and(|run| now - run.booted >= (ADDRESS_AFTER + late) * scale)
}

fn statistics(seed: u64) -> Value {
    json!({"rx-bytes": seed * 1117, "rx-packets": seed * 7, "rx-errs": 0, "rx-dropped": 0, "tx-bytes": seed * 911, "tx-packets": seed * 5, "tx-errs": 0, "tx-dropped": 0})
}

/// What the agent says of the guest's network: first cards without addresses, then all of them, Docker's bridge included.
fn interfaces(vm: &Vm, addressed: bool) -> Value {
    let four = |address: &str, prefix: u8| json!({"ip-address": address, "ip-address-type": "ipv4", "prefix": prefix});
    let six = |address: &str, prefix: u8| json!({"ip-address": address, "ip-address-type": "ipv6", "prefix": prefix});
    let mut list = vec![json!({
        "name": "lo",
        "hardware-address": "00:00:00:00:00:00",
        "ip-addresses": [four("127.0.0.1", 8), six("::1", 128)],
        "statistics": statistics(3),
    })];
    if vm.docker && addressed {
        list.push(json!({
            "name": "docker0",
            "hardware-address": "02:42:5b:1c:0a:11",
            "ip-addresses": [four("172.17.0.1", 16), six("fe80::42:5bff:fe1c:a11", 64)],
            "statistics": statistics(11),
        }));
    }
    for (at, (_, net)) in vm.config.nets().iter().enumerate() {
        let mac = net.split(',').next().and_then(|model| model.split_once('=')).map(|(_, mac)| mac.to_lowercase()).unwrap_or_default();
        let mut card = json!({"name": format!("eth{at}"), "hardware-address": mac, "statistics": statistics(97)});
        if addressed {
            let link = link_local(&mac);
            card["ip-addresses"] =
                if at == 0 { json!([four(&vm.address.to_string(), 24), six(&link, 64)]) } else { json!([six(&link, 64)]) };
        }
        list.push(card);
    }
    Value::Array(list)
}

/// The address that IPv6 makes of a MAC.
fn link_local(mac: &str) -> String {
    let bytes: Vec<u8> = mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let [a, b, c, d, e, f] = bytes[..] else { return "fe80::1".to_owned() };
    let word = |high: u8, low: u8| u16::from(high) << 8 | u16::from(low);
    std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f)).to_string()
}
