//! Discord, as far as a chat needs it: requests over serenity's client, with its rate limiter, and its refusals as words of chat.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use pmx::ops::chat::Clock;
use serde_json::{Value as Json, json};
use serenity::http::{Http, HttpBuilder, HttpError, LightMethod, Request, Route as Path};
use serenity::model::application::Command;
use serenity::model::id::{ChannelId, GuildId, InteractionId, MessageId};

use crate::chat::{Ask, Card, Chat, ChatError, Doing, Heard, Posted, Route, Tone};
use crate::command::Entry;
use crate::environment::Settings;

/// How long an interaction's own address is used: less than the fifteen minutes that it works.
const OPEN: Duration = Duration::from_secs(14 * 60);
/// How long one request may take; serenity waits for rate limits outside of it.
const REQUEST: Duration = Duration::from_secs(20);
/// Only whoever asked sees it.
const EPHEMERAL: u64 = 64;

/// Requests to Discord.
pub struct Discord {
    /// The client.
    pub http: Http,
    clock: Arc<dyn Clock>,
}

/// A client with serenity's rate limiter. With another Discord no name but `discord.com` is resolved, and that to a loopback address.
pub fn client(settings: &Settings) -> Result<Http, String> {
    let mut builder = reqwest::Client::builder().use_rustls_tls().timeout(REQUEST).connect_timeout(Duration::from_secs(10));
    if let Some(elsewhere) = &settings.elsewhere {
        let authority = reqwest::Certificate::from_pem(&elsewhere.authority).map_err(|error| format!("PMX_DISCORD_CA: {error}"))?;
        builder = builder
            .no_proxy()
            .tls_built_in_root_certs(false)
            .add_root_certificate(authority)
            .dns_resolver(Arc::new(Nowhere))
            .resolve("discord.com", elsewhere.at);
    }
    let client = builder.build().map_err(|error| format!("no HTTPS client: {}", error.without_url()))?;
    Ok(HttpBuilder::new(settings.token.expose()).client(client).build())
}

/// Resolves nothing.
struct Nowhere;

impl reqwest::dns::Resolve for Nowhere {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let refusal = format!("{} is not resolved while PMX_DISCORD_AT is set", name.as_str());
        Box::pin(async move { Err(refusal.into()) })
    }
}

impl Discord {
    /// Requests through `http`.
    pub fn new(http: Http, clock: Arc<dyn Clock>) -> Self {
        Self { http, clock }
    }

    /// The application's id and its flags. Only these are read: serenity's own reader fails at fields of it that are null.
    pub async fn application(&self) -> Result<(NonZeroU64, Option<u64>), ChatError> {
        let request = Request::new(Path::Oauth2ApplicationCurrent, LightMethod::Get);
        let told: Json = self.http.fire(request).await.map_err(|e| refused(&e))?;
        let id = told["id"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| ChatError::Refused("Discord did not tell the application's id".to_owned()))?;
        Ok((id, told["flags"].as_u64()))
    }

    /// Makes the commands of a server those of `entries`, if they are not; Discord counts changes.
    pub async fn register(&self, guild: u64, entries: &[Entry]) -> Result<bool, ChatError> {
        let guild = GuildId::new(guild);
        let there = self.http.get_guild_commands(guild).await.map_err(|e| refused(&e))?;
        let wanted: Vec<Json> = entries.iter().map(wanted).collect();
        let mut known: Vec<Json> = there.iter().map(known).collect();
        let mut sorted = wanted.clone();
        let name = |command: &Json| command["name"].as_str().unwrap_or_default().to_owned();
        known.sort_by_key(name);
        sorted.sort_by_key(name);
        if known == sorted {
            return Ok(false);
        }
        self.http.create_guild_commands(guild, &wanted).await.map(|_| true).map_err(|e| refused(&e))
    }

    async fn respond(&self, route: &Route, response: &Json) -> Result<(), ChatError> {
        let Route::Interaction { id, token } = route else { return Ok(()) };
        let id = InteractionId::new(*id);
        self.http.create_interaction_response(id, token.expose(), response, Vec::new()).await.map_err(|e| refused(&e))
    }
}

fn wanted(entry: &Entry) -> Json {
    let options = if entry.vm {
        json!([{ "type": 3, "name": "vm", "description": "Which one", "required": true, "autocomplete": true }])
    } else {
        json!([])
    };
    json!({ "type": 1, "name": entry.name, "description": entry.about, "options": options })
}

fn known(command: &Command) -> Json {
    let option = |option: &serenity::model::application::CommandOption| {
        json!({
            "type": u8::from(option.kind), "name": option.name, "description": option.description,
            "required": option.required, "autocomplete": option.autocomplete,
        })
    };
    let options: Vec<Json> = command.options.iter().map(option).collect();
    json!({ "type": 1, "name": command.name, "description": command.description, "options": options })
}

