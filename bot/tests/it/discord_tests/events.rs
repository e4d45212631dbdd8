//! Events: who is told of which message, and with how much in it.

use serde_json::{Value, json};

use super::raw::{Raw, Wire};
use crate::discord::Discord;

const GUILD: u64 = 1 << 9;
const TALKS: u64 = 1 << 12;
const CONTENT: u64 = 1 << 15;

#[tokio::test]
async fn texts_want_their_intent() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let (mut reads, _) = Wire::ready(&discord, GUILD | TALKS | CONTENT).await;
    let (mut plain, _) = Wire::ready(&discord, GUILD | TALKS).await;
    discord.say(tom, channel, "!list");
    let full = reads.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!(
        (&full["content"], &full["guild_id"], &full["author"]["username"]),
        (&json!("!list"), &json!(discord.guild().to_string()), &json!("tom"))
    );
    assert_eq!(plain.event("MESSAGE_CREATE").await["d"]["content"], "");
    // Nevertheless: what mentions the bot, what is for it alone, and what it wrote itself.
    let hello = format!("<@{}> hello", discord.bot());
    discord.say(tom, channel, &hello);
    assert_eq!(plain.event("MESSAGE_CREATE").await["d"]["content"], hello);
    discord.say_dm(tom, "psst");
    let private = plain.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&private["content"], private.get("guild_id")), (&json!("psst"), None));
    let raw = Raw::new(&discord);
    let own = raw.message(channel, json!({"content": "mine", "nonce": 7})).await;
    let told = plain.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&told["content"], &told["nonce"], &told["author"]["bot"]), (&json!("mine"), &json!(7), &json!(true)));
    raw.send("PATCH", &format!("/channels/{channel}/messages/{own}"), json!({"content": "still mine"})).await;
    assert_eq!(plain.event("MESSAGE_UPDATE").await["d"]["content"], "still mine");
    raw.send("DELETE", &format!("/channels/{channel}/messages/{own}"), Value::Null).await;
    assert_eq!(plain.event("MESSAGE_DELETE").await["d"]["id"], own.to_string());
}

#[tokio::test]
async fn a_session_hears_what_it_wanted_to_hear() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let (mut talks, _) = Wire::ready(&discord, TALKS).await;
    let (mut guild, _) = Wire::ready(&discord, GUILD | CONTENT).await;
    discord.say(tom, channel, "in the guild");
    discord.say_dm(tom, "in the talk");
    assert_eq!(talks.event("MESSAGE_CREATE").await["d"]["content"], "in the talk");
    assert_eq!(guild.event("MESSAGE_CREATE").await["d"]["content"], "in the guild");
    // Interactions come without any intent.
    let raw = Raw::new(&discord);
    let one = json!([{"name": "list", "description": "all", "options": [{"type": 1, "name": "long", "description": "x", "options": [{"type": 4, "name": "page", "description": "x"}]}]}]);
    raw.send("PUT", &format!("/applications/{}/commands", discord.application()), one).await;
    let asked = discord.slash(tom, channel, "list long", &[("page", json!(2))]);
    let told = talks.event("INTERACTION_CREATE").await["d"].clone();
    assert_eq!((&told["id"], &told["token"], &told["type"]), (&json!(asked.id.to_string()), &json!(asked.token()), &json!(2)));
    assert_eq!(told["data"]["options"], json!([{"type": 1, "name": "long", "options": [{"type": 4, "name": "page", "value": 2}]}]));
    assert_eq!((&told["member"]["user"]["id"], told.get("user")), (&json!(tom.to_string()), None));
    let talk = discord.dm(tom);
    discord.slash(tom, talk, "list long", &[]);
    let told = talks.event("INTERACTION_CREATE").await["d"].clone();
    assert_eq!((&told["user"]["id"], told.get("guild_id"), &told["context"]), (&json!(tom.to_string()), None, &json!(1)));
    // An answer is a message like any other, unless only one person sees it.
    let answer = |flags: u64| json!({"type": 4, "data": {"content": "x", "flags": flags}});
    raw.send("POST", &format!("/interactions/{}/{}/callback", asked.id, asked.token()), answer(64)).await;
    let public = discord.slash(tom, channel, "list long", &[]);
    raw.send("POST", &format!("/interactions/{}/{}/callback", public.id, public.token()), answer(0)).await;
    for name in ["INTERACTION_CREATE", "INTERACTION_CREATE", "INTERACTION_CREATE"] {
        guild.event(name).await;
    }
    let told = guild.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&told["type"], &told["application_id"]), (&json!(20), &json!(discord.application().to_string())));
}
