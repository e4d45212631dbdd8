//! What `configure` does: wire script → outcome.

use serde_json::{Value as Json, json};

use crate::model::contract::{Acted, Failure, FailureKind, Outcome};
use crate::model::local::sha256;
use crate::model::scene::{Scene, written};
use crate::wire::scripted::ScriptedSsh;

const FIND: &str = "cd ~/stream && { for file in compose.yaml *";
const OTHERS: &str = "cd ~/stream && { for file in conf.d/*.conf; *!= conf.d/calamity.conf *";
const TAKEN: &str = "cat /proc/net/tcp *";
const STAT: &str = "if [ -f ~/stream/* ]; then stat *";
const TEST: &str = "exec -T stream nginx -T";
const RELOAD: &str = "exec -T stream nginx -s reload";
const OPEN: &str = "exec -T stream sh -c *";
const UP: &str = "up -d --no-deps stream";
const COMPOSE_FILE: &str = "~/stream/docker-compose.yml";
const CONF: &str = "~/stream/conf.d/calamity.conf";
const FILE: &str = "services:\n  stream:\n    image: nginx:1.27\n    ports:\n      - \"80:80\" # site\n";
const WANTED: &str =
    "# calamity: written by pmx, which replaces the whole file.\nserver {\n    listen 7777;\n    proxy_pass 10.0.0.107:7777;\n}\n";

fn docker(words: &str) -> String {
    format!("cd ~/stream && exec docker compose --ansi never --progress plain {words}")
}

fn config(ports: &[u16]) -> String {
    let ports: Vec<Json> =
        ports.iter().map(|port| json!({"mode": "ingress", "target": port, "published": port.to_string(), "protocol": "tcp"})).collect();
    json!({"name": "stream", "services": {"stream": {"image": "nginx:1.27", "ports": ports}}}).to_string()
}

fn ps(ports: &[u16]) -> String {
    let ports: Vec<Json> =
        ports.iter().map(|port| json!({"URL": "0.0.0.0", "TargetPort": port, "PublishedPort": port, "Protocol": "tcp"})).collect();
    json!({"Service": "stream", "State": "running", "Publishers": ports}).to_string()
}

fn table(ports: &[u16]) -> String {
    let rows: String = ports.iter().map(|port| format!("   0: 00000000:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 501 1\n")).collect();
    // Docker's resolver is in every network that it makes.
    let resolver = "   1: 0B00007F:A894 00000000:0000 0A 0:0 00:0 0 0 0 502 1\n";
    format!("lrwx------ 1 root root 64 Nov 23 10:00 6 -> socket:[501]\n{rows}{resolver}")
}

const READ: &str = "# configuration file /etc/nginx/nginx.conf:\n# configuration file /etc/nginx/stream.d/calamity.conf:\n";

trait Script: Sized {
    fn docker(self, words: &str, out: &str) -> Self;
    /// Everything that is looked at before a change is decided on.
    fn seen(self, published: &[u16]) -> Self;
}

impl Script for ScriptedSsh {
    fn docker(self, words: &str, out: &str) -> Self {
        self.expect(&docker(words), out)
    }
    fn seen(self, published: &[u16]) -> Self {
        let ssh = self.with_file("treehouse", COMPOSE_FILE, 0o640, FILE).expect(FIND, "docker-compose.yml\n");
        ssh.docker("config --format json", &config(published)).expect(OTHERS, "#### pmx: file conf.d/site.conf\nserver { listen 80; }\n")
    }
}

fn arguments() -> Json {
    json!({"vmName": "calamity", "targetIp": "10.0.0.107", "portMap": "7777:7777"})
}

async fn configure(ssh: ScriptedSsh, arguments: Json) -> Result<Outcome, Failure> {
    Scene::ssh(ssh).call("nginx/stream", "configure", json!({"sshHost": "treehouse"}), arguments).await
}

fn text(ssh: &ScriptedSsh, path: &str) -> Option<String> {
    ssh.file("treehouse", path).map(|file| String::from_utf8(file.bytes).unwrap())
}

