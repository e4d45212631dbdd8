//! What a message may hold: lengths, numbers and shapes of content, embeds and components.

use std::collections::BTreeSet;

use serde_json::Value;

use super::form::Faults;
use super::refusal::Refusal;

/// Characters that all embeds of a message have together.
const EMBEDS: usize = 6000;

/// Judges what a message is made of. Whether it is empty is another question: an edit may leave most of it out.
pub fn message(form: &Value) -> Result<(), Refusal> {
    if form["flags"].as_u64().is_some_and(|flags| flags & (1 << 15) != 0) {
        return Err(Refusal::not_imitated("Components V2"));
    }
    for (key, what) in [("poll", "polls"), ("sticker_ids", "stickers"), ("attachments", "uploads")] {
        if !form[key].is_null() && form[key] != Value::Array(Vec::new()) {
            return Err(Refusal::not_imitated(what));
        }
    }
    let mut faults = Faults::default();
    faults.text(form, "content", 0..=2000);
    embeds(&mut faults, form);
    components(&mut faults, form);
    mentions(&mut faults, form);
    match &form["nonce"] {
        Value::Null | Value::Number(_) => {}
        _ => drop(faults.text(form, "nonce", 0..=25)),
    }
    faults.end()
}

fn embeds(faults: &mut Faults, form: &Value) {
    let embeds = faults.list(form, "embeds", 10);
    let mut together = 0;
    for (index, embed) in embeds.iter().enumerate() {
        together += embed_at(faults, embed, &format!("embeds.{index}"));
    }
    if together > EMBEDS {
        let last = format!("embeds.{}", embeds.len() - 1);
        faults.add(&last, "MAX_EMBED_SIZE_EXCEEDED", format!("Embed size exceeds maximum size of {EMBEDS}"));
    }
}

/// Judges one embed; returns how many characters of it count.
fn embed_at(faults: &mut Faults, embed: &Value, at: &str) -> usize {
    let mut counted = 0;
    let mut count = |text: Option<&str>| counted += text.map_or(0, |text| text.chars().count());
    count(faults.text(embed, &format!("{at}.title"), 0..=256));
    count(faults.text(embed, &format!("{at}.description"), 0..=4096));
    if !embed["footer"].is_null() {
        count(faults.needed(&embed["footer"], &format!("{at}.footer.text"), 1..=2048));
    }
    if !embed["author"].is_null() {
        count(faults.needed(&embed["author"], &format!("{at}.author.name"), 1..=256));
    }
    for (index, field) in faults.list(embed, &format!("{at}.fields"), 25).iter().enumerate() {
        count(faults.needed(field, &format!("{at}.fields.{index}.name"), 1..=256));
        count(faults.needed(field, &format!("{at}.fields.{index}.value"), 1..=1024));
    }
    faults.address(embed, &format!("{at}.url"));
    faults.number(embed, &format!("{at}.color"), 0..=0xFF_FFFF);
    if let Some(time) = faults.text(embed, &format!("{at}.timestamp"), 1..=64)
        && time.parse::<jiff::Timestamp>().is_err()
    {
        faults.add(&format!("{at}.timestamp"), "DATE_TIME_TYPE_PARSE", format!("Could not parse {time}. Should be ISO8601."));
    }
    let filled = |key: &&str| match &embed[*key] {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    };
    if !["title", "description", "fields", "footer", "author", "image", "thumbnail"].iter().any(filled) {
        faults.required(&format!("{at}.description"));
    }
    counted
}

