//! Checking a whole project before anything runs.
