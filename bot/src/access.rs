//! Access: who may do what where, as pure rules.

use std::collections::BTreeMap;
use std::time::Duration;

use pmx::event::{Lasting, Time};

use crate::chat::{Role, Spot, Who};

/// What the project says about who may steer it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The only server that counts, if one is named.
    pub guild: Option<u64>,
    /// The channel, id or name; every channel without it.
    pub channel: Option<String>,
    /// The role that may steer, id or name.
    pub role: Option<String>,
    /// The role that may destroy, id or name.
    pub admins: Option<String>,
    /// How long one user waits before the same VM again.
    pub cooldown: Duration,
}

/// A refusal as a sentence for whoever asked.
pub type Refusal = String;

/// Whether `named`, an id or a name, means this role. Ids are told from names by being numbers; a role called by a number needs its id.
fn means(named: &str, id: u64, name: Option<&str>) -> bool {
    match named.parse::<u64>() {
        Ok(wanted) => wanted == id,
        Err(_) => name.is_some_and(|name| name == named.trim_start_matches(['#', '@'])),
    }
}

fn by_name(named: &Option<String>) -> bool {
    named.as_ref().is_some_and(|named| named.parse::<u64>().is_err())
}

fn has(roles: &[Role], wanted: &str) -> bool {
    roles.iter().any(|role| means(wanted, role.id, Some(&role.name)))
}

impl Rules {
    /// Whether something said there is for the bot at all: elsewhere it keeps silent.
    pub fn listens(&self, spot: &Spot) -> bool {
        let here = self.guild.is_none_or(|guild| spot.guild == Some(guild));
        here && spot.guild.is_some() && self.channel.as_ref().is_none_or(|wanted| means(wanted, spot.channel, spot.name.as_deref()))
    }

    /// Whether the bot may be spoken to there, by somebody with these roles.
    pub fn admit(&self, who: &Who, spot: &Spot) -> Result<(), Refusal> {
        let Some(guild) = spot.guild else {
            return Err("I do not take commands in private messages.".to_owned());
        };
        if self.guild.is_some_and(|wanted| wanted != guild) {
            return Err("I do not take commands on this server.".to_owned());
        }
        // Anybody can make a server with such names and invite the bot.
        let names = by_name(&self.channel) || by_name(&self.role) || by_name(&self.admins);
        if self.guild.is_none() && spot.guilds > 1 && names {
            let why = "I am on more than one server, and my rules name a channel or a role by its name, which any of them could have.";
            return Err(format!("{why} Set `guild` under [bot] of the Pmxfile to the id of the right one."));
        }
        if let Some(wanted) = &self.channel
            && !means(wanted, spot.channel, spot.name.as_deref())
        {
            return Err(format!("I only take commands in {}.", channel_label(wanted)));
        }
        let Some(role) = &self.role else {
            return Err("Nobody may steer anything yet: set `role` under [bot] of the Pmxfile.".to_owned());
        };
        if has(&who.roles, role) { Ok(()) } else { Err(format!("You need the role {} for that.", role_label(role))) }
    }

    /// Whether somebody may destroy things.
    pub fn admit_admin(&self, who: &Who) -> Result<(), Refusal> {
        match &self.admins {
            None => Err("That destroys something, and nobody may do so from here: set `admins` under [bot] of the Pmxfile.".to_owned()),
            Some(role) if has(&who.roles, role) => Ok(()),
            Some(role) => Err(format!("That destroys something: you need the role {} for it.", role_label(role))),
        }
    }
}

fn channel_label(named: &str) -> String {
    match named.parse::<u64>() {
        // Discord shows it as the channel's name, and it pings nobody.
        Ok(id) => format!("<#{id}>"),
        Err(_) => format!("#{}", crate::card::plain(named.trim_start_matches('#'))),
    }
}

fn role_label(named: &str) -> String {
    match named.parse::<u64>() {
        Ok(id) => format!("with the id {id}"),
        Err(_) => format!("`{}`", named.replace('`', "")),
    }
}

/// Who steered which VM last.
#[derive(Debug, Default)]
pub struct Cooldowns {
    last: BTreeMap<(u64, String), Time>,
}

/// More than any evening needs; older ones have cooled down long ago.
const REMEMBERED: usize = 10_000;

