//! `/access` and `/version`: login, domains, users, tokens, the access list and effective permissions.

use serde_json::{Map, Value, json};

use super::login::{check_ticket, make_csrf, make_ticket};
use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::faults::FaultKind;
use crate::lab::world::account::{Actor, Grant, Token, User, role};

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/version", May::Anyone, &[], Run::Now(version)),
    Route::read(
        "/access",
        May::Anyone,
        &[],
        Run::Index("subdir", &["users", "groups", "roles", "acl", "domains", "openid", "tfa", "ticket", "password"]),
    ),
    Route::read("/access/ticket", May::World, &[], Run::Now(|_| Ok(Answer::null()))),
    Route::work("POST", "/access/ticket", May::World, LOGIN, Run::Now(log_in)),
    Route::read("/access/domains", May::World, &[], Run::Now(domains)),
    Route::read("/access/permissions", May::Anyone, &[opt("path", Kind::Text), opt("userid", Kind::Text)], Run::Now(permissions)),
    Route::read("/access/users", May::Anyone, &[opt("enabled", Kind::Bool), opt("full", Kind::Bool)], Run::Now(users)),
    Route::work("POST", "/access/users", May::At("/access", "User.Modify"), NEW_USER, Run::Now(add_user)),
    Route::work("DELETE", "/access/users/{userid}", May::At("/access", "User.Modify"), &[], Run::Now(remove_user)),
    Route::read("/access/users/{userid}/token", May::Anyone, &[], Run::Now(tokens)),
    Route::work("POST", "/access/users/{userid}/token/{tokenid}", May::Anyone, NEW_TOKEN, Run::Now(add_token)),
    Route::work("DELETE", "/access/users/{userid}/token/{tokenid}", May::Anyone, &[], Run::Now(remove_token)),
    Route::read("/access/acl", May::Anyone, &[], Run::Now(access_list)),
    Route::work("PUT", "/access/acl", May::At("/access", "Permissions.Modify"), GRANT, Run::Now(grant)),
];

const LOGIN: &[super::Param] = &[
    need("username", Kind::Text),
    need("password", Kind::Text),
    opt("realm", Kind::Text),
    opt("otp", Kind::Text),
    opt("path", Kind::Text),
    opt("privs", Kind::Text),
    opt("new-format", Kind::Bool),
    opt("tfa-challenge", Kind::Text),
];
const NEW_USER: &[super::Param] = &[
    need("userid", Kind::Text),
    opt("password", Kind::Text),
    opt("comment", Kind::Text),
    opt("email", Kind::Text),
    opt("enable", Kind::Bool),
    opt("expire", Kind::Int(0, i64::MAX)),
    opt("firstname", Kind::Text),
    opt("lastname", Kind::Text),
    opt("groups", Kind::Text),
    opt("keys", Kind::Text),
];
const NEW_TOKEN: &[super::Param] = &[opt("privsep", Kind::Bool), opt("comment", Kind::Text), opt("expire", Kind::Int(0, i64::MAX))];
const GRANT: &[super::Param] = &[
    need("path", Kind::Text),
    need("roles", Kind::Text),
    opt("users", Kind::Text),
    opt("tokens", Kind::Text),
    opt("groups", Kind::Text),
    opt("propagate", Kind::Bool),
    opt("delete", Kind::Bool),
];

fn version(call: &Call) -> Result<Answer, Fail> {
    let (version, release, repoid) =
        if call.lab.nine() { ("9.2.11", "9.2", "26c10a2e6c7a4f3b") } else { ("8.4.1", "8.4", "2a5fa54a8503f96d") };
    Ok(json!({"version": version, "release": release, "repoid": repoid}).into())
}

fn domains(_: &Call) -> Result<Answer, Fail> {
    Ok(json!([
        {"realm": "pve", "comment": "Proxmox VE authentication server", "type": "pve"},
        {"realm": "pam", "comment": "Linux PAM standard authentication", "type": "pam"},
    ])
    .into())
}

