//! Tests of lowering: arguments, inputs, loops, nested workflows, refreshes and merging.

use crate::plan::expand;
use crate::plan::explain::{Drawing, summary};
use crate::plan::graph::{Conflict, Graph, SetBy};
use crate::plan::kit::{Order, graph_of, lines, project};
use crate::plan::{Target, spend};
use crate::value::{Map, Value};

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
fn a_project_that_is_spent_gives_the_same_graph() {
    let start = "[[step]]\nname = \"auth\"\ncall = \"keebDev02.auth\"\n[[step]]\nname = \"start-vm\"\ncall = \"fleet.start\"\nafter = [\"auth\"]\nwith = { vmName = \"calamity\" }\n";
    let reboot = "[[step]]\nname = \"stop\"\nworkflow = \"stop-calamity\"\n[[step]]\nname = \"start\"\nworkflow = \"start-calamity\"\n";
    let files =
        [NODE, FLEET, TERRARIA, COMPOSE, STOP, ("workflows/start-calamity.toml", start), ("workflows/reboot-calamity.toml", reboot)];
    let targets = [
        vec!["start-calamity"],
        vec!["reboot-calamity"],
        vec!["stop-calamity", "start-calamity"],
        // What is asked for twice, or is run by a step too, is needed again.
        vec!["start-calamity", "start-calamity"],
        vec!["start-calamity", "reboot-calamity"],
        vec!["reboot-calamity", "stop-calamity", "reboot-calamity", "fleet/vm/calamity"],
    ];
    for targets in targets {
        let mut project = project(&files);
        let whole = graph_of(&project, &targets, &[]).map_err(|c| lines(&c)).unwrap();
        let typed: Vec<Target> = targets.iter().map(|target| Target::parse(target).unwrap()).collect();
        let spent = spend(&mut project, &crate::plan::rows::find, None, &typed, &Map::new()).map_err(|c| lines(&c)).unwrap().connect();
        let drawn = |graph: &Graph| serde_json::to_value(Drawing(graph)).unwrap();
        assert_eq!(drawn(&spent), drawn(&whole), "{targets:?}");
        assert!(project.workflows.is_empty() && !project.definitions.is_empty(), "the definitions are for the run");
    }
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
    let flow = "[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nwith = { vmName = \"calamity\" }\nif = 'model.keebDev02.resource.node.node.attributes.username == \"root\"'\n[[step]]\nname = \"first\"\ncall = \"calamityTerraria.status\"\n[[step]]\nname = \"maybe\"\ncall = \"fleet.stop\"\nwith = { vmName = \"calamity\" }\nif = 'model.keebDev02.resource.node.node.attributes.username == \"admin\"'\n[[step]]\nname = \"second\"\ncall = \"calamityTerraria.status\"\n";
    let project = project(&[NODE, FLEET, TERRARIA, COMPOSE, ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    // Whether start wrote it or not, the first reader gets an observation after it.
    assert!(order.before("w/start", "w/first (refresh fleet/vm/calamity)"));
    let sources = |step: &str| -> Vec<&str> {
        let to = order.id(step);
        let values = graph.edges.iter().filter(|edge| edge.to == to && matches!(edge.why, Conflict::Value { .. }));
        values.map(|edge| graph.actions[edge.from.index()].step.as_str()).collect()
    };
    assert_eq!(sources("w/first"), ["w/first (refresh fleet/vm/calamity)"], "what stood before a certain writer is hidden");
    assert_eq!(sources("w/second"), ["w/first (refresh fleet/vm/calamity)", "w/maybe"], "either may be the one whose value is read");
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
    assert_eq!(defaults.actions[1].call.arguments.get("mode").unwrap().from, SetBy::Default);
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

const LOOK: &str = "[input.vmName]\ntype = \"string\"\n[[step]]\nname = \"one\"\ncall = \"fleet.start\"\nwith = { vmName = '${{ inputs.vmName }}' }\n[[step]]\nname = \"two\"\ncall = \"calamityTerraria.say\"\nwith = { message = \"x\" }\n";

#[test]
fn after_reaches_into_nested_workflows_and_loops() {
    let flow = "[[step]]\nname = \"first\"\nworkflow = \"look\"\nwith = { vmName = \"a\" }\n[[step]]\nname = \"each\"\ncall = \"fleet.start\"\nfor_each = '[\"b\", \"c\"]'\nwith = { vmName = '${{ each.value }}' }\n[[step]]\nname = \"last\"\nworkflow = \"look\"\nwith = { vmName = \"d\" }\nafter = [\"first\", \"each\"]\n";
    let project = project(&[NODE, FLEET, TERRARIA, ("workflows/look.toml", LOOK), ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    for before in ["w/first/one", "w/first/two", "w/each[0]", "w/each[1]"] {
        assert!(order.before(before, "w/last/one") && order.before(before, "w/last/two"), "{before}");
    }
    assert!(order.beside("w/first/one", "w/each[0]"));
}

#[test]
fn after_names_earlier_steps_only() {
    let flow = "[[step]]\nname = \"a\"\ncall = \"keebDev02.auth\"\nafter = [\"b\"]\n[[step]]\nname = \"b\"\ncall = \"keebDev02.auth\"\nafter = [\"aa\"]\n";
    let (_, complaints) = crate::lang::workflow::parse(&crate::source::Source::new("workflows/w.toml", flow));
    let told = if complaints.is_empty() {
        let project = project(&[NODE, ("workflows/w.toml", flow)]);
        lines(&graph_of(&project, &["w"], &[]).err().unwrap())
    } else {
        lines(&complaints)
    };
    assert!(told.contains('b') && told.contains("did you mean `a`?"), "{told}");
}

#[test]
fn switches_of_a_nested_workflow_hold_inside_it() {
    let flow = "[[step]]\nname = \"n\"\nworkflow = \"look\"\nwith = { vmName = \"a\" }\nalways = true\noptional = true\ntimeout = \"5m\"\nif = 'model.keebDev02.resource.node.node.attributes.username == \"root\"'\n";
    let project = project(&[NODE, FLEET, TERRARIA, ("workflows/look.toml", LOOK), ("workflows/w.toml", flow)]);
    let graph = graph_of(&project, &["w"], &[]).map_err(|c| lines(&c)).unwrap();
    for action in graph.actions.iter().filter(|action| action.flow.implied.is_none()) {
        let options = &action.flow.options;
        assert!(options.always && options.optional && options.timeout.is_some() && action.flow.conditions.len() == 1, "{}", action.step);
        assert!(action.touch.writes.iter().all(|write| write.possible), "{}", action.step);
    }
}

#[test]
fn a_profile_replaces_arguments_of_definitions() {
    let pmxfile = "[project]\nname = \"test\"\n[profile.lab.definitions.fleet.global]\nnode = \"lab\"\n[profile.lab.definitions.fleet.methods.start]\nwaitSeconds = 3\n";
    let project = project(&[("Pmxfile.toml", pmxfile), NODE, FLEET]);
    let target = [crate::plan::Target::parse("fleet.start").unwrap()];
    let inputs = [("vmName".to_owned(), Value::from("a"))].into();
    let profile = project.pmxfile.profiles.get("lab");
    let graph = crate::plan::lower(&project, &crate::plan::rows::find, profile, &target, &inputs).map_err(|c| lines(&c)).unwrap();
    let call = &graph.actions[1].call;
    let shown = |name: &str| {
        let bound = call.arguments.get(name).or_else(|| call.globals.get(name)).unwrap();
        format!("{:?} {:?}", bound.template.value, bound.from)
    };
    assert_eq!((shown("waitSeconds").as_str(), shown("node").as_str()), ("Literal(Int(3)) Profile", "Literal(String(\"lab\")) Profile"));
}

#[test]
fn several_targets_are_one_list() {
    let project = project(&[NODE, FLEET, TERRARIA, COMPOSE, STOP]);
    let graph = graph_of(&project, &["stop-calamity", "calamity.start", "stop-calamity"], &[]).map_err(|c| lines(&c)).unwrap();
    let order = Order::of(&graph);
    assert!(order.before("stop-calamity/stop-vm", "calamity.start") && order.before("calamity.start", "stop-calamity #2/stop-vm"));
    assert_eq!(graph.targets, ["stop-calamity", "calamity.start", "stop-calamity"]);
    assert_eq!(order.id("stop-calamity #2/auth"), order.id("stop-calamity/auth"));
    assert_ne!(order.id("stop-calamity #2/lookup"), order.id("stop-calamity/lookup"), "the VM was stopped between them");
}

#[test]
fn nesting_has_a_bottom() {
    let names: Vec<(String, String)> = (0..40)
        .map(|n| (format!("workflows/w{n}.toml"), format!("[[step]]\nname = \"s\"\nworkflow = \"w{}\"\n", n + 1)))
        .chain([("workflows/w40.toml".to_owned(), "[[step]]\nname = \"s\"\ncall = \"keebDev02.auth\"\n".to_owned())])
        .collect();
    let mut files = vec![NODE];
    files.extend(names.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let project = project(&files);
    let told = lines(&graph_of(&project, &["w0"], &[]).err().unwrap());
    assert!(told.contains("nested more than 32 deep: w0 → w1 →"), "{told}");
    assert!(graph_of(&project, &["w9"], &[]).is_ok());
}

#[test]
fn a_resource_that_nothing_observes_names_its_writers() {
    let ssh = "type = \"ssh/host\"\n[global]\nhost = \"treehouse\"\n";
    let project = project(&[("definitions/host.toml", ssh)]);
    let told = |target: &str| lines(&graph_of(&project, &[target], &[]).err().unwrap());
    assert_eq!(told("host/result/uptime"), "nothing observes host/result/uptime; host.exec writes it");
    assert_eq!(told("host/file//etc/motd"), "nothing observes host/file//etc/motd; host.writeFile writes it");
}

#[test]
fn a_condition_that_is_no_boolean_is_refused_before_the_run() {
    let flow = "[input.n]\ntype = \"integer\"\ndefault = 1\n[[step]]\nname = \"a\"\ncall = \"keebDev02.auth\"\nif = 'inputs.n'\n[[step]]\nname = \"b\"\ncall = \"keebDev02.auth\"\nfor_each = 'inputs.n'\n";
    let project = project(&[NODE, ("workflows/w.toml", flow)]);
    insta::assert_snapshot!(lines(&graph_of(&project, &["w"], &[]).err().unwrap()), @r#"
        workflows/w.toml:7:7: `if` is an integer, not true or false; compare it: `… == …`
        workflows/w.toml:11:13: `for_each` is an integer, not a list or a map
    "#);
}

#[test]
fn an_input_that_nobody_gives_is_named_where_it_is_read() {
    let engine = "type = \"docker/engine\"\n[global]\nsshHost = '${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}'\n";
    let flow = "[[step]]\nname = \"a\"\ncall = \"dockerEngine.install\"\n[[step]]\nname = \"b\"\ncall = \"fleet.start\"\nwith = { vmName = '${{ inputs.vmNam }}' }\n";
    let project = project(&[NODE, FLEET, ("definitions/dockerEngine.toml", engine), ("workflows/w.toml", flow)]);
    insta::assert_snapshot!(lines(&graph_of(&project, &["w"], &[]).err().unwrap()), @r#"
        definitions/dockerEngine.toml:3:40: no input `vmName` is given here; declare `[input.vmName]` in the workflow, or give it in the step: `with = { vmName = … }`
        workflows/w.toml:7:24: no input `vmNam` is given here; declare `[input.vmNam]` in the workflow, or give it in the step: `with = { vmNam = … }`
    "#);
}

#[test]
fn equal_looks_merge_only_while_nothing_could_change_what_they_see() {
    let look = |name: &str, vm: &str| format!("[[step]]\nname = \"{name}\"\ncall = \"fleet.lookup\"\nwith = {{ vmName = \"{vm}\" }}\n");
    let call = |name: &str, call: &str, with: &str| format!("[[step]]\nname = \"{name}\"\ncall = \"{call}\"\nwith = {{ {with} }}\n");
    let merged = |between: &str, more: &str| {
        let flow = format!("{}{between}{}{more}", look("a", "calamity"), look("b", "calamity"));
        let project = project(&[NODE, FLEET, TERRARIA, COMPOSE, ("workflows/w.toml", &flow)]);
        !graph_of(&project, &["w"], &[]).map_err(|c| lines(&c)).unwrap().merged.is_empty()
    };
    assert!(merged("", ""));
    assert!(merged(&call("x", "fleet.stop", "vmName = \"slate\""), ""), "another VM");
    assert!(!merged(&call("x", "fleet.stop", "vmName = \"calamity\""), ""), "it writes what they write");
    assert!(!merged(&call("x", "calamity.stop", ""), ""), "it acts on their place");
    assert!(merged(&call("x", "calamity.status", ""), ""), "it only looks there");
    assert!(!merged(&call("x", "fleet.sync", ""), ""), "it wrote a version since");
    assert!(!merged("", "fresh = \"1m\"\n"), "another window");
}
