//! Application commands: forms of them, their scopes, and what is kept when they are replaced.

use serde_json::{Value, json};

use super::raw::Raw;
use crate::discord::Discord;

fn command(name: &str, options: Value) -> Value {
    json!({"name": name, "description": "x", "options": options})
}

fn option(name: &str, kind: u64) -> Value {
    json!({"type": kind, "name": name, "description": "x"})
}

#[tokio::test]
async fn commands_of_a_wrong_shape() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    let many: Vec<Value> = (0..26).map(|number| option(&format!("o{number}"), 3)).collect();
    let choices: Vec<Value> = (0..26).map(|number| json!({"name": "x", "value": number.to_string()})).collect();
    let with = |key: &str, value: Value| {
        let mut option = option("vm", 3);
        option[key] = value;
        option
    };
    let long = json!({"name": "x".repeat(100), "value": "y".repeat(100)});
    let large: Vec<Value> = (0..2)
        .map(|number| json!({"type": 3, "name": format!("o{number}"), "description": "x", "choices": vec![long.clone(); 25]}))
        .collect();
    let cases = [
        (json!([{"name": "Start", "description": "x"}]), "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
        (json!([{"name": "a b", "description": "x"}]), "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
        (json!([{"name": "x".repeat(33), "description": "x"}]), "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
        (json!([{"name": "x"}]), "0.description", "BASE_TYPE_REQUIRED"),
        (json!([{"name": "x", "description": "x".repeat(101)}]), "0.description", "BASE_TYPE_MAX_LENGTH"),
        (json!([command("x", json!([])), command("x", json!([]))]), "1", "APPLICATION_COMMANDS_DUPLICATE_NAME"),
        (json!([command("x", json!(many))]), "0.options", "BASE_TYPE_BAD_LENGTH"),
        (
            json!([command("x", json!([option("a", 3), with("required", json!(true))]))]),
            "0.options.1",
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        (json!([command("x", json!([option("a", 3), option("a", 3)]))]), "0.options.1", "APPLICATION_COMMAND_OPTIONS_DUPLICATE_NAME"),
        (json!([command("x", json!([option("a", 12)]))]), "0.options.0.type", "BASE_TYPE_CHOICES"),
        (json!([command("x", json!([option("a", 1), option("b", 3)]))]), "0.options", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID"),
        (json!([command("x", json!([with("choices", json!(choices))]))]), "0.options.0.choices", "BASE_TYPE_BAD_LENGTH"),
        (
            json!([command("x", json!([with("choices", json!([{"name": "", "value": "x"}]))]))]),
            "0.options.0.choices.0.name",
            "BASE_TYPE_REQUIRED",
        ),
        (
            json!([command("x", json!([{"type": 5, "name": "a", "description": "x", "autocomplete": true}]))]),
            "0.options.0.autocomplete",
            "APPLICATION_COMMAND_AUTOCOMPLETE_INVALID",
        ),
        (json!([command("x", json!(large))]), "0", "APPLICATION_COMMAND_TOO_LARGE"),
    ];
    let path = format!("/applications/{}/commands", discord.application());
    for (form, place, code) in cases {
        // The limit of this route is real; a test of forms does not wait for it.
        let told = loop {
            let told = raw.send("PUT", &path, form.clone()).await;
            if told.status != 429 {
                break told;
            }
            discord.forget_limits();
        };
        assert_eq!((told.refusal(), told.fault(place)), ((400, 50_035), code), "{form}\n{}", told.body);
    }
    assert!(discord.commands().is_empty());
}

#[tokio::test]
async fn replacing_keeps_the_ids_of_what_stays() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    let path = format!("/applications/{}/guilds/{}/commands", discord.application(), discord.guild());
    let first = raw.send("PUT", &path, json!([command("start", json!([])), command("stop", json!([]))])).await.body;
    let second = raw.send("PUT", &path, json!([command("stop", json!([option("vm", 3)])), command("list", json!([]))])).await.body;
    assert_eq!(second[0]["id"], first[1]["id"]);
    assert!(second[0]["version"] != first[1]["version"] && second[1]["id"] != first[0]["id"]);
    assert_eq!(raw.send("GET", &path, Value::Null).await.body, second);
    let one = |id: &Value| format!("{path}/{}", id.as_str().unwrap_or_default());
    assert_eq!(raw.send("GET", &one(&second[0]["id"]), Value::Null).await.body, second[0]);
    assert_eq!(raw.send("GET", &one(&first[0]["id"]), Value::Null).await.refusal(), (404, 10_063));
    assert_eq!(raw.send("GET", "/applications/1/commands", Value::Null).await.refusal(), (403, 50_001));
    assert_eq!(raw.send("GET", "/applications/@me", Value::Null).await.id(), discord.application());
}

#[tokio::test]
async fn a_day_has_two_hundred_new_commands() {
    let discord = Discord::start();
    let raw = Raw::new(&discord);
    let path = format!("/applications/{}/commands", discord.application());
    let hundred = |letter: &str| -> Value { (0..100).map(|number| command(&format!("{letter}{number}"), json!([]))).collect() };
    for letter in ["a", "b"] {
        assert_eq!(raw.send("PUT", &path, hundred(letter)).await.status, 200);
    }
    discord.forget_limits();
    assert_eq!(raw.send("PUT", &path, hundred("b")).await.status, 200, "none of them is new");
    assert_eq!(raw.send("PUT", &path, hundred("c")).await.refusal(), (400, 30_034));
    assert_eq!(discord.commands().len(), 100);
}