impl Cooldowns {
    /// Notes that `user` steers `vm` now, unless it is too soon.
    pub fn take(&mut self, (user, vm): (u64, &str), cooldown: Duration, now: Time) -> Result<(), Refusal> {
        let key = (user, vm.to_owned());
        if let Some(last) = self.last.get(&key) {
            let since = now.since(*last);
            if since < cooldown {
                let left = Duration::from_secs((cooldown - since).as_secs() + 1);
                return Err(format!("Not so fast: {} again in {}.", crate::card::plain(vm), Lasting(left)));
            }
        }
        if self.last.len() >= REMEMBERED {
            self.last.retain(|_, last| now.since(*last) < cooldown);
        }
        if self.last.len() < REMEMBERED {
            self.last.insert(key, now);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(roles: &[(u64, &str)]) -> Who {
        Who { id: 1, name: "nick".into(), roles: roles.iter().map(|(id, name)| Role { id: *id, name: (*name).to_owned() }).collect() }
    }

    fn spot(guild: Option<u64>, channel: u64, name: &str) -> Spot {
        Spot { guild, guilds: 1, channel, name: Some(name.to_owned()) }
    }

    fn rules() -> Rules {
        Rules { channel: Some("clankers".into()), role: Some("homie".into()), admins: Some("77".into()), ..Rules::default() }
    }

    #[test]
    fn the_role_in_the_channel_may() {
        let homie = who(&[(5, "homie")]);
        assert_eq!(rules().admit(&homie, &spot(Some(1), 2, "clankers")), Ok(()));
        assert_eq!(rules().admit(&who(&[]), &spot(Some(1), 2, "clankers")), Err("You need the role `homie` for that.".into()));
        assert_eq!(rules().admit(&homie, &spot(Some(1), 2, "general")), Err("I only take commands in #clankers.".into()));
        assert_eq!(rules().admit(&homie, &spot(None, 2, "clankers")), Err("I do not take commands in private messages.".into()));
        let nobody = Rules { role: None, ..rules() };
        assert!(nobody.admit(&homie, &spot(Some(1), 2, "clankers")).unwrap_err().contains("set `role`"));
        assert!(rules().listens(&spot(Some(1), 2, "clankers")) && !rules().listens(&spot(Some(1), 2, "general")));
        assert!(!Rules::default().listens(&spot(None, 2, "x")));
    }

    #[test]
    fn an_id_is_not_a_name() {
        let rules = Rules { channel: Some("2".into()), role: Some("5".into()), ..Rules::default() };
        assert_eq!(rules.admit(&who(&[(5, "whatever")]), &spot(Some(1), 2, "whatever")), Ok(()));
        assert!(rules.admit(&who(&[(6, "5")]), &spot(Some(1), 2, "x")).is_err(), "a role that is called by the id of another");
        assert!(rules.admit(&who(&[(5, "x")]), &spot(Some(1), 3, "2")).is_err());
    }

    #[test]
    fn names_mean_nothing_on_two_servers() {
        let two = Spot { guilds: 2, ..spot(Some(1), 2, "clankers") };
        assert!(rules().admit(&who(&[(5, "homie")]), &two).unwrap_err().contains("more than one server"));
        let pinned = Rules { guild: Some(1), ..rules() };
        assert_eq!(pinned.admit(&who(&[(5, "homie")]), &two), Ok(()));
        assert!(pinned.admit(&who(&[(5, "homie")]), &Spot { guild: Some(9), ..two }).is_err());
    }

    #[test]
    fn destroying_needs_a_role_of_its_own() {
        assert_eq!(rules().admit_admin(&who(&[(77, "boss")])), Ok(()));
        assert!(rules().admit_admin(&who(&[(5, "homie")])).is_err());
        assert!(Rules { admins: None, ..rules() }.admit_admin(&who(&[(77, "boss")])).unwrap_err().contains("set `admins`"));
    }

    #[test]
    fn one_user_waits_for_one_vm() {
        let mut cooldowns = Cooldowns::default();
        let five = Duration::from_secs(5);
        assert_eq!(cooldowns.take((1, "calamity"), five, Time(0)), Ok(()));
        assert_eq!(cooldowns.take((1, "calamity"), five, Time(2000)), Err("Not so fast: calamity again in 4 s.".into()));
        assert_eq!(cooldowns.take((2, "calamity"), five, Time(2000)), Ok(()), "somebody else");
        assert_eq!(cooldowns.take((1, "allthemons"), five, Time(2000)), Ok(()), "another VM");
        assert_eq!(cooldowns.take((1, "calamity"), five, Time(5000)), Ok(()), "a refused try does not count");
    }
}
