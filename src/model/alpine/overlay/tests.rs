//! What `alpine/overlay` does: wire script → outcome, and archives as `lbu` and others make them.

use std::io::{Read, Write};
use std::time::Duration;

use base64::Engine as _;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

use crate::model::alpine::overlay::archive::share;
use crate::model::alpine::overlay::deploy::KEPT;
use crate::model::contract::{Acted, FailureKind};
use crate::model::local::sha256;
use crate::model::scene::{Scene, written};
use crate::wire::clock::Clock;
use crate::wire::scripted::ScriptedSsh;
use crate::wire::ssh::{Pinning, SshError};

const UUID: &str = "11111111-2222-4333-8444-555555555555\n";
const PATH: &str = "/srv/http/alpine/alpine.apkovl.tar.gz";

/// One entry: name, kind, body.
fn entry(name: &str, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
    header[156] = kind;
    header.extend_from_slice(body);
    header.resize(header.len().div_ceil(512) * 512, 0);
    header
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut tar = entries.concat();
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

fn hosts() -> Vec<u8> {
    entry("etc/hosts", b'0', &[b'h'; 700])
}

const SHADOW: &[u8] = b"root:$6$salt$hash:20000::\nkeeb:!:20000::\ndaemon:*:1::\nguest::1::\n";

#[test]
fn host_keys_go_and_all_else_stays_byte_for_byte() {
    let kept = [entry("etc/", b'5', b""), hosts(), entry("etc/shadow", b'0', SHADOW), entry("root/ssh_host_note", b'0', b"mine")];
    let keys = [entry("etc/ssh/ssh_host_rsa_key", b'0', &[1; 513]), entry("./etc/ssh/ssh_host_ed25519_key.pub", b'0', b"k")];
    let [dir, hosts, shadow, note] = kept.clone();
    let [rsa, ed] = keys;
    let packed = gzip(&tar(&[dir, rsa, hosts, shadow, ed, note]));
    let shared = share(&packed).unwrap();
    assert_eq!(gunzip(&shared.bytes), tar(&kept));
    assert_eq!(shared.dropped, ["etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_ed25519_key.pub"]);
    assert_eq!((shared.passwords, shared.open), (vec!["root".to_owned()], vec!["guest".to_owned()]));
    assert_eq!(share(&packed).unwrap().bytes, shared.bytes, "the same package is the same file");
}

#[test]
fn an_archive_without_host_keys_is_kept_as_it_is() {
    let packed = gzip(&tar(&[hosts()]));
    let shared = share(&packed).unwrap();
    assert_eq!((shared.bytes == packed, shared.dropped.len(), shared.passwords.len()), (true, 0, 0));
}

#[test]
fn long_names_go_with_their_entries() {
    let gnu = |name: &str| entry("././@LongLink", b'L', format!("{name}\0").as_bytes());
    let link = || entry("././@LongLink", b'K', b"target\0");
    let pax = |name: &str| {
        let record = format!(" path={name}\n");
        entry("PaxHeaders/x", b'x', format!("{}{record}", record.len() + 2).as_bytes())
    };
    let mut split = entry("ssh_host_dsa_key", b'0', b"key");
    split[257..263].copy_from_slice(b"ustar\0");
    split[345..352].copy_from_slice(b"etc/ssh");
    let key = || entry("etc/ssh/ssh_ho", b'0', b"cut");
    let kept = [gnu("etc/a-long-name"), entry("etc/a-lon", b'0', b"x"), pax("etc/b"), entry("etc/b", b'0', b"y")];
    let [a, b, c, d] = kept.clone();
    let all = [a, b, link(), gnu("etc/ssh/ssh_host_rsa_key"), key(), pax("./etc/ssh/ssh_host_ecdsa_key"), key(), split, c, d];
    let shared = share(&gzip(&tar(&all))).unwrap();
    assert_eq!(gunzip(&shared.bytes), tar(&kept));
    assert_eq!(shared.dropped, ["etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_ecdsa_key", "etc/ssh/ssh_host_dsa_key"]);
}

#[test]
fn what_is_cut_or_no_archive_is_refused() {
    let packed = gzip(&tar(&[hosts(), entry("etc/x", b'0', &[7; 4000])]));
    for cut in [packed.len() - 1, packed.len() - 8, packed.len() / 2, 12] {
        share(&packed[..cut]).unwrap_err();
    }
    share(b"Salted__ and so on").unwrap_err();
    share(&gzip(b"no tar")).unwrap_err();
    let mut wrong = hosts();
    wrong[124..135].copy_from_slice(b"zzzzzzzzzzz");
    share(&gzip(&tar(&[wrong]))).unwrap_err();
    let bomb = gzip(&vec![b'a'; 64 << 20]);
    assert!(share(&bomb).unwrap_err().contains("number"));
}

fn globals() -> Json {
    json!({"sshHost": "10.0.0.109"})
}

fn arguments() -> Json {
    json!({"tftpHost": "10.0.0.191", "tftpPath": "/srv/http/alpine"})
}

fn package() -> Vec<u8> {
    gzip(&tar(&[hosts(), entry("etc/shadow", b'0', SHADOW), entry("etc/ssh/ssh_host_rsa_key", b'0', b"k")]))
}

fn packaged() -> ScriptedSsh {
    let text = base64::engine::general_purpose::STANDARD.encode(package());
    let lines: String = text.as_bytes().chunks(76).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    ScriptedSsh::new().on("10.0.0.109").expect("cat /sys/class/dmi/id/product_uuid", UUID).expect("sh -c *lbu package -*base64*", &lines)
}

fn seen(bytes: &[u8], mode: &str) -> String {
    format!("{} {mode}\n{}  -\n", bytes.len(), sha256(bytes))
}

const LOOK: &str = "if [ -f /srv/http/alpine/alpine.apkovl.tar.gz ]; *";
const SWEEP: &str = "sh -c *rm -f* /srv/http/alpine/.alpine.apkovl.tar.gz.pmx-";
const FETCH: &str = "sh -c *wget*sha256sum* http://10.0.0.191/alpine/alpine.apkovl.tar.gz";

#[tokio::test]
async fn the_overlay_travels_once_and_is_fetched_as_machines_do() {
    let shared = share(&package()).unwrap().bytes;
    let digest = sha256(&shared);
    let ssh = packaged().on("10.0.0.191").expect(LOOK, "").expect(SWEEP, "").expect(LOOK, &seen(&shared, "644"));
    let scene = Scene::ssh(ssh.on("10.0.0.109").expect(FETCH, &format!("{digest}  -\n")));
    let first = scene.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap();
    let state = json!({
        "file": "alpine.apkovl.tar.gz", "bytes": shared.len(), "digest": format!("sha256:{digest}"), "target": format!("10.0.0.191:{PATH}"),
        "url": "http://10.0.0.191/alpine/alpine.apkovl.tar.gz", "dropped": ["etc/ssh/ssh_host_rsa_key"],
    });
    assert_eq!((written(&first), first.changed), (state, true));
    let file = scene.ssh.file("10.0.0.191", PATH).unwrap();
    assert_eq!((file.bytes, file.mode), (shared.clone(), 0o644));
    assert!(scene.told.has("warn every machine that boots this overlay lets guest in without a password"));
    assert!(scene.told.has("warn etc/shadow travels with the overlay: every machine has the gold image's password of root"));
    for call in scene.ssh.called() {
        let (identity, pinning) = if call.target.host == "10.0.0.109" {
            (scene.ctx.identity.as_str(), Pinning::ThisBoot)
        } else {
            ("host:10.0.0.191", Pinning::Pinned)
        };
        assert_eq!((call.target.identity.as_str(), call.target.pinning), (identity, pinning));
    }

    let ssh = packaged().on("10.0.0.191").expect(LOOK, &seen(&shared, "644")).on("10.0.0.109").expect(FETCH, &format!("{digest}  -\n"));
    let again = Scene::ssh(ssh);
    let second = again.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap();
    assert!(!second.changed && second.writes == first.writes, "{}", second.summary);
    assert!(again.ssh.log().iter().all(|line| !line.starts_with("upload")));
}

#[tokio::test]
async fn the_document_root_is_found_out() {
    let shared = share(&package()).unwrap().bytes;
    let digest = format!("{}  -\n", sha256(&shared));
    let none = format!("{}  -\n", sha256(b""));
    let look = "if [ -f '/www/a%20b/o v.tar.gz' ]; *";
    let ssh = packaged().on("10.0.0.191").expect(look, &seen(&shared, "644")).on("10.0.0.109");
    let ssh = ssh.expect_output("sh -c *wget* http://10.0.0.191/o%20v.tar.gz", 0, &none, "wget: server returned error: HTTP/1.1 404\n");
    let scene = Scene::ssh(ssh.expect("sh -c *wget* http://10.0.0.191/a%2520b/o%20v.tar.gz", &digest));
    let arguments = json!({"tftpHost": "10.0.0.191", "tftpPath": "/www/a%20b/o v.tar.gz"});
    let outcome = scene.call("alpine/overlay", "deployApkovl", globals(), arguments).await.unwrap();
    assert_eq!(
        (&written(&outcome)["file"], &written(&outcome)["url"]),
        (&json!("o v.tar.gz"), &json!("http://10.0.0.191/a%2520b/o%20v.tar.gz"))
    );
}

#[tokio::test]
async fn an_overlay_that_is_not_served_is_a_failure() {
    let shared = share(&package()).unwrap().bytes;
    let none = format!("{}  -\n", sha256(b""));
    let refused = |ssh: ScriptedSsh| {
        let ssh = ssh.on("10.0.0.109").expect_output(FETCH, 0, &none, "wget: can't connect to remote host: Connection refused\n");
        ssh.expect("sh -c *wget*", "1234  -\n").always("sh -c *wget*", &none)
    };
    let there = packaged().on("10.0.0.191").expect(LOOK, &seen(&shared, "644"));
    let scene = Scene::ssh(refused(there));
    let failure = scene.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert_eq!((failure.acted, scene.clock.elapsed()), (Acted::No, Duration::ZERO), "nothing travelled, so nothing is waited for");
    assert!(failure.message.ends_with("10.0.0.191 does not serve it over HTTP"), "{}", failure.message);
    assert_eq!(failure.tail[0], "http://10.0.0.191/alpine/alpine.apkovl.tar.gz: wget: can't connect to remote host: Connection refused");
    assert!(failure.tail[1].ends_with("other bytes came (sha256 1234)") && failure.tail[2].ends_with("nothing came"), "{:?}", failure.tail);
    let absent = placed(&shared).on("10.0.0.109").always("sh -c *wget*", &none);
    let scene = Scene::ssh(absent);
    let failure = scene.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert_eq!((failure.acted, scene.clock.elapsed()), (Acted::Maybe, Duration::ZERO), "a file that is nowhere is not waited for");
    assert!(failure.help.is_some_and(|help| help.starts_with("is the HTTP server running")));
}

/// The server has the overlay after the transfer.
fn placed(shared: &[u8]) -> ScriptedSsh {
    packaged().on("10.0.0.191").expect(LOOK, "").expect(SWEEP, "").expect(LOOK, &seen(shared, "644"))
}

#[tokio::test]
async fn a_server_that_still_gives_the_old_file_is_asked_again() {
    let shared = share(&package()).unwrap().bytes;
    let (new, old, none) = (format!("{}  -\n", sha256(&shared)), "1234  -\n", format!("{}  -\n", sha256(b"")));
    let elsewhere = |ssh: ScriptedSsh| {
        ["/alpine.apkovl.tar.gz", "/srv/http/alpine/alpine.apkovl.tar.gz", "/http/alpine/alpine.apkovl.tar.gz"]
            .iter()
            .fold(ssh, |ssh, path| ssh.always(&format!("sh -c *wget* http://10.0.0.191{path}"), &none))
    };
    let ssh = placed(&shared).on("10.0.0.109").expect(FETCH, old).expect(FETCH, old).expect(FETCH, &new);
    let scene = Scene::ssh(elsewhere(ssh));
    let outcome = scene.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap();
    assert_eq!(written(&outcome)["url"], "http://10.0.0.191/alpine/alpine.apkovl.tar.gz");
    assert_eq!(scene.clock.elapsed(), Duration::from_millis(1250));

    let scene = Scene::ssh(elsewhere(placed(&shared).on("10.0.0.109").always(FETCH, old)));
    let failure = scene.call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert!((KEPT..KEPT + Duration::from_secs(10)).contains(&scene.clock.elapsed()), "{:?}", scene.clock.elapsed());
    assert_eq!(failure.acted, Acted::Maybe);
    assert!(failure.help.is_some_and(|help| help.contains("open_file_cache")));
    assert!(scene.told.has("still waiting for the overlay to be served after"), "{:?}", scene.told.all());
    assert!(scene.told.has("/alpine/alpine.apkovl.tar.gz: other bytes came"), "{:?}", scene.told.all());
}

#[tokio::test]
async fn a_package_that_fails_leaves_the_server_alone() {
    let with = |status, out: &str, err: &str| {
        let ssh = ScriptedSsh::new().expect("cat /sys/class/dmi/id/product_uuid", UUID);
        ssh.expect_output("sh -c *lbu package -*", status, out, err)
    };
    for (ssh, says) in [
        (with(0, "H4sI\n", "lbu: no\npmx: lbu package ended with exit code 1\n"), "`lbu package -` failed"),
        (with(127, "", "sh: base64: not found\n"), "`lbu package -` failed"),
        (with(0, "not base64!\n", ""), "gave no archive in gzip"),
        (with(0, "U2FsdGVkX18=\n", ""), "it begins with other bytes (8 in all)"),
        (with(0, "H4sIAAAA\n", ""), "gave no archive in gzip"),
        (with(0, "", ""), "it begins with other bytes (0 in all)"),
    ] {
        let failure = Scene::ssh(ssh).call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
        assert!(failure.message.contains(says), "{}", failure.message);
        assert_eq!((failure.kind, failure.acted), (FailureKind::Theirs, Acted::No));
    }
}

#[tokio::test]
async fn an_upload_that_breaks_may_have_acted_and_is_told() {
    let error = SshError::File { host: "root@10.0.0.191:22".into(), path: PATH.into(), cause: "No space left on device".into() };
    let ssh = packaged().on("10.0.0.191").expect(LOOK, "").expect(SWEEP, "").failing("upload", error);
    let room = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 9000 8988 12 100% /srv\n";
    let ssh = ssh.expect("df -Pk /srv/http/alpine/", room);
    let failure = Scene::ssh(ssh).call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert!(failure.message.contains("No space left on device"), "{}", failure.message);
    let help = failure.help.unwrap_or_default();
    assert!(help.starts_with("12 KiB are free in /srv/http/alpine; what was served before is served still"), "{help}");
    assert_eq!(failure.acted, Acted::Maybe);
    let ssh = packaged().on("10.0.0.191").expect(LOOK, "").expect(SWEEP, "").expect(LOOK, &seen(b"something else", "644"));
    let failure = Scene::ssh(ssh).call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert!(failure.message.ends_with("was written, but reads differently afterwards"), "{}", failure.message);
}

#[tokio::test]
async fn hostile_and_absent_arguments_are_refused() {
    let with = |host: &str, path: &str| json!({"tftpHost": host, "tftpPath": path});
    for arguments in [
        with("", "/x"),
        with("-oProxyCommand=reboot", "/x"),
        with("a b", "/x"),
        with("a;reboot", "/x"),
        with("10.0.0.191:8080", "/x"),
        with("http://10.0.0.191", "/x"),
        with("10.0.0.191", "relative"),
        with("10.0.0.191", ""),
        with("10.0.0.191", "/srv/../etc"),
        with("10.0.0.191", "/srv\n/x"),
        with("10.0.0.191", "/srv\0x"),
    ] {
        let scene = Scene::ssh(ScriptedSsh::new());
        let failure = scene.call("alpine/overlay", "deployApkovl", globals(), arguments.clone()).await.unwrap_err();
        assert_eq!((failure.kind, scene.ssh.log().len()), (FailureKind::Yours, 0), "{arguments}");
    }
    for wrong in [json!({"tftpHost": 1, "tftpPath": "/x"}), json!({"tftpHost": "a"}), json!({"tftpHost": "a", "tftpPath": ["/x"]})] {
        Scene::ssh(ScriptedSsh::new()).call("alpine/overlay", "deployApkovl", globals(), wrong).await.unwrap_err();
    }
    let off = Scene::ssh(ScriptedSsh::new()).call("alpine/overlay", "deployApkovl", json!({"sshHost": ""}), arguments()).await.unwrap_err();
    assert_eq!(off.message, "thing: the VM is off, it has no address");
    let other = ScriptedSsh::new().expect("cat /sys/class/dmi/id/product_uuid", "99999999-2222-4333-8444-555555555555\n");
    let failure = Scene::ssh(other).call("alpine/overlay", "deployApkovl", globals(), arguments()).await.unwrap_err();
    assert!(failure.kind == FailureKind::Refused && failure.message.contains("is another machine"), "{}", failure.message);
}

#[test]
fn archives_are_read_or_refused_however_spoiled() {
    let gnu = entry("././@LongLink", b'L', b"etc/a-long-name\0");
    let keys = entry("etc/ssh/ssh_host_rsa_key", b'0', &[1; 513]);
    let plain = tar(&[gnu, keys, hosts(), entry("etc/shadow", b'0', SHADOW)]);
    crate::walks::feed(&[gzip(&plain)], |bytes| share(bytes).map(drop));
    // Inside the compression, where its checksum does not save anybody.
    crate::walks::feed(&[plain], |bytes| share(&gzip(bytes)).map(drop));
}
