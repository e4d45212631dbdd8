//! pmx: a build system whose rules act on a fleet of virtual machines.

pub mod digest;
pub mod lab;
pub mod name;
pub mod secret;
pub mod value;
