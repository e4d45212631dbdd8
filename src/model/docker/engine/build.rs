//! `build`: an image from a directory of the host, once for each state of its inputs.

use std::time::Duration;

use crate::digest::{Digest, Fields};
use crate::model::contract::{Call, Context, Failure, Outcome};
use crate::model::docker::engine::client::{Engine, LABEL};
use crate::model::docker::engine::{Build, names, value};
use crate::model::remote::SshGlobals;
use crate::wire::command::Command;
use crate::wire::ssh::Exec;

/// The wait for the build.
pub const BUILD: &str = "the build";
/// Its deadline.
pub const BUILD_DEADLINE: Duration = Duration::from_secs(3600);

/// `build(imageTag, contextPath, dockerfilePath, inputs)`.
pub(super) async fn build(ctx: &Context, call: Call) -> Result<Outcome, Failure> {
    let (globals, wanted) = call.typed::<SshGlobals, Build>()?;
    check(&wanted)?;
    let engine = Engine::on(ctx, &globals)?;
    let inputs = digest(&engine, &wanted).await?.to_string();
    let tag = wanted.image_tag.as_str();
    let host = engine.host().to_owned();
    if let Some(image) = engine.image(tag).await?.filter(|image| image.inputs.as_ref() == Some(&inputs)) {
        let summary = format!("{host}: {tag} is built from these inputs already");
        return Ok(Outcome::unchanged(summary).write("image", tag, value(&image.attributes(&host, tag))?));
    }
    ctx.reporter.phase(BUILD, Some(BUILD_DEADLINE));
    let label = format!("{LABEL}={inputs}");
    let mut command = Command::new("docker").args(["build", "--label", label.as_str(), "--tag", tag]);
    if let Some(path) = &wanted.dockerfile_path {
        command = command.arg(format!("--file={path}"));
    }
    let command = command.arg(".").in_dir(wanted.context_path.as_str());
    let output = engine.remote.act(Exec::new(command, BUILD_DEADLINE)).await?;
    let said = output.stderr.clone();
    engine.done("build", output).map_err(|failure| explain(failure, &said, &wanted))?;
    let image = engine.image(tag).await.map_err(Failure::maybe_acted)?;
    match image.filter(|image| image.inputs.as_ref() == Some(&inputs)) {
        Some(image) => Ok(Outcome::changed(format!("{host}: built {tag}")).write("image", tag, value(&image.attributes(&host, tag))?)),
        None => Err(Failure::theirs(format!("{host}: {tag} was built, but is not there afterwards, or without its label")).maybe_acted()),
    }
}

fn check(wanted: &Build) -> Result<(), Failure> {
    names::image(&wanted.image_tag)?;
    let path = wanted.context_path.as_str();
    if !(path.starts_with('/') || path.starts_with("~/")) || path.contains(char::is_control) {
        let message = format!("`{}` is no directory to build from: an absolute path, or one that begins with `~/`", path.escape_debug());
        return Err(Failure::yours(message));
    }
    match &wanted.dockerfile_path {
        Some(path) if path.is_empty() || path.contains(char::is_control) => {
            Err(Failure::yours(format!("`{}` is no path of a Dockerfile", path.escape_debug())))
        }
        _ => Ok(()),
    }
}

fn explain(failure: Failure, said: &str, wanted: &Build) -> Failure {
    if failure.help.is_none() && said.contains("cd: ") {
        return failure.help(format!("`{}` must be a directory on the host", wanted.context_path));
    }
    failure
}

/// The digest of all that decides the image: the inputs as given, else every file of the directory.
async fn digest(engine: &Engine<'_>, wanted: &Build) -> Result<Digest, Failure> {
    let mut digester = Fields::new("pmx image 1");
    digester.text(&wanted.context_path).optional(wanted.dockerfile_path.as_deref()).number(wanted.inputs.len() as u64);
    for (name, value) in &wanted.inputs {
        digester.text(name).text(&value.to_string());
    }
    if !wanted.inputs.is_empty() {
        return Ok(digester.finish());
    }
    let ssh = &engine.remote.ctx.wire.ssh;
    let path = wanted.context_path.trim_end_matches('/');
    let listed = engine.remote.files(ssh.list(&engine.remote.target, path, true, BUILD_DEADLINE), false).await?;
    if listed.is_empty() {
        let message = format!("{}: there is nothing to build from in {}", engine.host(), wanted.context_path);
        return Err(Failure::theirs(message).help("is it a directory on the host, and was it filled?"));
    }
    for file in listed {
        digester.text(&file.path).number(file.mode.into()).optional(file.sha256.as_deref());
    }
    Ok(digester.finish())
}
