//! `--at`: the same command on another machine. The `pmx` here and the one there talk in lines over SSH; `docs/design/0012-at.md` has the reasons.

pub(super) mod far;
pub(super) mod near;
mod words;
