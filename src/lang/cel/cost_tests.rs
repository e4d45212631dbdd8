//! What evaluation costs: run by hand with `--ignored --nocapture`.
#![expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a measurement")]

use super::fake::Fake;
use crate::lang::template::Expr;
use crate::source::{Source, Span};

#[test]
#[ignore = "a measurement"]
fn cost() {
    for text in [
        "inputs.vmName",
        "model.fleet.resource.vm[inputs.vmName].attributes.ip",
        "'a' + inputs.vmName",
        "model.fleet.resource.vm[inputs.vmName].attributes.ip + ':' + string(inputs.n)",
    ] {
        let span = Span::new(&Source::new("x", text), 0..text.len());
        let begin = std::time::Instant::now();
        let expr = Expr::parse(text, &span).unwrap();
        let compiled = begin.elapsed();
        let scope = Fake::new();
        let begin = std::time::Instant::now();
        for _ in 0..2000 {
            expr.eval(&scope).unwrap();
        }
        eprintln!("{text}: compile {compiled:?}, evaluate {:?}", begin.elapsed() / 2000);
    }
}
