//! The gateway: serenity's client in a life of its own, which can be ended whatever it is doing, and what it hears as words of chat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pmx::ops::chat::Clock;
use serenity::all::{
    ChannelId, ClientBuilder, CommandDataOptionValue, ConnectionStage, Context, EventHandler, GatewayIntents, Guild, GuildChannel, GuildId,
    Interaction, Member, Message, PartialGuild, Ready, Role as DiscordRole, RoleId, UnavailableGuild,
};
use serenity::async_trait;
use serenity::http::Http;
use tokio::sync::{mpsc, oneshot};

use crate::chat::{Ask, Heard, Role, Route, Spot, Token, Who};

/// What the gateway tells.
pub enum Signal {
    /// Somebody did something.
    Heard(Heard),
    /// A session began: whatever was said before it may have been missed.
    Ready {
        /// The bot's own user id.
        me: u64,
    },
    /// The bot is in this server.
    Guild(u64),
    /// Whether a session stands; told every second.
    Standing(bool),
}

/// Names by id.
type ById = HashMap<u64, String>;

/// Names of channels and roles, by server.
#[derive(Default)]
struct Names {
    guilds: HashMap<u64, (ById, ById)>,
}

/// What serenity tells of, handed on.
pub struct Ear {
    signals: mpsc::Sender<Signal>,
    clock: Arc<dyn Clock>,
    names: Mutex<Names>,
}

