//! Options and operands of a command line.

use std::collections::BTreeMap;

/// A command line taken apart.
#[derive(Debug, Default)]
pub struct Args {
    flags: BTreeMap<String, Vec<String>>,
    /// What is no option, in order.
    pub operands: Vec<String>,
}

/// What options a command has.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Short and long options without a value: `"-a"`, `"--all"`.
    pub plain: &'static [&'static str],
    /// Those with a value.
    pub valued: &'static [&'static str],
    /// Options end at the first operand, as before a command inside the command.
    pub stop: bool,
}

impl Args {
    /// Takes `args` apart, the command's name left out by the caller.
    ///
    /// # Errors
    /// The option that the command does not have, or that lacks its value.
    pub fn parse(args: &[String], spec: Spec) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                parsed.operands.extend(rest.cloned());
                break;
            }
            if !arg.starts_with('-') || arg == "-" {
                parsed.operands.push(arg.clone());
                if spec.stop {
                    parsed.operands.extend(rest.cloned());
                    break;
                }
                continue;
            }
            let (name, value) = match arg.split_once('=').filter(|_| arg.starts_with("--")) {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (arg.as_str(), None),
            };
            if spec.valued.contains(&name) {
                let value = value.or_else(|| rest.next().cloned()).ok_or_else(|| arg.clone())?;
                parsed.add(name, value);
            } else if spec.plain.contains(&name) {
                parsed.add(name, value.unwrap_or_else(|| "true".to_owned()));
            } else if arg.starts_with("--") {
                return Err(arg.clone());
            } else {
                parsed.bundle(arg, spec, &mut rest)?;
            }
        }
        Ok(parsed)
    }

    /// `-rf`, `-n5`.
    fn bundle(&mut self, arg: &str, spec: Spec, rest: &mut std::slice::Iter<'_, String>) -> Result<(), String> {
        for (i, letter) in arg.char_indices().skip(1) {
            let name = format!("-{letter}");
            if spec.valued.contains(&name.as_str()) {
                let glued = &arg[i + letter.len_utf8()..];
                let value = if glued.is_empty() { rest.next().cloned().ok_or_else(|| arg.to_owned())? } else { glued.to_owned() };
                self.add(&name, value);
                return Ok(());
            }
            if !spec.plain.contains(&name.as_str()) {
                return Err(if arg.len() > 2 { name } else { arg.to_owned() });
            }
            self.add(&name, "true".to_owned());
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: String) {
        self.flags.entry(name.to_owned()).or_default().push(value);
    }

    /// Whether one of the names was given, and not as `=false`.
    #[must_use]
    pub fn has(&self, names: &[&str]) -> bool {
        names.iter().filter_map(|n| self.flags.get(*n)).flatten().next_back().is_some_and(|v| v != "false")
    }

    /// The last value given under one of the names.
    #[must_use]
    pub fn value(&self, names: &[&str]) -> Option<&str> {
        names.iter().filter_map(|n| self.flags.get(*n)).flatten().next_back().map(String::as_str)
    }

    /// All values given under the names.
    #[must_use]
    pub fn values(&self, names: &[&str]) -> Vec<&str> {
        names.iter().filter_map(|n| self.flags.get(*n)).flatten().map(String::as_str).collect()
    }
}
