//! The gateway without a library: who is let in, how it is closed, and what a session is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{Came, Raw, Wire, identify, resume};
use crate::discord::{Discord, Gateway};

/// Everything that needs no switch in the portal.
const PLAIN: u64 = 1 | 1 << 9 | 1 << 12;
/// Texts of messages.
const CONTENT: u64 = 1 << 15;

/// How a line ends on which this is said first.
async fn closed(discord: &Discord, payload: Value) -> Came {
    let mut wire = Wire::greeted(discord).await;
    wire.say(payload).await;
    wire.next().await
}

#[tokio::test]
async fn who_is_not_let_in() {
    let discord = Discord::start();
    let with = |key: &str, value: Value| {
        let mut payload = identify(discord.token(), PLAIN);
        payload["d"][key] = value;
        payload
    };
    assert_eq!(closed(&discord, with("token", json!("wrong"))).await, Came::Closed(4004));
    assert_eq!(closed(&discord, with("intents", json!(1 << 18))).await, Came::Closed(4013));
    assert_eq!(closed(&discord, with("intents", json!("all"))).await, Came::Closed(4013));
    assert_eq!(closed(&discord, with("shard", json!([1, 2]))).await, Came::Closed(4010));
    assert_eq!(closed(&discord, with("properties", Value::Null)).await, Came::Closed(4002));
    assert_eq!(closed(&discord, json!({"op": 3, "d": {}})).await, Came::Closed(4003));
    assert_eq!(closed(&discord, json!({"op": 99})).await, Came::Closed(4001));
    assert_eq!(closed(&discord, with("large", json!("x".repeat(4096)))).await, Came::Closed(4002));
    let mut old = Wire::connect(&discord, "?v=6&encoding=json").await;
    assert_eq!(old.next().await, Came::Closed(4012));
    let mut packed = Wire::connect(&discord, "?v=10&compress=zlib-stream").await;
    assert_eq!(packed.next().await, Came::Closed(4002));
    assert_eq!(discord.violations().len(), 10);
    assert!(discord.violations()[0].to_string().starts_with("GATEWAY /: 0 4004 "), "{}", discord.violations()[0]);
    assert!(discord.identifies().len() == 5 && discord.seen_tokens().contains("wrong"));
}

