//! Accounts: users, API tokens and what each may do where.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Every privilege of 8.4.
pub const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.Migrate",
    "VM.Monitor",
    "VM.PowerMgmt",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// What 9.2 has instead of `VM.Monitor`.
const AGENT_PRIVILEGES: &[&str] = &[
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
];

/// All privileges of a dialect.
pub fn privileges(nine: bool) -> Vec<&'static str> {
    if nine {
        PRIVILEGES.iter().copied().filter(|name| *name != "VM.Monitor").chain(AGENT_PRIVILEGES.iter().copied()).collect()
    } else {
        PRIVILEGES.to_vec()
    }
}

/// The privileges of a role; none when there is no such role.
pub fn role(name: &str, nine: bool) -> Option<Vec<&'static str>> {
    let all = privileges(nine);
    let pick = |keep: &dyn Fn(&str) -> bool| all.iter().copied().filter(|privilege| keep(privilege)).collect();
    match name {
        "Administrator" => Some(all.clone()),
        "NoAccess" => Some(Vec::new()),
        "PVEAdmin" => {
            Some(pick(&|p| !matches!(p, "Permissions.Modify" | "Sys.Modify" | "Sys.PowerMgmt" | "Realm.Allocate" | "Sys.AccessNetwork")))
        }
        "PVEAuditor" => Some(pick(&|p| p.ends_with(".Audit"))),
        "PVEVMAdmin" => Some(pick(&|p| p.starts_with("VM."))),
        "PVEVMUser" => Some(pick(&|p| {
            matches!(p, "VM.Audit" | "VM.Backup" | "VM.Config.CDROM" | "VM.Config.Cloudinit" | "VM.Console" | "VM.PowerMgmt")
        })),
        "PVEDatastoreUser" => Some(pick(&|p| matches!(p, "Datastore.Audit" | "Datastore.AllocateSpace"))),
        "PVEDatastoreAdmin" => Some(pick(&|p| p.starts_with("Datastore."))),
        "PVEPoolAdmin" => Some(pick(&|p| p.starts_with("Pool."))),
        "PVESysAdmin" => Some(pick(&|p| matches!(p, "Sys.Audit" | "Sys.Console" | "Sys.Syslog"))),
        _ => None,
    }
}

/// An API token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Its secret, a uuid.
    pub secret: String,
    /// Whether its rights are its own entries cut with its user's; without, it has its user's.
    pub privsep: bool,
    /// The text given with it.
    pub comment: Option<String>,
}

/// A user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct User {
    /// Keyed hash of the password; none cannot log in by password.
    pub password: Option<String>,
    /// By token id.
    pub tokens: BTreeMap<String, Token>,
    /// The text given with it.
    pub comment: Option<String>,
}

/// One line of the access list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `/`, `/vms/100`, …
    pub path: String,
    /// `user@realm` or `user@realm!token`.
    pub subject: String,
    /// A role's name.
    pub role: String,
    /// Whether it holds below the path too.
    pub propagate: bool,
}

/// Users, their tokens and the access list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    /// By `name@realm`.
    pub users: BTreeMap<String, User>,
    /// The access list.
    pub acl: Vec<Grant>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `root@pam`.
    pub user: String,
    /// The token used, if any.
    pub token: Option<String>,
}

impl Actor {
    /// `root@pam` or `root@pam!pmx`: as in UPIDs.
    pub fn name(&self) -> String {
        self.token.as_ref().map_or_else(|| self.user.clone(), |token| format!("{}!{token}", self.user))
    }

    /// Whether it is root himself: not even a full token of his is.
    pub fn is_root(&self) -> bool {
        self.user == "root@pam" && self.token.is_none()
    }
}

impl Accounts {
    /// What `actor` may do at `path`.
    pub fn rights(&self, actor: &Actor, path: &str, nine: bool) -> BTreeSet<&'static str> {
        let own = self.rights_of(&actor.user, path, nine);
        let Some(token) = &actor.token else { return own };
        let separated = self.users.get(&actor.user).and_then(|user| user.tokens.get(token)).is_none_or(|token| token.privsep);
        if separated {
            let granted = self.rights_of(&actor.name(), path, nine);
            own.intersection(&granted).copied().collect()
        } else {
            own
        }
    }

    /// The grants of the nearest path win; those above it count only without nearer ones.
    fn rights_of(&self, subject: &str, path: &str, nine: bool) -> BTreeSet<&'static str> {
        if subject == "root@pam" {
            return privileges(nine).into_iter().collect();
        }
        let mut at = path;
        loop {
            let here: Vec<&Grant> =
                self.acl.iter().filter(|grant| grant.subject == subject && grant.path == at && (grant.propagate || at == path)).collect();
            if !here.is_empty() {
                return here.iter().flat_map(|grant| role(&grant.role, nine).unwrap_or_default()).collect();
            }
            if at == "/" {
                return BTreeSet::new();
            }
            at = match at.rfind('/') {
                Some(0) | None => "/",
                Some(cut) => &at[..cut],
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separated_token_has_nothing_until_it_is_granted_something() {
        let mut accounts = Accounts::default();
        let mut user = User::default();
        user.tokens.insert("sep".into(), Token { secret: "s".into(), privsep: true, comment: None });
        user.tokens.insert("full".into(), Token { secret: "s".into(), privsep: false, comment: None });
        accounts.users.insert("root@pam".into(), user);
        let actor = |token: &str| Actor { user: "root@pam".into(), token: Some(token.into()) };
        assert!(accounts.rights(&actor("sep"), "/vms/100", false).is_empty());
        assert!(accounts.rights(&actor("full"), "/vms/100", false).contains("VM.Audit"));
        accounts.acl.push(Grant { path: "/vms".into(), subject: "root@pam!sep".into(), role: "PVEAuditor".into(), propagate: true });
        let rights = accounts.rights(&actor("sep"), "/vms/100", false);
        assert!(rights.contains("VM.Audit") && !rights.contains("VM.PowerMgmt"));
        accounts.acl.push(Grant { path: "/vms/100".into(), subject: "root@pam!sep".into(), role: "NoAccess".into(), propagate: true });
        assert!(accounts.rights(&actor("sep"), "/vms/100", false).is_empty(), "the nearest path wins");
    }
}
