//! Between our values and CEL's: integers stay integers, secrets go in as text (whoever hands them in remembers that), and what has no value is refused.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString, CelType, CelUInt, Kind,
};
use cel::common::value::Val;

use crate::value::{Map, Value};

/// A value for CEL.
pub(in crate::lang) fn to_cel(value: &Value) -> Box<dyn Val> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(flag) => Box::new(CelBool::from(*flag)),
        Value::Int(number) => Box::new(CelInt::from(*number)),
        Value::Float(number) => Box::new(CelDouble::from(*number)),
        Value::String(text) => Box::new(CelString::from(text.clone())),
        Value::Secret(secret) => Box::new(CelString::from(secret.expose().to_owned())),
        Value::List(items) => Box::new(CelList::from(items.iter().map(to_cel).collect::<Vec<_>>())),
        Value::Map(map) => {
            let entries: HashMap<CelMapKey<'static>, Box<dyn Val>> =
                map.iter().map(|(key, item)| (CelMapKey::from(key.clone()), to_cel(item))).collect();
            Box::new(CelMap::from(entries))
        }
    }
}

/// A value out of CEL, at most `room` bytes of it. The error is a fragment that goes on from "the expression gives …".
pub(in crate::lang) fn of_cel(value: &dyn Val, room: &mut usize) -> Result<Value, String> {
    let taken = value.downcast_ref::<CelString<'_>>().map_or(16, |text| text.inner().len() + 16);
    *room = room.checked_sub(taken).ok_or_else(|| "more than 4 MiB".to_owned())?;
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Value::String(text.inner().to_owned()));
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        let items = list.inner().iter().map(|item| of_cel(item.as_ref(), room));
        return items.collect::<Result<Vec<_>, _>>().map(Value::List);
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return of_map(map, room);
    }
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Ok(Value::Int(*number.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return i64::try_from(*number.inner()).map(Value::Int).map_err(|_| format!("{}u, which does not fit an integer", number.inner()));
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Ok(Value::Float(*number.inner()));
    }
    if let Some(flag) = value.downcast_ref::<CelBool>() {
        return Ok(Value::Bool(*flag.inner()));
    }
    other(value)
}

fn other(value: &dyn Val) -> Result<Value, String> {
    if let Some(found) = value.downcast_ref::<CelOptional<'_>>() {
        let what = if found.inner().is_some() { "an optional" } else { "nothing: an optional without a value" };
        return Err(format!("{what}; end it with .orValue(…)"));
    }
    if value.downcast_ref::<CelBytes<'_>>().is_some() {
        return Err("bytes; make text of them with string(…) or base64.encode(…)".to_owned());
    }
    if value.downcast_ref::<CelType>().is_some() {
        return Err("a type; compare it, or write string values".to_owned());
    }
    match value.get_type().kind() {
        Kind::NullType => Ok(Value::Null),
        Kind::Timestamp | Kind::Duration => Err("a time; make text of it with string(…)".to_owned()),
        _ => Err(format!("{}, which is no value here", value.get_type().name())),
    }
}

fn of_map(map: &CelMap<'_>, room: &mut usize) -> Result<Value, String> {
    let mut found = Map::new();
    for (key, item) in map.inner() {
        let CelMapKey::String(text) = key else { return Err("a map whose keys are not all strings".to_owned()) };
        *room = room.checked_sub(text.inner().len()).ok_or_else(|| "more than 4 MiB".to_owned())?;
        found.insert(text.inner().to_owned(), of_cel(item.as_ref(), room)?);
    }
    Ok(Value::Map(found))
}
