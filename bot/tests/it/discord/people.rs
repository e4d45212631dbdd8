//! What people do: they come, write, send commands, type, and press.

use serde_json::{Value, json};

use super::asked::Asked;
use super::interaction::{Interaction, Kind};
use super::message::Version;
use super::state::{GUILD_MEMBERS, GUILDS, State};
use super::{ChannelId, Discord, MessageId, RoleId, UserId};

impl Discord {
    /// The guild's id.
    pub fn guild(&self) -> u64 {
        self.shared.look(|state| state.place.guild)
    }

    /// The application's id.
    pub fn application(&self) -> u64 {
        self.shared.look(|state| state.place.application)
    }

    /// Who the bot is.
    pub fn bot(&self) -> UserId {
        self.shared.look(|state| state.place.bot)
    }

    /// Makes a role.
    pub fn role(&self, name: &str) -> RoleId {
        self.shared.change(|state| {
            let id = state.place.role(&mut state.ids, name);
            let role = state.place.roles_json().pop();
            let data = json!({"guild_id": state.place.guild.to_string(), "role": role});
            state.dispatch("GUILD_ROLE_CREATE", GUILDS, &data);
            id
        })
    }

    /// Makes a channel in which the bot may read and write.
    pub fn channel(&self, name: &str) -> ChannelId {
        self.shared.change(|state| {
            let id = state.place.channel(&mut state.ids, name, None);
            let data = state.place.channels_json().pop().unwrap_or_default();
            state.dispatch("CHANNEL_CREATE", GUILDS, &data);
            id
        })
    }

    /// The bot may not see the channel any more.
    pub fn hide(&self, channel: ChannelId) {
        self.overwrite(channel, |channel| channel.hidden = true);
    }

    /// The bot may not write into the channel any more.
    pub fn mute(&self, channel: ChannelId) {
        self.overwrite(channel, |channel| channel.muted = true);
    }

    fn overwrite(&self, channel: ChannelId, change: impl FnOnce(&mut super::place::Channel)) {
        self.shared.change(|state| {
            let found = state.place.channels.iter_mut().find(|one| one.id == channel);
            change(found.unwrap_or_else(|| panic!("there is no channel {channel}")));
            let found = state.place.channel_of(channel).expect("it was there just now");
            let data = state.place.channel_json(found);
            state.dispatch("CHANNEL_UPDATE", GUILDS, &data);
        });
    }

    /// Lets somebody in.
    pub fn user(&self, name: &str, roles: &[RoleId]) -> UserId {
        self.shared.change(|state| {
            let id = state.place.user(&mut state.ids, name, roles);
            tell_member(state, id, "GUILD_MEMBER_ADD");
            id
        })
    }

    /// Gives somebody these roles and no others.
    pub fn set_roles(&self, user: UserId, roles: &[RoleId]) {
        self.shared.change(|state| {
            let found = state.place.users.iter_mut().find(|one| one.id == user);
            found.unwrap_or_else(|| panic!("nobody has the id {user}")).roles = roles.to_vec();
            tell_member(state, user, "GUILD_MEMBER_UPDATE");
        });
    }

    /// The talk between the bot and somebody.
    pub fn dm(&self, user: UserId) -> ChannelId {
        self.shared.change(|state| state.place.talk(&mut state.ids, user))
    }

    /// Somebody writes a message.
    pub fn say(&self, user: UserId, channel: ChannelId, text: &str) -> MessageId {
        assert!((1..=2000).contains(&text.chars().count()), "nobody can send a text of {} characters", text.chars().count());
        self.shared.change(|state| {
            assert!(state.place.user_of(user).is_some(), "nobody has the id {user}");
            assert!(state.place.channel_of(channel).is_some(), "there is no channel {channel}");
            let version = Version { at: state.began.elapsed(), content: text.to_owned(), ..Version::default() };
            let message = state.draft(channel, user, version);
            state.post(message)
        })
    }

