//! The Discord bot.

fn main() {}
