//! Resource pools.

use serde_json::{Value, json};

use super::reply::{Answer, Fail};
use super::schema::{Kind, need, opt};
use super::{Call, May, Route, Run};
use crate::lab::world::Pool;

/// The calls of this family.
pub const ROUTES: &[Route] = &[
    Route::read("/pools", May::Anyone, &[], Run::Now(list)),
    Route::work(
        "POST",
        "/pools",
        May::At("/pool", "Pool.Allocate"),
        &[need("poolid", Kind::Text), opt("comment", Kind::Text)],
        Run::Now(create),
    ),
    Route::read("/pools/{poolid}", May::At("/pool", "Pool.Audit"), &[], Run::Now(read)),
    Route::work("PUT", "/pools/{poolid}", May::At("/pool", "Pool.Allocate"), UPDATE, Run::Now(update)),
    Route::work("DELETE", "/pools/{poolid}", May::At("/pool", "Pool.Allocate"), &[], Run::Now(delete)),
];

const UPDATE: &[super::Param] = &[
    opt("vms", Kind::Text),
    opt("storage", Kind::Text),
    opt("delete", Kind::Bool),
    opt("comment", Kind::Text),
    opt("allow-move", Kind::Bool),
];

fn list(call: &Call) -> Result<Answer, Fail> {
    if !call.may("/pool", "Pool.Audit") {
        return Ok(json!([]).into());
    }
    let rows: Vec<Value> = call.lab.read(|world| {
        let row = |(name, pool): (&String, &Pool)| {
            let mut row = json!({"poolid": name});
            if let Some(comment) = &pool.comment {
                row["comment"] = json!(comment);
            }
            row
        };
        world.pools.iter().map(row).collect()
    });
    Ok(Value::Array(rows).into())
}

fn create(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("poolid").unwrap_or("").to_owned();
    let comment = call.text("comment").map(str::to_owned);
    call.lab.change(|world| {
        if world.pools.contains_key(&name) {
            return Err(Fail::Died(format!("create pool failed: pool '{name}' already exists")));
        }
        world.pools.insert(name, Pool { comment, ..Pool::default() });
        Ok(Answer::null())
    })
}

fn read(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("poolid").unwrap_or("");
    call.lab.read(|world| {
        let pool = world.pools.get(name).ok_or_else(|| Fail::Died(format!("pool '{name}' does not exist")))?;
        let members: Vec<Value> = pool
            .vms
            .iter()
            .map(|vmid| {
                let sight = call.lab.sight(*vmid);
                let mut row = json!({"vmid": vmid, "type": "qemu", "node": world.site.node, "id": format!("qemu/{vmid}")});
                row["status"] = json!(sight.as_ref().map_or("unknown", |sight| sight.status));
                if sight.is_some()
                    && let Some(vm) = world.vms.get(vmid)
                {
                    row["name"] = json!(vm.name(*vmid));
                }
                row
            })
            .collect();
        let mut row = json!({"poolid": name, "members": members});
        if let Some(comment) = &pool.comment {
            row["comment"] = json!(comment);
        }
        Ok(row.into())
    })
}

fn update(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("poolid").unwrap_or("").to_owned();
    let vms: Vec<u32> = call.text("vms").unwrap_or("").split([',', ' ']).filter_map(|vmid| vmid.trim().parse().ok()).collect();
    call.lab.change(|world| {
        if !world.pools.contains_key(&name) {
            return Err(Fail::Died(format!("update pools failed: pool '{name}' does not exist")));
        }
        for vmid in vms {
            let failed = |text: String| Err(Fail::Died(format!("update pools failed: {text}")));
            let home = world.pools.iter().find(|(_, pool)| pool.vms.contains(&vmid)).map(|(home, _)| home.clone());
            if call.flag("delete") {
                if home.as_ref() != Some(&name) {
                    return failed(format!("VM {vmid} is not a pool member"));
                }
            } else if !world.vms.contains_key(&vmid) {
                return failed(format!("VM {vmid} does not exist"));
            } else if let Some(home) = home.filter(|home| *home != name) {
                return failed(format!("VM {vmid} belongs already to pool '{home}' and 'allow-move' is not set"));
            }
            if let Some(pool) = world.pools.get_mut(&name) {
                if call.flag("delete") {
                    pool.vms.remove(&vmid)
                } else {
                    pool.vms.insert(vmid)
                };
            }
        }
        if let (Some(comment), Some(pool)) = (call.text("comment"), world.pools.get_mut(&name)) {
            pool.comment = Some(comment.to_owned());
        }
        Ok(Answer::null())
    })
}

fn delete(call: &Call) -> Result<Answer, Fail> {
    let name = call.text("poolid").unwrap_or("");
    call.lab.change(|world| {
        let pool = world.pools.get(name).ok_or_else(|| Fail::Died(format!("delete pool failed: pool '{name}' does not exist")))?;
        if let Some(vmid) = pool.vms.first() {
            return Err(Fail::Died(format!("delete pool failed: pool '{name}' is not empty (contains VM {vmid})")));
        }
        world.pools.remove(name);
        Ok(Answer::null())
    })
}