    /// Somebody writes to the bot alone.
    pub fn say_dm(&self, user: UserId, text: &str) -> MessageId {
        self.say(user, self.dm(user), text)
    }

    /// Somebody who may takes a message away.
    pub fn delete(&self, message: MessageId) {
        self.shared.change(|state| state.delete(message));
    }

    /// Somebody sends a slash command. `name` can go on with the names of a group and of a subcommand, behind spaces.
    ///
    /// # Panics
    /// When the bot has not registered it there, or an option is not as registered: nobody can send that.
    pub fn slash(&self, user: UserId, channel: ChannelId, name: &str, options: &[(&str, Value)]) -> Asked {
        self.shared.change(|state| {
            let data = command_data(state, channel, name, options, None);
            self.ask(state, Kind::Command, (user, channel), data)
        })
    }

    /// Somebody types in the option `focused` of a slash command.
    pub fn autocomplete(&self, user: UserId, channel: ChannelId, name: &str, typed: (&[(&str, Value)], &str)) -> Asked {
        self.shared.change(|state| {
            let data = command_data(state, channel, name, typed.0, Some(typed.1));
            self.ask(state, Kind::Autocomplete, (user, channel), data)
        })
    }

    /// Somebody presses a button.
    ///
    /// # Panics
    /// When they do not see it, or it cannot be pressed.
    pub fn press(&self, user: UserId, message: MessageId, custom_id: &str) -> Asked {
        self.try_press(user, message, custom_id).unwrap_or_else(|| {
            panic!("there is no button {custom_id} to press among {:?}", self.message(message).buttons());
        })
    }

    /// Somebody presses a button that may just have gone; `None` when it has.
    ///
    /// # Panics
    /// When there is no such message, or they do not see it.
    pub fn try_press(&self, user: UserId, message: MessageId, custom_id: &str) -> Option<Asked> {
        self.shared.change(|state| {
            let found = state.message_of(message).unwrap_or_else(|| panic!("there is no message {message}"));
            found.buttons().iter().find(|button| button.custom_id == custom_id && !button.disabled)?;
            let whose = found.asked.and_then(|id| state.interactions.get(&id)).map(|asked| asked.user);
            assert!(!found.ephemeral || whose == Some(user), "{user} does not see the message {message}");
            let channel = found.channel;
            let data = json!({"custom_id": custom_id, "component_type": 2, "id": 2});
            let mut seen = found.json(&state.place, false);
            seen["guild_id"] = Value::Null;
            Some(self.ask(state, Kind::Press(message), (user, channel), json!({"data": data, "message": seen})))
        })
    }

    fn ask(&self, state: &mut State, kind: Kind, (user, channel): (UserId, ChannelId), data: Value) -> Asked {
        assert!(state.place.user_of(user).is_some(), "nobody has the id {user}");
        let id = state.ids.next();
        // As long as real ones, and of letters that a path can carry.
        let token = format!("aW50ZXJhY3Rpb246{id:x}{}", "0123456789abcdefghijklmnopqrstuvwxyz".repeat(4));
        let born = std::time::Instant::now();
        let interaction = Interaction {
            token: token.clone(),
            kind,
            user,
            channel,
            born,
            first: None,
            original: None,
            followups: Vec::new(),
            expired: false,
        };
        state.interactions.insert(id, interaction);
        let event = interaction_json(state, id, data);
        state.dispatch("INTERACTION_CREATE", 0, &event);
        Asked::new(self.clone(), id, token)
    }
}

fn tell_member(state: &mut State, user: UserId, event: &str) {
    let mut data = state.place.member_json(user, true);
    data["guild_id"] = json!(state.place.guild.to_string());
    state.dispatch(event, GUILD_MEMBERS, &data);
}

