//! `docker pull`, `build`, `images`, `rmi`, `tag`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::docker::{parse, print_rows, spec};
use super::show;
use crate::lab::host::docker::{Image, Starts, reference};
use crate::lab::host::files::{Kind, normalise};
use crate::lab::host::time;
use crate::lab::shell::Shell;

/// `docker pull [-q] IMAGE`.
pub fn pull(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-q", "--quiet"], &["--platform"])) else { return 125 };
    let Some(given) = options.operands.first() else { return 1 };
    let name = reference(given);
    match shell.world.host(|host| host.docker.pull(given, time::now()).map(|newer| (newer, host.docker.image(given).map(|i| i.id.clone()))))
    {
        Ok((newer, id)) => {
            if !options.has(&["-q", "--quiet"]) {
                let tag = name.rsplit(':').next().unwrap_or("latest");
                let what = if newer { "Downloaded newer image" } else { "Image is up to date" };
                shell.out(&format!(
                    "{tag}: Pulling from {}\nDigest: {}\nStatus: {what} for {name}\n",
                    name.trim_end_matches(&format!(":{tag}")),
                    id.unwrap_or_default()
                ));
            }
            shell.out(&format!("docker.io/{name}\n"));
            0
        }
        Err(why) => {
            shell.complain(&format!("Error response from daemon: {why}"));
            1
        }
    }
}

/// `docker build [-q] [-t TAG] [-f FILE] [--label K=V] [--build-arg A=B] CONTEXT`: the image's id follows from the context's files, the Dockerfile, the
/// labels and arguments, so that the same input gives the same image. A `RUN` of `false` or `exit N` fails the build.
pub fn build(shell: &mut Shell, args: &[String]) -> i32 {
    let valued =
        &["-t", "--tag", "-f", "--file", "--label", "--build-arg", "--progress", "--target", "--platform", "--iidfile", "--network"];
    let Ok(options) = parse(shell, args, spec(&["-q", "--quiet", "--no-cache", "--pull", "--rm", "--load"], valued)) else { return 125 };
    let Some(context) = options.operands.first().map(|c| shell.path(c)) else {
        shell.complain("ERROR: \"docker buildx build\" requires exactly 1 argument.");
        return 1;
    };
    if !shell.world.stat(&context, true).is_ok_and(|n| n.is_dir()) {
        shell.complain(&format!("ERROR: unable to prepare context: path \"{context}\" not found"));
        return 1;
    }
    let file = options.value(&["-f", "--file"]).map_or_else(|| format!("{context}/Dockerfile"), |f| normalise(&shell.cwd, f));
    let Ok(recipe) = shell.world.read(&file) else {
        shell.complain("ERROR: failed to solve: failed to read dockerfile: open Dockerfile: no such file or directory");
        return 1;
    };
    let recipe = String::from_utf8_lossy(&recipe).into_owned();
    let labels = labels_of(&recipe, &options.values(&["--label"]));
    match check(shell, &recipe, &context) {
        Ok(steps) if !options.has(&["-q", "--quiet"]) => shell.complain(&steps),
        Ok(_) => {}
        Err(why) => {
            shell.complain(&why);
            return 1;
        }
    }
    let mut hasher = blake3::Hasher::new();
    let feed = |hasher: &mut blake3::Hasher, text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    feed(&mut hasher, recipe.as_bytes());
    for (key, value) in &labels {
        feed(&mut hasher, format!("{key}={value}").as_bytes());
    }
    for argument in options.values(&["--build-arg"]) {
        feed(&mut hasher, argument.as_bytes());
    }
    let prefix = format!("{context}/");
    let size = shell.world.files(|files| {
        let inside = files.iter().filter_map(|(path, node)| path.strip_prefix(&prefix).map(|p| (p, node)));
        inside.fold(64 << 20, |size, (path, node)| {
            feed(&mut hasher, path.as_bytes());
            if let Kind::File(bytes) = &node.kind {
                feed(&mut hasher, bytes);
            }
            size + node.size()
        })
    });
    let id = format!("sha256:{}", hasher.finalize().to_hex());
    let image = Image { id: id.clone(), created: time::now(), size, labels, starts: starts(&recipe) };
    let tags = options.values(&["-t", "--tag"]);
    shell.world.host(|host| {
        for tag in if tags.is_empty() { vec![id.as_str()] } else { tags.clone() } {
            host.docker.images.insert(reference(tag), image.clone());
        }
    });
    if let Some(path) = options.value(&["--iidfile"]).map(|f| shell.path(f)) {
        shell.world.files(|f| f.write(&path, id.clone().into_bytes(), 0o644)).ok();
    }
    if options.has(&["-q", "--quiet"]) {
        shell.out(&format!("{id}\n"));
    }
    0
}

fn labels_of(recipe: &str, given: &[&str]) -> BTreeMap<String, String> {
    let pair = |text: &str| text.split_once('=').map(|(k, v)| (k.trim_matches('"').to_owned(), v.trim_matches('"').to_owned()));
    let written = recipe.lines().filter_map(|l| l.trim().strip_prefix("LABEL ")).filter_map(pair);
    written.chain(given.iter().filter_map(|l| pair(l))).collect()
}