fn log_in(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("username").unwrap_or("");
    let user = match call.text("realm") {
        Some(realm) if !name.contains('@') => format!("{name}@{realm}"),
        _ => name.to_owned(),
    };
    let password = call.text("password").unwrap_or("");
    let now = call.lab.clock.unix();
    let nine = call.lab.nine();
    call.lab.read(|world| {
        let known = world.accounts.users.get(&user).ok_or(Fail::Login)?;
        let renewed = check_ticket(world, password, now).as_deref() == Some(user.as_str());
        let hash = world.hash_password(&user, password);
        if !renewed && known.password.as_ref() != Some(&hash) {
            return Err(Fail::Login);
        }
        if !renewed && world.fault(None, &FaultKind::TfaRequired).is_some() {
            let challenge = make_ticket(world, &format!("!tfa!{user}"), now);
            return Ok(
                json!({"username": user, "NeedTFA": 1, "ticket": challenge, "CSRFPreventionToken": make_csrf(world, &user, now)}).into()
            );
        }
        let actor = Actor { user: user.clone(), token: None };
        let mut cap = Map::new();
        for (key, path) in [
            ("access", "/access"),
            ("dc", "/"),
            ("nodes", "/nodes"),
            ("storage", "/storage"),
            ("vms", "/vms"),
            ("sdn", "/sdn"),
            ("mapping", "/mapping"),
        ] {
            let rights = world.accounts.rights(&actor, path, nine);
            cap.insert(key.into(), rights.iter().map(|right| ((*right).to_owned(), json!(1))).collect::<Map<String, Value>>().into());
        }
        let (ticket, csrf) = (make_ticket(world, &user, now), make_csrf(world, &user, now));
        Ok(json!({"username": user, "ticket": ticket, "CSRFPreventionToken": csrf, "cap": cap}).into())
    })
}

