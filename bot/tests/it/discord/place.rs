//! The guild: its channels, roles and people, and how Discord writes them.

use serde_json::{Value, json};

use super::ids::{Ids, time};
use super::{ChannelId, RoleId, UserId};

/// What the bot's own role allows: to see, write, embed and read back.
const BOT_MAY: u64 = 1 << 6 | 1 << 10 | 1 << 11 | 1 << 14 | 1 << 16 | 1 << 31;
/// What everybody may do.
const ALL_MAY: u64 = 1 << 10 | 1 << 11 | 1 << 14 | 1 << 16 | 1 << 31;

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    permissions: u64,
}

/// A text channel of the guild, or the talk with one person.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its id.
    pub id: ChannelId,
    /// Its name; empty for a talk.
    pub name: String,
    /// With whom, when it is a talk.
    pub with: Option<UserId>,
    /// The bot may not see it.
    pub hidden: bool,
    /// The bot may not write into it.
    pub muted: bool,
}

/// Somebody, the bot among them.
#[derive(Clone, Debug)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: String,
    /// The roles they have in the guild.
    pub roles: Vec<RoleId>,
    bot: bool,
}

/// All of it.
#[derive(Debug)]
pub struct Place {
    /// The guild's id, which is also the id of the role that everybody has.
    pub guild: u64,
    /// The application's id; not that of its bot, as with the oldest of them.
    pub application: u64,
    /// Who the bot is.
    pub bot: UserId,
    /// In the order they were made.
    pub roles: Vec<Role>,
    /// In the order they were made.
    pub channels: Vec<Channel>,
    /// In the order they came.
    pub users: Vec<User>,
}

impl Place {
    /// A guild with nobody but its owner and the bot in it.
    pub fn new(ids: &mut Ids) -> Self {
        let (application, guild, own, bot, owner) = (ids.next(), ids.next(), ids.next(), ids.next(), ids.next());
        let role = |id, name: &str, permissions| Role { id, name: name.to_owned(), permissions };
        let roles = vec![role(guild, "@everyone", ALL_MAY), role(own, "pmx", BOT_MAY)];
        let users = vec![
            User { id: bot, name: "pmx".to_owned(), roles: vec![own], bot: true },
            User { id: owner, name: "owner".to_owned(), roles: Vec::new(), bot: false },
        ];
        Self { guild, application, bot, roles, channels: Vec::new(), users }
    }

    /// Makes a role.
    pub fn role(&mut self, ids: &mut Ids, name: &str) -> RoleId {
        let id = ids.next();
        self.roles.push(Role { id, name: name.to_owned(), permissions: 0 });
        id
    }

    /// Makes a channel.
    pub fn channel(&mut self, ids: &mut Ids, name: &str, with: Option<UserId>) -> ChannelId {
        let id = ids.next();
        self.channels.push(Channel { id, name: name.to_owned(), with, hidden: false, muted: false });
        id
    }

    /// Lets somebody in.
    pub fn user(&mut self, ids: &mut Ids, name: &str, roles: &[RoleId]) -> UserId {
        assert!(roles.iter().all(|id| self.roles.iter().any(|role| role.id == *id)), "a role of {name} is not in the guild");
        let id = ids.next();
        self.users.push(User { id, name: name.to_owned(), roles: roles.to_vec(), bot: false });
        id
    }

