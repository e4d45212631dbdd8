//! Methods that act each time and yet find out by themselves whether this very run has done it already: calling them again is the look.
//!
//! Observes and Converges look by their nature and are not listed. A method stands here when a run that died at any moment of it may call it again with
//! the same arguments, and the world is as after one call.

/// Each with its reason.
const LOOKS: [(&str, &str); 2] = [
    // The VM carries the mark of its run: an own one is adopted, anybody else's is refused.
    ("proxmox/vm", "create"),
    // Vmid, name and uuid of the version that was shown are compared before anything is done; a VM that is proven gone is success.
    ("proxmox/vm", "delete"),
];

/// Whether the method finds out by itself.
pub fn looks(kind: &str, method: &str) -> bool {
    LOOKS.contains(&(kind, method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::contract::Effect;
    use crate::model::registry;

    #[test]
    fn every_line_names_a_method_that_acts_each_time() {
        for (kind, method) in LOOKS {
            let row = registry::method(registry::find(kind).unwrap(), method).unwrap();
            assert!(matches!(row.effect, Effect::Act | Effect::Destroy), "{kind}.{method} looks anyway");
        }
        assert!(!looks("terraria/server", "warnShutdown") && !looks("ssh/host", "exec") && !looks("alpine/install", "install"));
    }
}
