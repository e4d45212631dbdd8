//! Commands on real sshd hosts: `ssh/host.exec` on one host and on twenty, beside OpenSSH with a shared connection per host, ansible and pyinfra, and
//! beside the floor: russh alone, in this process.
//!
//! One sshd listens on twenty loopback addresses. Each command is `true`. ansible and pyinfra take part where they are on PATH:
//! `python3 -m venv target/peers && target/peers/bin/pip install ansible-core pyinfra`, then `PATH=$PWD/target/peers/bin:$PATH just bench exec`.

use std::fmt::Write as _;
use std::process::Command;

use crate::bare;
use crate::harness::{Contender, Harness, Measured, Work};
use crate::sshd::Sshd;

/// Hosts and commands on each.
const LOADS: [(usize, usize); 3] = [(20, 1), (1, 100), (20, 20)];
/// Peers, and which part of their time is the goal.
const GOALS: [(&str, f64, &str); 4] = [
    ("russh alone", 1.15, "1.15 of"),
    ("ssh, multiplexed", 0.34, "1/3 of"),
    ("ansible raw, pipelining", 0.125, "1/8 of"),
    ("pyinfra", 0.34, "1/3 of"),
];

/// Runs all of it.
pub fn bench(harness: &mut Harness) {
    let addresses: Vec<String> = (1..=20).map(|number| format!("127.0.1.{number}")).collect();
    let server = match Sshd::start(&addresses) {
        Ok(server) => server,
        Err(needs) => {
            harness.skipped(&format!("commands over SSH: needs {needs}"));
            return LOADS.iter().for_each(|load| goals(harness, &title(*load), |_| Err(format!("needs {needs}"))));
        }
    };
    for (hosts, commands) in LOADS {
        files(&server, &addresses[..hosts], commands);
        let program = |words: Vec<String>| {
            let server = &server;
            let work = move |_: usize| {
                let mut command = server.home(Command::new(&words[0]));
                command.args(&words[1..]).env("ANSIBLE_CONFIG", server.at("ansible.cfg"));
                command
            };
            Work::Process(Box::new(work))
        };
        let at = |name: &str| server.at(name).display().to_string();
        let ansible = ["ansible-playbook", "-i", &at("inventory"), &at("play.yml")].map(str::to_owned).to_vec();
        let pyinfra = ["pyinfra", "-y", &at("inventory.py"), &at("deploy.py")].map(str::to_owned).to_vec();
        let key = server.at("home/.ssh/id_ed25519");
        let floor = |_| bare::commands(&addresses[..hosts], server.port, &key, commands);
        let case = harness.contest(
            title((hosts, commands)),
            vec![
                Contender::ours("pmx build", Work::Process(Box::new(|_| server.pmx(["build", "all", "-j", "64"])))),
                Contender::peer("russh alone", &[], Work::Own(Box::new(floor))),
                Contender::peer("ssh, multiplexed", &["ssh"], program(vec!["sh".to_owned(), at("mux.sh")])),
                Contender::peer("ansible raw, pipelining", &["ansible-playbook"], program(ansible)),
                Contender::peer("pyinfra", &["pyinfra"], program(pyinfra)),
            ],
        );
        goals(harness, &case.name, |peer| case.ratio("pmx build", peer));
    }
}

fn title((hosts, commands): (usize, usize)) -> String {
    format!("{hosts} × {commands} commands over SSH")
}

fn goals(harness: &mut Harness, name: &str, ratio: impl Fn(&str) -> Measured) {
    for (peer, bound, shown) in GOALS {
        harness.goal(name, (format!("≤ {shown} {peer}"), bound), ratio(peer), "×");
    }
}

/// The same work written down for each contender.
fn files(server: &Sshd, hosts: &[String], commands: usize) {
    let (port, options) = (server.port, server.options().join(" "));
    let mut steps = String::new();
    let (mut masters, mut work, mut ends) = (String::new(), String::new(), String::new());
    let key = server.at("home/.ssh/id_ed25519").display().to_string();
    for (number, host) in hosts.iter().enumerate() {
        let definition = format!("type = \"ssh/host\"\n\n[global]\nhost = \"{host}\"\nport = {port}\nuser = \"root\"\n");
        server.write(&format!("definitions/h{number}.toml"), &definition);
        for command in 0..commands {
            let _ = write!(
                steps,
                "\n[[step]]\nname = \"s{number}-{command}\"\ncall = \"h{number}.exec\"\nwith = {{ command = \"true\", as = \"c{command}\" }}\nunordered = true\n"
            );
        }
        let socket = server.at(&format!("mux-{number}")).display().to_string();
        let _ = writeln!(masters, "ssh {options} -p {port} -M -S {socket} -fN root@{host} &");
        let _ = writeln!(
            work,
            "(i=0; while [ $i -lt {commands} ]; do ssh {options} -p {port} -S {socket} root@{host} true; i=$((i+1)); done) &"
        );
        let _ = writeln!(ends, "ssh {options} -p {port} -S {socket} -O exit root@{host} 2>/dev/null");
    }
    server.write("workflows/all.toml", &steps);
    let put = |name: &str, text: &str| std::fs::write(server.at(name), text).expect("a file can be written");
    put("mux.sh", &format!("set -e\n{masters}wait\n{work}wait\n{ends}exit 0\n"));
    let lines: String =
        hosts.iter().map(|host| format!("{host} ansible_port={port} ansible_user=root ansible_ssh_private_key_file={key}\n")).collect();
    put("inventory", &lines);
    put("ansible.cfg", "[defaults]\nhost_key_checking = False\nforks = 20\n[ssh_connection]\npipelining = True\n");
    let tasks: String = (0..commands).map(|_| "    - raw: \"true\"\n".to_owned()).collect();
    put("play.yml", &format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"));
    let names: Vec<String> = hosts
        .iter()
        .map(|host| format!("(\"{host}\", {{\"ssh_port\": {port}, \"ssh_user\": \"root\", \"ssh_key\": \"{key}\", \"ssh_strict_host_key_checking\": \"off\"}})"))
        .collect();
    put("inventory.py", &format!("hosts = [{}]\n", names.join(", ")));
    put(
        "deploy.py",
        &format!(
            "from pyinfra.operations import server\nfor i in range({commands}):\n    server.shell(name=f\"c{{i}}\", commands=[\"true\"])\n"
        ),
    );
}
