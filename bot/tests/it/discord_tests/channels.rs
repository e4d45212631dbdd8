//! Channels and guilds: who may see, write, edit and take away; whom a message disturbs; what is made only once.

use serde_json::{Value, json};

use super::raw::{Raw, Told};
use crate::discord::Discord;

async fn refused(raw: &Raw, method: &str, path: String, body: Value) -> (u16, u64) {
    raw.send(method, &path, body).await.refusal()
}

#[tokio::test]
async fn a_message_keeps_every_state() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let id = raw.message(channel, json!({"content": "one"})).await;
    let sent = discord.requests().remove(0);
    let path = format!("/channels/{channel}/messages");
    assert_eq!((sent.method, sent.path, sent.status, sent.body), ("POST".to_owned(), path, 200, json!({"content": "one"})));
    let embed = json!({"title": "T", "description": "D", "author": {"name": "A"}, "footer": {"text": "F"}, "fields": [{"name": "N", "value": "V"}]});
    let told = raw.send("PATCH", &format!("/channels/{channel}/messages/{id}"), json!({"content": "two", "embeds": [embed]})).await;
    assert_eq!((told.status, &told.body["content"], told.body["edited_timestamp"].is_string()), (200, &json!("two"), true), "{told:?}");
    let message = discord.message(id);
    assert_eq!(message.versions.iter().map(|version| version.content.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(message.versions[0].at <= message.versions[1].at);
    assert_eq!(message.text(), "two\nA\nT\nD\nN\nV\nF");
    // What a form leaves out stays.
    raw.send("PATCH", &format!("/channels/{channel}/messages/{id}"), json!({"content": null})).await;
    assert_eq!(discord.message(id).text(), "A\nT\nD\nN\nV\nF");
    assert_eq!(refused(&raw, "PATCH", format!("/channels/{channel}/messages/{id}"), json!({"embeds": []})).await, (400, 50_006));
    raw.send("DELETE", &format!("/channels/{channel}/messages/{id}"), Value::Null).await;
    assert!(discord.messages(channel).is_empty() && discord.every_message()[0].deleted);
    assert_eq!(refused(&raw, "PATCH", format!("/channels/{channel}/messages/{id}"), json!({"content": "x"})).await, (404, 10_008));
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_ones_own() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let tom = discord.user("tom", &[]);
    let his = discord.say(tom, channel, "mine");
    let form = json!({"content": "x"});
    let at = |message: u64| format!("/channels/{channel}/messages/{message}");
    assert_eq!(refused(&raw, "PATCH", at(his), form.clone()).await, (403, 50_005));
    assert_eq!(refused(&raw, "DELETE", at(his), Value::Null).await, (403, 50_013));
    assert_eq!(refused(&raw, "PATCH", at(1), form.clone()).await, (404, 10_008));
    assert_eq!(refused(&raw, "GET", at(1), Value::Null).await, (404, 10_008));
    assert_eq!(refused(&raw, "POST", "/channels/1/messages".to_owned(), form.clone()).await, (404, 10_003));
    assert_eq!(refused(&raw, "GET", "/guilds/1".to_owned(), Value::Null).await, (404, 10_004));
    assert_eq!(refused(&raw, "GET", format!("/guilds/{}/members/1", discord.guild()), Value::Null).await, (404, 10_007));
    assert_eq!(refused(&raw, "POST", "/users/@me/channels".to_owned(), json!({"recipient_id": "1"})).await, (404, 10_013));
    assert_eq!(refused(&raw, "GET", "/voice/regions".to_owned(), Value::Null).await, (404, 0));
    discord.delete(his);
    assert_eq!(refused(&raw, "GET", at(his), Value::Null).await, (404, 10_008));
    assert_eq!(discord.violations().len(), 10);
    assert_eq!(discord.invalid_requests(), 2, "two of them were 403");
}

#[tokio::test]
async fn channels_that_are_closed() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    let (hidden, muted) = (discord.channel("hidden"), discord.channel("muted"));
    discord.hide(hidden);
    discord.mute(muted);
    assert_eq!(refused(&raw, "GET", format!("/channels/{hidden}/messages"), Value::Null).await, (403, 50_001));
    assert_eq!(refused(&raw, "POST", format!("/channels/{muted}/messages"), json!({"content": "x"})).await, (403, 50_013));
    assert_eq!(raw.send("GET", &format!("/channels/{muted}/messages"), Value::Null).await.status, 200);
}