#[tokio::test]
async fn a_new_proxy_is_written_tested_published_and_looked_for() {
    let ssh = ScriptedSsh::new().seen(&[80]).docker("ps -a --format json", &ps(&[80])).expect(TAKEN, &table(&[22, 80]));
    let ssh = ssh.docker(TEST, READ).docker(OPEN, &table(&[80])).expect(STAT, "").docker(TEST, READ);
    let ssh = ssh.expect(STAT, "90 640\nabc  -\n").docker("config --format json", &config(&[80, 7777])).docker(UP, "").docker(RELOAD, "");
    let ssh = ssh.docker(OPEN, &table(&[80])).docker("ps -a --format json", &ps(&[80, 7777]));
    let ssh = ssh.docker(OPEN, &table(&[80, 7777])).docker("ps -a --format json", &ps(&[80, 7777]));
    let outcome = configure(ssh.clone(), arguments()).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("treehouse proxies 7777/tcp to 10.0.0.107", true));
    let expected = json!({
        "targetIp": "10.0.0.107", "ports": [{"listen": 7777, "backend": 7777, "protocol": "tcp"}], "file": CONF, "digest": sha256(WANTED.as_bytes()),
    });
    assert_eq!((written(&outcome), outcome.writes[0].instance.as_str()), (expected, "calamity"));
    assert_eq!(text(&ssh, CONF).unwrap(), WANTED);
    assert_eq!(text(&ssh, COMPOSE_FILE).unwrap(), format!("{FILE}      - \"7777:7777\"\n"));
    assert_eq!(ssh.file("treehouse", COMPOSE_FILE).unwrap().mode, 0o640);
    assert!(ssh.called().iter().all(|call| call.target.user.as_deref() == Some("keeb")));
}

#[tokio::test]
async fn nothing_is_done_when_everything_is_so() {
    let ssh =
        ScriptedSsh::new().seen(&[80, 7777]).with_file("treehouse", CONF, 0o644, WANTED).docker("ps -a --format json", &ps(&[80, 7777]));
    let ssh = ssh.docker(TEST, READ).docker(OPEN, &table(&[80, 7777]));
    let outcome = configure(ssh.clone(), arguments()).await.unwrap();
    assert_eq!((outcome.summary.as_str(), outcome.changed), ("treehouse proxies 7777/tcp to 10.0.0.107 already", false));
    assert!(ssh.log().iter().all(|line| !line.starts_with("upload")));
}

#[tokio::test]
async fn equal_files_that_nginx_does_not_serve_are_read_again() {
    let ssh =
        ScriptedSsh::new().seen(&[80, 7777]).with_file("treehouse", CONF, 0o644, WANTED).docker("ps -a --format json", &ps(&[80, 7777]));
    let ssh = ssh
        .docker(TEST, READ)
        .docker(OPEN, &table(&[80]))
        .docker("ps -a --format json", &ps(&[80, 7777]))
        .expect(TAKEN, &table(&[80, 7777]));
    let ssh = ssh.docker(TEST, READ).docker(OPEN, &table(&[80])).expect(STAT, "").docker(TEST, READ).docker(RELOAD, "");
    let ssh = ssh.docker(OPEN, &table(&[80, 7777])).docker("ps -a --format json", &ps(&[80, 7777]));
    assert!(configure(ssh, arguments()).await.unwrap().changed);
}

#[tokio::test]
async fn a_configuration_that_nginx_refuses_is_taken_back() {
    let ssh = ScriptedSsh::new()
        .seen(&[80])
        .docker("ps -a --format json", &ps(&[80]))
        .expect(TAKEN, "")
        .docker(TEST, READ)
        .docker(OPEN, &table(&[80]));
    let ssh = ssh.expect(STAT, "").expect_output(
        &docker(TEST),
        1,
        "",
        "nginx: [emerg] unknown directive \"stream\" in /etc/nginx/nginx.conf:2\n",
    );
    let ssh = ssh
        .expect("rm -f ~/stream/conf.d/calamity.conf", "")
        .expect(STAT, "")
        .docker(RELOAD, "")
        .docker(TEST, READ)
        .docker(OPEN, &table(&[80]));
    let failure = configure(ssh.clone(), arguments()).await.unwrap_err();
    assert_eq!(failure.message, "treehouse: nginx refuses the configuration; everything is as it was before");
    assert!(failure.help.unwrap().contains("libnginx-mod-stream"));
    assert_eq!(text(&ssh, COMPOSE_FILE).unwrap(), FILE);
}

