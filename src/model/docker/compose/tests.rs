//! What the methods of `docker/compose` do: wire script → outcome.
