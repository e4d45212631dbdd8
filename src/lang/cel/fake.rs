//! A scope for tests: resources, inputs and vaults in maps, with a count of what was asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::event::Time;
use crate::lang::template::{Absent, Each, Scope, Seen};
use crate::name::{ResourceName, RunId};
use crate::secret::{Origin, Secret};
use crate::value::{Map, Value};

/// Everything that the scope knows.
pub(in crate::lang) struct Fake {
    /// Inputs.
    pub inputs: Map,
    /// Attributes by resource.
    pub resources: BTreeMap<ResourceName, Value>,
    /// Secrets by vault and key.
    pub secrets: BTreeMap<(String, String), String>,
    /// The loop's item.
    pub each: Option<Each>,
    /// What was asked, in order.
    pub asked: RefCell<Vec<String>>,
}

/// A value of JSON.
pub(in crate::lang) fn value(json: serde_json::Value) -> Value {
    Value::from(json)
}

impl Fake {
    /// The fleet of the inventory, one secret and a few inputs.
    pub fn new() -> Self {
        let name = |text: &str| text.parse::<ResourceName>().unwrap();
        let ticket = Secret::new("PVE:ticket", Origin::Resource { name: name("keebDev02/node/node"), field: "ticket".into() });
        let node = Value::Map(Map::from([("username".into(), "root@pam".into()), ("ticket".into(), Value::Secret(ticket))]));
        let vm = |ip: serde_json::Value| value(serde_json::json!({"vmid": 107, "ip": ip, "status": "running", "tags": ["a", "b"]}));
        let resources = BTreeMap::from([
            (name("fleet/vm/calamity"), vm("10.0.0.7".into())),
            (name("fleet/vm/gold-image"), vm(serde_json::Value::Null)),
            (name("fleet/vm/VM 102"), value(serde_json::json!({"vmid": 102, "status": "running"}))),
            (name("keebDev02/node/node"), node),
        ]);
        let inputs = value(
            serde_json::json!({"vmName": "calamity", "n": 3, "ratio": 1.5, "on": true, "list": ["a", "b", "a"], "map": {"k": {"x": 1}}, "none": null}),
        );
        let Value::Map(inputs) = inputs else { unreachable!() };
        let secrets = BTreeMap::from([
            (("v".to_owned(), "k".to_owned()), "hunter2".to_owned()),
            (("v".to_owned(), "empty".to_owned()), String::new()),
        ]);
        Self { inputs, resources, secrets, each: None, asked: RefCell::default() }
    }

    fn seen(attributes: &Value) -> Seen {
        Seen { attributes: Arc::new(attributes.clone()), version: 7, at: Time(0), run: RunId::from_uuid(uuid::Uuid::nil()) }
    }
}

impl Scope for Fake {
    fn inputs(&self) -> &Map {
        &self.inputs
    }
    fn resource(&self, name: &ResourceName) -> Result<Seen, Absent> {
        self.asked.borrow_mut().push(name.to_string());
        let absent = || Absent { message: format!("no version of {name} yet"), help: Some(format!("`pmx build {name}` reads it")) };
        self.resources.get(name).map(Self::seen).ok_or_else(absent)
    }
    fn instances(&self, def: &str, spec: &str) -> Result<Vec<(String, Seen)>, Absent> {
        self.asked.borrow_mut().push(format!("{def}/{spec}/*"));
        let meant = self.resources.iter().filter(|(name, _)| name.def == def && name.spec == spec);
        Ok(meant.map(|(name, value)| (name.instance.clone(), Self::seen(value))).collect())
    }
    fn vault(&self, vault: &str, key: &str) -> Result<Secret, Absent> {
        self.asked.borrow_mut().push(format!("vault {vault} {key}"));
        let found = self.secrets.get(&(vault.to_owned(), key.to_owned()));
        let absent = || Absent { message: format!("vault {vault} has no key {key}"), help: Some(format!("pmx vault set {vault} {key}")) };
        found.map(|text| Secret::new(text.clone(), Origin::Vault { vault: vault.into(), key: key.into() })).ok_or_else(absent)
    }
    fn each(&self) -> Option<Each> {
        self.each.clone()
    }
    fn run(&self) -> Map {
        Map::from([("id".into(), "7f3".into())])
    }
    fn this(&self) -> Map {
        Map::from([("name".into(), "fleet".into())])
    }
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }
    fn why_missing(&self, name: &ResourceName, field: &str) -> Option<String> {
        (field == "ip").then(|| format!("{name} has had no ip since 14:02, when run 7f3 (fleet.stop) stopped it"))
    }
}
