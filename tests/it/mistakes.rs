//! Mistakes: every line of every file of this repository's own project, spoilt in every small way, must be complained about at that place.
#![expect(clippy::print_stdout, reason = "the tally, for whoever asks with --nocapture")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pmx::lang::{check, project};
use pmx::ops::project::schemas;
use pmx::source::{Diagnostic, Severity, Source};

/// One way to spoil a line.
struct Mistake {
    what: &'static str,
    line: String,
}

struct Files {
    names: Vec<String>,
    texts: BTreeMap<String, String>,
}

impl Files {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut names = vec!["Pmxfile.toml".to_owned()];
        for dir in ["definitions", "workflows"] {
            let mut found: Vec<String> = std::fs::read_dir(root.join(dir))
                .expect("the project's folder")
                .map(|entry| format!("{dir}/{}", entry.expect("an entry").file_name().to_string_lossy()))
                .filter(|name| name.ends_with(".toml"))
                .collect();
            found.sort();
            names.extend(found);
        }
        let read = |name: &String| std::fs::read_to_string(root.join(name)).expect("a file of the project");
        let texts = names.iter().map(|name| (name.clone(), read(name))).collect();
        Self { names, texts }
    }

    /// The errors of the project with `name` replaced by `text`.
    fn errors(&self, name: &str, text: &str) -> Vec<Diagnostic> {
        let source = |file: &String| Source::new(file, if file == name { text } else { self.texts[file].as_str() });
        let of = |dir: &str| -> Vec<Arc<Source>> { self.names.iter().filter(|file| file.starts_with(dir)).map(source).collect() };
        let sources =
            project::Sources { pmxfile: source(&"Pmxfile.toml".to_owned()), definitions: of("definitions/"), workflows: of("workflows/") };
        let (project, mut complaints) = project::parse(&sources);
        if let Some(project) = &project {
            complaints.extend(check::check(project, &schemas(project)));
        }
        complaints.retain(|complaint| complaint.severity == Severity::Error);
        complaints
    }
}

