//! Gannet storage on portable positional file I/O.
