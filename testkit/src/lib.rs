//! Simulated storage, crash enumeration, conformance suite and oracle for Gannet.