#[tokio::test]
async fn a_container_that_cannot_be_made_anew_is_made_as_before() {
    let ssh = ScriptedSsh::new()
        .seen(&[80])
        .docker("ps -a --format json", &ps(&[80]))
        .expect(TAKEN, "")
        .docker(TEST, READ)
        .docker(OPEN, &table(&[80]));
    let ssh = ssh.expect(STAT, "").docker(TEST, READ).expect(STAT, "").docker("config --format json", &config(&[80, 7777]));
    let ssh = ssh.expect_output(&docker(UP), 1, "", "Error: port is already allocated\n").expect("rm -f ~/stream/conf.d/calamity.conf", "");
    let ssh = ssh.expect(STAT, "").docker(UP, "").docker(RELOAD, "").docker(TEST, READ).docker(OPEN, &table(&[]));
    let failure = configure(ssh.clone(), arguments()).await.unwrap_err();
    assert!(failure.message.contains("could not be taken back: 80/tcp is not served any more"), "{}", failure.message);
    assert_eq!((failure.acted, failure.tail.as_slice()), (Acted::Maybe, &["Error: port is already allocated".to_owned()][..]));
    assert_eq!(text(&ssh, COMPOSE_FILE).unwrap(), FILE, "the old file is back all the same");
}

#[tokio::test]
async fn an_nginx_that_has_just_been_started_is_given_a_moment() {
    let stopped = json!({"Service": "stream", "State": "exited", "Publishers": null}).to_string();
    let ssh = ScriptedSsh::new().seen(&[80, 7777]).with_file("treehouse", CONF, 0o644, WANTED);
    let ssh = ssh.docker("ps -a --format json", &stopped).docker("ps -a --format json", &stopped).expect(TAKEN, "").docker(UP, "");
    let ssh = ssh.docker(TEST, READ).docker(OPEN, "").expect(STAT, "").docker(TEST, READ).docker(UP, "");
    let young = "nginx: [error] open() \"/run/nginx.pid\" failed (2: No such file or directory)\n";
    let ssh = ssh.expect_output(&docker(RELOAD), 1, "", young).docker(RELOAD, "");
    let ssh = ssh.docker(OPEN, &table(&[80, 7777])).docker("ps -a --format json", &ps(&[80, 7777]));
    assert!(configure(ssh, arguments()).await.unwrap().changed);
}

#[tokio::test]
async fn a_container_that_does_not_stay_up_tells_its_log() {
    let stopped = json!({"Service": "stream", "State": "exited", "Publishers": null}).to_string();
    let ssh = ScriptedSsh::new().seen(&[80]).docker("ps -a --format json", &stopped).expect(TAKEN, "").docker(UP, "");
    let ssh = ssh.expect_output(&docker(TEST), 1, "", "service \"stream\" is not running\n");
    let ssh = ssh.docker("logs --no-log-prefix --tail 8 stream", "nginx: [emerg] unexpected \"}\" in /etc/nginx/stream.d/voice.conf:3\n");
    let failure = configure(ssh, arguments()).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.tail.len()), ("treehouse: nginx does not answer in its container", 2));
    assert!(failure.help.unwrap().contains("broken already, before any change") && failure.tail[1].contains("voice.conf:3"));
}

#[test]
fn wrong_types_do_not_get_past_the_schema() {
    let row = crate::model::registry::find("nginx/stream").unwrap();
    let arguments = (crate::model::registry::method(row, "configure").unwrap().arguments)();
    let globals = (row.globals)();
    for (fields, name, given) in [
        (&arguments, "vmName", json!(7)),
        (&arguments, "vmName", json!(null)),
        (&arguments, "vmName", json!("../x")),
        (&arguments, "targetIp", json!(10)),
        (&arguments, "targetIp", json!({"ip": "10.0.0.7"})),
        (&arguments, "portMap", json!(["7777:7777"])),
        (&arguments, "portMap", json!(7777)),
        (&globals, "sshHost", json!(1)),
        (&globals, "sshUser", json!(["keeb"])),
        (&globals, "sshPort", json!("twenty-two")),
        (&globals, "sshPort", json!(70000)),
        (&globals, "streamDir", json!(null)),
    ] {
        assert!(fields[name].ty.accepts(&crate::value::Value::from(given.clone())).is_err(), "{given} is taken as {name}");
    }
}

