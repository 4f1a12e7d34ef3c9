//! A fuzzer for what reads bytes from a disk; and single inputs, given again.
//!
//! `cargo run -p gannet-testkit --example fuzz -- TARGET HEX...` gives inputs, as a crash printed
//! them, to one of the targets graph, codes, files, table and log; without inputs, those that it
//! begins with. The fuzzer itself is libFuzzer, with which this is linked where it is built with
//! `--cfg fuzz` and coverage, as the step `fuzz` in `.ci/steps` does: its target is the name of the
//! directory that it keeps inputs in, its first argument.

#![cfg_attr(fuzz, no_main)]

use gannet_testkit::fuzz::Target;

#[cfg(fuzz)]
mod fuzzer {
    use super::Target;
    use std::path::Path;
    use std::sync::OnceLock;

    static TARGET: OnceLock<Target> = OnceLock::new();

    /// Reads the target and leaves the inputs to begin with in its directory.
    #[expect(clippy::disallowed_methods, reason = "a tool that keeps inputs, not a database")]
    fn begin() {
        let dir = std::env::args().nth(1).expect("the first argument is a directory");
        let dir = Path::new(&dir);
        let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let target: Target = name.parse().expect("the directory has the name of a target");
        for (number, seed) in target.seeds().into_iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{number}")), seed).expect("it can be written to");
        }
        TARGET.set(target).expect("this is done once");
    }

    libfuzzer_sys::fuzz_target!(init: begin(), |input: &[u8]| {
        TARGET.get().expect("set at the beginning").run(input);
    });
}

#[cfg(not(fuzz))]
fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let target = args.next().unwrap_or_default().parse();
    let inputs: Option<Vec<Vec<u8>>> = args.map(|hex| bytes(&hex)).collect();
    let (target, inputs): (Target, _) = match (target, inputs) {
        (Ok(target), Some(inputs)) => (target, inputs),
        (Err(error), _) => {
            eprintln!("{error}");
            return std::process::ExitCode::from(2);
        }
        (_, None) => {
            eprintln!("inputs are pairs of hexadecimal digits");
            return std::process::ExitCode::from(2);
        }
    };
    let inputs = if inputs.is_empty() { target.seeds() } else { inputs };
    for input in &inputs {
        target.run(input);
    }
    eprintln!("{target}: {} inputs, nothing broken", inputs.len());
    std::process::ExitCode::SUCCESS
}

#[cfg(not(fuzz))]
fn bytes(hex: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
