//! `nginx/stream` on a real nginx, in a container of a compose project or on the host, with players and machines behind it that really talk.

mod broken;
mod held;
mod refused;
mod traffic;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::super::real::sshd::Sshd;
use super::super::real::{image, needs, run};
use super::super::sandbox::{Ran, Sandbox};
use super::site::{self, Host, toml};

const NGINX: &str = "pmx-test/nginx";
/// The machines behind the proxy.
const ONE: &str = "10.99.0.7";
const TWO: &str = "10.99.0.8";

/// What every nginx of these tests reads; the proxies are in the files that it includes.
const CONFIGURATION: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\nworker_processes 1;\nerror_log stderr notice;\n\
                             events { worker_connections 64; }\nstream {\n    # one file a machine\n    include /etc/nginx/stream.d/*.conf;\n}\n";

/// A proxy's directory on the shared host, and a project that manages it.
struct Site {
    host: Arc<Host>,
    sandbox: Sandbox,
    name: &'static str,
}

/// A site whose nginx runs in a container and serves the port `base` to that of `ONE` 1000 higher by a file of its own, `site.conf`; `None` when the test is to be skipped.
/// Its service has these lines more.
#[track_caller]
fn site(name: &'static str, base: u16, lines: &str) -> Option<Site> {
    let site = bare(name)?;
    let compose = format!(
        "# the proxies of all games\nservices:\n  stream:   # one nginx for all\n    image: {NGINX}\n    container_name: {name}\n{lines}    # nothing of \
         it is kept\n    volumes:\n      - ./nginx.conf:/etc/nginx/nginx.conf:ro\n      - ./conf.d:/etc/nginx/stream.d:ro\n\n# the end\n"
    );
    site.write("compose.yaml", &compose);
    site.write("nginx.conf", CONFIGURATION);
    site.write("conf.d/site.conf", &format!("server {{\n    listen {base};\n    proxy_pass {ONE}:{};\n}}\n", base + 1000));
    site.host.compose(name, &["up", "-d"]);
    Some(site)
}

/// The lines of a service that publishes `base`.
fn publishing(base: u16) -> String {
    format!("    ports:\n      # the site\n      - '{base}:{base}' # for everybody\n")
}

/// An empty directory on the shared host, and a project that manages it.
#[track_caller]
fn bare(name: &'static str) -> Option<Site> {
    needs(["python3"])?;
    let host = site::apart()?;
    // Tests share the host: the first one makes them.
    image::nginx(&host.docker, NGINX)?;
    for address in [ONE, TWO] {
        run(&mut host.docker.inside("ip", &["address", "replace", &format!("{address}/32"), "dev", "lo"]));
    }
    let sandbox = project(&host.sshd, name);
    std::fs::create_dir_all(host.sshd.home().join(name).join("conf.d")).expect("a folder can be made");
    Some(Site { host, sandbox, name })
}

/// A project with the definition `proxy` of the directory `~/<name>` behind `sshd`.
fn project(sshd: &Sshd, name: &str) -> Sandbox {
    let at = format!("sshHost = \"{}\"\nsshPort = {}\nsshUser = \"root\"\nstreamDir = \"~/{name}\"\n", sshd.address, sshd.port);
    site::project(sshd)
        .file("definitions/proxy.toml", &format!("type = \"nginx/stream\"\n\n[global]\n{at}"))
        .deadline(Duration::from_secs(180))
}

impl Site {
    fn path(&self, file: &str) -> PathBuf {
        self.host.sshd.home().join(self.name).join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap_or_default()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).expect("a file can be written");
    }

    /// Writes a workflow `call` that calls `configure` with arguments as lines of TOML.
    fn workflow(&self, arguments: &str) {
        let text = format!("[[step]]\nname = \"call\"\ncall = \"proxy.configure\"\n\n[step.with]\n{arguments}\n");
        std::fs::create_dir_all(self.sandbox.path("workflows")).expect("a folder can be made");
        std::fs::write(self.sandbox.path("workflows/call.toml"), text).expect("a workflow can be written");
    }

    /// Calls `configure` with arguments as lines of TOML.
    #[track_caller]
    fn call(&self, arguments: &str) -> Ran {
        self.workflow(arguments);
        self.sandbox.pmx(&["build", "call"])
    }

    /// Makes the ports of a machine reachable.
    #[track_caller]
    fn configure(&self, machine: &str, target: &str, ports: &str) -> Ran {
        self.call(&format!("vmName = {}\ntargetIp = {}\nportMap = {}", toml(machine), toml(target), toml(ports)))
    }

    /// All that a failed change must leave as it was: the files with their bytes.
    fn files(&self) -> Vec<(PathBuf, String)> {
        site::files(&self.path("")).into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap_or_default())).collect()
    }

    /// A machine behind the proxy, or somebody who holds a port; ready when this returns.
    #[track_caller]
    fn other(&self, words: &[&str]) -> Tool {
        let mut tool = Tool::start(&self.host, words);
        assert_eq!(tool.line(), "ready", "{words:?}");
        tool
    }

    /// A player who is connected to a port of the proxy.
    #[track_caller]
    fn player(&self, kind: &str, port: u16) -> Tool {
        Tool::start(&self.host, &["talk", kind, "127.0.0.1", &port.to_string()])
    }
}

/// One end of a connection in the host's network; ended when it is dropped.
struct Tool {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Tool {
    #[track_caller]
    fn start(host: &Host, words: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/real_types/stream/net.py");
        let mut command = host.docker.inside("python3", &[&[script], words].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let (input, output) = child.stdin.take().zip(child.stdout.take()).expect("both are pipes");
        Self { child, input, output: BufReader::new(output) }
    }

    /// Its next line; empty when it has ended. Whatever it waits for has a deadline of its own.
    fn line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.output.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Says something; gives the answer.
    fn say(&mut self, text: &str) -> String {
        // One that has ended has said why.
        let _ = writeln!(self.input, "{text}");
        self.line()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
