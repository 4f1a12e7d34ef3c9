//! Vector kernels and the HNSW graph of Gannet: build, search, bytes in and out, no I/O.