fn components(faults: &mut Faults, form: &Value) {
    let mut seen = BTreeSet::new();
    for (index, row) in faults.list(form, "components", 5).iter().enumerate() {
        let at = format!("components.{index}");
        if row["type"] != 1 {
            faults.add(&format!("{at}.type"), "BASE_TYPE_CHOICES", "Value must be one of (1,).");
            continue;
        }
        let inner = faults.list(row, &format!("{at}.components"), 5);
        if inner.is_empty() {
            faults.add(&format!("{at}.components"), "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.");
        }
        for (index, component) in inner.iter().enumerate() {
            let at = format!("{at}.components.{index}");
            match component["type"].as_u64() {
                Some(2) => button(faults, component, &at),
                Some(3 | 5..=8) => select(faults, component, &at, inner.len()),
                _ => faults.add(&format!("{at}.type"), "BASE_TYPE_CHOICES", "Value must be one of (2, 3, 5, 6, 7, 8)."),
            }
            if let Some(id) = component["custom_id"].as_str()
                && !seen.insert(id)
            {
                faults.add(&format!("{at}.custom_id"), "COMPONENT_CUSTOM_ID_DUPLICATED", "Component custom id cannot be duplicated");
            }
        }
    }
}

fn button(faults: &mut Faults, button: &Value, at: &str) {
    if button["style"].is_null() {
        faults.required(&format!("{at}.style"));
    }
    let style = faults.number(button, &format!("{at}.style"), 1..=6);
    faults.text(button, &format!("{at}.label"), 0..=80);
    let labelled = button["label"].as_str().is_some_and(|label| !label.is_empty()) || !button["emoji"].is_null();
    match style {
        Some(1..=4) => {
            faults.needed(button, &format!("{at}.custom_id"), 1..=100);
            if !button["url"].is_null() {
                faults.add(&format!("{at}.url"), "BUTTON_COMPONENT_URL_FORBIDDEN", "A custom id button cannot have a url");
            }
            if !labelled {
                faults.add(at, "BUTTON_COMPONENT_LABEL_REQUIRED", "A button must have a label or an emoji");
            }
        }
        Some(5) => {
            if button["url"].is_null() {
                faults.add(at, "BUTTON_COMPONENT_URL_REQUIRED", "A url is required for this button");
            }
            if !button["custom_id"].is_null() {
                faults.add(at, "BUTTON_COMPONENT_CUSTOM_ID_FORBIDDEN", "A custom id and url cannot both be specified");
            }
            faults.address(button, &format!("{at}.url"));
        }
        Some(_) => faults.add(at, "BUTTON_COMPONENT_INVALID_SKU", "This application sells nothing"),
        None => {}
    }
}

fn select(faults: &mut Faults, select: &Value, at: &str, beside: usize) {
    if beside > 1 {
        faults.add(at, "COMPONENT_LAYOUT_WIDTH_EXCEEDED", "The layout of this row is wider than five");
    }
    faults.needed(select, &format!("{at}.custom_id"), 1..=100);
    faults.text(select, &format!("{at}.placeholder"), 0..=150);
    let options = faults.list(select, &format!("{at}.options"), 25);
    if select["type"] == 3 && options.is_empty() {
        faults.required(&format!("{at}.options"));
    }
    let mut seen = BTreeSet::new();
    for (index, option) in options.iter().enumerate() {
        let at = format!("{at}.options.{index}");
        faults.needed(option, &format!("{at}.label"), 1..=100);
        faults.text(option, &format!("{at}.description"), 0..=100);
        if let Some(value) = faults.needed(option, &format!("{at}.value"), 1..=100)
            && !seen.insert(value)
        {
            faults.add(&format!("{at}.value"), "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", "The specified option value is already used");
        }
    }
}

fn mentions(faults: &mut Faults, form: &Value) {
    let allowed = &form["allowed_mentions"];
    for (index, kind) in faults.list(allowed, "allowed_mentions.parse", 3).iter().enumerate() {
        let Some(kind) = kind.as_str().filter(|kind| ["users", "roles", "everyone"].contains(kind)) else {
            let at = format!("allowed_mentions.parse.{index}");
            faults.add(&at, "BASE_TYPE_CHOICES", "Value must be one of ('users', 'roles', 'everyone').");
            continue;
        };
        if allowed[kind].as_array().is_some_and(|listed| !listed.is_empty()) {
            let message = format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive.");
            faults.add("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message);
        }
    }
    for key in ["users", "roles"] {
        faults.list(allowed, &format!("allowed_mentions.{key}"), 100);
    }
}
