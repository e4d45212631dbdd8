//! Tests of lowering: arguments, inputs, loops, nested workflows, refreshes and merging.

use crate::plan::expand;
use crate::plan::explain::summary;
use crate::plan::graph::{Conflict, Graph, SetBy};
use crate::plan::kit::{Order, graph_of, lines, project};
use crate::value::Value;

const NODE: (&str, &str) = (
    "definitions/keebDev02.toml",
    "type = \"proxmox/node\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"keeb-dev-02\"\nusername = \"root\"\npassword = '${{ vault.get(\"proxmox-vault\", \"password\") }}'\n",
);
const FLEET: (&str, &str) = (
    "definitions/fleet.toml",
    "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"keeb-dev-02\"\nticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'\ncsrfToken = '${{ model.keebDev02.resource.node.node.attributes.csrfToken }}'\n[methods.start]\nwaitSeconds = 60\n",
);
const TERRARIA: (&str, &str) = (
    "definitions/calamityTerraria.toml",
    "type = \"terraria/server\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[\"calamity\"].attributes.ip }}'\n",
);
const COMPOSE: (&str, &str) = (
    "definitions/calamity.toml",
    "type = \"docker/compose\"\n[global]\ncomposePath = \"~/game/\"\nsshHost = '${{ model.fleet.resource.vm[\"calamity\"].attributes.ip }}'\n",
);
const STOP: (&str, &str) = (
    "workflows/stop-calamity.toml",
    "[[step]]\nname = \"auth\"\ncall = \"keebDev02.auth\"\n[[step]]\nname = \"lookup\"\ncall = \"fleet.lookup\"\nwith = { vmName = \"calamity\" }\n[[step]]\nname = \"warn-players\"\ncall = \"calamityTerraria.warnShutdown\"\n[[step]]\nname = \"stop-terraria\"\ncall = \"calamity.stop\"\n[[step]]\nname = \"stop-vm\"\ncall = \"fleet.stop\"\nwith = { vmName = \"calamity\" }\n",
);

