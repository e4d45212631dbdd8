//! Tests of the checker: the whole project is clean, each mistake has its line, and every mutation of every line is noticed at its place.

use crate::lang::check::fixture::{FILES, complaints, lines};
use crate::source::Severity;

#[test]
fn the_project_is_clean() {
    assert_eq!(lines(&[]), Vec::<String>::new());
}

/// A workflow of one step on top of the project.
fn workflow(text: &str) -> Vec<String> {
    lines(&[("workflows/w.toml", text)])
}

/// The first error, else the first warning.
fn first(text: &str) -> Option<String> {
    let mut found = complaints(&[("workflows/w.toml", text)]);
    found.sort_by_key(|one| one.severity);
    found.first().map(ToString::to_string)
}

fn step(rest: &str) -> String {
    format!("[[step]]\nname = \"a\"\n{rest}\n")
}

const INPUT: &str = "[input.vmName]\ntype = \"string\"\n";

#[test]
fn mistakes_in_steps() {
    let table = [
        (step("call = \"flet.start\"\nwith = { vmName = \"x\" }"), "w.toml:3:9: there is no definition `flet`; did you mean `fleet`?"),
        (step("call = \"fleet.strat\"\nwith = { vmName = \"x\" }"), "w.toml:3:15: proxmox/vm has no method `strat`; did you mean `start`?"),
        (step("workflow = \"stop-vmm\""), "w.toml:3:13: there is no workflow `stop-vmm`; did you mean `stop-vm`?"),
        (step("call = \"fleet.start\""), "w.toml:3:15: fleet.start needs `vmName`; add it: with = { vmName = … }"),
        (step("call = \"fleet.start\"\nwith = { vmNmae = \"x\" }"), "w.toml:4:10: fleet.start takes no `vmNmae`; did you mean `vmName`?"),
        (step("call = \"keebDev02.auth\"\nwith = { x = 1 }"), "w.toml:4:10: keebDev02.auth takes no `x`; it takes no arguments"),
        (
            step("call = \"fleet.start\"\nwith = { vmName = \"x\", waitSeconds = \"2 min\" }"),
            "w.toml:4:38: `waitSeconds` of fleet.start is the string \"2 min\", expected integer",
        ),
        (
            step("call = \"fleet.start\"\nwith = { vmName = 3 }"),
            "w.toml:4:19: `vmName` of fleet.start is integer 3, expected string; write it in quotes",
        ),
        (
            step("call = \"fleet.start\"\nwith = { vmName = \"x\", waitSeconds = -1 }"),
            "w.toml:4:38: `waitSeconds` of fleet.start is -1, the smallest allowed is 0",
        ),
        (
            step("call = \"fleet.stop\"\nwith = { vmName = \"x\", mode = \"shutdwn\" }"),
            "w.toml:4:31: `mode` of fleet.stop is \"shutdwn\", expected one of shutdown, stop; did you mean `shutdown`?",
        ),
        (
            step("call = \"testVmSsh.exec\"\nwith = { command = \"ls\" }"),
            "w.toml:3:9: `testVmSsh` reads the input `vmName`, which this step does not give; add it: with = { vmName = … }, or declare [input.vmName]",
        ),
        (
            step("call = \"testVmSsh.exec\"\nwith = { vmName = \"x\", command = '${{ vault.get(\"proxmox-vault\", \"k\") }}' }"),
            "w.toml:4:39: `command` of testVmSsh.exec holds a secret, which may only flow into secret arguments",
        ),
        (
            step(
                "call = \"testVmSsh.exec\"\nwith = { vmName = \"x\", command = 'echo ${{ model.keebDev02.resource.node.node.attributes.ticket }}' }",
            ),
            "w.toml:4:34: `command` of testVmSsh.exec holds a secret, which may only flow into secret arguments; text around an expression makes a string",
        ),
        (
            step("call = \"testVmSsh.writeFile\"\nwith = { vmName = \"x\", dest = \"/a\", content = \"hunter2\" }"),
            "w.toml:4:47: `content` of testVmSsh.writeFile is a secret in plain text; put it in a vault: ${{ vault.get(\"vault\", \"key\") }}",
        ),
        (
            step(
                "call = \"testVmSsh.writeFile\"\nwith = { vmName = \"x\", dest = \"/a\", content = '${{ vault.get(\"proxmox-valt\", \"k\") }}' }",
            ),
            "w.toml:4:62: there is no vault `proxmox-valt`; did you mean `proxmox-vault`?",
        ),
        (step("workflow = \"stop-vm\""), "w.toml:3:13: workflow `stop-vm` needs the input `vmName`; add it: with = { vmName = … }"),
        (
            step("workflow = \"stop-vm\"\nwith = { vmName = 1 }"),
            "w.toml:4:19: input `vmName` of stop-vm is integer 1, expected string; write it in quotes",
        ),
        (step("workflow = \"sync-fleet\"\nwith = { a = 1 }"), "w.toml:4:10: workflow `sync-fleet` has no input `a`; it takes none"),
        (
            step("call = \"fleet.stop\"\nfresh = \"1m\"\nwith = { vmName = \"x\" }"),
            "w.toml:3:15: `fresh` is for methods that only look; fleet.stop acts; remove `fresh`",
        ),
        (step("workflow = \"w\""), "w.toml:3:13: workflow `w` contains itself: w → w"),
    ];
    for (text, said) in table {
        assert_eq!(first(&text), Some(format!("workflows/{said}")), "{text}");
    }
}

