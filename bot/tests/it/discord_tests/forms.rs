//! Forms of messages: what is just allowed passes, what is one more is refused where it stands.

use serde_json::{Value, json};

use super::raw::Raw;
use crate::discord::Discord;

/// Refused forms, with the place and the code of the fault.
async fn refuse(cases: Vec<(Value, &str, &str)>) {
    let discord = Discord::start();
    discord.rate(1000, std::time::Duration::from_secs(1));
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let count = cases.len();
    for (form, place, code) in cases {
        let told = raw.send("POST", &format!("/channels/{channel}/messages"), form.clone()).await;
        assert_eq!((told.refusal(), told.fault(place)), ((400, 50_035), code), "{form}\n{}", told.body);
    }
    assert!(discord.messages(channel).is_empty());
    assert_eq!(discord.violations().len(), count);
}

/// Forms that are just good.
async fn accept(forms: Vec<Value>) {
    let discord = Discord::start();
    discord.rate(1000, std::time::Duration::from_secs(1));
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    let count = forms.len();
    for form in forms {
        let told = raw.send("POST", &format!("/channels/{channel}/messages"), form).await;
        assert_eq!(told.status, 200, "{}", told.body);
    }
    assert_eq!(discord.messages(channel).len(), count);
    assert!(discord.violations().is_empty());
}

fn embed(embed: Value) -> Value {
    json!({"embeds": [embed]})
}

fn fields(count: usize) -> Vec<Value> {
    (0..count).map(|_| json!({"name": "n", "value": "v"})).collect()
}

fn row(components: Value) -> Value {
    json!({"content": "x", "components": [{"type": 1, "components": components}]})
}

fn button(id: &str) -> Value {
    json!({"type": 2, "style": 1, "label": "x", "custom_id": id})
}

fn buttons(count: usize) -> Value {
    (0..count).map(|number| button(&number.to_string())).collect()
}

#[tokio::test]
async fn lengths_are_counted_in_code_points() {
    accept(vec![
        json!({"content": "x".repeat(2000)}),
        // Two units of UTF-16 and four bytes each, and yet one.
        json!({"content": "🟢".repeat(2000)}),
        embed(json!({"title": "x".repeat(256), "description": "🟢".repeat(4096)})),
        embed(json!({"fields": fields(25)})),
        embed(json!({"fields": [{"name": "x".repeat(256), "value": "x".repeat(1024)}]})),
        embed(json!({"author": {"name": "x".repeat(256)}, "footer": {"text": "x".repeat(2048)}})),
        json!({"embeds": (0..10).map(|_| json!({"description": "x".repeat(600)})).collect::<Vec<_>>()}),
    ])
    .await;
}

#[tokio::test]
async fn texts_that_are_too_long() {
    let long = "BASE_TYPE_MAX_LENGTH";
    let bad = "BASE_TYPE_BAD_LENGTH";
    refuse(vec![
        (json!({"content": "🟢".repeat(2001)}), "content", long),
        (embed(json!({"title": "x".repeat(257)})), "embeds.0.title", long),
        (embed(json!({"description": "x".repeat(4097)})), "embeds.0.description", long),
        (embed(json!({"fields": [{"name": "x".repeat(257), "value": "x"}]})), "embeds.0.fields.0.name", long),
        (embed(json!({"fields": [fields(1)[0], {"name": "x", "value": "x".repeat(1025)}]})), "embeds.0.fields.1.value", long),
        (embed(json!({"footer": {"text": "x".repeat(2049)}})), "embeds.0.footer.text", long),
        (embed(json!({"author": {"name": "x".repeat(257)}})), "embeds.0.author.name", long),
        (embed(json!({"fields": fields(26)})), "embeds.0.fields", bad),
        (json!({"embeds": (0..11).map(|_| json!({"title": "x"})).collect::<Vec<_>>()}), "embeds", bad),
        (json!({"content": "x", "nonce": "x".repeat(26)}), "nonce", long),
    ])
    .await;
}

#[tokio::test]
async fn all_embeds_of_a_message_count_together() {
    let half = json!({"description": "x".repeat(3000)});
    let more = json!({"description": "x".repeat(2999), "footer": {"text": "xx"}});
    refuse(vec![(json!({"embeds": [half, more]}), "embeds.1", "MAX_EMBED_SIZE_EXCEEDED")]).await;
    accept(vec![json!({"embeds": [half, half]})]).await;
}

