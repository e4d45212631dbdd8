//! `tailscale`.

use serde_json::json;

use super::args::{Args, Spec};
use crate::lab::shell::Shell;

/// `tailscale up|down|status|ip|version|logout`.
pub fn tailscale(shell: &mut Shell, args: &[String]) -> i32 {
    let verb = args.get(1).map_or("", String::as_str);
    let rest = args.get(2..).unwrap_or_default().to_vec();
    if verb == "version" {
        shell.out("1.90.8\n");
        return 0;
    }
    if !shell.world.host(|host| host.services.get("tailscale").is_some_and(|s| s.running)) {
        shell.complain("failed to connect to local tailscaled; it doesn't appear to be running (sudo systemctl start tailscaled ?)");
        return 1;
    }
    match verb {
        "up" => up(shell, &rest),
        "down" | "logout" => {
            let state = if verb == "down" { "Stopped" } else { "NeedsLogin" };
            shell.world.host(|host| state.clone_into(&mut host.tailnet.state));
            0
        }
        "status" => status(shell, &rest),
        "ip" => {
            let ip = shell.world.host(|host| host.tailnet.ip.clone());
            if ip.is_empty() {
                shell.complain("no current Tailscale IPs; state: NeedsLogin");
                return 1;
            }
            shell.out(&format!("{ip}\n"));
            0
        }
        _ => {
            shell.complain(&format!("tailscale: unknown subcommand: {verb}"));
            1
        }
    }
}

/// A key is good when it begins `tskey-` and does not say otherwise (`tskey-bad…`, `tskey-expired…`); with any other, `up` waits for ever, or for
/// `--timeout`.
fn up(shell: &Shell, args: &[String]) -> i32 {
    let spec = Spec {
        plain: &["--reset", "--ssh", "--json", "--accept-routes", "--accept-dns", "--force-reauth"],
        valued: &["--auth-key", "--authkey", "--timeout", "--hostname", "--advertise-tags", "--login-server"],
        stop: false,
    };
    let Ok(options) = Args::parse(args, spec) else {
        shell.complain("flag provided but not defined");
        return 2;
    };
    let key = match options.value(&["--auth-key", "--authkey"]) {
        Some(key) => match key.strip_prefix("file:") {
            Some(file) => match shell.world.read(&shell.path(file)) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
                Err(_) => {
                    shell.complain(&format!("open {file}: no such file or directory"));
                    return 1;
                }
            },
            None => key.to_owned(),
        },
        None => String::new(),
    };
    let known = shell.world.host(|host| host.tailnet.state == "Running" || host.tailnet.state == "Stopped");
    let good = key.starts_with("tskey-") && !key.starts_with("tskey-bad") && !key.starts_with("tskey-expired");
    let back = key.is_empty() && known;
    if !good && !back {
        if key.is_empty() {
            shell.complain("\nTo authenticate, visit:\n\n\thttps://login.tailscale.com/a/practice\n");
        }
        let limit = options.value(&["--timeout"]).and_then(|t| t.trim_end_matches('s').parse::<f64>().ok()).filter(|t| *t > 0.0);
        let ended = shell.world.wait(limit.unwrap_or(1e6));
        shell.complain("timeout waiting for Tailscale service to enter a Running state; check health with \"tailscale status\"");
        return if ended { 1 } else { 130 };
    }
    if !shell.world.wait(1.0) {
        return 130;
    }
    shell.world.host(|host| {
        let byte = blake3::hash(host.uuid.as_bytes()).as_bytes()[0];
        host.tailnet.ip = format!("100.64.0.{}", byte.max(2));
        "Running".clone_into(&mut host.tailnet.state);
    });
    0
}

fn status(shell: &Shell, args: &[String]) -> i32 {
    let (tailnet, name) = shell.world.host(|host| (host.tailnet.clone(), host.hostname.clone()));
    let running = tailnet.state == "Running";
    if !args.iter().any(|a| a == "--json" || a == "--json=true") {
        shell.out(&if running { format!("{:15} {name:20} practice@ linux -\n", tailnet.ip) } else { "Logged out.\n".to_owned() });
        return i32::from(!running);
    }
    let ips: Vec<&str> = Some(tailnet.ip.as_str()).filter(|_| running).into_iter().collect();
    let own = json!({ "ID": "nPractice", "HostName": name, "DNSName": format!("{name}.practice.ts.net."), "OS": "linux", "TailscaleIPs": ips, "Online": running });
    let all = json!({
        "Version": "1.90.8", "TUN": true, "BackendState": tailnet.state, "HaveNodeKey": running, "AuthURL": "", "TailscaleIPs": ips, "Self": own,
        "Health": if running { json!([]) } else { json!(["You are logged out."]) }, "MagicDNSSuffix": "practice.ts.net", "Peer": null, "User": null,
    });
    shell.out(&format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default()));
    0
}
