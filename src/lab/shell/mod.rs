//! A small POSIX shell over a practice machine.
//!
//! Holds: words and grammar of the shell, its interpreter, and its built-in commands
//! Imports: none
//! Effects: waits
//! Never: runs a program of this machine or touches its files
