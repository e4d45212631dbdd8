//! `pmx-bot`: pmx in a Discord channel. Reads what it needs, connects, and ends when it is told to, with every run at a safe point.

mod access;
mod book;
mod card;
mod chat;
mod command;
mod desk;
mod discord;
mod environment;
mod gateway;
mod log;
mod players;
mod post;
mod press;
mod reconcile;
mod session;
mod show;
mod tale;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use environment::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match watch::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            log::say(format!("pmx-bot: {why}"));
            ExitCode::from(code)
        }
    }
}
