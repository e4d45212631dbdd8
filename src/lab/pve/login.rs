//! Who asks: tickets, CSRF tokens and API tokens, made and checked.

use std::sync::Arc;

use super::form::decode;
use super::http::Request;
use super::reply::Fail;
use crate::lab::running::Lab;
use crate::lab::seal;
use crate::lab::world::World;
use crate::lab::world::account::Actor;

/// How long a ticket is good, in seconds.
pub const TICKET_LIFE: i64 = 7200;
/// How far in the future a ticket may be dated.
const SKEW: i64 = 300;

/// Finds out who asks. None means nobody, on one of the few calls that need no login.
///
/// # Errors
/// 401 with the reason of the lab's dialect.
pub fn authenticate(lab: &Arc<Lab>, request: &Request, path: &str) -> Result<Option<Actor>, Fail> {
    let open = matches!((request.method.as_str(), path), ("GET" | "POST", "/access/ticket") | ("GET", "/access/domains"));
    if open {
        return Ok(None);
    }
    let detailed = |text: &str| Fail::Unauthorized(if lab.nine() { "Authentication failed!".into() } else { text.to_owned() });
    let header = request.header("authorization").unwrap_or("");
    if let Some(token) = header.strip_prefix("PVEAPIToken=") {
        return lab.read(|world| check_token(world, &decode(token, false))).map(Some).map_err(|text| detailed(&text));
    }
    let cookie =
        request.header("cookie").and_then(|cookies| cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("PVEAuthCookie=")));
    let ticket = cookie.or_else(|| header.strip_prefix("PVEAuthCookie="));
    let Some(ticket) = ticket else { return Err(Fail::Unauthorized("No ticket".into())) };
    let now = lab.clock.unix();
    let ticket = decode(ticket, false);
    let user = lab.read(|world| check_ticket(world, &ticket, now)).ok_or_else(|| detailed("permission denied - invalid PVE ticket"))?;
    if request.method != "GET" {
        let given = request.header("csrfpreventiontoken").unwrap_or("");
        if !lab.read(|world| check_csrf(world, given, &user, now)) {
            return Err(Fail::Unauthorized("Permission denied - invalid csrf token".into()));
        }
    }
    Ok(Some(Actor { user, token: None }))
}

/// A ticket of `user` made at `now`.
pub fn make_ticket(world: &World, user: &str, now: i64) -> String {
    let plain = format!("PVE:{user}:{now:08X}");
    let epoch = world.keys.epoch.to_string();
    format!("{plain}::{}", seal::long(&world.keys.secret, &["ticket", &epoch, &plain]))
}

/// A CSRF token of `user` made at `now`.
pub fn make_csrf(world: &World, user: &str, now: i64) -> String {
    let stamp = format!("{now:08X}");
    format!("{stamp}:{}", seal::short(&world.keys.secret, &["csrf", user, &stamp]).trim_end_matches('='))
}

/// The user of a good ticket.
pub fn check_ticket(world: &World, ticket: &str, now: i64) -> Option<String> {
    let (plain, _) = ticket.split_once("::")?;
    let rest = plain.strip_prefix("PVE:")?;
    let (user, stamp) = rest.rsplit_once(':')?;
    let made = i64::from_str_radix(stamp, 16).ok()?;
    let fresh = (-SKEW..TICKET_LIFE).contains(&(now - made));
    (fresh && make_ticket(world, user, made) == ticket && world.accounts.users.contains_key(user)).then(|| user.to_owned())
}

fn check_csrf(world: &World, given: &str, user: &str, now: i64) -> bool {
    let Some((stamp, _)) = given.split_once(':') else { return false };
    let Ok(made) = i64::from_str_radix(stamp, 16) else { return false };
    (-SKEW..TICKET_LIFE).contains(&(now - made)) && make_csrf(world, user, made) == given
}

fn check_token(world: &World, text: &str) -> Result<Actor, String> {
    let Some((full, secret)) = text.rsplit_once('=') else { return Err("no tokenid specified".into()) };
    let Some((user, token)) = full.split_once('!') else { return Err("no tokenid specified".into()) };
    let account = world.accounts.users.get(user).ok_or_else(|| format!("no such user ('{user}')"))?;
    let known = account.tokens.get(token).ok_or_else(|| format!("no such token '{token}' for user '{user}'"))?;
    if known.secret == secret {
        Ok(Actor { user: user.to_owned(), token: Some(token.to_owned()) })
    } else {
        Err("invalid token value!".into())
    }
}
