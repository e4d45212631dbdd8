//! Drawings of the graph: DOT for graphviz and Mermaid for Markdown. Effects are told apart by shape, conflicts by line and label, never by colour.

use std::fmt::Write as _;

use crate::model::contract::Effect;
use crate::plan::explain::label;
use crate::plan::graph::{Action, Conflict, Graph};

/// The graph in graphviz's language. Observes are ellipses, Converges boxes, Acts hexagons, Destroys double octagons; implied refreshes are dashed.
pub fn dot(graph: &Graph) -> String {
    let mut out = format!(
        "digraph {} {{\n  rankdir=TB;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n",
        quoted(&graph.targets.join(" "))
    );
    for action in &graph.actions {
        let shape = match action.call.method.effect {
            Effect::Observe => "ellipse",
            Effect::Converge => "box",
            Effect::Act => "hexagon",
            Effect::Destroy => "doubleoctagon",
        };
        let style = if action.flow.implied.is_some() { ", style=dashed" } else { "" };
        let text = quoted(&format!("{}\n{}", action.step, detail(action)));
        let _ = writeln!(out, "  a{} [label={text}, shape={shape}{style}];", action.id.0);
    }
    for edge in &graph.edges {
        let style = match edge.why {
            Conflict::Value { .. } => "solid",
            Conflict::Order { .. } => "dashed",
            Conflict::Place(_) => "dotted",
            Conflict::After(_) => "bold",
        };
        let _ = writeln!(out, "  a{} -> a{} [label={}, style={style}];", edge.from.0, edge.to.0, quoted(&label(&edge.why)));
    }
    out.push_str("}\n");
    out
}

/// A quoted string of graphviz: only quotes and backslashes are special, and a newline is written `\n`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// The graph as a Mermaid flowchart. Observes are stadiums, Converges boxes, Acts hexagons, Destroys double boxes; implied refreshes are dashed.
pub fn mermaid(graph: &Graph) -> String {
    let mut out = String::from("flowchart TB\n");
    for action in &graph.actions {
        let (open, close) = match action.call.method.effect {
            Effect::Observe => ("([", "])"),
            Effect::Converge => ("[", "]"),
            Effect::Act => ("{{", "}}"),
            Effect::Destroy => ("[[", "]]"),
        };
        let text = format!("{}<br/>{}", entities(&action.step), entities(&detail(action)));
        let class = if action.flow.implied.is_some() { ":::implied" } else { "" };
        let _ = writeln!(out, "  a{}{open}\"{text}\"{close}{class}", action.id.0);
    }
    for edge in &graph.edges {
        let arrow = match edge.why {
            Conflict::Value { .. } => "-->",
            Conflict::Order { .. } | Conflict::Place(_) => "-.->",
            Conflict::After(_) => "==>",
        };
        let _ = writeln!(out, "  a{} {arrow}|\"{}\"| a{}", edge.from.0, entities(&label(&edge.why)), edge.to.0);
    }
    out.push_str("  classDef implied stroke-dasharray: 5 5\n");
    out
}

/// Mermaid's own entities: letters that could end a label or begin Markdown in it.
fn entities(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '"' | '#' | '<' | '>' | '&' | '`' | '*' | '_' | '|' | '\\' | '{' | '}' | '[' | ']' | '(' | ')' => {
                let _ = write!(out, "#{};", u32::from(letter));
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

fn detail(action: &Action) -> String {
    let mut detail = format!("{} ({})", action.call.name(), action.call.method.effect);
    if let Some(implied) = &action.flow.implied {
        let _ = write!(detail, " refreshes {}", implied.resource);
    }
    detail
}
