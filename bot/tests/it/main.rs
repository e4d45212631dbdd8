//! The one integration binary of the bot: the real `pmx-bot` and an unmodified Discord client against a Discord of our own.
#![expect(clippy::disallowed_methods, reason = "tests own files, processes, the environment and the clock of their sandbox")]

mod alone;
mod discord;
mod discord_tests;
