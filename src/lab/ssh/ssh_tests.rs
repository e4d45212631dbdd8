//! The server driven by clients.
