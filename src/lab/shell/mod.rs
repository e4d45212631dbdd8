//! A small POSIX shell over a practice machine.
//!
//! Holds: words and grammar of the shell, its interpreter, and its built-in commands
//! Imports: none
//! Effects: waits
//! Never: runs a program of this machine or touches its files

mod arith;
mod builtin;
mod expand;
pub mod io;
mod parse;
mod pattern;
mod print;
mod redirect;
mod run;
mod test;
mod tree;
mod word;
mod world;

#[cfg(test)]
mod shell_tests;

pub use pattern::matches;
pub use run::{Program, STACK, Shell};
pub use world::World;
