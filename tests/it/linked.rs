//! Programs that need no library: they start in an empty image and on a machine with another C library, and find the same hosts there.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::fleet::Fleet;
use super::real::docker::Docker;
use super::real::sshd::{Sshd, own_address};
use super::real::{image, needs, present, run};
use super::sandbox::Sandbox;

/// Both programs as `just release` links them, but without its optimisation; `None` when the test is to be skipped. Made by the first test that asks,
/// where they are not there yet or are older than the source.
#[track_caller]
fn programs() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let built = BUILT.get_or_init(|| {
        let place = Path::new(env!("CARGO_BIN_EXE_pmx")).parent()?.parent()?.to_path_buf();
        let (cargo, root) = (std::env::var_os("CARGO")?, env!("CARGO_MANIFEST_DIR"));
        let flags = format!("target.{target}.rustflags = [\"-C\", \"target-feature=+crt-static\", \"-C\", \"relocation-model=static\"]");
        let mut command = Command::new(cargo);
        command.args(["build", "--locked", "--quiet", "-p", "pmx", "-p", "pmx-bot", "--target", &target, "--config", &flags]);
        // What cargo tells a test would make it build anew: build scripts look at some of it.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name == "RUSTFLAGS" || (name.starts_with("CARGO_") && name != "CARGO_HOME") {
                command.env_remove(name);
            }
        }
        run(command.arg("--target-dir").arg(&place).current_dir(root));
        Some(place.join(&target).join("debug"))
    });
    present("cargo, to link the programs without libraries", built.as_deref())
}

/// Builds the image `tag` with nothing but a program in it.
#[track_caller]
fn empty_image(docker: &Docker, tag: &str, program: &Path) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::copy(program, dir.path().join("pmx")).expect("a program can be copied");
    std::fs::write(dir.path().join("Dockerfile"), "FROM scratch\nCOPY pmx /pmx\nENTRYPOINT [\"/pmx\"]\n")
        .expect("a Dockerfile can be written");
    docker.run(&["build", "-q", "-t", tag, &dir.path().display().to_string()]);
}

/// Runs the image with a project mounted where it is, in the machine's network; what it said, and its exit code.
fn contained(docker: &Docker, sandbox: &Sandbox, options: &[&str], arguments: &[&str]) -> (String, Option<i32>) {
    let root = sandbox.root().display().to_string();
    let (mount, home, work) = (format!("{root}:{root}"), format!("HOME={root}/home"), format!("{root}/project"));
    let fixed = ["run", "--rm", "--network", "host", "-v", &mount, "-e", &home, "-w", &work];
    let out = docker.client(&[&fixed, options, &["pmx-test/empty"], arguments].concat()).output().expect("docker starts");
    (String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr), out.status.code())
}

#[test]
fn programs_need_no_library_and_no_loader() {
    let Some(place) = programs() else { return };
    let Some([readelf]) = needs(["readelf"]) else { return };
    for name in ["pmx", "pmx-bot"] {
        let told = run(Command::new(&readelf).args(["-lWd"]).arg(place.join(name)));
        assert!(told.contains("LOAD"), "{told}");
        assert!(!told.contains("INTERP") && !told.contains("(NEEDED)"), "{name} is not whole by itself:\n{told}");
    }
    let told = run(Command::new(&readelf).args(["-lWd"]).arg(env!("CARGO_BIN_EXE_pmx")));
    assert!(told.contains("INTERP") && told.contains("(NEEDED)"), "the ordinary program shows that this test can fail");
}

