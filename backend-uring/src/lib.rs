//! Gannet storage on Linux io_uring.
