//! The inventory's workflows: each gets the orders that its author wanted, from data and places alone, and leaves parallel what was.

use crate::lang::Project;
use crate::plan::explain::{Drawing, summary};
use crate::plan::graph::Conflict;
use crate::plan::kit::{Order, graph_of, lines, project};
use crate::value::Value;

const DEFINITIONS: &[(&str, &str)] = &[
    (
        "definitions/keebDev02.toml",
        r#"type = "proxmox/node"
[global]
apiUrl = "https://10.0.0.4:8006"
username = "root"
node = "keeb-dev-02"
password = '${{ vault.get("proxmox-vault", "password") }}'
"#,
    ),
    (
        "definitions/fleet.toml",
        r#"type = "proxmox/vm"
[global]
apiUrl = "https://10.0.0.4:8006"
node = "keeb-dev-02"
ticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'
csrfToken = '${{ model.keebDev02.resource.node.node.attributes.csrfToken }}'
"#,
    ),
    (
        "definitions/calamity.toml",
        "type = \"docker/compose\"\n[global]\ncomposePath = \"~/game/\"\nsshHost = '${{ model.fleet.resource.vm[\"calamity\"].attributes.ip }}'\n",
    ),
    (
        "definitions/calamityTerraria.toml",
        "type = \"terraria/server\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[\"calamity\"].attributes.ip }}'\n",
    ),
    (
        "definitions/allthemonsMinecraft.toml",
        "type = \"minecraft/server\"\n[global]\nserverName = \"allthemons\"\nsshHost = '${{ model.fleet.resource.vm[\"allthemons\"].attributes.ip }}'\n",
    ),
    (
        "definitions/alpineInstaller.toml",
        r#"type = "alpine/install"
[global]
sshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'
[methods.install]
hostname = '${{ inputs.vmName }}'
password = '${{ vault.get("proxmox-vault", "password") }}'
"#,
    ),
    (
        "definitions/goldImageOverlay.toml",
        "type = \"alpine/overlay\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[\"gold-image\"].attributes.ip }}'\ntftpHost = \"10.0.0.191\"\ntftpPath = \"/srv/http/alpine\"\n",
    ),
    (
        "definitions/dockerEngine.toml",
        "type = \"docker/engine\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\n",
    ),
    (
        "definitions/slateDocker.toml",
        r#"type = "docker/engine"
[global]
sshHost = '${{ model.fleet.resource.vm["slate"].attributes.ip }}'
[methods.build]
imageTag = "discord-bot"
contextPath = "/opt/proxmox-manager/bot"
[methods.run]
containerName = "discord-bot"
imageTag = "discord-bot"
envFile = "/opt/proxmox-manager/bot/.env"
"#,
    ),
    (
        "definitions/tailscaleNode.toml",
        "type = \"tailscale/node\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\nauthKey = '${{ vault.get(\"proxmox-vault\", \"tailscaleAuthKey\") }}'\n",
    ),
    (
        "definitions/pmxRepo.toml",
        "type = \"pmx/repo\"\n[global]\nremoteDir = \"/opt/proxmox-manager\"\nsshHost = '${{ model.fleet.resource.vm[\"slate\"].attributes.ip }}'\n",
    ),
    ("definitions/testVmSsh.toml", "type = \"ssh/host\"\n[global]\nhost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\n"),
    (
        "definitions/treehouse.toml",
        r#"type = "nginx/stream"
[global]
sshHost = "treehouse"
[methods.configure]
vmName = '${{ inputs.vmName }}'
targetIp = '${{ inputs.targetIp }}'
portMap = '${{ inputs.portMap }}'
"#,
    ),
];

/// One workflow: its inputs, its steps as `name call with`, the orders that must hold, and the pairs that must be free.
struct Row {
    name: &'static str,
    inputs: &'static [&'static str],
    steps: &'static [(&'static str, &'static str, &'static str)],
    /// `a < b`: a is done before b begins.
    before: &'static str,
    /// `a | b`: both may run at once.
    beside: &'static str,
}

const fn row(
    name: &'static str,
    inputs: &'static [&'static str],
    steps: &'static [(&'static str, &'static str, &'static str)],
    before: &'static str,
    beside: &'static str,
) -> Row {
    Row { name, inputs, steps, before, beside }
}

const AUTH: (&str, &str, &str) = ("auth", "keebDev02.auth", "");
const NAMED: &str = "vmName = '${{ inputs.vmName }}'";
const ATM: &str = "vmName = \"allthemons\"";
const CAL: &str = "vmName = \"calamity\"";
const SLATE: &str = "vmName = \"slate\"";
const GOLD: &str = "vmName = \"gold-image\"";
const TEST: &str = "vmName = \"test-lifecycle-vm\"";

