//! The front door: what the bot says when it cannot begin, and what it needs no Discord for.

use crate::discord::Gateway;
use crate::fleet::CALAMITY;
use crate::world::{PATIENCE, World};

fn bot(world: &World, arguments: &[&str]) -> crate::sandbox::Ran {
    world.fleet.sandbox.start_program(env!("CARGO_BIN_EXE_pmx-bot"), arguments).end()
}

#[test]
fn a_check_reads_the_project_and_needs_no_token() {
    let world = World::asleep(|sandbox| sandbox.env("REQUIRED_ROLE", "elder").env("DISCORD_TOKEN", ""));
    let ran = bot(&world, &["--check"])
        .exits(0)
        .says("REQUIRED_ROLE=elder goes before `role` under [bot]")
        .says("channel clankers, role elder, admins nobody, prefix !");
    ran.says("calamity: start, stop, reboot, update, status");
    bot(&world, &[]).exits(2).says("DISCORD_TOKEN is not set");
    bot(&world, &["-C", "/"]).exits(2).says("there is no Pmxfile.toml");
    assert!(world.discord.requests().is_empty());
}

#[test]
fn a_wrong_token_ends_it_with_the_fix_and_is_not_told() {
    let world = World::asleep(|sandbox| sandbox.env("DISCORD_TOKEN", "MTE4.wrong.wrong"));
    let ran = bot(&world, &["--profile", "lab"]).exits(2).says("Discord does not know this token").says("Reset Token");
    assert!(!format!("{ran}").contains("MTE4.wrong"), "{ran}");
}

#[test]
fn without_the_content_of_messages_it_lives_on_with_slash_commands() {
    let world = World::new();
    world.discord.set_privileged(false);
    let bot = world.bot();
    let tom = world.friend("tom");
    world.say(tom, "!stop calamity");
    let asked = world.slash(tom, "start", "calamity");
    world.wait(asked.wait(PATIENCE, |message| message.text().contains("start calamity: succeeded")));
    let said = bot.complained();
    assert_eq!(said.matches("MESSAGE CONTENT INTENT is off").count(), 1, "{said}");
    assert!(world.fleet.vm(CALAMITY).ssh.is_some());
    world.behaved();
}

#[test]
fn intents_that_are_taken_away_later_end_nothing_but_the_prefix() {
    let world = World::asleep(|sandbox| sandbox);
    let mut bot = world.bot();
    world.discord.set_privileged(false);
    world.discord.invalidate_session(false);
    bot.wait_for("MESSAGE CONTENT INTENT is off");
    let tom = world.friend("tom");
    world.wait(world.discord.connected(PATIENCE));
    let asked = world.discord.slash(tom, world.channel, "help", &[]);
    world.wait(asked.wait(PATIENCE, |message| message.text().contains("What I can do")));
    let refused: Vec<String> = world.discord.violations().iter().map(ToString::to_string).collect();
    assert!(refused.len() == 1 && refused[0].contains("4014"), "{refused:?}");
}

#[test]
fn a_gateway_elsewhere_is_not_gone_to() {
    let world = World::asleep(|sandbox| sandbox);
    world.discord.set_gateway_answer(Gateway::Elsewhere("wss://gateway.discord.gg".to_owned()));
    bot(&world, &["--profile", "lab"]).exits(1).says("where the token shall not go");
    world.discord.set_gateway_answer(Gateway::Fails(503));
    let mut waiting = world.start();
    waiting.wait_for("next try in");
    waiting.terminate();
    waiting.end().exits(0);
    assert!(world.discord.identifies().is_empty());
}

#[test]
fn the_token_stays_on_this_machine() {
    let Some(network) = crate::alone::inside("front_door::the_token_stays_on_this_machine") else { return };
    let world = World::new();
    let bot = world.bot();
    let tom = world.friend("tom");
    let said = world.say(tom, "!start calamity");
    world.told(said, "start calamity: succeeded");
    world.discord.drop_gateway();
    let again = world.say(tom, "!list");
    world.told(again, "VMs, ");
    bot.terminate();
    bot.end().exits(0);
    assert_eq!(network.left(), 0, "packets left the machine");
    world.behaved();
}
