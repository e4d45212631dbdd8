//! Tests of splitting, references and faults of expressions.

use super::split::{Part, split};
use crate::lang::template::{Expr, Index, Ref, Root, Template};
use crate::source::{Source, Span};

fn span(text: &str) -> Span {
    let source = Source::new("x.toml", text);
    Span::new(&source, 0..text.len())
}

fn expr(text: &str) -> Expr {
    Expr::parse(text, &span(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

fn fault(text: &str) -> String {
    let wrong = Expr::parse(text, &span(text)).expect_err(text);
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

fn shown(found: &Ref) -> String {
    let flag = if found.optional { "?" } else { "" };
    let root = match &*found.root {
        Root::Resource { def, spec, instance, path } => {
            let instance = match instance {
                Index::Name(name) => name.clone(),
                Index::Computed(expr) => format!("<{}>", expr.text()),
                Index::Any => "*".to_owned(),
            };
            format!("{def}/{spec}/{instance} {}", path.join("."))
        }
        Root::Input(name) => format!("input {}", name.as_deref().unwrap_or("*")),
        Root::Vault(vault, key) => format!("vault {} {}", vault.as_deref().unwrap_or("*"), key.as_deref().unwrap_or("*")),
        Root::Each => "each".to_owned(),
        Root::Run => "run".to_owned(),
        Root::This => "self".to_owned(),
        Root::Env(name) => format!("env {name}"),
    };
    format!("{root}{flag} `{}`", found.span.text())
}

fn refs(text: &str) -> Vec<String> {
    expr(text).refs.iter().map(shown).collect()
}

#[test]
fn the_inventory_refers_to_what_it_says() {
    let ip = r#"model.fleet.resource.vm["calamity"].attributes.ip"#;
    assert_eq!(refs(ip), [format!("fleet/vm/calamity attributes.ip `{ip}`")]);
    let ticket = "model.keebDev02.resource.node.node.attributes.ticket";
    assert_eq!(refs(ticket), [format!("keebDev02/node/node attributes.ticket `{ticket}`")]);
    let dynamic = "model.fleet.resource.vm[inputs.vmName].attributes.ip";
    assert_eq!(refs(dynamic), [format!("fleet/vm/<inputs.vmName> attributes.ip `{dynamic}`"), "input vmName `inputs.vmName`".to_owned()]);
    let secret = r#"vault.get("proxmox-vault", "password")"#;
    assert_eq!(refs(secret), [format!("vault proxmox-vault password `{secret}`")]);
}

#[test]
fn indices_are_literal_computed_or_any() {
    let found = refs(r#"model.f.resource.vm["a-" + string(each.value)].version"#);
    assert_eq!(found[0], r#"f/vm/<"a-" + string(each.value)> version `model.f.resource.vm["a-" + string(each.value)].version`"#);
    let found = refs("model.f.resource.vm[model.g.resource.x.y.attributes.name].attributes.ip");
    assert_eq!(
        found,
        [
            "f/vm/* attributes.ip `model.f.resource.vm[model.g.resource.x.y.attributes.name].attributes.ip`",
            "g/x/y attributes.name `model.g.resource.x.y.attributes.name`"
        ]
    );
    let found = refs("inputs.names.map(n, model.f.resource.vm[n].attributes.ip)");
    assert_eq!(found, ["input names `inputs.names`", "f/vm/* attributes.ip `model.f.resource.vm[n].attributes.ip`"]);
    let found = refs("model.f.resource.vm.filter(n, n != 'x')");
    assert_eq!(found, ["f/vm/*  `model.f.resource.vm`"]);
    let found = refs("model.f.resource.vm[env.HOME].version");
    assert_eq!(found, ["f/vm/* version `model.f.resource.vm[env.HOME].version`", "env HOME `env.HOME`"]);
}

#[test]
fn tolerated_absence_is_marked() {
    assert_eq!(refs("has(inputs.x) ? inputs.x : 1"), ["input x? `inputs.x`", "input x `inputs.x`"]);
    assert_eq!(refs("model.f.resource.vm.a.attributes.?ip.orValue('-')"), ["f/vm/a attributes.ip? `model.f.resource.vm.a.attributes.?ip`"]);
    assert_eq!(refs("model.f.resource.vm[?inputs.n]")[0], "f/vm/<inputs.n> ? `model.f.resource.vm[?inputs.n]`");
    assert_eq!(refs("has(model.f.resource.vm.a)"), ["f/vm/a ? `model.f.resource.vm.a`"]);
}

#[test]
fn bound_names_are_no_roots() {
    assert_eq!(refs("[1].map(inputs, inputs + 1)"), Vec::<String>::new());
    assert_eq!(refs("[{'a': 1}].exists(model, model.a == 1)"), Vec::<String>::new());
    assert_eq!(refs("[3, 1].sortBy(x, -x) == [3] && inputs.y"), ["input y `inputs.y`"]);
}

#[test]
fn mistakes_say_where_and_what_to_do() {
    let table = [
        ("modle.fleet.resource.vm.x", "x.toml:1:1: `modle` is not known; did you mean `model`?"),
        ("1 + input.x", "x.toml:1:5: `input` is not known; did you mean `inputs`?"),
        (
            "calamity",
            "x.toml:1:1: `calamity` is not known; text stands in quotes: \"calamity\"; known names are inputs, model, vault.get, each, run, self, env",
        ),
        (
            "model.fleet.resources.vm.x",
            "x.toml:1:1: `resources` stands where `resource` belongs; write model.<definition>.resource.<spec>[\"name\"].attributes.<field>",
        ),
        (
            "model.fleet",
            "x.toml:1:1: the definition and the spec must be written out; write model.<definition>.resource.<spec>[\"name\"].attributes.<field>",
        ),
        ("model.fleet.resource.vm[103].attributes.ip", "x.toml:1:25: the name of an instance is a string; write it in quotes: [\"103\"]"),
        (
            "model.fleet.resource.vm.gold-image.attributes.ip",
            "x.toml:1:1: `gold-image` is a subtraction to CEL; a name with a dash stands in brackets: [\"gold-image\"]",
        ),
        ("vault.get(proxmox-vault, password)", "x.toml:1:26: `password` is not known here; write it in quotes: \"password\""),
        ("vault.password", "x.toml:1:1: `vault` is not known; write vault.get(\"vault\", \"key\")"),
        ("vault.gte('a', 'b')", "x.toml:1:1: `vault.gte` with 2 arguments is not known; write vault.get(\"vault\", \"key\")"),
        ("each.val", "x.toml:1:1: `each` has no `val`; write each.value or each.key"),
        ("inputs.x.startWith('a')", "x.toml:1:1: the function `startWith` is not known; did you mean `startsWith`?"),
        ("siez(inputs.x)", "x.toml:1:1: the function `siez` is not known; did you mean `size`?"),
        ("inputs.x.int()", "x.toml:1:1: the function `int` is not known; write int(x)"),
        ("inputs.x.split()", "x.toml:1:1: `split` takes 1 to 2 arguments, 0 given"),
        ("inputs.l.map(x)", "x.toml:1:1: `map` is not written like this; write list.map(x, expression)"),
        ("inputs.x = 1", "x.toml:1:10: `=` cannot stand here; compare with `==`"),
        ("inputs.x and inputs.y", "x.toml:1:10: `a` is not expected here; write `&&`, `||` and `!`"),
        ("inputs.x ==", "x.toml:1:12: the expression ends too early"),
        ("size(inputs.x", "x.toml:1:14: the expression ends too early; a bracket is missing"),
        ("inputs.x?.y", "x.toml:1:12: the expression ends too early; optional selection is written `.?`"),
        ("True", "x.toml:1:1: `True` is not known; write true"),
        (
            "data.latest('a', 'b')",
            "x.toml:1:1: the function `latest` is not known; a resource is model.<definition>.resource.<spec>[\"name\"].attributes",
        ),
        ("", "x.toml:1:1: the expression is empty"),
    ];
    for (text, said) in table {
        assert_eq!(fault(text), said, "{text}");
    }
}

#[test]
fn braces_and_quotes_of_cel_do_not_end_an_expression() {
    let exprs = |text: &str| -> Vec<String> {
        let parts = split(text).unwrap();
        parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => format!("t:{text}"),
                Part::Expr(range) => format!("e:{}", &text[range]),
            })
            .collect()
    };
    assert_eq!(exprs("a ${{ b }} c"), ["t:a ", "e:b", "t: c"]);
    assert_eq!(exprs(r#"${{ {"a": {"b": "}}"}}["a"]["b"] }}"#), [r#"e:{"a": {"b": "}}"}}["a"]["b"]"#]);
    assert_eq!(exprs(r#"${{ r"\" + '}}' }}"#), [r#"e:r"\" + '}}'"#]);
    assert_eq!(exprs("${{ '''it's }}''' }}"), ["e:'''it's }}'''"]);
    assert_eq!(exprs("$${{ a }} ${{b}}$$${{"), ["t:${{ a }} ", "e:b", "t:$${{"]);
    assert_eq!(exprs("${{ 1 // }}\n }}"), ["e:1 // }}"]);
    assert!(split("${{ a }").is_err() && split("${{ \"a }}").is_err());
}

#[test]
fn lost_braces_are_noticed() {
    let said = |text: &str| match Template::parse(text, &span(text)) {
        Ok(template) => format!("{template:?}").chars().take(20).collect(),
        Err(wrong) => wrong[0].to_string(),
    };
    assert_eq!(said("{{ inputs.x }}"), "x.toml:1:1: `{{` does not begin an expression; write ${{ … }}");
    assert_eq!(said("${ inputs.x }}"), "x.toml:1:1: `${` does not begin an expression; write ${{ … }}");
    assert_eq!(said("inputs.vmName"), "x.toml:1:1: `inputs.vmName` is plain text here; write ${{ inputs.vmName }} to read it");
    assert_eq!(said("${{ inputs.x }"), "x.toml:1:1: `${{` is not closed; close it with two braces: `}}`");
    assert!(said("docker ps --format '{{.Names}}'").starts_with("Literal"));
    assert!(said("run.sh").starts_with("Literal") && said("say model. Then stop").starts_with("Literal"));
}
