//! The rights that pmx's methods need of a Proxmox account, and the lines that grant them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

/// Privileges that belong together: where they are needed, for what, and the role of Proxmox's own that has them all.
struct Need {
    path: &'static str,
    role: &'static str,
    privileges: &'static [&'static str],
    needed: &'static str,
}

const NEEDS: [Need; 4] = [
    Need {
        path: "/vms",
        role: "PVEVMAdmin",
        privileges: &[
            "VM.Audit",
            "VM.PowerMgmt",
            "VM.Allocate",
            "VM.Config.Options",
            "VM.Config.CPU",
            "VM.Config.Memory",
            "VM.Config.Network",
            "VM.Config.Disk",
        ],
        needed: "to see, start, stop, make, change and delete VMs",
    },
    Need { path: "/storage", role: "PVEDatastoreUser", privileges: &["Datastore.AllocateSpace"], needed: "to make disks" },
    Need { path: "/nodes", role: "PVEAuditor", privileges: &["Sys.Audit"], needed: "to read the node's state and the tasks of others" },
    Need { path: "/sdn/zones", role: "PVESDNUser", privileges: &["SDN.Use"], needed: "to put a VM on a bridge (Proxmox VE 8 and later)" },
];

/// Rights that an account lacks at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Missing {
    /// The path: `/vms`.
    pub path: String,
    /// The privileges, separated by blanks.
    pub privileges: String,
    /// For what pmx needs them.
    pub needed: String,
    /// The line that grants them, for a shell on a node.
    pub grant: String,
}

/// What `account` lacks, by the answer of `/access/permissions`. A privilege counts when the account has it at the path, above it, or somewhere below:
/// rights on a single VM are rights to work with that VM. `major` is the version of Proxmox VE, for privileges that older ones do not know.
pub(super) fn missing(permissions: &Json, account: &str, major: u32) -> Vec<Missing> {
    let paths = permissions.as_object();
    let has = |place: &str, privilege: &str| {
        let counts = |path: &str| path == "/" || path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
        let pool = |path: &str| place == "/vms" && path.starts_with("/pool");
        paths.is_some_and(|paths| paths.iter().any(|(path, rights)| (counts(path) || pool(path)) && rights.get(privilege).is_some()))
    };
    let lacks = |need: &Need| {
        let lacking: Vec<&str> = need.privileges.iter().copied().filter(|privilege| !has(need.path, privilege)).collect();
        let known = need.role != "PVESDNUser" || major >= 8;
        (!lacking.is_empty() && known).then(|| Missing {
            path: need.path.to_owned(),
            privileges: lacking.join(" "),
            needed: need.needed.to_owned(),
            grant: grant(need.path, account, need.role),
        })
    };
    NEEDS.iter().filter_map(lacks).collect()
}

/// `pveum acl modify /vms --users 'root@pam' --roles PVEVMAdmin`; for an API token with `--tokens`.
pub(super) fn grant(path: &str, account: &str, role: &str) -> String {
    let whose = if account.contains('!') { "--tokens" } else { "--users" };
    format!("pveum acl modify {path} {whose} '{account}' --roles {role}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_is_named_with_the_line_that_grants_it() {
        let nothing = missing(&json!({}), "bot@pve!pmx", 8);
        let lines: Vec<&str> = nothing.iter().map(|missing| missing.grant.as_str()).collect();
        assert_eq!(
            lines,
            [
                "pveum acl modify /vms --tokens 'bot@pve!pmx' --roles PVEVMAdmin",
                "pveum acl modify /storage --tokens 'bot@pve!pmx' --roles PVEDatastoreUser",
                "pveum acl modify /nodes --tokens 'bot@pve!pmx' --roles PVEAuditor",
                "pveum acl modify /sdn/zones --tokens 'bot@pve!pmx' --roles PVESDNUser",
            ]
        );
        assert_eq!(missing(&json!({}), "bot@pve", 7).len(), 3, "older ones know no SDN.Use");
        assert!(grant("/vms", "bot@pve", "PVEVMAdmin").contains("--users 'bot@pve'"));
    }

    #[test]
    fn rights_above_the_place_and_below_it_count() {
        let all: serde_json::Map<String, Json> =
            NEEDS.iter().flat_map(|need| need.privileges).map(|privilege| ((*privilege).to_owned(), json!(1))).collect();
        assert_eq!(missing(&json!({ "/": all }), "a@pam", 9), []);
        let some = json!({"/vms/107": {"VM.Audit": 1, "VM.PowerMgmt": 1}, "/vmsx": {"VM.Allocate": 1}, "/storage/local-lvm": {"Datastore.AllocateSpace": 1}});
        let lacking = missing(&some, "a@pam", 7);
        assert_eq!(lacking.len(), 2);
        assert!(lacking[0].privileges.starts_with("VM.Allocate VM.Config.Options"), "{}", lacking[0].privileges);
        assert_eq!(lacking[1].path, "/nodes");
    }
}