/// A name server at an address of its own that knows one name.
fn name_server(name: &str, address: [u8; 4]) -> String {
    let (at, _) = own_address();
    let socket = UdpSocket::bind((at.as_str(), 53)).expect("root may answer at port 53");
    let known: Vec<u8> = name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).chain([0]).collect();
    std::thread::spawn(move || {
        let mut bytes = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let question = &bytes[..length];
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
            let (asked, kind) = (&question[12..end], &question[end..end + 2]);
            let found = asked.eq_ignore_ascii_case(&known);
            let answers = u8::from(found && kind == [0, 1]);
            let mut reply = question[..2].to_vec();
            reply.extend([0x81, if found { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
            reply.extend(&question[12..end + 4]);
            if answers == 1 {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                reply.extend(address);
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    at
}

#[test]
fn an_empty_image_runs_pmx_and_finds_hosts_by_name() {
    let Some(place) = programs() else { return };
    let Some(sshd) = Sshd::start() else { return };
    let Some(docker) = Docker::start() else { return };
    empty_image(&docker, "pmx-test/empty", &place.join("pmx"));
    let shell = |host: &str| format!("type = \"ssh/host\"\n\n[global]\nhost = \"{host}\"\nport = {}\nuser = \"root\"\n", sshd.port);
    let sandbox = Sandbox::new()
        .key(&sshd.client_key())
        .file("Pmxfile.toml", "[project]\nname = \"x\"\n")
        .file("definitions/hosts.toml", &shell("slate.hosts"))
        .file("definitions/dns.toml", &shell("slate"))
        .file("definitions/nobody.toml", &shell("nobody.pmx.test"));
    let (said, code) = contained(&docker, &sandbox, &[], &["--version"]);
    assert_eq!((said.as_str(), code), (concat!("pmx ", env!("CARGO_PKG_VERSION"), "\n"), Some(0)));
    let (said, code) = contained(&docker, &sandbox, &[], &["check"]);
    assert!(code == Some(0) && said.contains("3 definitions, 0 workflows: clean"), "{said}");
    // By the container's own hosts, and by a name server with a search domain; the machine's own files know neither.
    let address: std::net::Ipv4Addr = sshd.address.parse().expect("an address");
    let server = name_server("slate.pmx.test", address.octets());
    let (own, conf) = (sandbox.path("hosts"), sandbox.path("resolv.conf"));
    std::fs::write(&own, format!("127.0.0.1 localhost\n{address} slate.hosts\n")).expect("a file can be written");
    std::fs::write(&conf, format!("nameserver {server}\nsearch pmx.test\n")).expect("a file can be written");
    let (own, conf) = (format!("{}:/etc/hosts:ro", own.display()), format!("{}:/etc/resolv.conf:ro", conf.display()));
    let named = ["-v", own.as_str(), "-v", conf.as_str()];
    for definition in ["hosts", "dns"] {
        let (said, code) =
            contained(&docker, &sandbox, &named, &["build", &format!("{definition}.exec"), "-i", "command=echo made-it >>made", "-v"]);
        assert_eq!(code, Some(0), "{said}\n{}", sshd.log());
    }
    assert_eq!(std::fs::read_to_string(sshd.home().join("made")).expect("both were there"), "made-it\nmade-it\n");
    let (said, code) = contained(&docker, &sandbox, &named, &["build", "nobody.exec", "-i", "command=true"]);
    let why = format!("no address for `nobody.pmx.test`: it is not in /etc/hosts, and the name server {server} knows none");
    assert!(code == Some(1) && said.contains(&why), "{said}");
}

#[test]
fn an_empty_image_checks_certificates_by_the_projects_own_authority() {
    let Some(place) = programs() else { return };
    let Some(docker) = Docker::start() else { return };
    empty_image(&docker, "pmx-test/empty", &place.join("pmx"));
    let fleet = Fleet::up();
    // The fleet's own file of its authority; there is no other in the image.
    let (said, code) = contained(&docker, &fleet.sandbox, &["-e", "USER=boxed"], &["--profile", "lab", "build", "sync-fleet"]);
    assert_eq!(code, Some(0), "{said}");
    let rows = fleet.pmx(&["--json", "runs"]).exits(0).lines();
    assert!(rows[0]["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:boxed@")), "{rows:?}");
    // Without it the certificate is judged by the system's authorities, and the image has none.
    let address = fleet.sandbox.read("Pmxfile.toml");
    let port = address.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).expect("the fleet's port").to_owned();
    let bare = Sandbox::new()
        .env("PASSWORD", "x")
        .file("Pmxfile.toml", "[project]\nname = \"x\"\n\n[vault.safe]\nkind = \"env\"\nprefix = \"\"\n")
        .file(
            "definitions/node.toml",
            &format!("type = \"proxmox/node\"\n\n[global]\napiUrl = \"https://127.0.0.1:{port}\"\nusername = \"root\"\nrealm = \"pam\"\nnode = \"keeb-dev-02\"\nskipTlsVerify = false\npassword = '${{{{ vault.get(\"safe\", \"password\") }}}}'\n"),
        );
    let (said, code) = contained(&docker, &bare, &["-e", "PASSWORD=x"], &["build", "node.auth"]);
    assert!(code == Some(1) && said.contains("certificate"), "{said}");
}

#[test]
fn the_bots_image_is_its_program_alone_and_starts() {
    let Some(place) = programs() else { return };
    let Some(docker) = Docker::start() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::copy(place.join("pmx-bot"), dir.path().join("pmx-bot")).expect("a program can be copied");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("bot/Dockerfile"), dir.path().join("Dockerfile"))
        .expect("a file can be copied");
    docker.run(&["build", "-q", "-t", "pmx-test/bot", &dir.path().display().to_string()]);
    let mut command = docker.client(&["run", "--rm", "--network", "none", "pmx-test/bot", "--version"]);
    let out = command.output().expect("docker starts");
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    // Docker's own codes say that a program could not be started at all.
    assert!(out.status.code().is_some_and(|code| code < 125), "{said}");
}

#[test]
fn a_machine_of_busybox_runs_pmx() {
    let Some(place) = programs() else { return };
    let Some(docker) = Docker::start() else { return };
    let Some(()) = image::busybox(&docker, "pmx-test/busybox") else { return };
    let mount = format!("{}:/usr/bin/pmx:ro", place.join("pmx").display());
    let said = docker.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        &mount,
        "pmx-test/busybox",
        "sh",
        "-c",
        "cd && pmx init p && cd p && pmx check",
    ]);
    assert!(said.contains("clean"), "{said}");
}
