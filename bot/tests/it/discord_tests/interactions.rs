//! Interactions: the first answer and its three seconds, tokens and their fifteen minutes, what only one person sees.

use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{PATIENCE, Raw};
use crate::discord::{Asked, ChannelId, Discord, First, UserId};

/// A guild with one command, somebody who sends it, and a bot that is only REST.
struct Scene {
    discord: Discord,
    raw: Raw,
    channel: ChannelId,
    tom: UserId,
}

impl Scene {
    async fn new() -> Self {
        let discord = Discord::start();
        let (raw, channel, tom) = (Raw::new(&discord), discord.channel("clankers"), discord.user("tom", &[]));
        let vm = json!({"type": 3, "name": "vm", "description": "which", "required": true, "autocomplete": true});
        let forms = json!([{"name": "start", "description": "starts it", "options": [vm]}]);
        let told = raw.send("PUT", &format!("/applications/{}/guilds/{}/commands", discord.application(), discord.guild()), forms).await;
        assert_eq!(told.status, 200, "{told:?}");
        discord.forget_limits();
        Self { discord, raw, channel, tom }
    }

    fn start(&self) -> Asked {
        self.discord.slash(self.tom, self.channel, "start", &[("vm", json!("mc"))])
    }

    async fn first(&self, asked: &Asked, kind: u64, data: Value) -> (u16, u64) {
        let path = format!("/interactions/{}/{}/callback", asked.id, asked.token());
        self.raw.send("POST", &path, json!({"type": kind, "data": data})).await.refusal()
    }

    async fn hook(&self, asked: &Asked, method: &str, rest: &str, form: Value) -> (u16, u64) {
        let path = format!("/webhooks/{}/{}{rest}", self.discord.application(), asked.token());
        self.discord.forget_limits();
        self.raw.send(method, &path, form).await.refusal()
    }

    async fn in_channel(&self, method: &str, id: u64, form: Value) -> (u16, u64) {
        self.discord.forget_limits();
        self.raw.send(method, &format!("/channels/{}/messages/{id}", self.channel), form).await.refusal()
    }
}

/// An answer without a body, and one with a body that has no code.
const DONE: (u16, u64) = (204, u64::MAX);
const OK: (u16, u64) = (200, u64::MAX);
const ORIGINAL: &str = "/messages/@original";

#[tokio::test]
async fn an_answer_at_once() {
    let scene = Scene::new().await;
    let asked = scene.start();
    assert_eq!(scene.first(&asked, 4, json!({"content": "starting"})).await, DONE);
    assert_eq!(asked.first().await, First::Message { ephemeral: false });
    let message = asked.message().expect("there is a message");
    assert_eq!((message.text().as_str(), message.asked, message.author), ("starting", Some(asked.id), scene.discord.bot()));
    // It is an ordinary message of the bot: the channel's route can edit it, long after the token is void.
    asked.expire_token();
    assert_eq!(scene.in_channel("PATCH", message.id, json!({"content": "done"})).await, OK);
    assert_eq!(asked.wait(PATIENCE, |message| message.text() == "done").await.versions.len(), 2);
    assert_eq!(scene.first(&asked, 4, json!({"content": "again"})).await, (400, 40_060));
}

#[tokio::test]
async fn an_answer_later() {
    let scene = Scene::new().await;
    let asked = scene.start();
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "x"})).await, (404, 10_015), "nothing was answered yet");
    assert_eq!(scene.first(&asked, 5, Value::Null).await, DONE);
    assert_eq!(asked.first().await, First::Deferred { ephemeral: false });
    let thinking = asked.message().expect("it is to be seen that it thinks");
    assert!(thinking.loading && thinking.text().is_empty());
    // On purpose stricter than what is known: only the token ends the thinking.
    assert_eq!(scene.in_channel("PATCH", thinking.id, json!({"content": "x"})).await, OK);
    assert!(scene.discord.message(thinking.id).loading);
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "started"})).await, OK);
    let now = asked.message().expect("it is still there");
    assert!(now.id == thinking.id && !now.loading && now.text() == "started");
    assert_eq!(scene.hook(&asked, "POST", "", json!({"content": "and more"})).await, OK);
    let more = asked.followups();
    assert!(more.len() == 1 && more[0].text() == "and more");
    assert_eq!(scene.hook(&asked, "PATCH", &format!("/messages/{}", more[0].id), json!({"content": "less"})).await, OK);
    assert_eq!(scene.hook(&asked, "GET", &format!("/messages/{}", more[0].id), Value::Null).await, OK);
    assert_eq!(scene.hook(&asked, "GET", "/messages/1", Value::Null).await, (404, 10_008));
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "x".repeat(2001)})).await, (400, 50_035));
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": ""})).await, (400, 50_006));
    assert_eq!(scene.hook(&asked, "DELETE", ORIGINAL, Value::Null).await, DONE);
    assert_eq!(scene.hook(&asked, "GET", ORIGINAL, Value::Null).await, (404, 10_008));
}

