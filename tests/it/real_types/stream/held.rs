//! A port in other hands: found before anything is changed where it can be seen, and taken back where nginx meets it.

use super::super::super::process::wait_until;
use super::{ONE, publishing, site};
use std::time::Duration;

#[test]
fn a_port_that_somebody_listens_on_is_found_before_anything_is_changed() {
    for (name, base, lines) in [("held", 8241, publishing(8241)), ("held-hosted", 8251, "    network_mode: host\n".to_owned())] {
        let Some(site) = site(name, base, &lines) else { return };
        let own = format!("tcp:10.99.0.7:{}", base + 1000);
        let _behind = site.other(&["answer", &own]);
        let mut live = site.player("tcp", base);
        wait_until("nginx listens", Duration::from_secs(20), || {
            live = site.player("tcp", base);
            live.say("first") == format!("{own} heard first")
        });
        let (files, life) = (site.files(), site.host.life(name));
        for (kind, port) in [("tcp", base + 1), ("udp", base + 2)] {
            let _held = site.other(&["hold", kind, "0.0.0.0", &port.to_string()]);
            let ran = site.configure("calamity", ONE, &format!("{}:9,{port}:9/{kind}", base + 3)).exits(1);
            ran.says(&format!("another process holds {port}/{kind}")).says("nothing was changed");
        }
        assert_eq!((site.files(), site.host.life(name)), (files, life));
        assert_eq!(live.say("second"), format!("{own} heard second"));
    }
}

#[test]
fn a_port_that_nginx_cannot_have_is_taken_back_and_live_connections_stay() {
    let Some(site) = site("rolled", 8261, "    network_mode: host\n") else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9261", "tcp:10.99.0.7:9262"]);
    let mut live = site.player("tcp", 8261);
    wait_until("nginx listens", Duration::from_secs(20), || {
        live = site.player("tcp", 8261);
        live.say("first") == "tcp:10.99.0.7:9261 heard first"
    });
    let (files, life) = (site.files(), site.host.life("rolled"));
    // Held without listening: no table of sockets shows it, and nginx says yes to the reload all the same.
    let held = site.other(&["occupy", "tcp", "0.0.0.0", "8262"]);
    let ran = site.configure("calamity", ONE, "8262:9262,8263:9262").exits(1);
    ran.says("nginx does not get 8262/tcp, 8263/tcp within 15 s; everything is as it was before").says("ss -lntup");
    assert_eq!((site.files(), site.host.life("rolled")), (files, life));
    assert_eq!(live.say("second"), "tcp:10.99.0.7:9261 heard second");
    assert_eq!(site.player("tcp", 8261).say("hello"), "tcp:10.99.0.7:9261 heard hello");
    drop(held);
    site.configure("calamity", ONE, "8262:9262,8263:9262").exits(0);
    assert_eq!(site.player("tcp", 8262).say("hello"), "tcp:10.99.0.7:9262 heard hello");
    assert_eq!(live.say("third"), "tcp:10.99.0.7:9261 heard third");
}

#[test]
fn a_container_that_cannot_publish_is_made_as_before() {
    let Some(site) = site("unpublished", 8271, &publishing(8271)) else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9271", "tcp:10.99.0.7:9272"]);
    let files = site.files();
    let held = site.other(&["occupy", "tcp", "0.0.0.0", "8272"]);
    let ran = site.configure("calamity", ONE, "8272:9272").exits(1);
    ran.says("`docker compose up`").says("8272").says("everything is as it was before");
    assert_eq!(site.files(), files);
    assert_eq!(site.host.field("unpublished", "{{.State.Status}}"), "running");
    assert_eq!(site.player("tcp", 8271).say("hello"), "tcp:10.99.0.7:9271 heard hello");
    drop(held);
    site.configure("calamity", ONE, "8272:9272").exits(0);
    assert_eq!(site.player("tcp", 8272).say("hello"), "tcp:10.99.0.7:9272 heard hello");
}

#[test]
fn a_change_that_is_cancelled_is_taken_back() {
    let Some(site) = site("cancelled", 8321, "    network_mode: host\n") else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9321"]);
    let mut live = site.player("tcp", 8321);
    wait_until("nginx listens", Duration::from_secs(20), || {
        live = site.player("tcp", 8321);
        live.say("first") == "tcp:10.99.0.7:9321 heard first"
    });
    let files = site.files();
    let _held = site.other(&["occupy", "tcp", "0.0.0.0", "8322"]);
    site.workflow("vmName = \"calamity\"\ntargetIp = \"10.99.0.7\"\nportMap = \"8322:9322\"");
    let mut running = site.sandbox.start(&["build", "call"]);
    running.wait_for("waiting for nginx to serve every port");
    running.interrupt();
    running.wait_for("once more cancels it");
    running.interrupt();
    running.end().exits(130).says("everything is as it was before");
    assert_eq!(site.files(), files);
    assert_eq!(live.say("second"), "tcp:10.99.0.7:9321 heard second");
}