fn starts(recipe: &str) -> Starts {
    let last = recipe.lines().rev().map(str::trim).find(|l| l.starts_with("CMD") || l.starts_with("ENTRYPOINT")).unwrap_or("");
    if last.contains("\"true\"") || last.ends_with(" true") {
        Starts::Ends(0)
    } else if last.contains("\"false\"") || last.ends_with(" false") {
        Starts::Ends(1)
    } else {
        Starts::Forever
    }
}

/// The build's progress, or why it fails: an unknown instruction, a `COPY` of what is not there, a `RUN` that says so.
fn check(shell: &Shell, recipe: &str, context: &str) -> Result<String, String> {
    let joined = recipe.replace("\\\n", " ");
    let steps: Vec<&str> = joined.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let mut log = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        let known = [
            "FROM",
            "RUN",
            "COPY",
            "ADD",
            "WORKDIR",
            "ENV",
            "CMD",
            "ENTRYPOINT",
            "LABEL",
            "EXPOSE",
            "ARG",
            "USER",
            "VOLUME",
            "HEALTHCHECK",
            "STOPSIGNAL",
            "SHELL",
        ];
        if !known.contains(&verb.to_uppercase().as_str()) {
            return Err(format!("ERROR: failed to solve: dockerfile parse error on line {}: unknown instruction: {verb}", i + 1));
        }
        let bad_run = rest == "false" || rest.strip_prefix("exit ").is_some_and(|n| n != "0");
        if verb.eq_ignore_ascii_case("RUN") && bad_run {
            return Err(format!("ERROR: failed to solve: process \"/bin/sh -c {rest}\" did not complete successfully: exit code: 1"));
        }
        if verb.eq_ignore_ascii_case("COPY") && !rest.contains("--from") {
            let words: Vec<&str> = rest.split_whitespace().filter(|w| !w.starts_with("--")).collect();
            let missing = words[..words.len().saturating_sub(1)]
                .iter()
                .find(|w| !w.contains('*') && shell.world.stat(&normalise(context, w), true).is_err());
            if let Some(name) = missing {
                return Err(format!("ERROR: failed to solve: failed to compute cache key: \"/{name}\": not found"));
            }
        }
        log.push(format!("#{} [{}/{}] {step}\n#{} DONE 0.1s", i + 4, i + 1, steps.len(), i + 4));
    }
    if !steps.first().is_some_and(|s| s.to_uppercase().starts_with("FROM") || s.to_uppercase().starts_with("ARG")) {
        return Err("ERROR: failed to solve: dockerfile parse error: no build stage in current context".to_owned());
    }
    Ok(log.join("\n"))
}

/// `docker images [-q] [--format F] [NAME]`.
pub fn images(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-q", "--quiet", "-a", "--no-trunc"], &["--format", "--filter"])) else { return 125 };
    let wanted = options.operands.first().cloned();
    let rows: Vec<Value> = shell.world.host(|host| {
        let fits = |name: &str| wanted.as_ref().is_none_or(|w| *w == name || name.rsplit_once(':').is_some_and(|(r, _)| r == w));
        host.docker.images.iter().filter(|(name, _)| fits(name)).map(|(name, image)| show::image_row(name, image, time::now())).collect()
    });
    if options.has(&["-q", "--quiet"]) {
        for row in rows {
            shell.out(&format!("{}\n", row["ID"].as_str().unwrap_or("")));
        }
        return 0;
    }
    print_rows(shell, options.value(&["--format"]), rows, &["Repository", "Tag", "ID", "CreatedSince", "Size"])
}

/// `docker rmi IMAGE…`.
pub fn remove(shell: &mut Shell, args: &[String]) -> i32 {
    let Ok(options) = parse(shell, args, spec(&["-f", "--force"], &[])) else { return 125 };
    let mut status = 0;
    for given in &options.operands {
        let removed = shell.world.host(|host| {
            let Some(id) = host.docker.image(given).map(|i| i.id.clone()) else { return Err(format!("No such image: {given}")) };
            if let Some((name, _)) = host.docker.containers.iter().find(|(_, c)| c.image_id == id && !options.has(&["-f", "--force"])) {
                return Err(format!("conflict: unable to remove repository reference \"{given}\" (must force) - container {name} is using its referenced image"));
            }
            host.docker.images.retain(|name, image| *name != reference(given) && image.id != *given);
            Ok(())
        });
        match removed {
            Ok(()) => {
                shell.out(&format!("Untagged: {given}\n"));
            }
            Err(why) => {
                shell.complain(&format!("Error response from daemon: {why}"));
                status = 1;
            }
        }
    }
    status
}

/// `docker tag FROM TO`.
pub fn tag(shell: &mut Shell, args: &[String]) -> i32 {
    let [from, to] = args else { return 1 };
    let tagged = shell.world.host(|host| host.docker.image(from).cloned().map(|image| host.docker.images.insert(reference(to), image)));
    if tagged.is_none() {
        shell.complain(&format!("Error response from daemon: No such image: {}", reference(from)));
        return 1;
    }
    0
}