#[tokio::test]
async fn the_first_follow_up_takes_the_place_of_the_thinking() {
    let scene = Scene::new().await;
    let asked = scene.start();
    scene.first(&asked, 5, json!({"flags": 64})).await;
    assert_eq!(scene.hook(&asked, "POST", "", json!({"content": "x"})).await, OK);
    let message = asked.message().expect("there is a message");
    assert!(message.text() == "x" && message.ephemeral && !message.loading && asked.followups().is_empty());
}

#[tokio::test]
async fn three_seconds_and_not_longer() {
    let scene = Scene::new().await;
    let asked = scene.start();
    tokio::time::sleep(Duration::from_millis(3100)).await;
    assert_eq!(scene.first(&asked, 5, Value::Null).await, (404, 10_062));
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "x"})).await, (404, 10_015));
    let path = format!("/interactions/{}/wrong/callback", asked.id);
    assert_eq!(scene.raw.send("POST", &path, json!({"type": 5})).await.refusal(), (404, 10_062));
    let waits = tokio::spawn(async move { asked.first().await });
    assert!(waits.await.is_err_and(|error| error.is_panic()), "a test that waits for an answer is told that none can come");
}

#[tokio::test]
async fn a_token_that_is_too_old() {
    let scene = Scene::new().await;
    let asked = scene.start();
    scene.first(&asked, 4, json!({"content": "x"})).await;
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "y"})).await, OK);
    asked.expire_token();
    for (method, rest) in [("PATCH", ORIGINAL), ("POST", ""), ("GET", ORIGINAL)] {
        assert_eq!(scene.hook(&asked, method, rest, json!({"content": "z"})).await, (401, 50_027));
    }
    assert_eq!(asked.message().expect("it is still there").text(), "y");
    let told = scene
        .raw
        .send("PATCH", &format!("/webhooks/{}/never/messages/@original", scene.discord.application()), json!({"content": "x"}))
        .await;
    assert_eq!(told.refusal(), (401, 50_027));
}

#[tokio::test]
async fn what_only_one_person_sees() {
    let scene = Scene::new().await;
    let asked = scene.start();
    let button = json!([{"type": 1, "components": [{"type": 2, "style": 1, "label": "x", "custom_id": "x"}]}]);
    assert_eq!(scene.first(&asked, 4, json!({"content": "you may not", "flags": 64, "components": button})).await, DONE);
    assert_eq!(asked.first().await, First::Message { ephemeral: true });
    let message = asked.message().expect("there is a message");
    assert!(message.ephemeral && scene.discord.messages(scene.channel).is_empty());
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(scene.in_channel(method, message.id, json!({"content": "y"})).await, (404, 10_008));
    }
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "y"})).await, OK);
    let pressed = scene.discord.press(scene.tom, message.id, "x");
    assert_eq!(scene.first(&pressed, 7, json!({"content": "z", "components": []})).await, DONE);
    assert_eq!(asked.message().expect("there is a message").text(), "z");
    let (discord, mary) = (scene.discord.clone(), scene.discord.user("mary", &[]));
    let presses = std::thread::spawn(move || discord.press(mary, message.id, "x").id);
    assert!(presses.join().is_err(), "nobody else can press there");
}

