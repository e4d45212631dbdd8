//! The one integration binary of the bot: the real `pmx-bot` and an unmodified Discord client against a Discord of our own.
#![expect(clippy::disallowed_methods, reason = "tests own files, processes, the environment and the clock of their sandbox")]

mod access;
mod alone;
mod discord;
mod discord_tests;
mod endings;
mod evening;
#[path = "../../../tests/it/fleet.rs"]
#[expect(dead_code, reason = "the command line's tests need more of it")]
mod fleet;
mod front_door;
#[path = "../../../tests/it/normal.rs"]
mod normal;
#[path = "../../../tests/it/real/present.rs"]
mod present;
#[path = "../../../tests/it/process.rs"]
#[expect(dead_code, reason = "the command line's tests need more of it")]
mod process;
mod restarts;
#[path = "../../../tests/it/sandbox.rs"]
#[expect(dead_code, reason = "the command line's tests need more of it")]
mod sandbox;
mod steering;
mod world;