/// The part of a line before its comment, as far as this project's simple lines go.
fn code(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

fn without(line: &str, at: usize) -> String {
    format!("{}{}", &line[..at], &line[at + 1..])
}

/// Two letters of the word at `range` swapped, or one doubled when all are equal.
fn misspelt(line: &str, range: std::ops::Range<usize>) -> String {
    let word = &line[range.clone()];
    let bytes = word.as_bytes();
    let swap = (0..bytes.len().saturating_sub(1)).rev().find(|&i| bytes[i] != bytes[i + 1]);
    let spoilt = match swap {
        Some(i) => format!("{}{}{}{}", &word[..i], &word[i + 1..i + 2], &word[i..=i], &word[i + 2..]),
        None => format!("{word}{word}"),
    };
    format!("{}{spoilt}{}", &line[..range.start], &line[range.end..])
}

fn words(text: &str, from: usize) -> Vec<std::ops::Range<usize>> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < from).chain([(text.len(), ' ')]) {
        match (start, part(c)) {
            (None, true) => start = Some(at),
            (Some(began), false) => {
                words.push(began..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn mistakes(line: &str) -> Vec<Mistake> {
    let code = code(line);
    let mut all = Vec::new();
    for (at, c) in code.char_indices() {
        if "\"'[]{}".contains(c) {
            all.push(Mistake { what: "dropped quote or bracket", line: without(line, at) });
        }
    }
    if code.trim_start().starts_with('[') {
        for word in words(code, 0) {
            all.push(Mistake { what: "misspelt table", line: misspelt(line, word) });
        }
        return all;
    }
    let Some(equals) = code.find('=') else { return all };
    if let Some(key) = words(&code[..equals], 0).first() {
        all.push(Mistake { what: "misspelt key", line: misspelt(line, key.clone()) });
    }
    let value = code[equals + 1..].trim();
    let retyped = match value.chars().next() {
        Some('"' | '\'') => Some("17"),
        Some('0'..='9' | 't' | 'f') => Some("\"pmx\""),
        Some('[' | '{') => Some("17"),
        _ => None,
    };
    if let Some(other) = retyped {
        all.push(Mistake { what: "changed type", line: format!("{}= {other}", &code[..equals]) });
    }
    for (open, _) in code.match_indices("${{") {
        let end = code[open..].find("}}").map_or(code.len(), |end| open + end);
        for word in words(&code[..end], open + 3) {
            all.push(Mistake { what: "misspelt reference", line: misspelt(line, word) });
        }
    }
    let key = code[..equals].trim();
    if matches!(key, "call" | "workflow" | "type" | "status" | "kind") {
        for word in words(code, equals + 1) {
            all.push(Mistake { what: "misspelt reference", line: misspelt(line, word) });
        }
    }
    all
}

/// What no checker can know, by file and a part of the spoilt line, each with its reason. A survivor that is not here fails the test, and so does a
/// line here that survives no more.
const SURVIVORS: &[(&str, &str, &str)] = &[
    ("Pmxfile.toml", "[profile.lba", "a profile's name is free: this is another profile"),
    ("Pmxfile.toml", "[at.slaet]", "the name of another machine is free: this is another machine"),
    ("definitions/", "vm[\"calamiyt\"]", "which VMs exist is known to Proxmox alone; the lookup says that there is none of that name"),
    ("definitions/keebDev02.toml", "\"passwodr\"", "which keys a vault holds is known when it is opened; then the nearest key is named"),
    ("workflows/update-calamity.toml", "servers images", "an apostrophe less in a sentence"),
    ("workflows/vm-lifecycle-test.toml", "VMs address", "an apostrophe less in a sentence"),
    ("Pmxfile.toml", "[bot.vm.allthemosn]", "a VM's name is free, and start, stop and status work for any"),
    ("definitions/", "vm[\"allthemosn\"]", "which VMs exist is known to Proxmox alone"),
    ("definitions/", "vm[\"gold-imaeg\"]", "which VMs exist is known to Proxmox alone"),
    ("definitions/alpineInstaller.toml", "\"passwodr\"", "which keys a vault holds is known when it is opened"),
    ("definitions/tailscaleNode.toml", "\"tailscaleAuthKye\"", "which keys a vault holds is known when it is opened"),
    ("definitions/treehouse.toml", "inputs.", "the workflow gives these arguments itself, so the definition's own are never read"),
    ("workflows/configure-proxy.toml", "description = ", "an apostrophe or bracket less in a sentence"),
    ("workflows/deploy-apkovl.toml", "gold images overlay", "an apostrophe less in a sentence"),
    ("definitions/", "vm[\"slaet\"]", "which VMs exist is known to Proxmox alone"),
    ("workflows/deploy-bot.toml", "\"discordTokne\"", "which keys a vault holds is known when it is opened"),
    ("workflows/deploy-bot.toml", "DISCORD_TOKNE=", "the text of a file for another program"),
    ("workflows/deploy-bot.toml", "REQUIRED_ROEL=", "the text of a file for another program"),
    ("workflows/deploy-bot.toml", "COMMAND_PREFXI=", "the text of a file for another program"),
    ("workflows/deploy-bot.toml", "coed = ", "`inputs` of a build are named by whoever builds"),
    ("workflows/deploy-bot.toml", "binayr = ", "`inputs` of a build are named by whoever builds"),
    ("workflows/deploy-bot.toml", "code = 17", "an input of a build may be anything"),
    ("workflows/deploy-bot.toml", "binary = 17", "an input of a build may be anything"),
    (
        "workflows/deploy-bot.toml",
        "image[\"discord-bto\"]",
        "which images there are is known to Docker alone; the plan says that nobody writes it",
    ),
    (
        "workflows/deploy-bot.toml",
        "envDigest = ",
        "where a file is written is known at run time; a name that nobody wrote fails before the step begins",
    ),
];

/// Mistakes that are told at another line, by file and a part of the spoilt line, with the reason why that line is right.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("Pmxfile.toml", "kidn = ", "`[vault.proxmox-vault] has no kind` at its header, one line above"),
    ("Pmxfile.toml", "[bot.vm.calamiyt]", "a VM's name is free; what it may do has no workflow"),
    ("Pmxfile.toml", "definitions.keebDev20", "at the first key below the header"),
    ("Pmxfile.toml", "definitions.flete", "at the first key below the header"),
    ("Pmxfile.toml", "definitions.calamityTerrarai", "at the first key below the header"),
    ("Pmxfile.toml", "definitions.allthemonsMinecratf", "at the first key below the header"),
    (
        "workflows/",
        "misspelt table: [input.",
        "where the input is used or given: it may be that word which is wrong; the help names the declared one",
    ),
    ("Pmxfile.toml", "methods.warnShutdonw", "at the first key below the header"),
    ("workflows/vm-lifecycle-test.toml", "pattern = ", "another pattern, which the default does not match"),
    ("Pmxfile.toml", "definitions.pmxReop", "at the first key below the header"),
    ("Pmxfile.toml", "methods.syncBinayr", "at the first key below the header"),
    ("workflows/deploy-bot.toml", "[[stpe]]", "its keys are then those of the step before, which has them already"),
    ("workflows/deploy-bot.toml", "vmName = 17", "where the definition names a VM by it"),
    ("workflows/deploy-bot.toml", "content = ", "at the first line of the text that the quotes no longer hold"),
    ("workflows/deploy-bot.toml", "bracket: \'\'", "where the text of many lines begins"),
];

#[test]
fn every_small_mistake_in_our_own_project_is_found_at_its_place() {
    let files = Files::read();
    assert_eq!(files.errors("", "").len(), 0, "the project itself is clean");
    let (mut tried, mut survivors, mut elsewhere) = (0, Vec::new(), Vec::new());
    for name in &files.names {
        let lines: Vec<&str> = files.texts[name].lines().collect();
        for (index, line) in lines.iter().enumerate() {
            for mistake in mistakes(line) {
                if mistake.line == *line {
                    continue;
                }
                tried += 1;
                let mut spoilt = lines.clone();
                spoilt[index] = &mistake.line;
                let errors = files.errors(name, &(spoilt.join("\n") + "\n"));
                let shown = format!("{name}:{}: {}: {}", index + 1, mistake.what, mistake.line.trim());
                let here = |complaint: &Diagnostic| {
                    let places = complaint.at.iter().chain(&complaint.also);
                    places
                        .map(|(span, _)| span)
                        .any(|span| span.source.name == Path::new(name) && span.source.line_column(span.start()).0 == index + 1)
                };
                if errors.is_empty() {
                    survivors.push(shown);
                } else if !errors.iter().any(here) && !named(ELSEWHERE, &shown) {
                    elsewhere.push(format!("{shown}\n      → {}", errors[0]));
                }
            }
        }
    }
    println!("{tried} mistakes tried, {} survive, {} found elsewhere", survivors.len(), elsewhere.len());
    let known = |shown: &&String| named(SURVIVORS, shown);
    for shown in survivors.iter().filter(known) {
        println!("  survives, as known: {shown}");
    }
    let surprising: Vec<&String> = survivors.iter().filter(|shown| !known(shown)).collect();
    let gone = |row: &&(&str, &str, &str)| !survivors.iter().any(|shown| named(&[**row], shown));
    let stale: Vec<_> = SURVIVORS.iter().filter(gone).collect();
    assert!(tried > 1000, "only {tried} mistakes were tried");
    assert!(surprising.is_empty(), "{} mistakes are not found:\n{}", surprising.len(), list(&surprising));
    assert!(elsewhere.is_empty(), "{} mistakes are told at another place:\n{}", elsewhere.len(), elsewhere.join("\n"));
    assert!(stale.is_empty(), "these survive no more: {stale:?}");
}

fn named(table: &[(&str, &str, &str)], shown: &str) -> bool {
    table.iter().any(|(file, part, _)| shown.starts_with(file) && shown.contains(part))
}

fn list(lines: &[&String]) -> String {
    lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n")
}