impl Ear {
    /// An ear that hands on to `signals`.
    pub fn new(signals: mpsc::Sender<Signal>, clock: Arc<dyn Clock>) -> Self {
        Self { signals, clock, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spot(&self, guild: Option<GuildId>, channel: ChannelId) -> Spot {
        let names = self.names();
        let name = guild.and_then(|guild| names.guilds.get(&guild.get())?.0.get(&channel.get()).cloned());
        Spot { guild: guild.map(GuildId::get), guilds: names.guilds.len(), channel: channel.get(), name }
    }

    fn who(&self, guild: Option<GuildId>, (id, name): (u64, &str), roles: &[RoleId]) -> Who {
        let names = self.names();
        let known = guild.and_then(|guild| names.guilds.get(&guild.get()));
        let role = |id: &RoleId| Role { id: id.get(), name: known.and_then(|known| known.1.get(&id.get()).cloned()).unwrap_or_default() };
        Who { id, name: name.to_owned(), roles: roles.iter().map(role).collect() }
    }

    /// The channel of that id or name, if exactly one has it.
    pub fn channel(&self, wanted: &str) -> Option<(u64, u64)> {
        let names = self.names();
        let fits =
            |id: u64, name: &str| wanted.parse::<u64>().map_or_else(|_| name == wanted.trim_start_matches('#'), |wanted| wanted == id);
        let mut found = names.guilds.iter().flat_map(|(guild, (channels, _))| channels.iter().map(move |(id, name)| (*guild, *id, name)));
        let mut found = found.by_ref().filter(|(_, id, name)| fits(*id, name));
        match (found.next(), found.next()) {
            (Some((guild, id, _)), None) => Some((guild, id)),
            _ => None,
        }
    }

    /// The servers that the bot is in.
    pub fn guilds(&self) -> Vec<u64> {
        self.names().guilds.keys().copied().collect()
    }

    async fn tell(&self, signal: Signal) {
        // Nobody listens when the bot goes down.
        let _ = self.signals.send(signal).await;
    }

    fn interaction(&self, interaction: Interaction) -> Option<Heard> {
        let at = self.clock.now();
        let roles = |member: Option<&Member>| member.map(|member| member.roles.clone()).unwrap_or_default();
        match interaction {
            Interaction::Command(command) | Interaction::Autocomplete(command) => {
                let typing = command.data.autocomplete().map(|option| option.value.to_owned());
                let vm = command.data.options.iter().find(|option| option.name == "vm").and_then(|option| match &option.value {
                    CommandDataOptionValue::String(text) => Some(text.clone()),
                    _ => None,
                });
                let name = command.data.name.clone();
                let ask = match typing {
                    Some(typed) => Ask::Typing { name, typed },
                    None => Ask::Command { name, vm },
                };
                Some(Heard {
                    id: command.id.get(),
                    at,
                    who: self.who(command.guild_id, (command.user.id.get(), &command.user.name), &roles(command.member.as_deref())),
                    spot: self.spot(command.guild_id, command.channel_id),
                    ask,
                    route: Route::Interaction { id: command.id.get(), token: Token::new(&command.token) },
                })
            }
            Interaction::Component(press) => Some(Heard {
                id: press.id.get(),
                at,
                who: self.who(press.guild_id, (press.user.id.get(), &press.user.name), &roles(press.member.as_ref())),
                spot: self.spot(press.guild_id, press.channel_id),
                ask: Ask::Press { button: press.data.custom_id.clone(), message: press.message.id.get() },
                route: Route::Interaction { id: press.id.get(), token: Token::new(&press.token) },
            }),
            _ => None,
        }
    }
}

#[async_trait]
impl EventHandler for Ear {
    async fn ready(&self, _: Context, ready: Ready) {
        self.tell(Signal::Ready { me: ready.user.id.get() }).await;
    }

    async fn guild_create(&self, _: Context, guild: Guild, _: Option<bool>) {
        let channels = guild.channels.iter().map(|(id, channel)| (id.get(), channel.name.clone())).collect();
        let roles = guild.roles.iter().map(|(id, role)| (id.get(), role.name.clone())).collect();
        self.names().guilds.insert(guild.id.get(), (channels, roles));
        self.tell(Signal::Guild(guild.id.get())).await;
    }

    async fn guild_update(&self, _: Context, _: Option<Guild>, guild: PartialGuild) {
        if let Some(known) = self.names().guilds.get_mut(&guild.id.get()) {
            known.1 = guild.roles.iter().map(|(id, role)| (id.get(), role.name.clone())).collect();
        }
    }

    async fn guild_delete(&self, _: Context, guild: UnavailableGuild, _: Option<Guild>) {
        // An outage is not a farewell.
        if !guild.unavailable {
            self.names().guilds.remove(&guild.id.get());
        }
    }

    async fn channel_create(&self, _: Context, channel: GuildChannel) {
        if let Some(known) = self.names().guilds.get_mut(&channel.guild_id.get()) {
            known.0.insert(channel.id.get(), channel.name);
        }
    }

    async fn channel_update(&self, ctx: Context, _: Option<GuildChannel>, channel: GuildChannel) {
        self.channel_create(ctx, channel).await;
    }

    async fn channel_delete(&self, _: Context, channel: GuildChannel, _: Option<Vec<Message>>) {
        if let Some(known) = self.names().guilds.get_mut(&channel.guild_id.get()) {
            known.0.remove(&channel.id.get());
        }
    }

    async fn guild_role_create(&self, _: Context, role: DiscordRole) {
        if let Some(known) = self.names().guilds.get_mut(&role.guild_id.get()) {
            known.1.insert(role.id.get(), role.name);
        }
    }

    async fn guild_role_update(&self, ctx: Context, _: Option<DiscordRole>, role: DiscordRole) {
        self.guild_role_create(ctx, role).await;
    }

    async fn guild_role_delete(&self, _: Context, guild: GuildId, role: RoleId, _: Option<DiscordRole>) {
        if let Some(known) = self.names().guilds.get_mut(&guild.get()) {
            known.1.remove(&role.get());
        }
    }

    async fn message(&self, _: Context, message: Message) {
        if message.author.bot || message.webhook_id.is_some() {
            return;
        }
        let roles = message.member.as_ref().map(|member| member.roles.clone()).unwrap_or_default();
        let heard = Heard {
            id: message.id.get(),
            at: self.clock.now(),
            who: self.who(message.guild_id, (message.author.id.get(), &message.author.name), &roles),
            spot: self.spot(message.guild_id, message.channel_id),
            ask: Ask::Said(message.content),
            route: Route::Message { message: message.id.get() },
        };
        self.tell(Signal::Heard(heard)).await;
    }

    async fn interaction_create(&self, _: Context, interaction: Interaction) {
        if let Some(heard) = self.interaction(interaction) {
            self.tell(Signal::Heard(heard)).await;
        }
    }
}

/// Why a life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Close 4004: the token is no good.
    Token,
    /// Close 4013 or 4014: the application may not have these intents.
    Intents,
    /// Anything else.
    Other(String),
}

/// How often the session is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// One life of the client, on a thread and a runtime of its own: dropping it ends all that serenity left running, also between two connections, where its
/// own shutdown does nothing.
pub struct Life {
    /// Its end.
    pub ended: oneshot::Receiver<Ended>,
    _end: oneshot::Sender<()>,
}

impl Life {
    /// Begins one at the gateway `url`.
    pub fn begin(http: Http, intents: GatewayIntents, ear: Arc<Ear>, url: String) -> Self {
        let (tell, ended) = oneshot::channel();
        let (end, mut asked) = oneshot::channel::<()>();
        let watching = Arc::clone(&ear);
        let live = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let why = runtime.block_on(async {
                let built = ClientBuilder::new_with_http(http, intents).event_handler_arc(ear);
                let mut client = match built.await {
                    Ok(client) => client,
                    Err(error) => return reason(&error),
                };
                *client.ws_url.lock().await = url;
                let shards = Arc::clone(&client.shard_manager);
                let look = async {
                    loop {
                        watching.clock.sleep(LOOK).await;
                        let standing = shards.runners.lock().await.values().any(|runner| runner.stage == ConnectionStage::Connected);
                        watching.tell(Signal::Standing(standing)).await;
                    }
                };
                tokio::select! {
                    result = client.start() => result.map_or_else(|error| reason(&error), |()| Ended::Other("it ended by itself".to_owned())),
                    () = look => Ended::Other("nobody looks any more".to_owned()),
                    _ = &mut asked => Ended::Other("it was told to".to_owned()),
                }
            });
            runtime.shutdown_background();
            let _ = tell.send(why);
        };
        std::thread::spawn(live);
        Self { ended, _end: end }
    }
}

