//! The gannet command line program.