#[tokio::test]
async fn empty_messages() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let button = json!({"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "x"}]});
    for form in [json!({}), json!({"content": " \n"}), json!({"embeds": []}), json!({"components": [button]})] {
        assert_eq!(refused(&raw, "POST", format!("/channels/{channel}/messages"), form).await, (400, 50_006));
    }
}

#[tokio::test]
async fn who_asks_has_to_say_who_it_is() {
    let discord = Discord::start();
    let me = |raw: Raw| async move { raw.send("GET", "/users/@me", Value::Null).await.refusal() };
    assert_eq!(me(Raw::showing(&discord, "Bot wrong")).await, (401, 0));
    assert_eq!(me(Raw::showing(&discord, discord.token())).await, (401, 0), "without `Bot`");
    assert_eq!(Raw::new(&discord).send("GET", "/users/@me", Value::Null).await.id(), discord.bot());
    // A client that does not say which library it is does not reach the API.
    let bare = super::raw::http(&discord).build().expect("the client is good");
    let told = bare.get("https://discord.com/api/v10/users/@me").header("authorization", format!("Bot {}", discord.token())).send().await;
    assert_eq!(told.expect("an answer").status(), 403);
    assert_eq!(discord.invalid_requests(), 3);
    assert_eq!(discord.seen_tokens().into_iter().collect::<Vec<_>>(), [discord.token(), "wrong"]);
    let told = Raw::new(&discord).send_text("POST", "/channels/1/messages", "{".to_owned()).await;
    assert_eq!(told.refusal(), (400, 50_109));
}

#[tokio::test]
async fn the_certificate_is_good_for_one_name_only() {
    let discord = Discord::start();
    let pem = std::fs::read(discord.ca_file()).expect("the authority was written");
    let authority = reqwest::Certificate::from_pem(&pem).expect("the authority is a certificate");
    let other = reqwest::Client::builder().use_rustls_tls().add_root_certificate(authority).resolve("discord.gg", discord.rest_at());
    assert!(other.build().expect("the client is good").get("https://discord.gg/api/v10/gateway").send().await.is_err());
    let distrusting = reqwest::Client::builder().use_rustls_tls().resolve("discord.com", discord.rest_at());
    assert!(distrusting.build().expect("the client is good").get("https://discord.com/api/v10/gateway").send().await.is_err());
    assert!(discord.requests().is_empty());
}

#[tokio::test]
async fn whom_a_message_would_disturb() {
    let discord = Discord::start();
    discord.rate(1000, std::time::Duration::from_secs(1));
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let tom = discord.user("tom", &[]);
    let his = discord.say(tom, channel, "hello");
    let reply = json!({"message_id": his.to_string()});
    let text = format!("@everyone @here <@{tom}> <@&7> <@!{tom}>");
    let cases = [
        (
            json!({"content": text}),
            vec!["@everyone".to_owned(), "@here".to_owned(), format!("<@{tom}>"), "<@&7>".to_owned(), format!("<@!{tom}>")],
        ),
        (json!({"content": text, "allowed_mentions": {"parse": []}}), vec![]),
        (json!({"content": text, "allowed_mentions": {"parse": ["roles"]}}), vec!["<@&7>".to_owned()]),
        (json!({"content": format!("<@{tom}> <@9>"), "allowed_mentions": {"users": [tom.to_string()]}}), vec![format!("<@{tom}>")]),
        (json!({"embeds": [{"description": "@everyone"}]}), vec![]),
        (json!({"content": "x", "message_reference": reply}), vec!["reply".to_owned()]),
        (json!({"content": "x", "message_reference": reply, "allowed_mentions": {"parse": [], "replied_user": false}}), vec![]),
    ];
    let mut all = Vec::new();
    for (form, pings) in cases {
        let id = raw.message(channel, form.clone()).await;
        let version = discord.message(id).versions[0].clone();
        assert_eq!((version.pings, version.allowed_mentions.as_ref()), (pings.clone(), form.get("allowed_mentions")), "{form}");
        all.extend(pings.into_iter().map(|ping| (id, ping)));
    }
    assert_eq!(discord.pings(), all);
    assert_eq!(discord.messages(channel).last().and_then(|message| message.reply_to), Some(his));
    let told =
        raw.send("POST", &format!("/channels/{channel}/messages"), json!({"content": "x", "message_reference": {"message_id": "1"}})).await;
    assert_eq!(told.fault("message_reference"), "REPLIES_UNKNOWN_MESSAGE");
}

#[tokio::test]
async fn a_nonce_makes_a_message_once() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let form = json!({"content": "x", "nonce": "n1", "enforce_nonce": true});
    let (first, second) = (raw.message(channel, form.clone()).await, raw.message(channel, form).await);
    let third = raw.message(channel, json!({"content": "x", "nonce": "n1"})).await;
    assert!(first == second && first != third);
    assert_eq!(discord.messages(channel).len(), 2);
}

#[tokio::test]
async fn pages_of_messages_and_members() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let users: Vec<u64> = ["a", "b", "c", "d"].iter().map(|name| discord.user(name, &[])).collect();
    let said: Vec<u64> = users.iter().map(|user| discord.say(*user, channel, "hello")).collect();
    let page = |told: Told| -> Vec<u64> {
        let list = told.body.as_array().cloned().expect("a page is a list");
        list.iter().filter_map(|one| one["id"].as_str().or(one["user"]["id"].as_str())?.parse().ok()).collect()
    };
    let get = |path: String| raw.send_text("GET", Box::leak(path.into_boxed_str()), String::new());
    assert_eq!(page(get(format!("/channels/{channel}/messages?limit=2")).await), [said[3], said[2]]);
    assert_eq!(page(get(format!("/channels/{channel}/messages?before={}", said[1])).await), [said[0]]);
    assert_eq!(page(get(format!("/channels/{channel}/messages?after={}&limit=1", said[1])).await), [said[2]]);
    let members = format!("/guilds/{}/members?limit=2&after={}", discord.guild(), users[1]);
    assert_eq!(page(get(members.clone()).await), [users[2], users[3]]);
    discord.set_privileged(false);
    assert_eq!(get(members).await.refusal(), (403, 50_001));
}

#[tokio::test]
async fn without_the_portals_switch_texts_are_empty_over_rest_as_well() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let tom = discord.user("tom", &[]);
    let (other, mention) = (discord.say(tom, channel, "secret"), discord.say(tom, channel, &format!("<@{}> hello", discord.bot())));
    let talk = discord.dm(tom);
    let private = discord.say_dm(tom, "psst");
    discord.set_privileged(false);
    let read = async |channel: u64, id: u64| {
        raw.send("GET", &format!("/channels/{channel}/messages/{id}"), Value::Null).await.body["content"].clone()
    };
    assert_eq!(read(channel, other).await, "");
    assert_eq!(read(channel, mention).await, format!("<@{}> hello", discord.bot()));
    assert_eq!(read(talk, private).await, "psst");
}