#[test]
fn mistakes_in_expressions() {
    let with = |expr: &str| format!("{INPUT}{}", step(&format!("call = \"fleet.start\"\nwith = {{ vmName = '${{{{ {expr} }}}}' }}")));
    let condition = |expr: &str| {
        format!("{INPUT}{}", step(&format!("call = \"fleet.start\"\nwith = {{ vmName = '${{{{ inputs.vmName }}}}' }}\nif = '{expr}'")))
    };
    let table = [
        (with("inputs.vmNmae"), "6:31: there is no input `vmNmae`; did you mean `vmName`?"),
        (with("model.flet.resource.vm.a.attributes.ip"), "6:30: there is no definition `flet`; did you mean `fleet`?"),
        (with("model.fleet.resource.vms.a.attributes.ip"), "6:45: `fleet` writes no `vms`; did you mean `vm`?"),
        (with("model.fleet.resource.vm.a.attributes.ipp"), "6:61: `fleet/vm` has no `ipp`; did you mean `ip`?"),
        (with("model.fleet.resource.vm.a.atributes.ip"), "6:50: `fleet/vm` has no `atributes`; did you mean `attributes`?"),
        (
            with("model.fleet.resource.vm.a.attributes.vmid"),
            "6:24: `vmName` of fleet.start is integer, expected string; make text of it with string(…)",
        ),
        (
            with("model.fleet.resource.vm.a.attributes.ip + 1"),
            "6:24: `+` does not work on string or null and integer; make text of the number with string(…)",
        ),
        (
            with("model.fleet.resource.vm[inputs.vmName == \"x\"].attributes.ip"),
            "6:48: the name of an instance is a string, not boolean; make text of it with string(…)",
        ),
        (with("model.fleet.resource.vm[vault.get(\"proxmox-vault\", \"k\")].attributes.ip"), "6:48: a secret cannot name a resource"),
        (with("each.value"), "6:24: `each` is only known inside `for_each`; add for_each = '…' to the step"),
        (with("inputs.vmName.size().startsWith(\"a\")"), "6:24: `startsWith` does not work on integer"),
        (condition("inputs.vmName"), "7:7: `if` is true or false, not string; compare it, such as `== \"running\"`"),
        (
            condition("model.fleet.resource.vm.a.attributes.status == \"runing\""),
            "7:54: `runing` is none of running, stopped, gone, deleted; did you mean `running`?",
        ),
        (
            condition("model.fleet.resource.vm.a.attributes.vmid == \"103\""),
            "7:7: integer and string are never equal; write it without the quotes",
        ),
        (
            condition("model.fleet.resource.vm.a.attributes.vmid > \"x\""),
            "7:7: `>` does not work on integer and string; make text of the number with string(…)",
        ),
        (condition("vault.get(\"proxmox-vault\", \"k\") == \"x\""), "7:7: a secret may not decide whether a step runs"),
        (condition("has(model.fleet.resource.vm.a.attributes.ipp)"), "7:48: `fleet/vm` has no `ipp`; did you mean `ip`?"),
        (condition("model.fleet.resource.vm.a.attributes.?ipp.orValue(\"\") == \"\""), "7:45: `fleet/vm` has no `ipp`; did you mean `ip`?"),
        (condition("model.fleet.resource.vm.a.attributes.tags.exists(t, t == 1)"), "7:59: string and integer are never equal"),
        (
            condition("inputs.vmName in model.fleet.resource.vm.a.attributes.status"),
            "7:7: `in` looks into a list or map, not one of running, stopped, gone, deleted",
        ),
        (condition("inputs.vmName && true"), "7:7: a condition is true or false, not string; compare it, such as `== \"running\"`"),
    ];
    let wrong: Vec<String> = table
        .into_iter()
        .filter_map(|(text, said)| {
            let got = first(&text).unwrap_or_default();
            (got != format!("workflows/w.toml:{said}")).then(|| format!("{got}\n  wanted {said}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn loops_give_their_items() {
    let over =
        |list: &str, value: &str| step(&format!("call = \"fleet.start\"\nfor_each = '{list}'\nwith = {{ vmName = '${{{{ {value} }}}}' }}"));
    assert_eq!(workflow(&over("[\"a\", \"b\"]", "each.value")), Vec::<String>::new());
    assert_eq!(workflow(&over("model.fleet.resource.vm", "each.key")), Vec::<String>::new());
    assert_eq!(workflow(&over("model.fleet.resource.vm", "each.value.attributes.vmName")), Vec::<String>::new());
    assert!(workflow(&over("[1, 2]", "each.value"))[0].contains("is integer, expected string"));
    assert!(workflow(&over("\"a\"", "each.value"))[0].contains("`for_each` goes over a list or map, not string"));
}

#[test]
fn secrets_may_go_where_secrets_belong() {
    let vault = "vault.get(\"proxmox-vault\", \"k\")";
    let text =
        step(&format!("call = \"testVmSsh.writeFile\"\nwith = {{ vmName = \"x\", dest = \"/a\", content = 'TOKEN=${{{{ {vault} }}}}' }}"));
    assert_eq!(workflow(&text), Vec::<String>::new());
    let text = step(&format!(
        "call = \"testVmSsh.exec\"\nwith = {{ vmName = \"x\", command = \"ls\", env = {{ TOKEN = '${{{{ {vault} }}}}' }} }}"
    ));
    assert_eq!(workflow(&text), Vec::<String>::new());
}

#[test]
fn a_secret_is_found_inside_what_may_be_anything() {
    let vault = "${{ vault.get(\"proxmox-vault\", \"k\") }}";
    for (more, what) in [
        (format!("'{vault}'"), "`more`"),
        (format!("[\"a\", '{vault}']"), "an item of `more`"),
        (format!("[\"a\", 'b={vault}']"), "an item of `more`"),
        (format!("{{ a = [{{ b = '{vault}' }}] }}"), "`b` in an item of `a` in `more`"),
    ] {
        let told = workflow(&step(&format!("call = \"testVmSsh.exec\"\nwith = {{ vmName = \"x\", command = \"ls\", more = {more} }}")));
        assert!(
            told[0].contains(&format!("{what} of testVmSsh.exec holds a secret, which may only flow into secret arguments")),
            "{told:?}"
        );
    }
    let harmless = "call = \"testVmSsh.exec\"\nwith = { vmName = \"x\", command = \"ls\", more = [1, { a = '${{ 1 + 1 }}' }] }";
    assert_eq!(workflow(&step(harmless)), Vec::<String>::new());
}

#[test]
fn lists_may_come_as_json() {
    let text = |args: &str| step(&format!("call = \"testVmSsh.exec\"\nwith = {{ vmName = \"x\", command = \"ls\", args = {args} }}"));
    assert_eq!(workflow(&text("[\"a\"]")), Vec::<String>::new());
    assert_eq!(workflow(&text("'[\"a\"]'")), Vec::<String>::new());
    assert!(workflow(&text("\"a\""))[0].contains("is the string \"a\", expected list of string; write a list: [\"a\"]"));
    assert!(workflow(&text("[1]"))[0].contains("has an item 1 that is integer 1, expected string"));
}

#[test]
fn whole_project_mistakes() {
    let unused = workflow(&format!("{INPUT}{}", step("call = \"keebDev02.auth\"")));
    assert_eq!(unused, ["workflows/w.toml:1:8: the input `vmName` is never used; read it with ${{ inputs.vmName }}, or remove it"]);
    let cycle = lines(&[("workflows/a.toml", &step("workflow = \"b\"")), ("workflows/b.toml", &step("workflow = \"a\""))]);
    assert_eq!(cycle, ["workflows/b.toml:3:13: workflow `a` contains itself: a → b → a"]);
    let copy = FILES.iter().find(|(name, _)| name.ends_with("stop-calamity.toml")).unwrap().1;
    assert!(lines(&[("workflows/z.toml", copy)])[0].contains("3 steps from `auth` on also stand in workflow `stop-calamity`"));
    let pmxfile = FILES[0].1;
    let bot = pmxfile
        .replace("actions = [\"start\", \"stop\", \"reboot\", \"update\", \"status\"]", "actions = [\"start\", \"update\"]")
        .replace("[bot.vm.calamity]", "[bot.vm.atm10]");
    assert_eq!(
        lines(&[("Pmxfile.toml", &bot)]),
        ["Pmxfile.toml:28:22: no workflow does `update` to `atm10`; write a workflow `update-atm10` or `update-vm`"]
    );
    let slip = pmxfile.replace("[bot.vm.calamity]", "[bot.vm.calamty]");
    assert!(lines(&[("Pmxfile.toml", &slip)]).iter().any(|line| line.contains("`calamty` is named only here; did you mean `calamity`?")));
}

/// Mutations of a line: what they are called, and the line after.
fn mutations(line: &str) -> Vec<(String, String)> {
    let code = line.split(" # ").next().unwrap_or_default().trim_end();
    let mut found = Vec::new();
    for (at, c) in code.char_indices().filter(|(_, c)| "\"'[]{}()=.".contains(*c)) {
        let mut text = code.to_owned();
        text.remove(at);
        found.push((format!("without `{c}` at {at}"), text));
    }
    let value = code.find(" = ").map_or(code.len(), |at| at + 3);
    for (at, word) in words(code) {
        // Values in quotes may be free text; what is inside an expression is not.
        let free = at >= value && !code[..at].contains("${{") && !matches!(word, "true" | "false");
        if !free && word.len() > 2 {
            let mut text = code.to_owned();
            text.replace_range(at..at + word.len(), &format!("{}{}zz", &word[..1], &word[2..]));
            found.push((format!("`{word}` misspelt"), text));
        }
    }
    if value < code.len() && !code.trim_start().starts_with('[') {
        let (key, old) = code.split_at(value);
        let other = if old.starts_with(['"', '\'']) { "7" } else { "\"text\"" };
        found.push(("another type".to_owned(), format!("{key}{other}")));
    }
    found
}

fn words(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in code.char_indices().chain([(code.len(), ' ')]) {
        match (c.is_alphanumeric() || c == '_', start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                found.push((begin, &code[begin..at]));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Whether a mutation leaves a line that means something else but is right: then nobody can notice.
fn harmless(name: &str, old: &str, new: &str) -> bool {
    // A key of a vault is known to the vault alone, and no workflow of this project calls testVmSsh.
    if new.contains("psswordzz") || new.contains("vNamezz].attributes") {
        return true;
    }
    let description = old.starts_with("description");
    // A word of a name in quotes; a number that is a number still.
    description && !new.contains(" = 7") && new.matches('"').count() == 2 && new.contains(" = ")
        || name.starts_with("without `.`")
            && !old.contains("${{")
            && !old.contains("call")
            && !old.starts_with("status")
            && !old.starts_with('[')
}

#[test]
fn every_slip_is_noticed_at_its_place() {
    let mut missed = Vec::new();
    let mut total = 0;
    for (file, text) in FILES {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
            for (name, new) in mutations(line) {
                if harmless(&name, line, &new) {
                    continue;
                }
                total += 1;
                let changed: Vec<&str> = text.lines().enumerate().map(|(at, old)| if at == number { new.as_str() } else { old }).collect();
                let changed = changed.join("\n") + "\n";
                let found = complaints(&[(file, &changed)]);
                let errors = found.iter().filter(|one| {
                    one.severity == Severity::Error
                        || ["named only here", "is never used", "overrides and nothing else"].iter().any(|told| one.message.contains(told))
                });
                let here = |span: &crate::source::Span| {
                    span.source.name.ends_with(file) && span.source.line_column(span.start()).0.abs_diff(number + 1) <= 1
                };
                let near =
                    errors.clone().any(|one| one.at.iter().map(|(span, _)| span).chain(one.also.iter().map(|(span, _)| span)).any(here));
                if !near {
                    let said = errors.map(ToString::to_string).next().unwrap_or_else(|| "nothing".to_owned());
                    missed.push(format!("{file}:{}: {name}: {new}   ->   {said}", number + 1));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{} of {total}:\n{}", missed.len(), missed.join("\n"));
}