#[test]
fn players_are_warned_before_the_containers_go_down() {
    let project = project(&[NODE, FLEET, TERRARIA, COMPOSE, STOP]);
    let graph = graph_of(&project, &["stop-calamity"], &[]).map_err(|c| lines(&c)).unwrap();
    insta::assert_snapshot!(summary(&graph), @r#"
        stop-calamity: 5 actions   (? looks, = makes so, ! acts, X cannot be undone)
        1 ? stop-calamity/auth  keebDev02.auth
        2 ? stop-calamity/lookup  fleet.lookup
            after 1 stop-calamity/auth: reads keebDev02/node/node
        3 ! stop-calamity/warn-players  calamityTerraria.warnShutdown
            after 2 stop-calamity/lookup: reads fleet/vm/calamity
        4 = stop-calamity/stop-terraria  calamity.stop
            after 2 stop-calamity/lookup: reads fleet/vm/calamity
            after 3 stop-calamity/warn-players: both act at fleet/vm/calamity
        5 = stop-calamity/stop-vm  fleet.stop
            after 1 stop-calamity/auth: reads keebDev02/node/node
            after 4 stop-calamity/stop-terraria: writes fleet/vm/calamity, which that reads, both act at fleet/vm/calamity
    "#);
}

#[test]
fn reboot_is_stop_then_start_and_logs_in_once() {
    let start = "[[step]]\nname = \"auth\"\ncall = \"keebDev02.auth\"\n[[step]]\nname = \"start-vm\"\ncall = \"fleet.start\"\nwith = { vmName = \"calamity\" }\n[[step]]\nname = \"start-terraria\"\ncall = \"calamity.start\"\n";
    let reboot = "[[step]]\nname = \"stop\"\nworkflow = \"stop-calamity\"\n[[step]]\nname = \"start\"\nworkflow = \"start-calamity\"\n";
    let files =
        [NODE, FLEET, TERRARIA, COMPOSE, STOP, ("workflows/start-calamity.toml", start), ("workflows/reboot-calamity.toml", reboot)];
    let graph = graph_of(&project(&files), &["reboot-calamity"], &[]).map_err(|c| lines(&c)).unwrap();
    insta::assert_snapshot!(summary(&graph), @r#"
        reboot-calamity: 7 actions   (? looks, = makes so, ! acts, X cannot be undone)
        1 ? reboot-calamity/stop/auth  keebDev02.auth
        2 ? reboot-calamity/stop/lookup  fleet.lookup
            after 1 reboot-calamity/stop/auth: reads keebDev02/node/node
        3 ! reboot-calamity/stop/warn-players  calamityTerraria.warnShutdown
            after 2 reboot-calamity/stop/lookup: reads fleet/vm/calamity
        4 = reboot-calamity/stop/stop-terraria  calamity.stop
            after 2 reboot-calamity/stop/lookup: reads fleet/vm/calamity
            after 3 reboot-calamity/stop/warn-players: both act at fleet/vm/calamity
        5 = reboot-calamity/stop/stop-vm  fleet.stop
            after 1 reboot-calamity/stop/auth: reads keebDev02/node/node
            after 4 reboot-calamity/stop/stop-terraria: writes fleet/vm/calamity, which that reads, both act at fleet/vm/calamity
        6 = reboot-calamity/start/start-vm  fleet.start
            after 1 reboot-calamity/stop/auth: reads keebDev02/node/node
            after 5 reboot-calamity/stop/stop-vm: both write fleet/vm/calamity, both act at fleet/vm/calamity
        7 = reboot-calamity/start/start-terraria  calamity.start
            after 6 reboot-calamity/start/start-vm: reads fleet/vm/calamity
            reboot-calamity/start/auth is reboot-calamity/stop/auth: nothing between them changes what they see
    "#);
    let order = Order::of(&graph);
    assert!(order.before("reboot-calamity/stop/stop-vm", "reboot-calamity/start/start-vm"));
    assert_eq!(order.id("reboot-calamity/start/auth"), order.id("reboot-calamity/stop/auth"), "one login serves both");
}

#[test]
fn a_call_on_an_empty_store_observes_what_it_needs_first() {
    let graph = graph_of(&project(&[NODE, FLEET, TERRARIA]), &["calamityTerraria.status"], &[]).unwrap();
    insta::assert_snapshot!(summary(&graph), @r#"
        calamityTerraria.status: 3 actions   (? looks, = makes so, ! acts, X cannot be undone)
        1 ? calamityTerraria.status (refresh keebDev02/node/node)  keebDev02.auth  implied
        2 ? calamityTerraria.status (refresh fleet/vm/calamity)  fleet.lookup  implied
            after 1 calamityTerraria.status (refresh keebDev02/node/node): reads keebDev02/node/node
        3 ? calamityTerraria.status  calamityTerraria.status
            after 2 calamityTerraria.status (refresh fleet/vm/calamity): reads fleet/vm/calamity
    "#);
    assert_eq!(graph.actions[0].flow.implied.as_ref().unwrap().reader, "calamityTerraria.status");
}

#[test]
fn a_resource_target_is_its_observation_alone() {
    let project = project(&[NODE, FLEET, TERRARIA]);
    let steps = |target: &str| -> Vec<String> {
        let graph = graph_of(&project, &[target], &[]).map_err(|c| lines(&c)).unwrap();
        graph.actions.iter().map(|action| format!("{} = {}", action.step, action.call.name())).collect()
    };
    assert_eq!(
        steps("fleet/vm/VM 102"),
        ["fleet/vm/VM 102 (refresh keebDev02/node/node) = keebDev02.auth", "fleet/vm/VM 102 = fleet.lookup"]
    );
    assert_eq!(steps("fleet/vm/*")[1], "fleet/vm/* = fleet.sync");
    assert_eq!(steps("keebDev02/node/node"), ["keebDev02/node/node = keebDev02.auth"]);
}

#[test]
fn a_possible_writer_adds_edges_and_replaces_no_refresh() {
    let flow = "[input.hot]\ntype = \"boolean\"\n[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nwith = { vmName = \"calamity\" }\nif = 'model.calamity.resource.result.result.attributes.ok'\n[[step]]\nname = \"status\"\ncall = \"calamityTerraria.status\"\n";
    let project = project(&[NODE, FLEET, TERRARIA, COMPOSE, ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[("hot", Value::Bool(true))]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    // The condition reads calamity's result, whose observer reads the VM: that refresh stands before the possible writer and serves the last step too.
    assert!(order.before("w/start (refresh fleet/vm/calamity)", "w/start"));
    let status = order.id("w/status");
    let values: Vec<u32> =
        graph.edges.iter().filter(|e| e.to == status && matches!(e.why, Conflict::Value { .. })).map(|e| e.from.0).collect();
    assert_eq!(
        values,
        [order.id("w/start (refresh fleet/vm/calamity)").0, order.id("w/start").0],
        "either may be the one whose value is read"
    );
}

#[test]
fn a_condition_on_inputs_is_decided_before_the_run() {
    let flow = "[input.hot]\ntype = \"boolean\"\n[[step]]\nname = \"a\"\ncall = \"keebDev02.auth\"\nif = 'inputs.hot'\n[[step]]\nname = \"b\"\ncall = \"keebDev02.auth\"\nif = '!inputs.hot && 1 < 2'\n";
    let project = project(&[NODE, ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[("hot", Value::Bool(true))]).unwrap();
    assert_eq!((graph.actions.len(), graph.omitted[0].step.as_str()), (1, "w/b"));
    assert!(graph.actions[0].flow.conditions.is_empty() && !graph.actions[0].touch.writes[0].possible);
}

fn each_of(list: &str) -> String {
    format!(
        "[input.names]\ntype = \"list\"\ndefault = [\"a\", \"b\"]\n[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nfor_each = '{list}'\nwith = {{ vmName = '${{{{ each.value }}}}' }}\n"
    )
}

#[test]
fn a_known_list_is_unrolled_and_its_items_run_beside_each_other() {
    let flow = each_of("inputs.names");
    let graph = graph_of(&project(&[NODE, FLEET, ("workflows/w.toml", &flow)]), &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    assert!(order.beside("w/start[0]", "w/start[1]"));
    assert_eq!(graph.actions[order.id("w/start[1]").index()].touch.writes[0].resource.to_string(), "fleet/vm/b");
}

#[test]
fn a_list_known_at_run_time_is_expanded_then() {
    let flow = each_of("model.fleet.resource.vm.map(name, name)");
    let graph = graph_of(&project(&[NODE, FLEET, ("workflows/w.toml", &flow)]), &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    assert!(order.before("w/start (refresh fleet/vm/*)", "w/start"), "all VMs are observed for the list");
    let looped = &graph.actions[order.id("w/start").index()];
    assert_eq!((looped.touch.writes[0].resource.to_string().as_str(), looped.touch.writes[0].possible), ("fleet/vm/*", true));
    let items: Value = serde_json::json!(["a", "b", "a"]).into();
    let expanded: Graph = expand(looped, &items, &graph.variants).unwrap();
    let writes: Vec<String> =
        expanded.actions.iter().map(|action| format!("{} {}", action.step, action.touch.writes[0].resource)).collect();
    assert_eq!(writes, ["w/start[0] fleet/vm/a", "w/start[1] fleet/vm/b", "w/start[2] fleet/vm/a"]);
    let order = Order::of(&expanded);
    assert!(order.beside("w/start[0]", "w/start[1]") && order.before("w/start[0]", "w/start[2]"), "one VM twice keeps its order");
    assert!(expand(looped, &Value::Int(3), &graph.variants).is_err());
}

#[test]
fn a_loop_around_a_nested_workflow_reaches_its_inputs() {
    let inner = "[input.vmName]\ntype = \"string\"\n[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nwith = { vmName = '${{ inputs.vmName }}' }\n";
    let outer = "[[step]]\nname = \"all\"\nworkflow = \"inner\"\nfor_each = 'model.fleet.resource.vm.map(name, name)'\nwith = { vmName = 'vm-${{ each.value }}' }\n";
    let files = [NODE, FLEET, ("workflows/inner.toml", inner), ("workflows/outer.toml", outer)];
    let graph = graph_of(&project(&files), &["outer"], &[]).map_err(|c| lines(&c)).unwrap();
    let looped = &graph.actions[Order::of(&graph).id("outer/all/start").index()];
    let expanded = expand(looped, &serde_json::json!(["x"]).into(), &graph.variants).unwrap();
    assert_eq!(expanded.actions[0].touch.writes[0].resource.to_string(), "fleet/vm/vm-x");
}

#[test]
fn arguments_come_from_the_nearest_place() {
    let flow = "[[step]]\nname = \"s\"\ncall = \"fleet.start\"\nwith = { vmName = \"a\" }\n";
    let project = project(&[NODE, FLEET, ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[]).unwrap();
    let call = &graph.actions[1].call;
    let from = |name: &str| call.arguments.get(name).or_else(|| call.globals.get(name)).map(|bound| bound.from);
    assert_eq!((from("vmName"), from("waitSeconds"), from("apiUrl")), (Some(SetBy::Step), Some(SetBy::Method), Some(SetBy::Global)));
    let defaults = graph_of(&project, &["fleet.stop"], &[("vmName", "a".into())]).unwrap();
    assert_eq!(defaults.actions[1].call.arguments["mode"].from, SetBy::Default);
}

#[test]
fn single_instances_are_kept_apart_by_the_inputs_that_globals_read() {
    let engine = "type = \"docker/engine\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\n";
    let flow = "[[step]]\nname = \"a\"\ncall = \"dockerEngine.install\"\nwith = { vmName = \"atm10\" }\n[[step]]\nname = \"b\"\ncall = \"dockerEngine.install\"\nwith = { vmName = \"slate\" }\n[[step]]\nname = \"c\"\nworkflow = \"say\"\nwith = { vmName = \"atm10\" }\n";
    let say = "[input.vmName]\ntype = \"string\"\n[[step]]\nname = \"say\"\ncall = \"calamityTerraria.say\"\nwith = { message = '${{ model.dockerEngine.resource.result.result.attributes.stdout }}' }\n";
    let files = [NODE, FLEET, TERRARIA, ("definitions/dockerEngine.toml", engine), ("workflows/w.toml", flow), ("workflows/say.toml", say)];
    let graph = graph_of(&project(&files), &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    let wrote = |step: &str| graph.actions[order.id(step).index()].touch.writes[0].resource.to_string();
    assert_eq!((wrote("w/a").as_str(), wrote("w/b").as_str()), ("dockerEngine/result/atm10", "dockerEngine/result/slate"));
    assert!(order.before("w/a", "w/c/say") && order.beside("w/b", "w/c/say"), "the reference means the one of the same inputs");
}

#[test]
fn complaints_name_what_is_wrong_and_what_to_do() {
    let bad = "[input.vmName]\ntype = \"string\"\n[[step]]\nname = \"a\"\ncall = \"fleet.strat\"\nwith = { vmName = \"x\" }\n[[step]]\nname = \"b\"\ncall = \"fleet.start\"\nwith = { vmNmae = \"x\" }\n[[step]]\nname = \"c\"\ncall = \"fleet.start\"\n[[step]]\nname = \"d\"\ncall = \"flet.start\"\n[[step]]\nname = \"e\"\nworkflow = \"circle\"\n[[step]]\nname = \"f\"\nworkflow = \"takes\"\nwith = { vmNam = \"x\" }\n[[step]]\nname = \"g\"\nworkflow = \"takes\"\n";
    let circle = "[[step]]\nname = \"x\"\nworkflow = \"wheel\"\n";
    let wheel = "[[step]]\nname = \"y\"\nworkflow = \"circle\"\n";
    let takes =
        "[input.vmName]\ntype = \"string\"\n[[step]]\nname = \"s\"\ncall = \"fleet.start\"\nwith = { vmName = '${{ inputs.vmName }}' }\n";
    let files = [
        NODE,
        FLEET,
        ("workflows/bad.toml", bad),
        ("workflows/circle.toml", circle),
        ("workflows/wheel.toml", wheel),
        ("workflows/takes.toml", takes),
    ];
    let project = project(&files);
    let told = |targets: &[&str], inputs: &[(&str, Value)]| lines(&graph_of(&project, targets, inputs).err().unwrap());
    insta::assert_snapshot!(told(&["bad"], &[("vmName", "x".into())]), @r#"
        workflows/bad.toml:5:15: `fleet` has no method `strat`; did you mean `start`?
        workflows/bad.toml:10:10: fleet.start takes no `vmNmae`; did you mean `vmName`?
        workflows/bad.toml:13:15: `vmName` of fleet.start is not set; add it to the step: `with = { vmName = … }`
        workflows/bad.toml:16:9: there is no definition `flet`; did you mean `fleet`?
        workflows/wheel.toml:3:13: workflows run each other in a circle: circle → wheel → circle
        workflows/bad.toml:23:10: workflow `takes` has no input `vmNam`; did you mean `vmName`?
        workflows/bad.toml:24:1: input `vmName` of workflow `takes` is not passed; add `with = { vmName = … }`: a nested workflow sees only what its step passes
    "#);
    insta::assert_snapshot!(told(&["takes", "taks", "fleet", "fleet.strat", "flet/vm/x", "fleet/mv/x", "takes"], &[("vmNaem", "x".into())]), @r#"
        there is no input `vmNaem`; did you mean `vmName`?
        input `vmName` is missing; give it with `-i vmName=…`
        there is no workflow `taks`; did you mean `takes`?
        there is no workflow `fleet`; `fleet` is a definition: call a method of it, `fleet.…`, or see `pmx describe fleet`
        `fleet` has no method `strat`; did you mean `start`?
        there is no definition `flet`; did you mean `fleet`?
        `fleet` has no resources called `mv`; did you mean `vm`?
        input `vmName` is missing; give it with `-i vmName=…`
    "#);
}

#[test]
fn observers_that_read_each_other_are_a_circle() {
    let node = "type = \"proxmox/node\"\n[global]\napiUrl = '${{ model.fleet.resource.vm[\"gate\"].attributes.ip }}'\nnode = \"n\"\nusername = \"root\"\n";
    let project = project(&[("definitions/keebDev02.toml", node), FLEET]);
    insta::assert_snapshot!(lines(&graph_of(&project, &["fleet/vm/x"], &[]).err().unwrap()), @r#"
        definitions/fleet.toml:6:18: keebDev02/node/node can never be observed: its observers read each other: keebDev02/node/node → fleet/vm/gate → keebDev02/node/node; let one of these definitions name its address or account itself
    "#);
}
