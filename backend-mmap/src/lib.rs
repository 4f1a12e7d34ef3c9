//! Gannet storage with zero-copy views of sealed files through memory maps.
