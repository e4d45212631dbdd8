//! The printed pages: whatever a type can do and take stands on its page, and the page's example is one.

use super::*;

fn page(row: &TypeRow) -> String {
    type_page(row, None).text
}

/// The part of a page below the heading that begins with `heading`.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let rest = page.split(&format!("\n{heading}\n")).nth(1).unwrap_or_else(|| panic!("no `{heading}` on\n{page}"));
    rest.split("\n## ").next().unwrap_or_default()
}

#[track_caller]
fn lists(part: &str, object: &Object) {
    for (name, field) in object {
        let head = part.lines().find(|line| line.starts_with(&format!("  {name}: {}", field.ty)));
        let head = head.unwrap_or_else(|| panic!("no `{name}` of type {} in\n{part}", field.ty));
        if let Some(default) = field.default.as_ref().filter(|default| **default != Value::Null) {
            assert!(head.ends_with(&format!(" = {}", default.display())), "{head}");
        }
        let words = field.doc.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!words.is_empty() && part.split_whitespace().collect::<Vec<_>>().join(" ").contains(&words), "`{name}` lacks its sentence");
    }
}

#[test]
fn a_page_holds_everything_that_a_type_can_do_and_take() {
    for row in registry::types() {
        let page = page(row);
        assert!(page.starts_with(&format!("# {}\n", row.name)), "{page}");
        lists(part(&page, "## Global arguments"), &(row.globals)());
        let resources = part(&page, "## Resources");
        for spec in row.specs {
            let own = resources.split(&format!("### {}\n", spec.name)).nth(1).unwrap_or_else(|| panic!("{}: no {}", row.name, spec.name));
            assert!(own.contains(spec.doc) && own.contains("  written by   ") && own.contains("  trusted      for "), "{own}");
            lists(own.split("\n### ").next().unwrap_or_default(), &(spec.attributes)());
        }
        let listed = part(&page, "## Methods");
        for method in row.methods {
            assert!(listed.lines().any(|line| line.split_whitespace().take(2).eq([method.name, &method.effect.to_string()])), "{listed}");
            let own = part(&page, &format!("## Method {}", method.name));
            assert!(own.contains(method.doc.trim()), "{own}");
            for label in ["  called   pmx build DEFINITION.", &format!("  effect   {}: ", method.effect), "  writes   ", "  acts at  "] {
                assert!(own.contains(label), "{}.{} lacks `{label}`", row.name, method.name);
            }
            for phase in method.phases {
                assert!(own.contains(&format!("  waits    for {}", phase.name)), "{own}");
            }
            lists(own, &(method.arguments)());
        }
    }
}

#[test]
fn a_page_fits_a_terminal() {
    for row in registry::types() {
        for line in page(row).lines().filter(|line| line.starts_with("      ")) {
            assert!(line.chars().count() <= WIDTH + 6 || !line.trim().contains(' '), "{}: {line}", row.name);
        }
    }
}

/// The whole example of each page is read as a definition, and checked as one; what it reads of other definitions is not there.
#[test]
fn a_pages_example_is_a_definition() {
    for row in registry::types() {
        let page = page(row);
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_else(|| panic!("{page}"));
        let source = crate::source::Source::new("definitions/example.toml", example);
        let (definition, complaints) = crate::lang::definition::parse(&source);
        assert!(complaints.is_empty(), "{}: {complaints:?}", row.name);
        let definition = definition.unwrap();
        assert_eq!(definition.kind.value, row.name);
        for (name, (_, arguments)) in &definition.methods {
            let takes = (row.method(name).unwrap().arguments)();
            for (key, argument) in arguments {
                let ty = &takes[key].ty;
                assert!(argument.template.value.as_literal().is_none_or(|value| ty.accepts(value).is_ok()), "{}.{name}: {key}", row.name);
            }
        }
    }
}

#[test]
fn the_page_of_one_method_reads_well() {
    let row = registry::find("ssh/host").unwrap();
    let text = method_page(row, row.method("writeFile").unwrap(), Some("shell")).text;
    insta::assert_snapshot!(text.trim_end(), @r#"
    # ssh/host.writeFile

    Makes a file hold exactly this content, with this mode. Does nothing when it is so.

      called   pmx build shell.writeFile -i content=… -i dest=…
      effect   converge: makes it so, does nothing when it is so
      writes   file/{dest}
      acts at  the host that `host` names, the file that `dest` names on the host that `host` names
      waits    for the transfer, at most 30 min

      content: secret string (required)
          The whole content; a secret.
      dest: string (required)
          The remote path; a leading `~/` is the user's home. Directories are made.
      mode: string, matching `^0?[0-7]{3,4}$` = "0600"
          Permission bits in octal.

    As a step of a workflow:

    ```toml
    [[step]]
    name = "settings"
    call = "shell.writeFile"
    with = { vmName = "web", dest = "/etc/web.conf", content = "port = 80", mode = "0644" }
    ```
    "#);
}

#[test]
fn every_method_has_an_example_step_that_any_definition_can_make() {
    for row in registry::types() {
        for method in row.methods {
            let step = example(row, method).unwrap_or_else(|| panic!("{}.{} has no example", row.name, method.name));
            let own = called_by(&step, "mine");
            assert!(own.contains(&format!("\ncall = \"mine.{}\"", method.name)), "{own}");
            assert_eq!(method_json(row, method)["example"], step.as_str());
        }
    }
}
