//! From the spanned TOML tree to the typed forms: one file per kind of file, all complaints at once.

pub(in crate::lang) mod arguments;
pub(in crate::lang) mod at;
pub(in crate::lang) mod bot;
pub(in crate::lang) mod definition;
pub(in crate::lang) mod duration;
pub(in crate::lang) mod input;
pub(in crate::lang) mod pmxfile;
pub(in crate::lang) mod profile;
pub(in crate::lang) mod syntax;
pub(in crate::lang) mod template;
pub(in crate::lang) mod tree;
pub(in crate::lang) mod workflow;

#[cfg(test)]
mod tests;
