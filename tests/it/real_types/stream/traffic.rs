//! What players get: TCP and UDP to the machine behind, and nothing of it breaks for the others.

use super::super::super::sandbox::Sandbox;
use super::super::site::attributes;
use super::{ONE, TWO, bare, publishing, site};

#[test]
fn players_reach_the_machine_behind_and_the_compose_file_keeps_every_other_byte() {
    let Some(site) = site("traffic", 8201, &publishing(8201)) else { return };
    let _behind = site.other(&[
        "answer",
        "tcp:10.99.0.7:9201",
        "tcp:10.99.0.7:9202",
        "udp:10.99.0.7:9203",
        "tcp:10.99.0.8:9202",
        "udp:10.99.0.8:9203",
    ]);
    assert_eq!(site.player("tcp", 8201).say("hello"), "tcp:10.99.0.7:9201 heard hello");
    let before = site.read("compose.yaml");
    site.configure("calamity", ONE, "8203:9203/udp,8202:9202").exits(0).says("proxies 8202/tcp, 8203/udp to 10.99.0.7");
    assert_eq!(site.player("tcp", 8202).say("hello"), "tcp:10.99.0.7:9202 heard hello");
    assert_eq!(site.player("udp", 8203).say("hello"), "udp:10.99.0.7:9203 heard hello");
    let mut live = site.player("tcp", 8201);
    assert_eq!(live.say("first"), "tcp:10.99.0.7:9201 heard first");
    let kept = "      - '8201:8201' # for everybody\n";
    let with = before.replace(kept, &format!("{kept}      - '8202:8202'\n      - '8203:8203/udp'\n"));
    assert_eq!(site.read("compose.yaml"), with);
    let state = attributes(&site.sandbox, "proxy/proxy/calamity");
    assert_eq!((state["targetIp"].as_str(), state["file"].as_str()), (Some(ONE), Some("~/traffic/conf.d/calamity.conf")));
    assert_eq!(state["ports"][1], serde_json::json!({"listen": 8203, "backend": 9203, "protocol": "udp"}));
    // The same again: nginx is not even told to read its files.
    let workers = || site.host.docker.run(&["top", "traffic", "-o", "pid,cmd"]);
    let (life, processes) = (site.host.life("traffic"), workers());
    site.configure("calamity", ONE, "8202:9202,8203:9203/udp").exits(0).says("already").says("1 unchanged");
    assert_eq!((site.host.life("traffic"), workers()), (life.clone(), processes));
    // A machine that moved: the container stays, and so do the connections of the others.
    site.configure("calamity", TWO, "8202:9202,8203:9203/udp").exits(0).says("to 10.99.0.8");
    assert_eq!(site.player("tcp", 8202).say("hello"), "tcp:10.99.0.8:9202 heard hello");
    assert_eq!(site.player("udp", 8203).say("hello"), "udp:10.99.0.8:9203 heard hello");
    assert_eq!((live.say("second"), site.host.life("traffic")), ("tcp:10.99.0.7:9201 heard second".to_owned(), life));
    assert_eq!(site.read("compose.yaml"), with);
    // A port that is no longer wanted goes, and only that.
    site.configure("calamity", TWO, "8202:9202").exits(0);
    assert_eq!(site.read("compose.yaml"), with.replace("      - '8203:8203/udp'\n", ""));
    assert!(!site.host.docker.run(&["port", "traffic"]).contains("8203"));
    assert_eq!(site.player("tcp", 8202).say("hello"), "tcp:10.99.0.8:9202 heard hello");
    assert_eq!(site.player("tcp", 8201).say("hello"), "tcp:10.99.0.7:9201 heard hello");
}

#[test]
fn a_container_in_the_hosts_network_needs_no_ports_and_breaks_no_connection() {
    let Some(site) = site("hosted", 8211, "    network_mode: host\n") else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9211", "tcp:10.99.0.8:9212", "udp:10.99.0.8:9211"]);
    // Its own port counts as open as soon as it listens, which is a moment after its container runs.
    let mut live = site.player("tcp", 8211);
    super::super::super::process::wait_until("nginx listens", std::time::Duration::from_secs(20), || {
        live = site.player("tcp", 8211);
        live.say("first") == "tcp:10.99.0.7:9211 heard first"
    });
    let (compose, life) = (site.read("compose.yaml"), site.host.life("hosted"));
    site.configure("calamity", TWO, "8212:9212,8211:9211/udp").exits(0).says("proxies 8211/udp, 8212/tcp to 10.99.0.8");
    assert_eq!(site.player("tcp", 8212).say("hello"), "tcp:10.99.0.8:9212 heard hello");
    assert_eq!(site.player("udp", 8211).say("hello"), "udp:10.99.0.8:9211 heard hello");
    assert_eq!(live.say("second"), "tcp:10.99.0.7:9211 heard second");
    assert_eq!((site.read("compose.yaml"), site.host.life("hosted")), (compose, life));
    site.configure("calamity", TWO, "8212:9212,8211:9211/udp").exits(0).says("1 unchanged");
}