    /// A channel by its id.
    pub fn channel_of(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    /// A person by their id.
    pub fn user_of(&self, id: UserId) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    /// The talk between the bot and a person, made when there was none.
    pub fn talk(&mut self, ids: &mut Ids, user: UserId) -> ChannelId {
        assert!(self.user_of(user).is_some(), "nobody has the id {user}");
        let known = self.channels.iter().find(|channel| channel.with == Some(user)).map(|channel| channel.id);
        known.unwrap_or_else(|| self.channel(ids, "", Some(user)))
    }

    /// A person.
    pub fn user_json(&self, id: UserId) -> Value {
        let (name, bot) = self.user_of(id).map_or(("gone", false), |user| (user.name.as_str(), user.bot));
        let shown = name.split('_').next().unwrap_or(name);
        json!({
            "id": id.to_string(), "username": name, "global_name": if bot { Value::Null } else { json!(shown) }, "discriminator": "0",
            "avatar": null, "bot": bot, "public_flags": 0,
        })
    }

    /// A person in the guild, with or without who they are.
    pub fn member_json(&self, id: UserId, named: bool) -> Value {
        let roles: Vec<String> = self.user_of(id).map(|user| user.roles.iter().map(u64::to_string).collect()).unwrap_or_default();
        let mut member = json!({
            "roles": roles, "nick": null, "avatar": null, "joined_at": time(id), "premium_since": null, "deaf": false, "mute": false,
            "pending": false, "flags": 0, "communication_disabled_until": null,
        });
        if named {
            member["user"] = self.user_json(id);
        }
        member
    }

    /// A role.
    pub fn role_json(role: &Role, position: usize) -> Value {
        json!({
            "id": role.id.to_string(), "name": role.name, "color": 0, "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null},
            "hoist": false, "icon": null, "unicode_emoji": null, "position": position, "permissions": role.permissions.to_string(),
            "managed": role.name == "pmx", "mentionable": false, "flags": 0,
        })
    }

    /// Every role.
    pub fn roles_json(&self) -> Vec<Value> {
        self.roles.iter().enumerate().map(|(position, role)| Self::role_json(role, position)).collect()
    }

    /// A channel.
    pub fn channel_json(&self, channel: &Channel) -> Value {
        if let Some(user) = channel.with {
            return json!({"id": channel.id.to_string(), "type": 1, "last_message_id": null, "flags": 0, "recipients": [self.user_json(user)]});
        }
        let denied = u64::from(channel.hidden) << 10 | u64::from(channel.muted) << 11;
        let own = self.roles.iter().find(|role| role.name == "pmx").map_or(0, |role| role.id);
        let overwrites =
            if denied == 0 { json!([]) } else { json!([{"id": own.to_string(), "type": 0, "allow": "0", "deny": denied.to_string()}]) };
        let position = self.channels.iter().filter(|other| other.with.is_none()).position(|other| other.id == channel.id);
        json!({
            "id": channel.id.to_string(), "type": 0, "guild_id": self.guild.to_string(), "name": channel.name, "position": position,
            "permission_overwrites": overwrites, "topic": null, "nsfw": false, "last_message_id": null, "parent_id": null,
            "rate_limit_per_user": 0, "flags": 0,
        })
    }

    /// Every channel of the guild.
    pub fn channels_json(&self) -> Vec<Value> {
        self.channels.iter().filter(|channel| channel.with.is_none()).map(|channel| self.channel_json(channel)).collect()
    }

    /// The guild without its people.
    pub fn guild_json(&self) -> Value {
        let owner = self.users.iter().find(|user| !user.bot).map_or(0, |user| user.id);
        json!({
            "id": self.guild.to_string(), "name": "The Clankers", "icon": null, "splash": null, "discovery_splash": null,
            "owner_id": owner.to_string(), "afk_channel_id": null, "afk_timeout": 300, "verification_level": 1,
            "default_message_notifications": 1, "explicit_content_filter": 0, "roles": self.roles_json(), "emojis": [], "features": [],
            "mfa_level": 0, "application_id": null, "system_channel_id": null, "system_channel_flags": 0, "rules_channel_id": null,
            "vanity_url_code": null, "description": null, "banner": null, "premium_tier": 0, "premium_subscription_count": 0,
            "preferred_locale": "en-US", "public_updates_channel_id": null, "nsfw_level": 0, "stickers": [],
            "premium_progress_bar_enabled": false, "safety_alerts_channel_id": null,
        })
    }

    /// The guild as it comes over the gateway; with everybody in it only for an application that may know who is there.
    pub fn guild_create(&self, everybody: bool) -> Value {
        let mut guild = self.guild_json();
        let seen = self.users.iter().filter(|user| everybody || user.id == self.bot);
        let members: Vec<Value> = seen.map(|user| self.member_json(user.id, true)).collect();
        let more = json!({
            "joined_at": time(self.bot), "large": false, "unavailable": false, "member_count": self.users.len(), "voice_states": [],
            "members": members, "channels": self.channels_json(), "threads": [], "presences": [], "stage_instances": [],
            "guild_scheduled_events": [], "soundboard_sounds": [],
        });
        if let (Value::Object(guild), Value::Object(more)) = (&mut guild, more) {
            guild.extend(more);
        }
        guild
    }

    /// What the bot may do in a channel.
    pub fn bot_may(&self, channel: &Channel) -> u64 {
        BOT_MAY & !(u64::from(channel.hidden) << 10 | u64::from(channel.muted) << 11)
    }
}
