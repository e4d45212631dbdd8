//! Endings that nobody plans: deleted messages, rate limits, and gateways that take nobody.

use std::time::Duration;

use crate::world::{PATIENCE, World};

#[test]
fn an_answer_that_somebody_deletes_is_told_again_at_the_end() {
    let world = World::new();
    let _bot = world.bot();
    let tom = world.friend("tom");
    let (said, question) = world.asked_to_stop(tom);
    world.press(tom, &question, "yes:");
    world.answer(said, |message| message.text().contains("run "));
    world.discord.delete(question.id);
    let row = world.settled(said);
    assert!(row["answer"].as_str().is_some_and(|answer| answer.starts_with("succeeded (its message was deleted")), "{row}");
    let own: Vec<_> = world.discord.messages(world.channel).into_iter().filter(|message| message.author == world.discord.bot()).collect();
    assert_eq!(own.len(), 1);
    assert!(own[0].text().contains("stop calamity: succeeded"), "{}", own[0].text());
}

#[test]
fn rate_limits_slow_the_words_and_not_the_run() {
    let world = World::new();
    let _bot = world.bot();
    world.discord.random_429(7, 0.3);
    world.discord.rate(2, Duration::from_secs(3));
    let friends: Vec<_> = (0..6).map(|n| world.friend(&format!("friend{n}"))).collect();
    let said: Vec<_> = friends.iter().map(|friend| world.say(*friend, "!status allthemons")).collect();
    let start = world.say(friends[0], "!start calamity");
    world.told(start, "start calamity: succeeded");
    for one in said {
        world.answer(one, |message| message.text().contains("playing") || message.text().contains("does not run"));
    }
    assert!(!world.discord.limited().is_empty(), "somebody was slowed down");
    world.behaved();
}

#[test]
fn a_gateway_that_takes_nobody_is_left_in_peace() {
    let world = World::asleep(|sandbox| sandbox);
    let mut bot = world.bot();
    let before = world.discord.identifies().len();
    world.discord.refuse_identifies(true);
    world.discord.invalidate_session(false);
    bot.wait_for("staying away for");
    assert!(world.discord.identifies().len() - before <= 8, "{} IDENTIFYs", world.discord.identifies().len() - before);
    world.discord.refuse_identifies(false);
    world.wait(world.discord.connected(PATIENCE));
    let tom = world.friend("tom");
    let said = world.say(tom, "!help");
    world.told(said, "What I can do");
}
