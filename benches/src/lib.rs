//! Benchmarks of Gannet.
