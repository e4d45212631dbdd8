//! The front door: arguments and environment, read once.
#![expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use pmx::name::Actor;
use pmx::ops::front::Front;

/// pmx in a Discord channel: friends start and stop servers, and see what happens as it happens.
///
/// The token is read from DISCORD_TOKEN. REQUIRED_CHANNEL, REQUIRED_ROLE, ADMIN_ROLE and COMMAND_PREFIX go before [bot] of the Pmxfile.
#[derive(Debug, Parser)]
#[command(name = "pmx-bot", version, max_term_width = 100)]
pub struct Arguments {
    /// Use a profile of the Pmxfile, such as `lab`.
    #[arg(long, value_name = "NAME", env = "PMX_PROFILE")]
    pub profile: Option<String>,
    /// Look for the project from this directory.
    #[arg(short = 'C', long = "directory", value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Read the project and say who may do what, without connecting.
    #[arg(long)]
    pub check: bool,
}

/// How Discord is reached.
pub struct Settings {
    /// The bot's token.
    pub token: Secret,
    /// Discord somewhere else, for tests: an address on this machine's loopback, and the authority that vouches for it.
    pub elsewhere: Option<Elsewhere>,
}

/// Another Discord.
#[derive(Clone)]
pub struct Elsewhere {
    /// Where `discord.com` is.
    pub at: SocketAddr,
    /// Its certificate authority, PEM.
    pub authority: Vec<u8>,
}

/// A token: shows as nothing.
pub struct Secret(String);

impl Secret {
    /// The text, for who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The surroundings and how Discord is reached; the error is a sentence.
pub fn read(arguments: &Arguments) -> Result<(Front, Result<Settings, String>), String> {
    let env: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))).collect();
    let here = std::env::current_dir().map_err(|error| format!("the working directory is gone: {error}"))?;
    let cwd = arguments.directory.as_ref().map_or_else(|| here.clone(), |dir| here.join(dir));
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let home = set("HOME").map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|home| home.join(".config")));
    let settings = settings(&env);
    let program = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("pmx"))).filter(|pmx| pmx.is_file());
    // What the bot starts shall not have the token.
    let env = env.into_iter().filter(|(name, _)| name != "DISCORD_TOKEN").collect();
    let actor = Actor::new("discord", "bot");
    let program = program.unwrap_or_else(|| PathBuf::from("pmx"));
    Ok((Front { cwd, home, config, env, profile: arguments.profile.clone(), actor, program }, settings))
}

fn settings(env: &BTreeMap<String, String>) -> Result<Settings, String> {
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    let token = set("DISCORD_TOKEN").ok_or_else(|| {
        "DISCORD_TOKEN is not set: Discord Developer Portal → your application → Bot → Reset Token shows it once; put it into the bot's .env".to_owned()
    })?;
    let token = token.trim().trim_start_matches("Bot ").to_owned();
    let elsewhere = match (set("PMX_DISCORD_AT"), set("PMX_DISCORD_CA")) {
        (None, None) => None,
        (Some(at), Some(authority)) => {
            let at: SocketAddr = at.parse().map_err(|error| format!("PMX_DISCORD_AT={at} is not an address with a port: {error}"))?;
            if !at.ip().is_loopback() {
                return Err(format!("PMX_DISCORD_AT={at} is not on this machine's loopback: the token would leave it"));
            }
            let bytes = std::fs::read(authority).map_err(|error| format!("PMX_DISCORD_CA={authority} cannot be read: {error}"))?;
            Some(Elsewhere { at, authority: bytes })
        }
        _ => return Err("PMX_DISCORD_AT and PMX_DISCORD_CA belong together: set both or none".to_owned()),
    };
    Ok(Settings { token: Secret(token), elsewhere })
}
