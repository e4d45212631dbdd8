//! The stand-in itself: every rule of it refuses what breaks it, and an unmodified client lives with it.

mod channels;
mod client;
mod commands;
mod events;
mod forms;
mod gateway;
mod interactions;
mod limits;
mod raw;
mod reconnects;
mod stays;