#[tokio::test]
async fn a_port_in_other_hands_is_found_before_anything_is_changed() {
    let ssh = ScriptedSsh::new().seen(&[80]).docker("ps -a --format json", &ps(&[80])).expect(TAKEN, &table(&[80, 7777]));
    let failure = configure(ssh.clone(), arguments()).await.unwrap_err();
    assert_eq!((failure.message.as_str(), failure.acted), ("treehouse: another process holds 7777/tcp", Acted::No));
    let mut taken = arguments();
    taken["portMap"] = json!("7777:7777,80:80");
    let failure = configure(ScriptedSsh::new().seen(&[80]), taken).await.unwrap_err();
    assert_eq!(failure.message, "treehouse: 80/tcp is another proxy's already: ~/stream/conf.d/site.conf");
    assert!(ssh.log().iter().all(|line| !line.starts_with("upload")));
}

#[tokio::test]
async fn a_directory_that_is_no_proxy_is_told() {
    let failure = configure(ScriptedSsh::new().expect(FIND, "\n"), arguments()).await.unwrap_err();
    assert!(failure.message.contains("holds neither a compose file nor an nginx.conf") && failure.kind == FailureKind::Yours);
    let two = json!({"services": {"a": {"image": "nginx"}, "b": {"image": "docker.io/library/nginx:1"}}}).to_string();
    let ssh = ScriptedSsh::new()
        .with_file("treehouse", COMPOSE_FILE, 0o644, FILE)
        .expect(FIND, "docker-compose.yml\n")
        .docker("config --format json", &two);
    let failure = configure(ssh, arguments()).await.unwrap_err();
    assert!(failure.message.contains("must have exactly one service whose image is nginx; it has a, b"), "{}", failure.message);
    let flow = "services:\n  stream:\n    image: nginx\n    ports: [\"80:80\"]\n";
    let ssh = ScriptedSsh::new().expect(FIND, "docker-compose.yml\n").docker("config --format json", &config(&[80])).expect(OTHERS, "");
    let failure = configure(ssh.with_file("treehouse", COMPOSE_FILE, 0o644, flow), arguments()).await.unwrap_err();
    assert!(failure.message.starts_with("treehouse: ~/stream/docker-compose.yml: line 4: a value on the same line"), "{}", failure.message);
}

#[tokio::test]
async fn hostile_arguments_are_refused_before_anybody_is_asked() {
    let cases = [
        ("vmName", vec![json!("../x"), json!("a/b"), json!(".hidden"), json!(""), json!("x\ny"), json!("a;b"), json!("-rf"), json!("x ")]),
        ("targetIp", vec![json!("treehouse.local"), json!(""), json!("10.0.0.107; include /etc/passwd"), json!("10.0.0.256")]),
        ("portMap", vec![json!(""), json!("7777"), json!("7777:7777; }"), json!("0:1"), json!("70000:1")]),
    ];
    for (name, values) in cases {
        for value in values {
            let mut arguments = arguments();
            arguments[name] = value.clone();
            let failure = configure(ScriptedSsh::new(), arguments).await.unwrap_err();
            assert_eq!((failure.kind, failure.acted), (FailureKind::Yours, Acted::No), "{name} {value}");
        }
        let mut arguments = arguments();
        arguments[name] = json!(["x"]);
        let failure = configure(ScriptedSsh::new(), arguments).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Ours, "the checker refuses it before");
    }
    let off = Scene::ssh(ScriptedSsh::new()).call("nginx/stream", "configure", json!({"sshHost": ""}), arguments()).await.unwrap_err();
    assert_eq!(off.message, "thing: the VM is off, it has no address");
}
