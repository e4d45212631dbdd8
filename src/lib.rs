//! pmx: a build system whose rules act on a fleet of virtual machines.

pub mod digest;
pub mod event;
pub mod lab;
pub mod lang;
pub mod model;
pub mod name;
pub mod plan;
pub mod secret;
pub mod source;
pub mod store;
pub mod value;
pub mod vault;
pub mod wire;