#[tokio::test]
async fn embeds_of_a_wrong_shape() {
    let required = "BASE_TYPE_REQUIRED";
    refuse(vec![
        (embed(json!({})), "embeds.0.description", required),
        (embed(json!({"title": "x", "fields": [{"name": "x"}]})), "embeds.0.fields.0.value", required),
        (embed(json!({"title": "x", "fields": [{"name": " ", "value": "x"}]})), "embeds.0.fields.0.name", required),
        (embed(json!({"title": "x", "footer": {"text": ""}})), "embeds.0.footer.text", required),
        (embed(json!({"title": 7})), "embeds.0.title", "STRING_TYPE_CONVERT"),
        (embed(json!({"title": "x", "color": 0x100_0000})), "embeds.0.color", "BASE_TYPE_CHOICES"),
        (embed(json!({"title": "x", "url": "example.org"})), "embeds.0.url", "URL_TYPE_INVALID_URL"),
        (embed(json!({"title": "x", "timestamp": "yesterday"})), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
        (json!({"embeds": {"title": "x"}}), "embeds", "LIST_TYPE_CONVERT"),
    ])
    .await;
}

#[tokio::test]
async fn components_of_a_wrong_shape() {
    let (required, bad) = ("BASE_TYPE_REQUIRED", "BASE_TYPE_BAD_LENGTH");
    let at = "components.0.components.0";
    let six_rows: Vec<Value> = (0..6).map(|row| json!({"type": 1, "components": [button(&row.to_string())]})).collect();
    let options: Vec<Value> = (0..26).map(|number| json!({"label": "x", "value": number.to_string()})).collect();
    refuse(vec![
        (row(json!([])), "components.0.components", bad),
        (row(buttons(6)), "components.0.components", bad),
        (json!({"content": "x", "components": six_rows}), "components", bad),
        (json!({"content": "x", "components": [button("x")]}), "components.0.type", "BASE_TYPE_CHOICES"),
        (row(json!([button("")])), &format!("{at}.custom_id"), required),
        (row(json!([button(&"x".repeat(101))])), &format!("{at}.custom_id"), "BASE_TYPE_MAX_LENGTH"),
        (row(json!([button("a"), button("a")])), "components.0.components.1.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED"),
        (row(json!([{"type": 2, "style": 7, "label": "x", "custom_id": "x"}])), &format!("{at}.style"), "BASE_TYPE_CHOICES"),
        (row(json!([{"type": 2, "label": "x", "custom_id": "x"}])), &format!("{at}.style"), required),
        (row(json!([{"type": 2, "style": 1, "label": "x".repeat(81), "custom_id": "x"}])), &format!("{at}.label"), "BASE_TYPE_MAX_LENGTH"),
        (row(json!([{"type": 2, "style": 1, "custom_id": "x"}])), at, "BUTTON_COMPONENT_LABEL_REQUIRED"),
        (row(json!([{"type": 2, "style": 1, "label": "x"}])), &format!("{at}.custom_id"), required),
        (
            row(json!([{"type": 2, "style": 2, "label": "x", "custom_id": "x", "url": "https://x.org"}])),
            &format!("{at}.url"),
            "BUTTON_COMPONENT_URL_FORBIDDEN",
        ),
        (row(json!([{"type": 2, "style": 5, "label": "x"}])), at, "BUTTON_COMPONENT_URL_REQUIRED"),
        (
            row(json!([{"type": 2, "style": 5, "label": "x", "custom_id": "x", "url": "https://x.org"}])),
            at,
            "BUTTON_COMPONENT_CUSTOM_ID_FORBIDDEN",
        ),
        (row(json!([{"type": 2, "style": 6, "sku_id": "1"}])), at, "BUTTON_COMPONENT_INVALID_SKU"),
        (row(json!([{"type": 4, "custom_id": "x"}])), &format!("{at}.type"), "BASE_TYPE_CHOICES"),
        (row(json!([{"type": 3, "custom_id": "x", "options": options}])), &format!("{at}.options"), bad),
        (row(json!([{"type": 3, "custom_id": "x"}])), &format!("{at}.options"), required),
        (row(json!([{"type": 5, "custom_id": "x"}, button("y")])), at, "COMPONENT_LAYOUT_WIDTH_EXCEEDED"),
    ])
    .await;
}

#[tokio::test]
async fn components_that_are_good() {
    let rows: Vec<Value> = (0..5).map(|row| json!({"type": 1, "components": [button(&format!("{row:0100}"))]})).collect();
    let option = json!({"label": "x", "value": "x"});
    accept(vec![
        row(buttons(5)),
        json!({"content": "x", "components": rows}),
        row(json!([{"type": 2, "style": 5, "label": "x", "url": "https://x.org"}, {"type": 2, "style": 4, "emoji": {"name": "🟢"}, "custom_id": "x"}])),
        row(json!([{"type": 3, "custom_id": "x", "options": [option], "placeholder": "x"}])),
    ])
    .await;
}

#[tokio::test]
async fn mentions_that_contradict_themselves() {
    let allowed = |allowed: Value| json!({"content": "x", "allowed_mentions": allowed});
    refuse(vec![
        (allowed(json!({"parse": ["users"], "users": ["1"]})), "allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"),
        (allowed(json!({"parse": ["all"]})), "allowed_mentions.parse.0", "BASE_TYPE_CHOICES"),
        (allowed(json!({"users": vec!["1"; 101]})), "allowed_mentions.users", "BASE_TYPE_BAD_LENGTH"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_imitated_is_refused_aloud() {
    let discord = Discord::start();
    let (raw, channel) = (Raw::new(&discord), discord.channel("clankers"));
    for form in
        [json!({"content": "x", "flags": 1 << 15}), json!({"poll": {"question": "x"}}), json!({"content": "x", "attachments": [{"id": 0}]})]
    {
        let told = raw.send("POST", &format!("/channels/{channel}/messages"), form).await;
        assert_eq!(told.status, 501, "{}", told.body);
    }
    let said = discord.violations()[0].to_string();
    assert!(said.ends_with(": 501 0 the stand-in does not imitate Components V2"), "{said}");
}
