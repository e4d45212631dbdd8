//! The SFTP subsystem over a practice machine's files.