#[tokio::test]
async fn buttons() {
    let scene = Scene::new().await;
    let row = |disabled: bool| json!([{"type": 1, "components": [{"type": 2, "style": 4, "label": "Stop", "custom_id": "stop:7", "disabled": disabled}]}]);
    let id = scene.raw.message(scene.channel, json!({"content": "sure?", "components": row(false)})).await;
    let button = scene.discord.message(id).buttons().remove(0);
    assert_eq!((button.label.as_str(), button.style, button.disabled), ("Stop", 4, false));
    let pressed = scene.discord.press(scene.tom, id, "stop:7");
    assert_eq!(scene.first(&pressed, 8, json!({"choices": []})).await, (400, 50_035), "nobody typed anything");
    assert_eq!(scene.first(&pressed, 6, Value::Null).await, DONE);
    assert_eq!(pressed.first().await, First::DeferredUpdate);
    assert_eq!(scene.hook(&pressed, "PATCH", ORIGINAL, json!({"content": "stopping", "components": row(true)})).await, OK);
    assert_eq!((scene.discord.message(id).text().as_str(), scene.discord.message(id).buttons()[0].disabled), ("stopping", true));
    let discord = scene.discord.clone();
    let presses = std::thread::spawn(move || discord.press(scene.tom, id, "stop:7").id);
    assert!(presses.join().is_err(), "a disabled button cannot be pressed");
    scene.in_channel("PATCH", id, json!({"components": row(false)})).await;
    let second = scene.discord.press(scene.tom, id, "stop:7");
    assert_eq!(scene.first(&second, 7, json!({"content": "", "embeds": []})).await, (400, 50_006));
    assert_eq!(scene.first(&second, 7, json!({"content": "stopped", "components": []})).await, DONE);
    assert_eq!(second.first().await, First::Update);
    let third = scene.start();
    assert_eq!(scene.first(&third, 6, Value::Null).await, (400, 50_035), "there is no message to be edited later");
    assert_eq!(scene.first(&third, 9, json!({"title": "x"})).await.0, 501);
}

#[tokio::test]
async fn completion() {
    let scene = Scene::new().await;
    let typed = || scene.discord.autocomplete(scene.tom, scene.channel, "start", (&[("vm", json!("m"))], "vm"));
    let asked = typed();
    let many: Vec<Value> = (0..26).map(|number| json!({"name": "x", "value": number})).collect();
    assert_eq!(scene.first(&asked, 8, json!({"choices": many})).await, (400, 50_035));
    assert_eq!(scene.first(&asked, 8, json!({"choices": [{"name": "x".repeat(101), "value": "x"}]})).await, (400, 50_035));
    assert_eq!(scene.first(&asked, 8, json!({"choices": [{"name": "x", "value": "x".repeat(101)}]})).await, (400, 50_035));
    assert_eq!(scene.first(&asked, 8, json!({})).await, (400, 50_035));
    assert_eq!(scene.first(&asked, 4, json!({"content": "x"})).await, (400, 50_035), "a message is no completion");
    assert_eq!(scene.first(&asked, 8, json!({"choices": [{"name": "Minecraft", "value": "mc"}]})).await, DONE);
    assert_eq!(asked.choices().await, [("Minecraft".to_owned(), json!("mc"))]);
    assert_eq!(scene.hook(&asked, "PATCH", ORIGINAL, json!({"content": "x"})).await, (404, 10_015), "there is no message");
    let none = typed();
    assert_eq!(scene.first(&none, 8, json!({"choices": []})).await, DONE);
    assert!(none.choices().await.is_empty());
}

#[tokio::test]
async fn nobody_can_send_what_is_not_registered() {
    let scene = Scene::new().await;
    let cannot = |name: &'static str, options: &'static [(&'static str, &'static str)]| {
        let (discord, tom, channel) = (scene.discord.clone(), scene.tom, scene.channel);
        let options: Vec<(&str, Value)> = options.iter().map(|(name, value)| (*name, json!(value))).collect();
        std::thread::spawn(move || discord.slash(tom, channel, name, &options).id).join().is_err()
    };
    assert!(cannot("stop", &[]) && cannot("start", &[]) && cannot("start vm", &[]) && cannot("start", &[("vm", "x"), ("of", "y")]));
    assert!(!cannot("start", &[("vm", "anything, because completion is only a help")]));
    let talk = scene.discord.dm(scene.tom);
    let (discord, tom) = (scene.discord.clone(), scene.tom);
    let sends = std::thread::spawn(move || discord.slash(tom, talk, "start", &[("vm", json!("mc"))]).id);
    assert!(sends.join().is_err(), "a guild's command is not there in a talk");
}
