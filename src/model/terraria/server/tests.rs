//! What the methods of `terraria/server` do: wire script → outcome.