const ROWS: &[Row] = &[
    row("sync-fleet", &[], &[AUTH, ("sync", "fleet.sync", "")], "auth < sync", ""),
    row("start-vm", &["vmName"], &[AUTH, ("start", "fleet.start", NAMED)], "auth < start", ""),
    row("stop-vm", &["vmName"], &[AUTH, ("stop", "fleet.stop", NAMED)], "auth < stop", ""),
    row("create-vm", &["vmName"], &[AUTH, ("create", "fleet.create", NAMED)], "auth < create", ""),
    row("delete-vm", &["vmName"], &[AUTH, ("delete", "fleet.delete", NAMED)], "auth < delete", ""),
    row(
        "start-allthemons",
        &[],
        &[AUTH, ("start-vm", "fleet.start", ATM), ("start-server", "allthemonsMinecraft.startMinecraftServer", "")],
        "auth < start-vm < start-server",
        "",
    ),
    row(
        "stop-allthemons",
        &[],
        &[
            AUTH,
            ("lookup", "fleet.lookup", ATM),
            ("warn", "allthemonsMinecraft.warnShutdown", ""),
            ("stop-server", "allthemonsMinecraft.stopMinecraftServer", ""),
            ("stop-vm", "", ATM),
        ],
        "auth < lookup < warn < stop-server < stop-vm/stop",
        "",
    ),
    row(
        "reboot-allthemons",
        &[],
        &[("stop", "stop-allthemons", ""), ("start", "start-allthemons", "")],
        "stop/auth < stop/lookup < stop/warn < stop/stop-server < stop/stop-vm/stop < start/start-vm < start/start-server",
        "",
    ),
    row(
        "status-allthemons",
        &[],
        &[AUTH, ("lookup", "fleet.lookup", ATM), ("status", "allthemonsMinecraft.status", "")],
        "auth < lookup < status",
        "",
    ),
    row(
        "start-calamity",
        &[],
        &[AUTH, ("start-vm", "fleet.start", CAL), ("start-terraria", "calamity.start", "")],
        "auth < start-vm < start-terraria",
        "",
    ),
    row(
        "stop-calamity",
        &[],
        &[
            AUTH,
            ("lookup", "fleet.lookup", CAL),
            ("warn-players", "calamityTerraria.warnShutdown", ""),
            ("stop-terraria", "calamity.stop", ""),
            ("stop-vm", "stop-vm", CAL),
        ],
        "auth < lookup < warn-players < stop-terraria < stop-vm/stop",
        "",
    ),
    row(
        "reboot-calamity",
        &[],
        &[("stop", "stop-calamity", ""), ("start", "start-calamity", "")],
        "stop/lookup < stop/warn-players < stop/stop-terraria < stop/stop-vm/stop < start/start-vm < start/start-terraria",
        "",
    ),
    row(
        "update-calamity",
        &[],
        &[AUTH, ("start-vm", "fleet.start", CAL), ("update", "calamity.update", "")],
        "auth < start-vm < update",
        "",
    ),
    row(
        "status-calamity",
        &[],
        &[AUTH, ("lookup", "fleet.lookup", CAL), ("status", "calamityTerraria.status", "")],
        "auth < lookup < status",
        "",
    ),
    row(
        "deploy-bot",
        &[],
        &[
            AUTH,
            ("lookup", "fleet.lookup", SLATE),
            ("code", "pmxRepo.syncCode", ""),
            ("binary", "pmxRepo.syncBinary", ""),
            ("secrets", "pmxRepo.syncSecrets", "folder = '${{ model.pmxRepo.resource.repo.code.attributes.remoteDir }}'"),
            (
                "build",
                "slateDocker.build",
                "inputs = { code = '${{ model.pmxRepo.resource.repo.code.attributes.digest }}', binary = '${{ model.pmxRepo.resource.repo.binary.attributes.digest }}' }",
            ),
            (
                "env",
                "testVmSsh.writeFile",
                "vmName = \"slate\", dest = '${{ model.pmxRepo.resource.repo.code.attributes.remoteDir }}/bot/.env', content = 'DISCORD_TOKEN=${{ vault.get(\"proxmox-vault\", \"discordToken\") }}'",
            ),
            (
                "run",
                "slateDocker.run",
                "imageId = '${{ model.slateDocker.resource.image[\"discord-bot\"].attributes.id }}', envDigest = '${{ model.testVmSsh.resource.file[\"/opt/proxmox-manager/bot/.env\"].attributes.digest }}'",
            ),
        ],
        "auth < lookup < code < secrets, lookup < binary, code < build < run, binary < build, code < env < run",
        "code | binary",
    ),
    row(
        "create-stateful-vm",
        &["vmName", "memory", "cores", "diskSize"],
        &[
            AUTH,
            (
                "create",
                "fleet.create",
                "vmName = '${{ inputs.vmName }}', memory = '${{ inputs.memory }}', cores = '${{ inputs.cores }}', diskSize = '${{ inputs.diskSize }}'",
            ),
            ("start-pxe", "fleet.start", NAMED),
            ("install", "alpineInstaller.install", ""),
            ("boot-order", "fleet.setBootOrder", "vmName = '${{ inputs.vmName }}', boot = \"order=scsi0;net0\""),
            ("stop", "fleet.stop", NAMED),
            ("start", "fleet.start", NAMED),
        ],
        "auth < create < start-pxe < install < boot-order < stop < start",
        "",
    ),
    row(
        "setup-docker",
        &["vmName"],
        &[AUTH, ("lookup", "fleet.lookup", NAMED), ("install", "dockerEngine.install", "")],
        "auth < lookup < install",
        "",
    ),
    row(
        "setup-tailscale",
        &["vmName"],
        &[AUTH, ("lookup", "fleet.lookup", NAMED), ("install", "tailscaleNode.install", "")],
        "auth < lookup < install",
        "",
    ),
    row("destroy-slate", &[], &[AUTH, ("stop", "fleet.stop", SLATE), ("delete", "fleet.delete", SLATE)], "auth < stop < delete", ""),
    row("start-gold-image", &[], &[AUTH, ("start", "fleet.start", GOLD)], "auth < start", ""),
    row(
        "deploy-apkovl",
        &[],
        &[AUTH, ("start", "fleet.start", GOLD), ("deploy", "goldImageOverlay.deployApkovl", "")],
        "auth < start < deploy",
        "",
    ),
    row("configure-proxy", &["vmName", "targetIp", "portMap"], &[("configure", "treehouse.configure", "")], "", ""),
    row(
        "vm-lifecycle-test",
        &[],
        &[
            AUTH,
            ("create", "fleet.create", "vmName = \"test-lifecycle-vm\", memory = 1024, cores = 1, diskSize = 0"),
            ("start", "fleet.start", TEST),
            ("stop", "fleet.stop", TEST),
            ("delete", "fleet.delete always", TEST),
        ],
        "auth < create < start < stop < delete",
        "",
    ),
    row(
        "guest-agent-test",
        &[],
        &[
            AUTH,
            ("create", "fleet.create", "vmName = \"test-guest-agent-vm\", memory = 1024, cores = 1, diskSize = 0"),
            ("start", "fleet.start", "vmName = \"test-guest-agent-vm\""),
            ("stop", "fleet.stop", "vmName = \"test-guest-agent-vm\""),
            ("delete", "fleet.delete always", "vmName = \"test-guest-agent-vm\""),
        ],
        "auth < create < start < stop < delete",
        "",
    ),
    // Two machines at once, to see that nothing but the login joins them.
    row(
        "two-at-once",
        &[],
        &[("calamity", "start-calamity", ""), ("allthemons", "start-allthemons", "")],
        "calamity/auth < allthemons/start-vm",
        "calamity/start-vm | allthemons/start-vm, calamity/start-terraria | allthemons/start-server, calamity/start-terraria | allthemons/start-vm",
    ),
];

