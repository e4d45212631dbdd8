//! Drawings: whole outputs of a small graph, and names that try to break out of their quotes.

use crate::plan::draw::{dot, mermaid};
use crate::plan::explain::summary;
use crate::plan::graph::Graph;
use crate::plan::kit::{graph_of, lines, project};

const FLEET: &str = "type = \"proxmox/vm\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nticket = '${{ model.keebDev02.resource.node.node.attributes.ticket }}'\n";
const NODE: &str =
    "type = \"proxmox/node\"\n[global]\napiUrl = \"https://10.0.0.4:8006\"\nnode = \"n\"\nusername = \"root\"\npassword = \"x\"\n";

fn graph(name: &str) -> Graph {
    let flow = format!(
        "[[step]]\nname = \"create\"\ncall = \"fleet.create\"\nwith = {{ vmName = '{name}' }}\n[[step]]\nname = \"start\"\ncall = \"fleet.start\"\nwith = {{ vmName = '{name}' }}\n[[step]]\nname = \"other\"\ncall = \"fleet.delete\"\nwith = {{ vmName = 'other' }}\nafter = [\"start\"]\nalways = true\n"
    );
    let files = [("definitions/fleet.toml", FLEET), ("definitions/keebDev02.toml", NODE), ("workflows/w.toml", flow.as_str())];
    graph_of(&project(&files), &["w"], &[]).map_err(|c| lines(&c)).unwrap()
}

#[test]
fn every_edge_says_why() {
    insta::assert_snapshot!(dot(&graph("a")), @r#"
        digraph "w" {
          rankdir=TB;
          node [fontname="sans-serif"];
          edge [fontname="sans-serif"];
          a0 [label="w/create (refresh keebDev02/node/node)\nkeebDev02.auth (observe) refreshes keebDev02/node/node", shape=ellipse, style=dashed];
          a1 [label="w/create\nfleet.create (act)", shape=hexagon];
          a2 [label="w/start\nfleet.start (converge)", shape=box];
          a3 [label="w/other\nfleet.delete (destroy)", shape=doubleoctagon];
          a0 -> a1 [label="model.keebDev02.resource.node.node.attributes.ticket", style=solid];
          a0 -> a2 [label="model.keebDev02.resource.node.node.attributes.ticket", style=solid];
          a1 -> a2 [label="both write fleet/vm/a", style=dashed];
          a1 -> a2 [label="at fleet/vm/a", style=dotted];
          a0 -> a3 [label="model.keebDev02.resource.node.node.attributes.ticket", style=solid];
          a2 -> a3 [label="after", style=bold];
        }
    "#);
    insta::assert_snapshot!(mermaid(&graph("a")), @r#"
        flowchart TB
          a0(["w/create #40;refresh keebDev02/node/node#41;<br/>keebDev02.auth #40;observe#41; refreshes keebDev02/node/node"]):::implied
          a1{{"w/create<br/>fleet.create #40;act#41;"}}
          a2["w/start<br/>fleet.start #40;converge#41;"]
          a3[["w/other<br/>fleet.delete #40;destroy#41;"]]
          a0 -->|"model.keebDev02.resource.node.node.attributes.ticket"| a1
          a0 -->|"model.keebDev02.resource.node.node.attributes.ticket"| a2
          a1 -.->|"both write fleet/vm/a"| a2
          a1 -.->|"at fleet/vm/a"| a2
          a0 -->|"model.keebDev02.resource.node.node.attributes.ticket"| a3
          a2 ==>|"after"| a3
          classDef implied stroke-dasharray: 5 5
    "#);
}

#[test]
fn names_stay_inside_their_quotes() {
    let graph = graph(r#"VM "102"\ <b>"#);
    let drawn = dot(&graph);
    for line in drawn.lines() {
        let mut inside = false;
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if inside => drop(letters.next()),
                '"' => inside = !inside,
                '<' => assert!(inside, "HTML begins in {line}"),
                _ => {}
            }
        }
        assert!(!inside, "a quote is open in {line}");
    }
    let flow = mermaid(&graph);
    assert!(flow.lines().all(|line| line.matches('"').count() % 2 == 0) && !flow.contains("<b>"), "{flow}");
}

#[test]
fn as_json_the_graph_names_everything() {
    let json = serde_json::to_value(summary(&graph("a"))).unwrap();
    assert_eq!(json["actions"][2]["after"][0]["why"][0], "reads keebDev02/node/node");
    assert_eq!(json["actions"][0]["refreshes"], "keebDev02/node/node");
    assert_eq!(json["actions"][1]["after"][0]["references"][0], "model.keebDev02.resource.node.node.attributes.ticket");
    assert_eq!((json["actions"][3]["effect"].as_str(), json["actions"][3]["flow"][0].as_str()), (Some("destroy"), Some("always")));
}
