//! The registry: every model type, one `mod` line in its family and one line here.

use futures_util::future::BoxFuture;

use crate::model::contract::{Call, Context, Failure, MethodRow, TypeRow};
use crate::model::{alpine, docker, minecraft, nginx, pmx, proxmox, ssh, tailscale, terraria};
use crate::name::{nearest, renamed};

/// Every type, by name.
static TYPES: &[&TypeRow] = &[
    &alpine::install::TYPE,
    &alpine::overlay::TYPE,
    &docker::compose::TYPE,
    &docker::engine::TYPE,
    &minecraft::server::TYPE,
    &nginx::stream::TYPE,
    &pmx::repo::TYPE,
    &proxmox::node::TYPE,
    &proxmox::vm::TYPE,
    &ssh::host::TYPE,
    &tailscale::node::TYPE,
    &terraria::server::TYPE,
];

/// A name that no type or method has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// No such type.
    #[error("there is no model type `{given}`{}", hint(.near, .known))]
    Type {
        /// As asked.
        given: String,
        /// The type that was probably meant.
        near: Option<&'static str>,
        /// All there are.
        known: Vec<&'static str>,
    },
    /// The type has no such method.
    #[error("{ty} has no method `{given}`{}", hint(.near, .known))]
    Method {
        /// The type.
        ty: &'static str,
        /// As asked.
        given: String,
        /// The method that was probably meant.
        near: Option<&'static str>,
        /// All it has.
        known: Vec<&'static str>,
    },
}

fn hint(near: &Option<&'static str>, known: &[&'static str]) -> String {
    near.map_or_else(|| format!("; there are {}", known.join(", ")), |near| format!("; did you mean `{near}`?"))
}

/// Waits, by the global arguments of a call and the tasks in its context, until nothing that the call began runs any more.
pub type SettleFn = for<'a> fn(&'a Context, Call) -> BoxFuture<'a, Result<(), Failure>>;

/// How a type waits for the tasks that its methods begin; `None` for types whose work ends with its commands.
pub fn settler(kind: &str) -> Option<SettleFn> {
    match kind {
        "proxmox/vm" => Some(|ctx, call| Box::pin(proxmox::vm::settle_tasks(ctx, call))),
        _ => None,
    }
}

/// Every type, in the order of their names.
pub fn types() -> &'static [&'static TypeRow] {
    TYPES
}

/// The type called `name`.
pub fn find(name: &str) -> Result<&'static TypeRow, Unknown> {
    TYPES.iter().copied().find(|row| row.name == name).ok_or_else(|| {
        let known: Vec<&'static str> = TYPES.iter().map(|row| row.name).collect();
        Unknown::Type { given: name.to_owned(), near: renamed(name).or_else(|| nearest(name, known.iter().copied())), known }
    })
}

/// The method called `name` of the type `row`.
pub fn method(row: &'static TypeRow, name: &str) -> Result<&'static MethodRow, Unknown> {
    row.method(name).ok_or_else(|| {
        let known: Vec<&'static str> = row.methods.iter().map(|method| method.name).collect();
        Unknown::Method { ty: row.name, given: name.to_owned(), near: nearest(name, known.iter().copied()), known }
    })
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
