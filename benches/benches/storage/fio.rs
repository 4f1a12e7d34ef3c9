//! `fio`, the measure of what the disk can do, where it is installed.

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Random direct reads of 4 KiB a second of an existing file, on `io_uring` with plain buffers and
/// files. `None`, with the reason printed once, where there is no `fio`.
pub(crate) fn random_reads(
    file: &Path,
    file_bytes: u64,
    depth: u16,
    window: Duration,
) -> Option<f64> {
    let report = run(&[
        format!("--filename={}", file.display()),
        "--rw=randread".to_owned(),
        "--bs=4k".to_owned(),
        "--readonly".to_owned(),
        format!("--iodepth={depth}"),
        format!("--size={file_bytes}"),
        format!("--runtime={}ms", window.as_millis()),
        "--time_based".to_owned(),
    ])?;
    report["jobs"][0]["read"]["iops"].as_f64()
}

/// Bytes a second of a new file of `file_bytes`, written directly in requests of 1 MiB, 8 at a
/// time, and synced at the end, which counts.
pub(crate) fn stream(file: &Path, file_bytes: u64) -> Option<f64> {
    let report = run(&[
        format!("--filename={}", file.display()),
        "--rw=write".to_owned(),
        "--bs=1m".to_owned(),
        "--iodepth=8".to_owned(),
        format!("--size={file_bytes}"),
        "--fallocate=none".to_owned(),
        "--create_on_open=1".to_owned(),
        "--end_fsync=1".to_owned(),
        "--unlink=1".to_owned(),
    ])?;
    report["jobs"][0]["write"]["bw_bytes"].as_f64()
}

fn run(arguments: &[String]) -> Option<Value> {
    let output = Command::new("fio")
        .args(["--name=gannet", "--ioengine=io_uring", "--direct=1", "--output-format=json"])
        .args(arguments)
        .output()
        .inspect_err(|error| println!("fio: skipped: {error}"))
        .ok()?;
    if !output.status.success() {
        println!("fio: skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}
