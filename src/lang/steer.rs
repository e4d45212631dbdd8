//! Steering: what an action on a VM means, as the bot's table and the project's workflows say it.

use crate::lang::Project;
use crate::lang::workflow::Workflow;

/// The input by which a workflow for any VM is told which.
pub const NAME: &str = "vmName";

/// What to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Targets in order.
    pub targets: Vec<String>,
    /// Inputs, `name=value`.
    pub inputs: Vec<String>,
}

/// The workflow that does `action` to `vm`: `<action>-<vm>`, else `<action>-vm`; and whether it must be told which VM.
pub fn workflow<'p>(project: &'p Project, vm: &str, action: &str) -> Option<(&'p Workflow, bool)> {
    let named = |name: String| project.workflows.get(&name);
    named(format!("{action}-{vm}")).map(|own| (own, false)).or_else(|| named(format!("{action}-vm")).map(|common| (common, true)))
}

/// What `action` on `vm` means: its workflow; `reboot` else stops and starts, `status` else asks the call that the table names, else Proxmox.
/// `None` where nothing does it, of which the checker complains.
pub fn meaning(project: &Project, vm: &str, action: &str) -> Option<Meaning> {
    let mut meaning = Meaning { targets: Vec::new(), inputs: Vec::new() };
    let told = format!("{NAME}={vm}");
    let mut add = |action: &str| {
        let (found, common) = workflow(project, vm, action)?;
        meaning.targets.push(found.name.clone());
        if common && !meaning.inputs.contains(&told) {
            meaning.inputs.push(told.clone());
        }
        Some(())
    };
    if add(action).is_some() {
        return Some(meaning);
    }
    match action {
        "reboot" => add("stop").and_then(|()| add("start")).map(|()| meaning),
        "status" => {
            let table = project.pmxfile.bot.as_ref().and_then(|bot| bot.vms.get(vm));
            Some(match table.and_then(|table| table.status.as_ref()) {
                Some(call) => Meaning { targets: vec![call.value.clone()], inputs: Vec::new() },
                None => Meaning { targets: vec!["fleet.lookup".to_owned()], inputs: vec![told] },
            })
        }
        _ => None,
    }
}