#[test]
fn an_nginx_on_the_host_itself_will_do() {
    let Some(site) = bare("on-host") else { return };
    let dir = site.path("").display().to_string();
    site.write(
        "nginx.conf",
        &super::CONFIGURATION.replace("/etc/nginx/stream.d", "conf.d").replace("user root;", "pid nginx.pid;\ndaemon off;"),
    );
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9221"]);
    // It does not run yet.
    let files = site.files();
    let ran = site.configure("calamity", ONE, "8221:9221").exits(1);
    ran.says("nginx does not run").says("nginx -p ~/on-host -c nginx.conf");
    // nginx's own test makes its empty pid file, and nothing else is there that was not.
    assert_eq!(site.files().into_iter().filter(|(path, _)| !path.ends_with("nginx.pid")).collect::<Vec<_>>(), files);
    let mut nginx = site.host.docker.inside("nginx", &["-p", &dir, "-c", "nginx.conf"]);
    let _nginx = super::super::super::process::Process::start(nginx.stderr(std::process::Stdio::null()), std::time::Duration::from_secs(2));
    super::super::super::process::wait_until("nginx runs", std::time::Duration::from_secs(20), || {
        !site.read("nginx.pid").trim().is_empty()
    });
    site.configure("calamity", ONE, "8221:9221").exits(0).says("proxies 8221/tcp");
    assert_eq!(site.player("tcp", 8221).say("hello"), "tcp:10.99.0.7:9221 heard hello");
    site.configure("calamity", ONE, "8221:9221").exits(0).says("1 unchanged");
}

#[test]
fn a_container_that_does_not_run_is_started() {
    let Some(site) = site("resting-proxy", 8231, &publishing(8231)) else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9231", "tcp:10.99.0.7:9232"]);
    site.host.compose("resting-proxy", &["stop", "-t", "5"]);
    site.configure("calamity", ONE, "8232:9232").exits(0).says("does not run: it is started first");
    assert_eq!(site.player("tcp", 8232).say("hello"), "tcp:10.99.0.7:9232 heard hello");
    assert_eq!(site.player("tcp", 8231).say("hello"), "tcp:10.99.0.7:9231 heard hello");
    // Gone altogether, with everything configured.
    site.host.compose("resting-proxy", &["down", "-t", "5"]);
    site.configure("calamity", ONE, "8232:9232").exits(0);
    assert_eq!(site.player("tcp", 8232).say("hello"), "tcp:10.99.0.7:9232 heard hello");
}

#[test]
fn the_projects_own_workflow_finds_the_proxy_by_its_alias() {
    let Some(site) = site("whole", 8331, &publishing(8331)) else { return };
    let _behind = site.other(&["answer", "tcp:10.99.0.7:9332"]);
    let (sshd, definition) = (&site.host.sshd, "definitions/treehouse.toml");
    let own = Sandbox::own().key(&sshd.client_key()).deadline(std::time::Duration::from_secs(180));
    let own = own.replace(definition, "sshUser = \"keeb\"", "sshUser = \"root\"").replace(definition, "~/stream", "~/whole");
    let alias = format!("Host treehouse\n  HostName {}\n  Port {}\n", sshd.address, sshd.port);
    std::fs::write(own.home(".ssh/config"), alias).expect("an ssh config can be written");
    let inputs = ["-i", "vmName=calamity", "-i", "targetIp=10.99.0.7", "-i", "portMap=8332:9332"];
    let build = || own.pmx(&[&["build", "configure-proxy"], inputs.as_slice()].concat()).exits(0);
    build().says("treehouse proxies 8332/tcp to 10.99.0.7");
    assert_eq!(site.player("tcp", 8332).say("hello"), "tcp:10.99.0.7:9332 heard hello");
    build().says("already").says("1 unchanged");
}
