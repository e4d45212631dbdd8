//! What people have written for years goes on working, letter for letter: names, expressions, numbers in quotes, inputs on the command line.

use serde_json::Value as Json;

use super::fleet::Fleet;
use super::sandbox::Sandbox;

/// A workflow of one step.
fn one(call: &str, rest: &str) -> String {
    format!("[[step]]\nname = \"one\"\ncall = \"{call}\"\n{rest}\n")
}

const VM_NAME: &str = "[input.vmName]\ntype = \"string\"\n";

/// The project with `text` as one more workflow.
fn with(text: &str) -> Sandbox {
    Sandbox::own().file("workflows/w.toml", text)
}

fn planned(sandbox: &Sandbox, inputs: &[&str]) -> Json {
    sandbox.pmx(&[&["--profile", "lab", "plan", "w", "--json"], inputs].concat()).exits(0).json()["actions"].clone()
}

#[test]
fn expressions_are_taken_as_they_were() {
    let exec = |expression: &str| one("testVmSsh.exec", &format!("with = {{ vmName = \"slate\", command = '{expression}' }}"));
    for expression in [
        r#"${{ model.fleet.resource.vm["allthemons"].attributes.ip }}"#,
        r"${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}",
        r#"${{ model.fleet.resource.vm["<vmName>"].attributes.ip }}"#,
        r"${{ model.fleet.resource.vm.calamity.attributes.vmName }}",
        r#"echo ${{ model["fleet"].resource["vm"]["calamity"].attributes["ip"] }} # text around it"#,
    ] {
        let read = if expression.contains("inputs.vmName") { VM_NAME } else { "" };
        let sandbox = with(&format!("{read}{}", exec(expression)));
        sandbox.pmx(&["check"]).exits(0).says("clean");
        let inputs: &[&str] = if read.is_empty() { &[] } else { &["--input", "vmName=allthemons"] };
        let actions = planned(&sandbox, inputs);
        let refreshes: Vec<&str> = actions.as_array().into_iter().flatten().filter_map(|action| action["refreshes"].as_str()).collect();
        let name = ["allthemons", "<vmName>", "calamity"].into_iter().find(|name| expression.contains(name)).unwrap_or("allthemons");
        assert!(refreshes.contains(&format!("fleet/vm/{name}").as_str()), "{expression} reads the VM: {actions}");
    }
}

#[test]
fn credentials_and_secrets_are_wired_as_they_were() {
    let definition = r#"type = "proxmox/vm"
[global]
apiUrl = "https://10.0.0.4:8006"
node = "keeb-dev-02"
ticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'
csrfToken = '${{ model.keebDev02.resource.node.node.attributes.csrfToken }}'
"#;
    let password = r#"password = '${{ vault.get("vault-name", "key") }}'"#;
    let sandbox = Sandbox::own()
        .file("definitions/fleet.toml", definition)
        .replace("definitions/keebDev02.toml", r#"password = '${{ vault.get("proxmox-vault", "password") }}'"#, password)
        .replace("Pmxfile.toml", "[protect]", "[vault.vault-name]\nkind = \"file\"\npath = \"vaults/vault-name.toml\"\n\n[protect]");
    sandbox.pmx(&["check"]).exits(0);
    let fleet = Fleet::of(sandbox);
    fleet.wake();
    fleet.sandbox.pmx_with_input(&["--profile", "lab", "vault", "set", "vault-name", "key"], "pmx-lab").exits(0);
    fleet.build(&["sync-fleet"]).exits(0).says("10 VMs");
    for field in ["ticket", "csrfToken"] {
        let text = one(
            "testVmSsh.exec",
            &format!("with = {{ vmName = \"slate\", command = '${{{{ model.keebDev02.resource.node.node.attributes.{field} }}}}' }}"),
        );
        with(&text).pmx(&["check"]).exits(2).says("secret");
    }
}

#[test]
fn numbers_and_truths_may_stand_in_quotes() {
    let text = "[input.memory]\ntype = \"integer\"\ndefault = \"2048\"\n[input.purge]\ntype = \"boolean\"\ndefault = \"false\"\n";
    let create =
        one("fleet.create", "with = { vmName = \"test-quoted\", memory = '${{ inputs.memory }}', cores = \"1\", diskSize = \"0\" }");
    let fleet = Fleet::of(with(&format!("{text}{create}if = 'inputs.memory > 2000 && !inputs.purge'\n")));
    fleet.wake();
    fleet.pmx(&["check"]).exits(0).says("clean");
    fleet.build(&["w", "--input", "memory=4096", "--input", "purge=false"]).exits(0).says("created test-quoted");
    let shown = fleet.pmx(&["show", "fleet/vm/test-quoted", "--json"]).exits(0).json();
    assert_eq!((shown["attributes"]["maxmem"].as_i64(), shown["attributes"]["maxcpu"].as_i64()), (Some(4096 << 20), Some(1)));
    let said = |inputs: &[&str], text: &str| drop(fleet.build(&[&["w"], inputs].concat()).exits(2).says(text));
    said(&["-i", "memory=much"], "input `memory` is `much`, expected integer");
    said(&["-i", "memory=2048.5"], "input `memory` is `2048.5`, expected integer");
    said(&["-i", "purge=yes"], "input `purge` is `yes`, expected boolean");
    said(&["-i", "memry=1"], "did you mean `memory`?");
    said(&["-i", "memory"], "write `-i name=value`");
    with(&one("fleet.create", "with = { vmName = \"x\", memory = \"2 GB\" }"))
        .pmx(&["check"])
        .exits(2)
        .says("is the string \"2 GB\", expected integer");
}

#[test]
fn an_input_is_spelled_short_and_long_and_may_hold_any_text() {
    let text = format!("{VM_NAME}{}", one("fleet.lookup", "with = { vmName = '${{ inputs.vmName }}' }"));
    let sandbox = with(&text);
    for spelled in [&["--input", "vmName=VM 102"][..], &["-i", "vmName=VM 102"], &["--input=vmName=VM 102"], &["-ivmName=VM 102"]] {
        let actions = planned(&sandbox, spelled);
        assert!(actions.to_string().contains("fleet/vm/VM 102"), "{spelled:?}: {actions}");
    }
    assert!(planned(&sandbox, &["-i", "vmName=a=b"]).to_string().contains("fleet/vm/a=b"), "the first `=` divides");
    sandbox.pmx(&["plan", "w"]).exits(2).says("input `vmName` is missing").says("-i vmName=");
}

#[test]
fn the_type_that_is_called_otherwise_here_is_named() {
    let sandbox =
        Sandbox::own().file("definitions/swampRepo.toml", "type = \"swamp/repo\"\n[global]\nremoteDir = \"/opt/proxmox-manager\"\n");
    sandbox.pmx(&["check"]).exits(2).says("there is no type `swamp/repo`").says("it is called `pmx/repo` here");
    sandbox.pmx(&["describe", "swamp/repo"]).exits(2).says("pmx/repo");
}
