//! Restarts, gaps and weather: no message is left without its end, and nothing happens twice.

use std::time::Duration;

use crate::fleet::CALAMITY;
use crate::world::{PATIENCE, World};

/// Players are warned for half a minute: time enough to die.
fn slow() -> World {
    let world = World::new();
    world.amend("seconds = 1\n", "seconds = 30\n");
    world
}

#[test]
fn a_bot_that_dies_in_the_middle_tells_so_and_the_run_can_be_resumed() {
    let world = slow();
    let mut bot = world.bot();
    let tom = world.friend("tom");
    let (said, question) = world.asked_to_stop(tom);
    world.press(tom, &question, "yes:");
    world.answer(said, |message| message.text().contains("waiting for the players to leave"));
    let unanswered = world.say(tom, "!stop allthemons");
    world.answer(unanswered, |message| message.text().contains("all the same?"));
    bot.kill();
    drop(bot);

    let missed = world.say(tom, "!status calamity");
    let _bot = world.bot();
    let cut = world.told(said, "stop calamity: interrupted");
    assert!(cut.text().contains("**warn-players** was cut off"), "{}", cut.text());
    world.told(unanswered, "nothing was done");
    world.told(missed, "I was away when you wrote that");
    let pressed = world.press(tom, &cut, "resume:");
    let asked = world.answer(said, |message| message.text().contains("Did it?") || message.text().contains("succeeded"));
    if asked.text().contains("Did it?") {
        world.press(tom, &asked, "done:");
    }
    world.told(said, "stop calamity: succeeded after");
    assert!(world.fleet.vm(CALAMITY).ssh.is_none());
    world.settled(pressed.id);
    assert!(world.audit().iter().all(|row| row["settled"] == true), "{:#?}", world.audit());
}

#[test]
fn a_terminated_bot_ends_within_seconds_and_its_message_says_how_far_it_came() {
    let world = slow();
    let bot = world.bot();
    let tom = world.friend("tom");
    let (said, question) = world.asked_to_stop(tom);
    world.press(tom, &question, "yes:");
    world.answer(said, |message| message.text().contains("waiting for the players to leave"));
    let began = std::time::Instant::now();
    bot.terminate();
    let ended = bot.end().exits(0);
    assert!(began.elapsed() < Duration::from_secs(30), "nobody waits half a minute for players");
    ended.says("everything is at a safe point");
    let over = world.told(said, "stop calamity: cancelled after");
    assert!(over.buttons().iter().any(|button| button.label == "Resume"));
    assert_eq!(world.settled(said)["settled"], true);
    world.behaved();
}

#[test]
fn lost_connections_and_repeated_events_change_nothing() {
    let world = World::new();
    let _bot = world.bot();
    let tom = world.friend("tom");
    world.discord.repeat_on_resume(true);
    world.discord.drop_gateway();
    let said = world.say(tom, "!start calamity");
    world.told(said, "start calamity: succeeded");
    world.discord.reconnect_gateway();
    let again = world.say(tom, "!status calamity");
    world.told(again, "playing");
    world.discord.invalidate_session(false);
    world.wait(world.discord.disconnected(PATIENCE));
    let gap = world.say(tom, "!help");
    world.told(gap, "I was away");
    let answers = |to: u64| world.discord.messages(world.channel).iter().filter(|message| message.reply_to == Some(to)).count();
    assert_eq!((answers(said), answers(again), answers(gap)), (1, 1, 1));
    assert_eq!(world.audit().len(), 3);
    world.behaved();
}
