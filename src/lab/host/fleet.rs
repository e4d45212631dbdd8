//! The insides of the ten practice VMs.

use super::HostState;

impl HostState {
    /// The inside of the VM `name`; a name that is not of the ten gets a netbooted Alpine. `uuid` is its smbios uuid.
    #[must_use]
    pub fn for_vm(name: &str, uuid: &str) -> Self {
        Self { hostname: name.to_owned(), uuid: uuid.to_lowercase(), ..Self::default() }
    }
}
