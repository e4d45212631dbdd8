//! An unmodified serenity against the stand-in, set up as the bot sets it up: TLS, the real name, its own rate limiter.

use std::sync::{Arc, Mutex, PoisonError};

use serenity::all::{
    AutocompleteChoice, ClientBuilder, Command, CommandOptionType, Context, CreateActionRow, CreateAutocompleteResponse, CreateButton,
    CreateCommand, CreateCommandOption, CreateInteractionResponse, CreateInteractionResponseMessage, EditInteractionResponse, EventHandler,
    GatewayIntents, Guild, HttpBuilder, Interaction, Message, Ready, ResumedEvent, ShardManager,
};
use serenity::async_trait;
use serenity::http::Http;

use super::raw::{self, PATIENCE};
use crate::discord::Discord;

/// What a client heard, a word each: `ready`, `guild`, `resumed`, or a message's text.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn add(&self, word: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(word.into());
    }

    /// How often a word was heard.
    pub fn count(&self, word: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|one| *one == word).count()
    }

    /// Waits until a word was heard so often.
    pub async fn wait(&self, word: &str, times: usize) {
        let begun = std::time::Instant::now();
        while self.count(word) < times {
            assert!(begun.elapsed() < PATIENCE, "waited for {word} ×{times}: {:?}", self.0);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// A bot that says "pong", and knows one slash command with a button behind it.
struct Bot(Heard);

#[async_trait]
impl EventHandler for Bot {
    async fn ready(&self, ctx: Context, _ready: Ready) {
        let vm = CreateCommandOption::new(CommandOptionType::String, "vm", "which").required(true).set_autocomplete(true);
        let made = Command::set_global_commands(&ctx.http, vec![CreateCommand::new("stop").description("stops it").add_option(vm)]).await;
        self.0.add(if made.is_ok_and(|made| made.len() == 1) { "ready" } else { "no command" });
    }

    async fn guild_create(&self, _ctx: Context, guild: Guild, _new: Option<bool>) {
        self.0.add(format!("guild of {} channels", guild.channels.len()));
    }

    async fn resume(&self, _ctx: Context, _event: ResumedEvent) {
        self.0.add("resumed");
    }

    async fn message(&self, ctx: Context, message: Message) {
        self.0.add(message.content.clone());
        if message.content == "!ping" {
            let sent = message.channel_id.say(&ctx.http, "pong").await;
            let edited = match sent {
                Ok(mut sent) => sent.edit(&ctx.http, serenity::all::EditMessage::new().content("pong!")).await,
                Err(error) => Err(error),
            };
            edited.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    async fn interaction_create(&self, ctx: Context, interaction: Interaction) {
        let done = match interaction {
            Interaction::Autocomplete(typed) => {
                let choices = vec![AutocompleteChoice::new("Minecraft", "mc")];
                let answer = CreateAutocompleteResponse::new().set_choices(choices);
                typed.create_response(&ctx.http, CreateInteractionResponse::Autocomplete(answer)).await
            }
            Interaction::Command(sent) => {
                let row = CreateActionRow::Buttons(vec![CreateButton::new("yes").label("Yes")]);
                match sent.defer(&ctx.http).await {
                    Ok(()) => {
                        sent.edit_response(&ctx.http, EditInteractionResponse::new().content("sure?").components(vec![row])).await.map(drop)
                    }
                    Err(error) => Err(error),
                }
            }
            Interaction::Component(pressed) => {
                let answer = CreateInteractionResponseMessage::new().content("stopped").components(Vec::new());
                pressed.create_response(&ctx.http, CreateInteractionResponse::UpdateMessage(answer)).await
            }
            _ => Ok(()),
        };
        done.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A client of serenity with its own way over the loopback.
pub fn serenity_http(discord: &Discord, token: &str) -> Http {
    HttpBuilder::new(token).client(raw::http(discord).build().expect("the client is good")).build()
}

/// Intents of the bot.
pub fn intents() -> GatewayIntents {
    GatewayIntents::GUILDS | GatewayIntents::GUILD_MESSAGES | GatewayIntents::DIRECT_MESSAGES | GatewayIntents::MESSAGE_CONTENT
}

/// A client that runs; ended when it is dropped.
pub struct Running {
    pub heard: Heard,
    pub task: tokio::task::JoinHandle<serenity::Result<()>>,
    shards: Arc<ShardManager>,
}

impl Running {
    /// Starts one that shows this token.
    pub async fn start(discord: &Discord, token: &str) -> Self {
        let heard = Heard::default();
        let http = serenity_http(discord, token);
        let client = ClientBuilder::new_with_http(http, intents()).event_handler(Bot(heard.clone())).await;
        let mut client = client.expect("a client can be made of good parts");
        let shards = Arc::clone(&client.shard_manager);
        let task = tokio::spawn(async move { client.start().await });
        Self { heard, task, shards }
    }

    /// Says goodbye to the gateway and ends.
    pub async fn end(self) {
        self.shards.shutdown_all().await;
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not panic").expect("it ends well");
    }
}

#[tokio::test]
async fn it_hears_and_answers() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let bot = Running::start(&discord, discord.token()).await;
    bot.heard.wait("guild of 1 channels", 1).await;
    discord.say(tom, channel, "!ping");
    let find = |messages: &[crate::discord::Message]| messages.iter().find(|message| message.text() == "pong!").cloned();
    let answer = discord.wait_for(channel, PATIENCE, find).await;
    assert_eq!((answer.author, answer.versions.len()), (discord.bot(), 2));
    // What it wrote comes back to it.
    bot.heard.wait("pong", 1).await;
    bot.end().await;
    assert!(discord.violations().is_empty(), "{}", discord.story());
    assert_eq!(discord.seen_tokens().into_iter().collect::<Vec<_>>(), [discord.token()]);
    assert_eq!((discord.identifies().len(), discord.resumes(), discord.invalid_requests()), (1, 0, 0));
}

#[tokio::test]
async fn it_completes_and_runs_a_command_and_takes_a_press() {
    let discord = Discord::start();
    let (channel, tom) = (discord.channel("clankers"), discord.user("tom", &[]));
    let bot = Running::start(&discord, discord.token()).await;
    discord.wait_command("stop", PATIENCE).await;
    let typed = discord.autocomplete(tom, channel, "stop", (&[("vm", serde_json::json!("m"))], "vm"));
    assert_eq!(typed.choices().await, [("Minecraft".to_owned(), serde_json::json!("mc"))]);
    let asked = discord.slash(tom, channel, "stop", &[("vm", serde_json::json!("mc"))]);
    let message = asked.wait(PATIENCE, |message| message.text() == "sure?").await;
    assert_eq!(message.buttons().len(), 1);
    let pressed = discord.press(tom, message.id, "yes");
    pressed.wait(PATIENCE, |message| message.text() == "stopped" && message.buttons().is_empty()).await;
    bot.end().await;
    assert!(discord.violations().is_empty(), "{}", discord.story());
}

#[tokio::test]
async fn it_waits_when_it_is_told_to() {
    let discord = Discord::start();
    discord.rate(2, std::time::Duration::from_secs(1));
    let channel = serenity::all::ChannelId::new(discord.channel("clankers"));
    let http = serenity_http(&discord, discord.token());
    for number in 0..5 {
        channel.say(&http, number.to_string()).await.expect("the limiter waits");
    }
    assert!(discord.limited().is_empty(), "by the headers alone: {:?}", discord.limited());
    discord.random_429(11, 0.5);
    for number in 5..12 {
        channel.say(&http, number.to_string()).await.expect("a refusal is tried again");
    }
    assert!(discord.limited().iter().filter(|limited| limited.injected).count() > 2);
    let texts: Vec<String> = discord.messages(channel.get()).iter().map(crate::discord::Message::text).collect();
    assert_eq!(texts, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(discord.violations().is_empty());
}