#[tokio::test]
async fn privileged_intents_want_their_switch() {
    let discord = Discord::start();
    let (_wire, ready) = Wire::ready(&discord, PLAIN | CONTENT).await;
    assert_ne!(ready["d"]["application"]["flags"], 0);
    discord.set_privileged(false);
    assert_eq!(closed(&discord, identify(discord.token(), PLAIN | CONTENT)).await, Came::Closed(4014));
    let (_wire, ready) = Wire::ready(&discord, PLAIN).await;
    assert_eq!(ready["d"]["application"]["flags"], 0);
    assert_eq!(discord.identifies().iter().map(|one| one.intents & CONTENT != 0).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn a_session_begins_with_what_there_is() {
    let discord = Discord::start();
    let (player, channel) = (discord.role("player"), discord.channel("clankers"));
    let tom = discord.user("tom", &[player]);
    let (mut wire, ready) = Wire::ready(&discord, PLAIN).await;
    assert_eq!((&ready["s"], &ready["d"]["v"], &ready["d"]["user"]["id"]), (&json!(1), &json!(10), &json!(discord.bot().to_string())));
    let guild = wire.event("GUILD_CREATE").await["d"].clone();
    assert_eq!((&guild["channels"][0]["id"], &guild["roles"][2]["name"]), (&json!(channel.to_string()), &json!("player")));
    assert_eq!(
        (guild["members"].as_array().map(Vec::len), &guild["member_count"]),
        (Some(1), &json!(3)),
        "only the bot, without the intent"
    );
    let (mut wire, _) = Wire::ready(&discord, PLAIN | 1 << 1).await;
    let guild = wire.event("GUILD_CREATE").await["d"].clone();
    assert_eq!(guild["members"][2]["user"]["id"], tom.to_string());
    assert_eq!(guild["members"][2]["roles"][0], player.to_string());
    discord.set_roles(tom, &[]);
    assert_eq!(wire.event("GUILD_MEMBER_UPDATE").await["d"]["roles"], json!([]));
    discord.role("admin");
    assert_eq!(wire.event("GUILD_ROLE_CREATE").await["d"]["role"]["name"], "admin");
    discord.hide(channel);
    assert_eq!(wire.event("CHANNEL_UPDATE").await["d"]["permission_overwrites"][0]["deny"], "1024");
    discord.say(tom, channel, "nobody hears it");
    discord.user("mary", &[]);
    wire.event("GUILD_MEMBER_ADD").await;
}

#[tokio::test]
async fn a_session_is_taken_up_where_it_was() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let (mut wire, ready) = Wire::ready(&discord, PLAIN | CONTENT).await;
    wire.event("GUILD_CREATE").await;
    let texts = ["one", "two", "three"];
    discord.say(tom, channel, texts[0]);
    assert_eq!(wire.event("MESSAGE_CREATE").await["s"], 3);
    discord.drop_gateway();
    assert_eq!(wire.next().await, Came::Cut);
    discord.disconnected(super::raw::PATIENCE).await;
    discord.say(tom, channel, texts[1]);
    let mut wire = Wire::greeted(&discord).await;
    wire.say(resume(discord.token(), &ready, 3)).await;
    let missed = wire.event("MESSAGE_CREATE").await;
    assert_eq!((&missed["s"], &missed["d"]["content"]), (&json!(4), &json!("two")));
    wire.event("RESUMED").await;
    discord.say(tom, channel, texts[2]);
    assert_eq!(wire.event("MESSAGE_CREATE").await["s"], 6);
    // One event again, when a test wants it; another line takes the session away from the first.
    discord.repeat_on_resume(true);
    let mut second = Wire::greeted(&discord).await;
    second.say(resume(discord.token(), &ready, 6)).await;
    assert_eq!(second.event("MESSAGE_CREATE").await["d"]["content"], "three");
    second.event("RESUMED").await;
    assert_eq!(wire.next().await, Came::Cut);
    assert!(discord.resumes() == 2 && discord.violations().is_empty());
}

#[tokio::test]
async fn sessions_that_cannot_be_taken_up() {
    let discord = Discord::start();
    let (mut wire, ready) = Wire::ready(&discord, PLAIN).await;
    assert_eq!(closed(&discord, resume("wrong", &ready, 1)).await, Came::Closed(4004));
    assert_eq!(closed(&discord, resume(discord.token(), &ready, 900)).await, Came::Closed(4007));
    wire.event("GUILD_CREATE").await;
    wire.say(resume(discord.token(), &ready, 1)).await;
    assert_eq!(wire.next().await, Came::Closed(4005));
    // Over: a session that is unknown, one that the gateway ended. A line may then begin anew.
    let over = |payload: &Came| matches!(payload, Came::Payload(payload) if payload["op"] == 9 && payload["d"] == false);
    let mut wire = Wire::greeted(&discord).await;
    wire.say(resume(discord.token(), &json!({"d": {"session_id": "none"}}), 1)).await;
    assert!(over(&wire.next().await));
    wire.say(identify(discord.token(), PLAIN)).await;
    let ready = wire.event("READY").await;
    wire.event("GUILD_CREATE").await;
    discord.invalidate_session(false);
    assert!(over(&wire.next().await));
    let mut wire = Wire::greeted(&discord).await;
    wire.say(resume(discord.token(), &ready, 2)).await;
    assert!(over(&wire.next().await));
}

#[tokio::test]
async fn heartbeats_and_what_goes_on_without_them() {
    let discord = Discord::start();
    let (mut wire, _) = Wire::ready(&discord, PLAIN).await;
    wire.event("GUILD_CREATE").await;
    wire.say(json!({"op": 1, "d": 2})).await;
    assert!(matches!(wire.next().await, Came::Payload(payload) if payload["op"] == 11));
    discord.miss_acks(true);
    wire.say(json!({"op": 1, "d": 2})).await;
    discord.reconnect_gateway();
    assert!(matches!(wire.next().await, Came::Payload(payload) if payload["op"] == 7), "and no acknowledgement before it");
    discord.invalidate_session(true);
    assert!(matches!(wire.next().await, Came::Payload(payload) if payload["op"] == 9 && payload["d"] == true));
    discord.close_gateway(4000);
    assert_eq!(wire.next().await, Came::Closed(4000));
    assert!(discord.violations().is_empty(), "that was the test's wish");
    discord.set_heartbeat(Duration::from_millis(100));
    let (mut silent, _) = Wire::ready(&discord, PLAIN).await;
    silent.event("GUILD_CREATE").await;
    assert_eq!(silent.next().await, Came::Closed(4009), "a client that sends none is given up");
}

#[tokio::test]
async fn a_line_takes_a_hundred_and_twenty_frames_in_a_minute() {
    let discord = Discord::start();
    let (mut wire, _) = Wire::ready(&discord, PLAIN).await;
    wire.event("GUILD_CREATE").await;
    for _ in 0..120 {
        wire.say(json!({"op": 3, "d": {}})).await;
    }
    assert_eq!(wire.next().await, Came::Closed(4008));
}

#[tokio::test]
async fn the_address_of_the_gateway() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    let open = Raw::showing(&discord, "").send("GET", "/gateway", Value::Null).await;
    assert!(open.status == 200 && open.body["url"].as_str().is_some_and(|url| url.starts_with("ws://127.0.0.1:")), "{open:?}");
    let bot = raw.send("GET", "/gateway/bot", Value::Null).await;
    assert_eq!((&bot.body["shards"], &bot.body["session_start_limit"]["remaining"]), (&json!(1), &json!(1000)));
    discord.set_gateway_answer(Gateway::Fails(503));
    assert_eq!(raw.send("GET", "/gateway", Value::Null).await.status, 503);
    discord.set_gateway_answer(Gateway::Elsewhere("wss://gateway.example".to_owned()));
    assert_eq!(raw.send("GET", "/gateway", Value::Null).await.body["url"], "wss://gateway.example");
    discord.set_gateway_answer(Gateway::Here);
    assert_eq!(raw.send("GET", "/gateway", Value::Null).await.body, open.body);
}