/// An interaction as it comes over the gateway; `data` holds its own part, and for a button the message beside it.
fn interaction_json(state: &State, id: u64, data: Value) -> Value {
    let asked = &state.interactions[&id];
    let place = &state.place;
    let channel = place.channel_of(asked.channel).unwrap_or_else(|| panic!("there is no channel {}", asked.channel));
    let kind = match asked.kind {
        Kind::Command => 2,
        Kind::Press(_) => 3,
        Kind::Autocomplete => 4,
    };
    let (inner, message) =
        if matches!(asked.kind, Kind::Press(_)) { (data["data"].clone(), Some(data["message"].clone())) } else { (data, None) };
    let mut event = json!({
        "id": id.to_string(), "application_id": place.application.to_string(), "type": kind, "data": inner, "token": asked.token,
        "version": 1, "channel_id": channel.id.to_string(), "channel": place.channel_json(channel), "locale": "en-US",
        "app_permissions": place.bot_may(channel).to_string(), "entitlements": [], "attachment_size_limit": 10_485_760,
        "authorizing_integration_owners": {"0": place.guild.to_string()}, "context": u8::from(channel.with.is_some()),
    });
    if channel.with.is_some() {
        event["user"] = place.user_json(asked.user);
    } else {
        let mut member = place.member_json(asked.user, true);
        member["permissions"] = json!("2248473465835073");
        event["member"] = member;
        event["guild_id"] = json!(place.guild.to_string());
        event["guild_locale"] = json!("en-US");
    }
    if let Some(message) = message {
        event["message"] = message;
    }
    event
}

/// The data of a command that somebody sends or types.
fn command_data(state: &State, channel: ChannelId, name: &str, options: &[(&str, Value)], focused: Option<&str>) -> Value {
    let talk = state.place.channel_of(channel).is_some_and(|channel| channel.with.is_some());
    let mut names = name.split(' ');
    let first = names.next().unwrap_or_default();
    let guild = if talk { 0 } else { state.place.guild };
    let command = state.commands.named(guild, first).unwrap_or_else(|| panic!("the bot has not registered `{first}` here"));
    let mut data = json!({"id": command["id"], "name": first, "type": 1, "options": []});
    if let Some(guild) = command.get("guild_id") {
        data["guild_id"] = guild.clone();
    }
    let (mut at, mut into) = (command, &mut data);
    for name in names {
        let found = at["options"].as_array().and_then(|options| {
            options.iter().find(|option| option["name"] == name && [1, 2].contains(&option["type"].as_u64().unwrap_or_default()))
        });
        at = found.unwrap_or_else(|| panic!("`{name}` is no subcommand of `{}`", at["name"]));
        into["options"] = json!([{"name": name, "type": at["type"], "options": []}]);
        into = &mut into["options"][0];
    }
    into["options"] = Value::Array(filled(at, options, focused));
    data
}

/// Options as they are sent, judged as a client does.
fn filled(command: &Value, options: &[(&str, Value)], focused: Option<&str>) -> Vec<Value> {
    let known = command["options"].as_array().map_or(&[][..], Vec::as_slice);
    for option in known.iter().filter(|option| option["required"] == true && focused.is_none()) {
        assert!(options.iter().any(|(name, _)| option["name"] == *name), "the option {} is missing", option["name"]);
    }
    let fill = |(name, value): &(&str, Value)| {
        let option = known.iter().find(|option| option["name"] == *name).unwrap_or_else(|| panic!("there is no option `{name}`"));
        let fits = match option["type"].as_u64() {
            Some(4) => value.is_i64() || focused == Some(name),
            Some(5) => value.is_boolean(),
            Some(10) => value.is_number() || focused == Some(name),
            _ => value.is_string(),
        };
        assert!(fits, "the option `{name}` cannot be {value}");
        let choices = option["choices"].as_array().filter(|choices| !choices.is_empty());
        assert!(choices.is_none_or(|choices| choices.iter().any(|choice| choice["value"] == *value)), "{value} is no choice of `{name}`");
        let mut filled = json!({"name": name, "type": option["type"], "value": value});
        if focused == Some(name) {
            assert!(option["autocomplete"] == true, "the option `{name}` completes nothing");
            filled["focused"] = json!(true);
        }
        filled
    };
    options.iter().map(fill).collect()
}
