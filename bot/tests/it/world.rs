//! A world for the bot: a Discord with a channel, a role and friends, a practice fleet, and the real program between them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;

use crate::discord::{Asked, ChannelId, Discord, Message, MessageId, RoleId, UserId};
use crate::fleet::Fleet;
use crate::sandbox::{Running, Sandbox};

/// How long a test waits for anything: machines that test are slow now and then.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Everything a bot needs.
pub struct World {
    /// Discord.
    pub discord: Discord,
    /// The fleet, with its project.
    pub fleet: Fleet,
    /// `#clankers`.
    pub channel: ChannelId,
    /// `homie`.
    pub homie: RoleId,
    runtime: Runtime,
}

impl World {
    /// A world whose fleet runs. The bot does not yet.
    pub fn new() -> Self {
        Self::of(|sandbox| sandbox)
    }

    /// The same with a project that is arranged before.
    pub fn of(arrange: impl FnOnce(Sandbox) -> Sandbox) -> Self {
        let world = Self::asleep(arrange);
        world.fleet.wake();
        world
    }

    /// The same without a fleet that runs.
    pub fn asleep(arrange: impl FnOnce(Sandbox) -> Sandbox) -> Self {
        let discord = Discord::start();
        let (channel, homie) = (discord.channel("clankers"), discord.role("homie"));
        let sandbox = Sandbox::own()
            .env("DISCORD_TOKEN", discord.token())
            .env("PMX_DISCORD_AT", &discord.rest_at().to_string())
            .env("PMX_DISCORD_CA", &discord.ca_file().display().to_string())
            .replace("Pmxfile.toml", "prefix = \"!\"\n", "prefix = \"!\"\ncooldown = \"0s\"\n");
        let mut fleet = Fleet::of(arrange(sandbox));
        // A bot lives as long as its test; commands have deadlines of their own.
        fleet.sandbox = fleet.sandbox.deadline(Duration::from_secs(600));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime can be made");
        Self { discord, fleet, channel, homie, runtime }
    }

    /// Replaces a text of the Pmxfile, for what the fleet has arranged already.
    pub fn amend(&self, old: &str, new: &str) {
        let text = self.fleet.sandbox.read("Pmxfile.toml");
        assert!(text.contains(old), "the Pmxfile does not hold `{old}`:\n{text}");
        std::fs::write(self.fleet.sandbox.path("Pmxfile.toml"), text.replace(old, new)).expect("the Pmxfile can be written");
    }

    /// Starts the bot and returns at once.
    pub fn start(&self) -> Running<'_> {
        self.fleet.sandbox.start_program(env!("CARGO_BIN_EXE_pmx-bot"), &["--profile", "lab"])
    }

    /// Starts the bot and waits until it listens.
    pub fn bot(&self) -> Running<'_> {
        let mut bot = self.start();
        bot.wait_for("connected");
        self.wait(self.discord.connected(PATIENCE));
        self.wait(self.discord.wait_command("help", PATIENCE));
        bot
    }

    /// Waits for something of Discord's.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Somebody with the role.
    pub fn friend(&self, name: &str) -> UserId {
        self.discord.user(name, &[self.homie])
    }

    /// Says something in the channel.
    pub fn say(&self, user: UserId, text: &str) -> MessageId {
        self.discord.say(user, self.channel, text)
    }

    /// Waits until the answer to a message is as wanted.
    pub fn answer(&self, to: MessageId, wanted: impl Fn(&Message) -> bool) -> Message {
        let fits = |messages: &[Message]| messages.iter().find(|message| message.reply_to == Some(to) && wanted(message)).cloned();
        self.wait(self.discord.wait_for(self.channel, PATIENCE, fits))
    }

    /// Waits until the answer to a message holds a text.
    pub fn told(&self, to: MessageId, text: &str) -> Message {
        self.answer(to, |message| message.text().contains(text))
    }

    /// Has somebody stop calamity, up to the question about its players; what was said, and the question.
    pub fn asked_to_stop(&self, user: UserId) -> (MessageId, Message) {
        let said = self.say(user, "!stop calamity");
        (said, self.answer(said, |message| !message.buttons().is_empty() && message.text().contains("playing")))
    }

    /// A slash command about a VM.
    pub fn slash(&self, user: UserId, action: &str, vm: &str) -> Asked {
        self.discord.slash(user, self.channel, action, &[("vm", json!(vm))])
    }

    /// Presses the button of a message whose meaning begins so.
    pub fn press(&self, user: UserId, message: &Message, kind: &str) -> Asked {
        let buttons = message.buttons();
        let button = buttons.iter().find(|button| button.custom_id.starts_with(kind));
        let button = button.unwrap_or_else(|| panic!("no button {kind} below:\n{}", message.text()));
        self.discord.press(user, message.id, &button.custom_id)
    }

    /// What the store keeps of everything that was asked for, newest first.
    pub fn audit(&self) -> Vec<Json> {
        let said = self.fleet.pmx(&["audit", "-n", "10000", "--json"]).exits(0).stdout;
        said.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect()
    }

    /// The row of one message or press, once it is settled.
    pub fn settled(&self, id: u64) -> Json {
        let (mut found, id) = (None, id.to_string());
        crate::process::wait_until("the audit has the last answer", PATIENCE, || {
            found = self.audit().into_iter().find(|row| row["id"] == id.as_str() && row["settled"] == true);
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Nothing was refused by Discord, and nobody was disturbed.
    #[track_caller]
    pub fn behaved(&self) {
        let violations: Vec<String> = self.discord.violations().iter().map(ToString::to_string).collect();
        assert_eq!(violations, Vec::<String>::new());
        assert_eq!(self.discord.pings(), []);
        assert_eq!(self.discord.seen_tokens().len(), 1);
    }
}
