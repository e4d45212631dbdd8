//! The address of a VM: out of all that its guest agent names, the one of the VM's own network card.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value as Json;

use crate::model::proxmox::api::{Api, ApiError, text};

/// What was found, and where, or why nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: Option<String>,
    /// Which card it belongs to, or why there is none.
    pub source: String,
    /// Whether asking again later may give another answer.
    pub pending: bool,
}

impl Address {
    /// No address for a reason that waiting does not remove.
    pub fn none(source: impl Into<String>) -> Self {
        Self { ip: None, source: source.into(), pending: false }
    }

    fn pending(source: impl Into<String>) -> Self {
        Self { pending: true, ..Self::none(source) }
    }
}

/// Whether the configuration turns the guest agent on: `1`, or `enabled=1,fstrim_cloned_disks=1`.
pub fn agent_enabled(config: &Json) -> bool {
    let agent = text(config, "agent").unwrap_or_default();
    agent.split(',').any(|part| matches!(part.trim(), "1" | "enabled=1"))
}

/// The configured cards as `(net0, MAC in upper case)`, in order.
pub fn cards(config: &Json) -> Vec<(String, String)> {
    let net = |index: u32| {
        let key = format!("net{index}");
        let value = text(config, &key)?;
        // The model is the key of the MAC: `virtio=BC:24:11:65:8C:87,bridge=vmbr0`; older files write `macaddr=…`.
        let mac = value.split(',').filter_map(|part| part.split_once('=')).map(|(_, value)| value.trim()).find(|value| is_mac(value))?;
        Some((key, mac.to_ascii_uppercase()))
    };
    (0..32).filter_map(net).collect()
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Asks the guest agent of a running VM. An agent that does not answer is a state, not an error.
pub async fn of_running(api: &Api<'_>, node: &str, vmid: u32, config: &Json) -> Result<Address, ApiError> {
    if !agent_enabled(config) {
        return Ok(Address::none("none: the guest agent is not enabled (agent=1)"));
    }
    let cards = cards(config);
    if cards.is_empty() {
        return Ok(Address::none("none: the VM has no network card"));
    }
    match api.get(&format!("/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces"), &[]).await {
        Ok(answer) => Ok(choose(&answer, &cards)),
        Err(error) if error.reason().contains("No QEMU guest agent configured") => {
            Ok(Address::none("none: the guest agent was enabled after the VM was started"))
        }
        Err(error) if error.missing_right().is_some() => Ok(Address::none(format!("none: {}", error.reason()))),
        // Also what a dying guest or a busy agent leave behind: 500 with many texts, 596 when the text cannot be sent.
        Err(error) if error.refused() == Some(500) || error.passing() => Ok(Address::pending("none: the guest agent does not answer")),
        Err(error) => Err(error),
    }
}

/// Takes the first usable address, IPv4 before IPv6, of the first configured card that has one. Interfaces of the guest that no card stands behind
/// (containers, tunnels, its own bridges) are never taken.
fn choose(answer: &Json, cards: &[(String, String)]) -> Address {
    let interfaces: Vec<&Json> = answer.get("result").and_then(Json::as_array).map(|list| list.iter().collect()).unwrap_or_default();
    let mut seen = false;
    for (card, mac) in cards {
        let own = |interface: &&&Json| text(interface, "hardware-address").is_some_and(|address| address.eq_ignore_ascii_case(mac));
        let mut found: Vec<(bool, IpAddr, String)> = Vec::new();
        for interface in interfaces.iter().filter(own) {
            seen = true;
            let name = text(interface, "name").unwrap_or_default();
            let list = interface.get("ip-addresses").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            let addresses = list.iter().filter_map(|entry| text(entry, "ip-address")?.parse::<IpAddr>().ok());
            found.extend(addresses.filter(usable).map(|address| (address.is_ipv6(), address, name.clone())));
        }
        // Stable: within a family the agent's own order stands, so that an unchanged guest keeps its address.
        found.sort_by_key(|(is_v6, ..)| *is_v6);
        if let Some((_, address, name)) = found.into_iter().next() {
            return Address { ip: Some(address.to_string()), source: format!("guest agent, {name} ({card})"), pending: false };
        }
    }
    Address::pending(if seen {
        "none: the network card has no address yet"
    } else {
        "none: the guest agent names no interface with the card's MAC"
    })
}

/// Not loopback, link-local, site-local (what QEMU's user network hands out), multicast or unspecified.
fn usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => {
            let old_local = |v6: &Ipv6Addr| (v6.segments()[0] & 0xff80) == 0xfe80;
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || old_local(v6))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn interface(name: &str, mac: &str, addresses: &[&str]) -> Json {
        let addresses: Vec<Json> = addresses.iter().map(|a| json!({"ip-address": a, "ip-address-type": "ipv4", "prefix": 24})).collect();
        json!({"name": name, "hardware-address": mac, "ip-addresses": addresses})
    }

    fn chosen(interfaces: Vec<Json>, config: &Json) -> Address {
        choose(&json!({ "result": interfaces }), &cards(config))
    }

    #[test]
    fn the_card_decides_not_the_order_of_the_agent() {
        let config = json!({"net0": "virtio=BC:24:11:6D:CC:77,bridge=vmbr0"});
        let found = chosen(
            vec![
                interface("lo", "00:00:00:00:00:00", &["127.0.0.1"]),
                interface("docker0", "02:42:00:00:00:01", &["172.17.0.1"]),
                interface("tailscale0", "", &["100.64.0.7"]),
                interface("eth0", "bc:24:11:6d:cc:77", &["fe80::1", "169.254.3.4", "2001:db8::5", "10.77.0.233"]),
            ],
            &config,
        );
        assert_eq!((found.ip.as_deref(), found.source.as_str()), (Some("10.77.0.233"), "guest agent, eth0 (net0)"));
    }

    #[test]
    fn slirp_site_local_is_not_an_address_but_a_global_v6_is() {
        let config = json!({"net0": "e1000=BC:24:11:6D:CC:77,bridge=vmbr0"});
        let only = |addresses: &[&str]| chosen(vec![interface("eth0", "bc:24:11:6d:cc:77", addresses)], &config);
        let local = only(&["fec0::5054:ff:fe12:3456", "fe80::2"]);
        assert_eq!((local.ip, local.pending), (None, true));
        assert_eq!(only(&["fec0::1", "fd00::9"]).ip.as_deref(), Some("fd00::9"));
    }

    #[test]
    fn the_second_card_serves_when_the_first_has_no_address() {
        let config = json!({"net1": "virtio=BC:24:11:00:00:02,bridge=vmbr1", "net0": "virtio,macaddr=BC:24:11:00:00:01"});
        assert_eq!(cards(&config).iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["net0", "net1"]);
        let found = chosen(
            vec![json!({"name": "eth0", "hardware-address": "bc:24:11:00:00:01"}), interface("eth1", "bc:24:11:00:00:02", &["10.0.0.9"])],
            &config,
        );
        assert_eq!(found.source, "guest agent, eth1 (net1)");
    }

    #[test]
    fn a_stranger_is_never_taken() {
        let config = json!({"net0": "virtio=BC:24:11:6D:CC:77"});
        let found = chosen(vec![interface("br-1234", "02:42:aa:bb:cc:dd", &["10.0.0.9"])], &config);
        assert_eq!((found.ip, found.source.as_str()), (None, "none: the guest agent names no interface with the card's MAC"));
    }

    #[test]
    fn the_agent_option_has_two_spellings() {
        for (agent, on) in [(json!("1"), true), (json!(1), true), (json!("enabled=1,fstrim_cloned_disks=1"), true), (json!("0"), false)] {
            assert_eq!(agent_enabled(&json!({ "agent": agent })), on);
        }
        assert!(!agent_enabled(&json!({})));
    }

    #[test]
    fn agents_and_configurations_are_read_however_spoiled() {
        let config = r#"{"net0":"virtio=BC:24:11:6D:CC:77,bridge=vmbr0","net1":"e1000,macaddr=BC:24:11:6D:CC:78","agent":"enabled=1,fstrim_cloned_disks=1"}"#;
        let answer = r#"{"result":[{"name":"lo","ip-addresses":[{"ip-address":"127.0.0.1"}]},{"name":"eth0","hardware-address":"bc:24:11:6d:cc:77","ip-addresses":[{"ip-address":"10.0.0.107","prefix":24},{"ip-address":"fe80::1"}]}]}"#;
        let good: Json = serde_json::from_str(config).unwrap();
        crate::walks::feed(&[config, answer], move |bytes| {
            let json: Json = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
            let _ = (agent_enabled(&json), cards(&json));
            let address = choose(&json, &cards(&good));
            assert!(!address.source.is_empty());
            Ok(())
        });
    }
}