fn text(row: &Row) -> String {
    let mut text: String = row.inputs.iter().map(|name| format!("[input.{name}]\ntype = \"string\"\n")).collect();
    for (name, what, with) in row.steps {
        let (what, always) = what.split_once(' ').map_or((*what, ""), |(what, _)| (what, "always = true\n"));
        // A step of another workflow is told by the missing dot; stop-vm is meant where nothing is written.
        let what = if what.is_empty() { "stop-vm" } else { what };
        let key = if what.contains('.') { "call" } else { "workflow" };
        let with = if with.is_empty() { String::new() } else { format!("with = {{ {with} }}\n") };
        text.push_str(&format!("[[step]]\nname = \"{name}\"\n{key} = \"{what}\"\n{with}{always}"));
    }
    text
}

fn inventory() -> Project {
    let workflows: Vec<(String, String)> = ROWS.iter().map(|row| (format!("workflows/{}.toml", row.name), text(row))).collect();
    let mut files = DEFINITIONS.to_vec();
    files.extend(workflows.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    project(&files)
}

#[test]
fn every_workflow_has_the_orders_that_its_author_wanted() {
    let project = inventory();
    for row in ROWS {
        let inputs: Vec<(&str, Value)> = row.inputs.iter().map(|name| (*name, Value::from("x1"))).collect();
        let graph = graph_of(&project, &[row.name], &inputs).unwrap_or_else(|complaints| panic!("{}: {}", row.name, lines(&complaints)));
        let order = Order::of(&graph);
        let step = |name: &str| format!("{}/{}", row.name, name.trim());
        for chain in row.before.split(',').filter(|chain| !chain.is_empty()) {
            let names: Vec<&str> = chain.split('<').collect();
            for pair in names.windows(2) {
                assert!(order.before(&step(pair[0]), &step(pair[1])), "{}: {} must be done before {}", row.name, pair[0], pair[1]);
            }
        }
        for pair in row.beside.split(',').filter(|pair| !pair.is_empty()) {
            let (one, other) = pair.split_once('|').unwrap();
            assert!(order.beside(&step(one), &step(other)), "{}: {one} and {other} must be free", row.name);
        }
        let written = graph.edges.iter().filter(|edge| matches!(edge.why, Conflict::After(_))).count();
        assert_eq!(written, 0, "{} needs no `after`", row.name);
        let implied: Vec<&str> = graph.actions.iter().filter(|a| a.flow.implied.is_some()).map(|a| a.step.as_str()).collect();
        assert_eq!(implied, Vec::<&str>::new(), "{} observes all that it reads", row.name);
        let (drawn, summed) = (serde_json::to_string(&Drawing(&graph)), serde_json::to_string(&summary(&graph)));
        assert_eq!(drawn.unwrap(), summed.unwrap(), "{}: a drawing is its summary, line by line", row.name);
    }
}

#[test]
fn a_workflow_without_its_login_and_lookup_gets_them() {
    let bare = "[[step]]\nname = \"warn\"\ncall = \"calamityTerraria.warnShutdown\"\n[[step]]\nname = \"stop\"\ncall = \"fleet.stop\"\nwith = { vmName = \"calamity\" }\n";
    let mut files = DEFINITIONS.to_vec();
    files.push(("workflows/bare.toml", bare));
    let graph = graph_of(&project(&files), &["bare"], &[]).map_err(|c| lines(&c)).unwrap();
    let steps: Vec<&str> = graph.actions.iter().map(|action| action.step.as_str()).collect();
    assert_eq!(steps, ["bare/warn (refresh keebDev02/node/node)", "bare/warn (refresh fleet/vm/calamity)", "bare/warn", "bare/stop"]);
}

#[test]
fn a_cleanup_that_always_runs_has_its_login_always() {
    let cleanup = "[[step]]\nname = \"create\"\ncall = \"dockerEngine.install\"\nwith = { vmName = \"x\" }\n[[step]]\nname = \"delete\"\ncall = \"fleet.delete\"\nwith = { vmName = \"y\" }\nalways = true\n[[step]]\nname = \"look\"\ncall = \"calamityTerraria.status\"\noptional = true\n";
    let mut files = DEFINITIONS.to_vec();
    files.push(("workflows/w.toml", cleanup));
    let graph = graph_of(&project(&files), &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let options = |step: &str| graph.actions[Order::of(&graph).id(step).index()].flow.options.clone();
    assert!(options("w/create (refresh keebDev02/node/node)").always, "the login serves the cleanup, too");
    assert!(!options("w/create (refresh fleet/vm/x)").always);
    assert!(options("w/look (refresh fleet/vm/calamity)").optional, "whoever may fail alone needs it");
    assert!(!options("w/create (refresh keebDev02/node/node)").optional);
}

#[test]
fn a_file_named_at_run_time_may_be_the_one_that_is_read() {
    let project = inventory();
    let graph = graph_of(&project, &["deploy-bot"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    let why = |from: &str, to: &str| -> Vec<String> {
        let fits = |edge: &&crate::plan::graph::Edge| edge.from == order.id(from) && edge.to == order.id(to);
        graph.edges.iter().filter(fits).map(|edge| crate::plan::explain::label(&edge.why)).collect()
    };
    assert_eq!(
        why("deploy-bot/env", "deploy-bot/run"),
        ["model.testVmSsh.resource.file[\"/opt/proxmox-manager/bot/.env\"].attributes.digest"],
        "a file whose name is known only at run time may be the one that is read"
    );
}
