//! What an unmodified serenity does when the gateway goes away, ends its session, or does not want it.

use std::time::Duration;

use serenity::all::GatewayError;

use super::client::{Running, serenity_http};
use super::raw::PATIENCE;
use crate::discord::{Discord, Door, Gateway};

#[tokio::test]
async fn what_was_missed_comes_again() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let bot = Running::start(&discord, discord.token()).await;
    bot.heard.wait("ready", 1).await;
    discord.hold_gateway(Door::Shut);
    discord.drop_gateway();
    discord.disconnected(PATIENCE).await;
    discord.say(tom, channel, "said in between");
    assert_eq!(bot.heard.count("said in between"), 0);
    discord.repeat_on_resume(true);
    discord.hold_gateway(Door::Open);
    bot.heard.wait("said in between", 1).await;
    bot.heard.wait("resumed", 1).await;
    discord.connected(PATIENCE).await;
    // Once more, asked to by the gateway; the event that comes twice now is the one from before.
    discord.reconnect_gateway();
    bot.heard.wait("resumed", 2).await;
    discord.say(tom, channel, "said again");
    bot.heard.wait("said again", 1).await;
    bot.end().await;
    assert_eq!((discord.identifies().len(), discord.resumes(), bot_violations(&discord)), (1, 2, 0), "{}", discord.story());
}

fn bot_violations(discord: &Discord) -> usize {
    discord.violations().len()
}

#[tokio::test]
async fn a_session_that_is_over_begins_anew() {
    let discord = Discord::start();
    let bot = Running::start(&discord, discord.token()).await;
    bot.heard.wait("ready", 1).await;
    discord.invalidate_session(false);
    bot.heard.wait("ready", 2).await;
    let at: Vec<Duration> = discord.identifies().iter().map(|identify| identify.at).collect();
    assert!(at.len() == 2 && at[1] > at[0], "{at:?}");
    bot.end().await;
    assert_eq!(bot_violations(&discord), 0);
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_heartbeats_is_left() {
    let discord = Discord::start();
    discord.set_heartbeat(Duration::from_millis(500));
    discord.miss_acks(true);
    let bot = Running::start(&discord, discord.token()).await;
    bot.heard.wait("ready", 1).await;
    discord.disconnected(PATIENCE).await;
    discord.miss_acks(false);
    bot.heard.wait("ready", 2).await;
    bot.end().await;
    assert!(discord.identifies().len() >= 2);
}

#[tokio::test]
async fn a_wrong_token_ends_it() {
    let discord = Discord::start();
    let bot = Running::start(&discord, "MTE4.wrong.wrong").await;
    let ended = tokio::time::timeout(PATIENCE, bot.task).await.expect("it ends").expect("it does not panic");
    assert!(matches!(ended, Err(serenity::Error::Gateway(GatewayError::InvalidAuthentication))), "{ended:?}");
    assert_eq!(discord.identifies().len(), 1);
}

#[tokio::test]
async fn intents_without_their_switch_end_it() {
    let discord = Discord::start();
    discord.set_privileged(false);
    let bot = Running::start(&discord, discord.token()).await;
    let ended = tokio::time::timeout(PATIENCE, bot.task).await.expect("it ends").expect("it does not panic");
    assert!(matches!(ended, Err(serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents))), "{ended:?}");
}

#[tokio::test]
async fn the_address_of_the_gateway_is_asked_for() {
    let discord = Discord::start();
    let http = serenity_http(&discord, discord.token());
    discord.set_gateway_answer(Gateway::Fails(404));
    assert!(http.get_gateway().await.is_err());
    discord.set_gateway_answer(Gateway::Elsewhere("wss://gateway.example".to_owned()));
    assert_eq!(http.get_gateway().await.expect("an answer").url, "wss://gateway.example");
}

#[tokio::test]
async fn a_gateway_that_says_nothing() {
    let discord = Discord::start();
    discord.hold_gateway(Door::Silent);
    let bot = Running::start(&discord, discord.token()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(discord.identifies().is_empty() && !bot.task.is_finished());
    // The connections that hang are cut, and the next one is served.
    discord.hold_gateway(Door::Open);
    bot.heard.wait("ready", 1).await;
    bot.end().await;
}
