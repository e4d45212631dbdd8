//! Tests of evaluation: values, secrets, absence, messages, and the fast path against CEL.

use std::sync::Arc;

use proptest::prelude::*;

use super::fake::{Fake, value};
use super::resolve::{Resolver, sealed};
use super::run::run;
use crate::lang::template::{Each, Expr, Scope, Template};
use crate::secret::Origin;
use crate::source::{Source, Span};
use crate::value::Value;

fn span(text: &str) -> Span {
    Span::new(&Source::new("x.toml", text), 0..text.len())
}

fn expr(text: &str) -> Expr {
    Expr::parse(text, &span(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

fn eval(text: &str, scope: &dyn Scope) -> Result<Value, String> {
    expr(text).eval(scope).map(|evaluated| evaluated.value).map_err(|complaint| complaint.to_string())
}

fn good(text: &str) -> Value {
    eval(text, &Fake::new()).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn bad(text: &str) -> String {
    eval(text, &Fake::new()).expect_err(text)
}

fn template(text: &str) -> Result<Value, String> {
    let template = Template::parse(text, &span(text)).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
    template.eval(&Fake::new()).map(|evaluated| evaluated.value).map_err(|complaint| complaint.to_string())
}

#[test]
fn the_inventory_evaluates() {
    assert_eq!(template(r#"${{ model.fleet.resource.vm["calamity"].attributes.ip }}"#), Ok("10.0.0.7".into()));
    assert_eq!(template("${{ model.fleet.resource.vm[inputs.vmName].attributes.ip }}"), Ok("10.0.0.7".into()));
    assert_eq!(template(r#"${{ model.fleet.resource.vm["VM 102"].attributes.vmid }}"#), Ok(Value::Int(102)));
    assert_eq!(template("${{ inputs.vmName }}"), Ok("calamity".into()));
    let Ok(Value::Secret(ticket)) = template("${{ model.keebDev02.resource.node.node.attributes.ticket }}") else { panic!() };
    assert!(matches!(ticket.origin(), Origin::Resource { field, .. } if field == "ticket"));
    let Ok(Value::Secret(password)) = template(r#"${{ vault.get("v", "k") }}"#) else { panic!() };
    assert_eq!((password.expose(), password.origin()), ("hunter2", &Origin::Vault { vault: "v".into(), key: "k".into() }));
}

#[test]
fn values_keep_their_types() {
    let table = [
        ("inputs.n + 1", Value::Int(4)),
        ("inputs.ratio * 2.0", Value::Float(3.0)),
        ("[inputs.n, 2]", value(serde_json::json!([3, 2]))),
        ("{'a': inputs.map.k}", value(serde_json::json!({"a": {"x": 1}}))),
        ("inputs.none", Value::Null),
        ("inputs.on && inputs.n > 2", Value::Bool(true)),
        ("inputs.list.distinct().join('-')", "a-b".into()),
        ("'x' + string(inputs.n)", "x3".into()),
        ("model.fleet.resource.vm.calamity.version + 1", Value::Int(8)),
        ("model.fleet.resource.vm.calamity.at", "1970-01-01T00:00:00.000Z".into()),
        ("model.fleet.resource.vm.map(n, n)", value(serde_json::json!(["VM 102", "calamity", "gold-image"]))),
        ("size(model.fleet.resource.vm)", Value::Int(3)),
        ("'calamity' in model.fleet.resource.vm", Value::Bool(true)),
        ("inputs.list[1]", "b".into()),
        ("inputs.map['k'].x", Value::Int(1)),
        ("run.id + self.name + env.HOME", "7f3fleet/root".into()),
        ("math.greatest(1, inputs.n)", Value::Int(3)),
        ("base64.encode(b'a')", "YQ==".into()),
        ("lists.range(3)", value(serde_json::json!([0, 1, 2]))),
        ("[3, 1, 2].sort()", value(serde_json::json!([1, 2, 3]))),
        ("'%s is %d'.format(['x', 3])", "x is 3".into()),
        ("'aXbX'.replace('X', '-')", "a-b-".into()),
        ("'aXbX'.replace('X', '-', 1)", "a-bX".into()),
        ("[[1], [2]].flatten()", value(serde_json::json!([1, 2]))),
        ("inputs.list.exists(x, x == 'b') ? 'y' : 'n'", "y".into()),
        ("inputs.list.filter(x, x == 'a').size()", Value::Int(2)),
        ("{'b': 1, 'a': 2}.map(k, k)", value(serde_json::json!(["a", "b"]))),
        ("[{'n': 2}, {'n': 1}].sortBy(x, x.n)[0].n", Value::Int(1)),
    ];
    for (text, wanted) in table {
        assert_eq!(good(text), wanted, "{text}");
    }
}

#[test]
fn text_around_expressions() {
    assert_eq!(template("a ${{ inputs.n }}-${{ inputs.on }} $${{ x }}"), Ok("a 3-true ${{ x }}".into()));
    assert!(template("x${{ inputs.none }}").unwrap_err().contains("null cannot stand inside a text"));
    assert!(template("ping ${{ model.fleet.resource.vm['gold-image'].attributes.ip }}").unwrap_err().contains("has had no ip since 14:02"));
    assert!(template("x${{ inputs.list }}").unwrap_err().contains("a list cannot stand inside a text"));
    let Ok(Value::Secret(secret)) = template("TOKEN=${{ vault.get('v', 'k') }}\nROLE=homie") else { panic!() };
    assert_eq!((secret.expose(), secret.origin()), ("TOKEN=hunter2\nROLE=homie", &Origin::Computed));
}

#[test]
fn an_expression_that_touches_a_secret_is_secret_whole() {
    let secret = |text: &str| match good(text) {
        Value::Secret(secret) => (secret.expose().to_owned(), *secret.origin() == Origin::Computed),
        other => panic!("{text} gives {other:?}"),
    };
    assert_eq!(secret("inputs.on ? vault.get('v', 'k') : 'x'"), ("hunter2".to_owned(), false));
    assert_eq!(secret("'a' + vault.get('v', 'k')"), ("ahunter2".to_owned(), true));
    assert_eq!(secret("size(vault.get('v', 'k'))"), ("7".to_owned(), true));
    assert_eq!(secret("vault.get('v', 'k') == 'hunter2'"), ("true".to_owned(), true));
    assert_eq!(secret("vault.get('v', 'k') == 'x' || true ? 'y' : 'n'"), ("y".to_owned(), true));
    // A branch that is not taken touches nothing.
    assert_eq!(good("inputs.on ? 'x' : vault.get('v', 'k')"), "x".into());
    // Every leaf of a list or map is secret.
    let Value::Map(map) = good("{'TOKEN': vault.get('v', 'k'), 'ROLE': 'homie'}") else { panic!() };
    assert!(map.values().all(|leaf| matches!(leaf, Value::Secret(_))));
    assert!(bad("{vault.get('v', 'k'): 1}").contains("a secret cannot be a key of a map"));
    assert!(bad("model.fleet.resource.vm[vault.get('v', 'k')].version").contains("a secret cannot name a resource"));
    assert!(bad("model.fleet.resource.vm['x' + vault.get('v', 'k')].version").contains("a secret cannot name a resource"));
}

#[test]
fn a_secret_beside_what_is_read_stays_untouched() {
    assert_eq!(good("model.keebDev02.resource.node.node.attributes.username + '!'"), "root@pam!".into());
    assert_eq!(good("has(model.keebDev02.resource.node.node.attributes.username)"), Value::Bool(true));
    assert_eq!(good("model.keebDev02.resource.node.node.attributes.?username.orValue('x')"), "root@pam".into());
    let Value::Map(whole) = good("model.keebDev02.resource.node.node.attributes") else { panic!() };
    assert_eq!(whole["username"], "root@pam".into());
    assert!(matches!(whole["ticket"], Value::Secret(_)));
}

#[test]
fn absence_is_told_and_tolerated_where_it_is_asked_for() {
    assert_eq!(
        bad("model.fleet.resource.vm.nope.attributes.ip"),
        "x.toml:1:1: no version of fleet/vm/nope yet; `pmx build fleet/vm/nope` reads it"
    );
    assert_eq!(
        bad("'a' + model.fleet.resource.vm['VM 102'].attributes.ip"),
        "x.toml:1:7: fleet/vm/VM 102 has had no ip since 14:02, when run 7f3 (fleet.stop) stopped it; when the machine tells it again, `pmx build fleet/vm/VM 102` reads it"
    );
    assert_eq!(
        bad("1 + model.fleet.resource.vm.calamity.attributes.vmidd"),
        "x.toml:1:5: fleet/vm/calamity has no `vmidd`; did you mean `vmid`?"
    );
    assert_eq!(
        bad("model.fleet.resource.vm.calamity.attributes.zebra"),
        "x.toml:1:1: fleet/vm/calamity has no `zebra`; it has ip, status, tags, vmid"
    );
    assert_eq!(
        bad("model.fleet.resource.vm['gold-image'].attributes.ip.x"),
        "x.toml:1:1: `ip` of fleet/vm/gold-image is null, it has no `x`"
    );
    assert_eq!(good("model.fleet.resource.vm['gold-image'].attributes.ip"), Value::Null);
    assert_eq!(good("model.fleet.resource.vm.nope.attributes.?ip.orValue('-')"), "-".into());
    assert_eq!(good("model.fleet.resource.vm[?'nope'].attributes.ip.orValue('-')"), "-".into());
    assert_eq!(good("has(model.fleet.resource.vm['VM 102'].attributes.ip)"), Value::Bool(false));
    assert_eq!(good("has(model.fleet.resource.vm.nope)"), Value::Bool(false));
    assert_eq!(good("has(inputs.nope) || has(env.NOPE)"), Value::Bool(false));
    assert_eq!(good("inputs.?nope.orValue(5)"), Value::Int(5));
    assert_eq!(bad("inputs.vmNmae"), "x.toml:1:1: there is no input `vmNmae`; did you mean `vmName`?");
    assert_eq!(bad("env.NOPE"), "x.toml:1:1: the environment variable `NOPE` is not set");
    assert_eq!(bad("each.value"), "x.toml:1:1: `each` is only known inside `for_each`");
}

#[test]
fn nothing_swallows_a_missing_secret_or_resource() {
    for text in [
        "vault.get('v', 'nope') == 'x' || true",
        "[1].exists(x, vault.get('v', 'nope') == 'x' || true)",
        "false && vault.get('v', 'nope') == 'x' || vault.get('v', 'nope') == 'y' || true",
    ] {
        assert!(bad(text).contains("vault v has no key nope; pmx vault set v nope"), "{text}: {}", bad(text));
    }
    assert!(bad("model.fleet.resource.vm.nope.version == 1 || true").contains("no version of fleet/vm/nope"));
    // A field is merely missing: CEL's own rules hold.
    assert_eq!(good("inputs.nope == 1 || true"), Value::Bool(true));
}

#[test]
fn the_smallest_failing_part_is_shown() {
    let table = [
        ("1 + size(inputs.n)", "x.toml:1:5: `size` does not work on an integer"),
        (
            "'a' + (inputs.n + inputs.ratio > 1.0 ? 'x' : 'y')",
            "x.toml:1:8: `+` does not work on an integer and a float; make both the same with double(…) or int(…)",
        ),
        ("true ? inputs.list[9] : 'x'", "x.toml:1:8: the list has no item 9"),
        ("10 / (inputs.n - 3)", "x.toml:1:1: division by zero"),
        (
            "inputs.vmName + inputs.n",
            "x.toml:1:1: `+` does not work on a string and an integer; make text of it with string(…), or a number with int(…)",
        ),
        ("inputs.none > 3", "x.toml:1:1: `>` does not work on null and an integer; one side is null: test it with `== null` first"),
        ("9223372036854775807 + 1", "x.toml:1:1: the number does not fit 64 bits"),
        ("int('x')", "x.toml:1:1: `int`"),
        ("inputs.n.map(x, x)", "x.toml:1:1: an integer is not a list or map to go through"),
        ("inputs.list.map(x, x + 1)", "x.toml:1:1: `+` does not work on a string and an integer"),
        ("optional.none()", "x.toml:1:1: the expression gives nothing: an optional without a value; end it with .orValue(…)"),
        ("b'abc'", "x.toml:1:1: the expression gives bytes; make text of them with string(…) or base64.encode(…)"),
        ("{1: 2}", "x.toml:1:1: the expression gives a map whose keys are not all strings"),
        ("'a'.matches('(')", "x.toml:1:1: `matches`"),
        ("{'a': 1}[inputs.vmName]", "x.toml:1:1: there is no `calamity`"),
    ];
    for (text, said) in table {
        assert!(bad(text).starts_with(said), "{text}: {}", bad(text));
    }
}

#[test]
fn conditions_are_booleans_without_secrets() {
    let decide = |text: &str| expr(text).eval_bool(&Fake::new()).map(|(flag, _)| flag).map_err(|complaint| complaint.to_string());
    assert_eq!(decide("${{ inputs.n == 3 }}"), Ok(true));
    assert!(decide("inputs.vmName").unwrap_err().contains("a condition is true or false, not a string"));
    assert!(decide("vault.get('v', 'k') == 'x'").unwrap_err().contains("a secret may not decide"));
}

#[test]
fn reads_are_named_and_sites_asked_once() {
    let scope = Fake::new();
    let evaluated = expr("[1, 2, 3].map(i, model.fleet.resource.vm[inputs.vmName].attributes.ip)").eval(&scope).unwrap();
    assert_eq!(evaluated.reads, ["fleet/vm/calamity".parse().unwrap()]);
    assert_eq!(*scope.asked.borrow(), ["fleet/vm/calamity"]);
    let scope = Fake::new();
    // A failed evaluation looks for the smallest part without asking again.
    let _ = expr("model.fleet.resource.vm.calamity.attributes.ip + 1 + 2").eval(&scope).unwrap_err();
    assert_eq!(*scope.asked.borrow(), ["fleet/vm/calamity"]);
}

/// A scope whose answer evaluates another expression, as a late input does.
struct Nested<'f>(&'f Fake, Expr);

impl Scope for Nested<'_> {
    fn inputs(&self) -> &crate::value::Map {
        self.0.inputs()
    }
    fn resource(&self, name: &crate::name::ResourceName) -> Result<crate::lang::template::Seen, crate::lang::template::Absent> {
        let seen = self.0.resource(name)?;
        let inner = self.1.eval(self.0).unwrap().value;
        Ok(crate::lang::template::Seen { attributes: inner.into(), ..seen })
    }
    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, crate::lang::template::Seen)>, crate::lang::template::Absent> {
        self.0.instances(def, spec)
    }
    fn vault(&self, vault: &str, key: &str) -> Result<crate::secret::Secret, crate::lang::template::Absent> {
        self.0.vault(vault, key)
    }
    fn each(&self) -> Option<Each> {
        None
    }
    fn run(&self) -> crate::value::Map {
        self.0.run()
    }
    fn this(&self) -> crate::value::Map {
        self.0.this()
    }
    fn env(&self, name: &str) -> Option<String> {
        self.0.env(name)
    }
    fn why_missing(&self, _: &crate::name::ResourceName, _: &str) -> Option<String> {
        None
    }
}

#[test]
fn a_scope_may_evaluate_while_it_answers() {
    let fake = Fake::new();
    let scope = Nested(&fake, expr("{'ip': string(inputs.n + 1)}"));
    assert_eq!(eval("'ip ' + model.fleet.resource.vm.calamity.attributes.ip", &scope), Ok("ip 4".into()));
}

/// The value by CEL, whatever the fast path would do.
fn slowly(text: &str, scope: &dyn Scope) -> Result<Value, String> {
    let expr = expr(text);
    let mut resolver = Resolver::new(scope, &expr.program, &expr.written);
    let result = run(&expr.program, |site, args| resolver.answer(site, args));
    if let Some(fatal) = resolver.fatal.take() {
        return Err(fatal.to_string());
    }
    let value = result.map_err(|trouble| match trouble {
        super::run::Trouble::Site(refused) => resolver.complaint(refused).to_string(),
        other => format!("{other:?}"),
    })?;
    sealed(value, &resolver.touched).map_err(ToOwned::to_owned)
}

fn paths() -> impl Strategy<Value = String> {
    let key =
        prop::sample::select(vec!["vm", "attributes", "ip", "version", "tags", "k", "x", "vmName", "n", "map", "list", "nope", "none"]);
    let link = (key, any::<bool>()).prop_map(|(key, dot)| if dot { format!(".{key}") } else { format!("[\"{key}\"]") });
    let resource = prop::sample::select(vec![
        r#"model.fleet.resource.vm["calamity"]"#,
        "model.fleet.resource.vm[inputs.vmName]",
        "model.fleet.resource.vm[each.value]",
        r#"model["fleet"].resource["vm"]["gold-image"].attributes"#,
        "model.fleet.resource.vm[inputs.n]",
        "model.fleet.resource.vm.nope.attributes",
        "model.keebDev02.resource.node.node.attributes",
        "inputs",
        "run",
        "self",
        "env.HOME",
        "each.value",
    ]);
    (resource, prop::collection::vec(link, 0..4)).prop_map(|(root, links)| root.to_owned() + &links.concat())
}

proptest! {
    #![proptest_config(crate::walks::cases(256))]

    #[test]
    fn the_fast_path_and_cel_agree(path in paths()) {
        let mut scope = Fake::new();
        scope.each = Some(Each { key: Value::Int(0), value: "calamity".into() });
        let compiled = expr(&path);
        prop_assert!(compiled.program.fast.is_some(), "{path} is no plain path");
        let (fast, slow) = (eval(&path, &scope), slowly(&path, &scope));
        // By CEL a map that holds a secret comes back with every leaf secret; the plain path hands it over as it is.
        let same = match (&fast, &slow) {
            (Ok(fast), Ok(slow)) if fast.holds_secret() => fast.display().len() <= slow.display().len() + 64,
            _ => fast == slow,
        };
        prop_assert!(same, "{path}: {fast:?} but {slow:?}");
    }

    #[test]
    fn references_of_paths_span_their_text(path in paths(), before in "[ (]{0,3}", _x in 0..3) {
        let close = ")".repeat(before.matches('(').count());
        let text = format!("{before}{path}{close} == 1");
        let found = expr(&text);
        prop_assert_eq!(found.refs[0].span.text(), path.as_str());
    }

    #[test]
    fn text_without_expressions_round_trips(text in "[^$]{0,40}") {
        prop_assume!(!text.contains("{{") && !text.contains("{%"));
        if let Ok(template) = Template::parse(&text, &span(&text)) {
            prop_assert_eq!(template.as_literal(), Some(&Value::String(text)));
        }
    }

    #[test]
    fn text_is_escaped_and_back(text in ".{0,30}") {
        let escaped = text.replace("${{", "$${{");
        if let Ok(template) = Template::parse(&escaped, &span(&escaped)) {
            prop_assert_eq!(template.eval(&Fake::new()).unwrap().value, Value::String(text));
        }
    }
}

#[test]
fn programs_of_equal_text_are_shared() {
    let (one, other) = (expr("inputs.n + 40"), expr(" inputs.n + 40 "));
    assert!(Arc::ptr_eq(&one.program, &other.program));
}

#[test]
fn names_are_read_without_what_they_name() {
    assert_eq!(good("size(model.keebDev02.resource.node)"), Value::Int(1));
    assert_eq!(good("'node' in model.keebDev02.resource.node"), Value::Bool(true));
    assert_eq!(good("model.keebDev02.resource.node.map(n, n)"), value(serde_json::json!(["node"])));
    assert_eq!(good("model.fleet.resource.vm.exists(n, model.fleet.resource.vm[n].attributes.vmid == 102)"), Value::Bool(true));
    // Whoever looks at more has it whole, secrets and all.
    assert!(matches!(good("size(model.keebDev02.resource.node) + size([model.keebDev02.resource.node])"), Value::Secret(_)));
    assert!(good("model.keebDev02.resource.node").holds_secret());
}