fn reason(error: &serenity::Error) -> Ended {
    use serenity::gateway::GatewayError;
    match error {
        serenity::Error::Gateway(GatewayError::InvalidAuthentication) => Ended::Token,
        serenity::Error::Gateway(GatewayError::InvalidGatewayIntents | GatewayError::DisallowedGatewayIntents) => Ended::Intents,
        other => Ended::Other(crate::discord::refused(other).to_string()),
    }
}

/// How long a session may be on its way: serenity sends an IDENTIFY every five seconds meanwhile, and counts none.
const PATIENCE: Duration = Duration::from_secs(25);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(600);

/// Patience with a gateway that lets nobody in. Discord resets a token after 1000 IDENTIFYs in a day.
#[derive(Debug, Default)]
pub struct Patience {
    since: Option<Duration>,
    pauses: u32,
}

impl Patience {
    /// How it stands now, at a moment of a clock that only goes forward; how long to stay away, if it is time for that.
    pub fn look(&mut self, connected: bool, now: Duration) -> Option<Duration> {
        if connected {
            *self = Self::default();
            return None;
        }
        let since = *self.since.get_or_insert(now);
        (now.saturating_sub(since) >= PATIENCE).then(|| self.pause())
    }

    /// A life ended; how long to wait before the next.
    pub fn pause(&mut self) -> Duration {
        self.since = None;
        self.pauses += 1;
        Duration::from_secs(10 << (self.pauses - 1).min(6)).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifies_are_bounded() {
        let mut patience = Patience::default();
        let (mut now, mut sent) = (0, 0);
        while now < 86_400 {
            // One every five seconds.
            sent += u64::from(now % 5 == 0);
            now += 1;
            now += patience.look(false, Duration::from_secs(now)).map_or(0, |pause| pause.as_secs());
        }
        assert!(sent < 1000, "{sent} IDENTIFYs in a day of failures");
        assert!(sent > 100, "it does not give up either: {sent}");
    }

    #[test]
    fn a_short_gap_is_serenitys_business() {
        let mut patience = Patience::default();
        for now in 0..600 {
            assert_eq!(patience.look(now % 20 == 0, Duration::from_secs(now)), None);
        }
        assert_eq!((patience.pause(), patience.pause()), (Duration::from_secs(10), Duration::from_secs(20)));
        patience.look(true, Duration::from_secs(700));
        assert_eq!(patience.pause(), Duration::from_secs(10), "a session that stood begins anew");
    }
}