/// A card as the body of a message. Nobody is ever mentioned by it.
fn body(card: &Card) -> Json {
    let colour = match card.tone {
        Tone::Busy => 0x34_98_db,
        Tone::Good => 0x2e_cc_71,
        Tone::Bad => 0xe7_4c_3c,
        Tone::Open => 0xf1_c4_0f,
    };
    let mut embed = json!({ "title": card.title, "description": card.body, "color": colour });
    if !card.footer.is_empty() {
        embed["footer"] = json!({ "text": card.footer });
    }
    let button = |button: &crate::chat::Button| json!({ "type": 2, "style": if button.danger { 4 } else { 2 }, "label": button.label, "custom_id": button.id });
    let row: Vec<Json> = card.buttons.iter().map(button).collect();
    let components = if row.is_empty() { json!([]) } else { json!([{ "type": 1, "components": row }]) };
    json!({ "embeds": [embed], "components": components, "allowed_mentions": { "parse": [] } })
}

impl Chat for Discord {
    fn defer<'a>(&'a self, heard: &'a Heard) -> Doing<'a, ()> {
        let kind = if matches!(heard.ask, Ask::Press { .. }) { 6 } else { 5 };
        Box::pin(async move { self.respond(&heard.route, &json!({ "type": kind })).await })
    }

    fn whisper<'a>(&'a self, heard: &'a Heard, card: &'a Card) -> Doing<'a, ()> {
        Box::pin(async move {
            let mut data = body(card);
            match &heard.route {
                Route::Interaction { .. } => {
                    data["flags"] = json!(EPHEMERAL);
                    self.respond(&heard.route, &json!({ "type": 4, "data": data })).await
                }
                Route::Message { .. } => self.answer(heard, card).await.map(drop),
            }
        })
    }

    fn answer<'a>(&'a self, heard: &'a Heard, card: &'a Card) -> Doing<'a, Posted> {
        Box::pin(async move {
            let mut data = body(card);
            match &heard.route {
                Route::Message { message } => {
                    data["message_reference"] = json!({ "message_id": message.to_string(), "fail_if_not_exists": false });
                    data["nonce"] = json!(message.to_string());
                    data["enforce_nonce"] = json!(true);
                    let sent =
                        self.http.send_message(ChannelId::new(heard.spot.channel), Vec::new(), &data).await.map_err(|e| refused(&e))?;
                    Ok(Posted { channel: sent.channel_id.get(), message: sent.id.get(), token: None })
                }
                Route::Interaction { token, .. } => {
                    let edited =
                        self.http.edit_original_interaction_response(token.expose(), &data, Vec::new()).await.map_err(|e| refused(&e))?;
                    let until = heard.at.plus(OPEN);
                    Ok(Posted { channel: edited.channel_id.get(), message: edited.id.get(), token: Some((token.clone(), until)) })
                }
            }
        })
    }

    fn post<'a>(&'a self, channel: u64, nonce: &'a str, card: &'a Card) -> Doing<'a, Posted> {
        Box::pin(async move {
            let mut data = body(card);
            data["nonce"] = json!(nonce);
            data["enforce_nonce"] = json!(true);
            let sent = self.http.send_message(ChannelId::new(channel), Vec::new(), &data).await.map_err(|e| refused(&e))?;
            Ok(Posted { channel, message: sent.id.get(), token: None })
        })
    }

    fn edit<'a>(&'a self, posted: &'a Posted, card: &'a Card) -> Doing<'a, ()> {
        Box::pin(async move {
            let data = body(card);
            if let Some((token, _)) = posted.token.as_ref().filter(|(_, until)| self.clock.now() < *until) {
                match self.http.edit_original_interaction_response(token.expose(), &data, Vec::new()).await.map_err(|e| refused(&e)) {
                    Ok(_) => return Ok(()),
                    // The interaction is over sooner than it should be: the channel knows the message too.
                    Err(ChatError::Late(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            let (channel, message) = (ChannelId::new(posted.channel), MessageId::new(posted.message));
            self.http.edit_message(channel, message, &data, Vec::new()).await.map(drop).map_err(|e| refused(&e))
        })
    }

    fn choices<'a>(&'a self, heard: &'a Heard, choices: &'a [String]) -> Doing<'a, ()> {
        let choices: Vec<Json> = choices.iter().map(|choice| json!({ "name": choice, "value": choice })).collect();
        Box::pin(async move { self.respond(&heard.route, &json!({ "type": 8, "data": { "choices": choices } })).await })
    }
}

/// What a refusal means. Neither addresses nor bodies are told: both may hold a token.
pub fn refused(error: &serenity::Error) -> ChatError {
    let serenity::Error::Http(error) = error else { return ChatError::Passing(format!("Discord's answer could not be read: {error}")) };
    match error {
        HttpError::UnsuccessfulRequest(response) => {
            let (status, code) = (response.status_code.as_u16(), response.error.code);
            let fields = response.error.errors.iter().map(|one| format!("; {}: {}", one.path, one.message)).collect::<String>();
            let told = format!("Discord said {status} (code {code}): {}{fields}", response.error.message);
            match code {
                10008 => ChatError::Gone,
                10062 | 40060 | 50027 | 10015 => ChatError::Late(told),
                _ if status == 429 || status >= 500 => ChatError::Passing(told),
                _ => ChatError::Refused(told),
            }
        }
        HttpError::Request(error) => {
            let what = if error.is_timeout() {
                "did not answer in time"
            } else if error.is_connect() {
                "could not be reached"
            } else {
                "broke the connection"
            };
            ChatError::Passing(format!("Discord {what}"))
        }
        other => ChatError::Refused(format!("the request could not be made: {other}")),
    }
}