fn permissions(call: &Call) -> Result<Answer, Fail> {
    let nine = call.lab.nine();
    let mut all = Map::new();
    let mut paths = vec!["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
    let granted: Vec<String> = call.lab.read(|world| world.accounts.acl.iter().map(|grant| grant.path.clone()).collect());
    paths.extend(granted.iter().map(String::as_str));
    if let Some(path) = call.text("path") {
        paths = vec![path];
    }
    for path in paths {
        let rights = call.lab.read(|world| {
            if world.fault(None, &FaultKind::NoRights).is_some() {
                Default::default()
            } else {
                world.accounts.rights(&call.actor, path, nine)
            }
        });
        if !rights.is_empty() {
            all.insert(path.to_owned(), rights.iter().map(|right| ((*right).to_owned(), json!(1))).collect::<Map<String, Value>>().into());
        }
    }
    Ok(Value::Object(all).into())
}

fn users(call: &Call) -> Result<Answer, Fail> {
    let sees_all = call.may("/access", "User.Modify") || call.may("/access", "Sys.Audit");
    let rows: Vec<Value> = call.lab.read(|world| {
        let mine = world.accounts.users.iter().filter(|(name, _)| sees_all || **name == call.actor.user);
        mine.map(|(name, user)| {
            let mut row = json!({"userid": name, "enable": 1, "expire": 0, "realm-type": name.rsplit('@').next().unwrap_or("")});
            if let Some(comment) = &user.comment {
                row["comment"] = json!(comment);
            }
            row
        })
        .collect()
    });
    Ok(Value::Array(rows).into())
}

fn add_user(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("userid").unwrap_or("").to_owned();
    let Some((_, realm)) = name.rsplit_once('@') else {
        return Err(Fail::param("userid", format!("invalid format - value '{name}' does not look like a valid user name\n")));
    };
    if !matches!(realm, "pam" | "pve") {
        return Err(Fail::Died(format!("create user failed: domain '{realm}' does not exist")));
    }
    call.lab.change(|world| {
        if world.accounts.users.contains_key(&name) {
            return Err(Fail::Died(format!("create user failed: user '{name}' already exists")));
        }
        let password = call.text("password").map(|password| world.hash_password(&name, password));
        let user = User { password, comment: call.text("comment").map(str::to_owned), ..User::default() };
        world.accounts.users.insert(name, user);
        Ok(Answer::null())
    })
}

fn remove_user(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("userid").unwrap_or("");
    call.lab.change(|world| {
        world.accounts.users.remove(name).ok_or_else(|| Fail::Died(format!("delete user failed: no such user '{name}'")))?;
        world.accounts.acl.retain(|grant| grant.subject != name && !grant.subject.starts_with(&format!("{name}!")));
        Ok(Answer::null())
    })
}

/// An account may look after its own tokens; others need the privilege.
fn own_or_modify(call: &Call) -> Result<String, Fail> {
    let user = call.text("userid").unwrap_or("").to_owned();
    if call.actor.user == user || call.may("/access", "User.Modify") {
        Ok(user)
    } else {
        Err(Fail::Denied(format!("Permission check failed (/access/users/{user}, User.Modify)")))
    }
}

fn tokens(call: &Call) -> Result<Answer, Fail> {
    let user = own_or_modify(call)?;
    let rows = call.lab.read(|world| {
        let account = world.accounts.users.get(&user).ok_or_else(|| Fail::Died(format!("no such user ('{user}')")))?;
        Ok::<_, Fail>(account.tokens.iter().map(|(name, token)| token_info(name, token)).collect::<Vec<_>>())
    })?;
    Ok(Value::Array(rows).into())
}

fn token_info(name: &str, token: &Token) -> Value {
    let mut row = json!({"tokenid": name, "privsep": i32::from(token.privsep), "expire": 0});
    if let Some(comment) = &token.comment {
        row["comment"] = json!(comment);
    }
    row
}

fn add_token(call: &Call) -> Result<Answer, Fail> {
    let user = own_or_modify(call)?;
    let name = call.text("tokenid").unwrap_or("").to_owned();
    let separated = call.text("privsep") != Some("0");
    let secret = uuid::Uuid::new_v4().to_string();
    let comment = call.text("comment").map(str::to_owned);
    call.lab.change(|world| {
        let account = world.accounts.users.get_mut(&user).ok_or_else(|| Fail::Died(format!("no such user ('{user}')")))?;
        if account.tokens.contains_key(&name) {
            return Err(Fail::param("tokenid", "Token already exists."));
        }
        let mut info = json!({"privsep": if separated { "1" } else { "0" }});
        if let Some(comment) = &comment {
            info["comment"] = json!(comment);
        }
        let full = format!("{user}!{name}");
        account.tokens.insert(name, Token { secret: secret.clone(), privsep: separated, comment });
        Ok(json!({"value": secret, "full-tokenid": full, "info": info}).into())
    })
}

fn remove_token(call: &Call) -> Result<Answer, Fail> {
    let user = own_or_modify(call)?;
    let name = call.text("tokenid").unwrap_or("");
    call.lab.change(|world| {
        let account = world.accounts.users.get_mut(&user).ok_or_else(|| Fail::Died(format!("no such user ('{user}')")))?;
        account.tokens.remove(name).ok_or_else(|| Fail::Died(format!("no such token '{name}' for user '{user}'")))?;
        Ok(Answer::null())
    })
}

fn access_list(call: &Call) -> Result<Answer, Fail> {
    if !call.may("/access", "Sys.Audit") {
        return Ok(json!([]).into());
    }
    let rows: Vec<Value> = call.lab.read(|world| {
        let row = |grant: &Grant| {
            let sort = if grant.subject.contains('!') { "token" } else { "user" };
            json!({"path": grant.path, "ugid": grant.subject, "roleid": grant.role, "propagate": i32::from(grant.propagate), "type": sort})
        };
        world.accounts.acl.iter().map(row).collect()
    });
    Ok(Value::Array(rows).into())
}

fn grant(call: &Call) -> Result<Answer, Fail> {
    let path = call.text("path").unwrap_or("/").to_owned();
    let subjects: Vec<String> = ["users", "tokens"]
        .iter()
        .filter_map(|key| call.text(key))
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_owned())
        .collect();
    if subjects.is_empty() {
        return Err(Fail::param("users", "either 'users', 'groups' or 'tokens' must be set"));
    }
    let propagate = call.text("propagate") != Some("0");
    for role_name in call.text("roles").unwrap_or("").split(',').map(str::trim) {
        if role(role_name, call.lab.nine()).is_none() {
            return Err(Fail::Died(format!("ACL update failed: role '{role_name}' does not exist")));
        }
        call.lab.change(|world| {
            for subject in &subjects {
                let grant = Grant { path: path.clone(), subject: subject.clone(), role: role_name.to_owned(), propagate };
                world.accounts.acl.retain(|old| (&old.path, &old.subject, &old.role) != (&grant.path, &grant.subject, &grant.role));
                if !call.flag("delete") {
                    world.accounts.acl.push(grant);
                }
            }
        });
    }
    Ok(Answer::null())
}
