//! Samples, their medians, and the tables and lines that tell them.

use crate::store::{Kind, Mode, Result};
use std::fmt::Write as _;
use std::io::Write;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations a second; records, where a commit is of many. More is better.
    PerSecond,
    /// Less is better, as of what follows.
    Seconds,
    /// Millions of bytes.
    Megabytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
        }
    }

    fn direction(self) -> &'static str {
        match self {
            Self::PerSecond => "more is better",
            Self::Seconds | Self::Megabytes => "less is better",
        }
    }
}

/// What one round gave.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) workload: &'static str,
    pub(crate) kind: Kind,
    pub(crate) settings: String,
    pub(crate) mode: Mode,
    pub(crate) threads: u64,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
}

/// All rounds of one store in one table.
struct Row {
    /// Its value is not used.
    of: Sample,
    values: Vec<f64>,
}

impl Row {
    fn is_beside(&self, sample: &Sample) -> bool {
        self.of.workload == sample.workload && self.of.threads == sample.threads
    }

    /// Least, median and greatest. Of an even number of rounds, the lower one in the middle.
    fn spread(&self) -> (f64, f64, f64) {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len() - 1;
        (sorted[0], sorted[last / 2], sorted[last])
    }

    fn median(&self) -> f64 {
        self.spread().1
    }
}

/// What was measured, in the order in which it came.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    failures: Vec<String>,
    has_failed: bool,
}

impl Report {
    pub(crate) fn add(&mut self, sample: Sample) {
        let known = |row: &&mut Row| row.of.kind == sample.kind && row.is_beside(&sample);
        let value = sample.value;
        match self.rows.iter_mut().find(known) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { of: sample, values: vec![value] }),
        }
    }

    pub(crate) fn fail(&mut self, failure: String) {
        self.has_failed = true;
        self.failures.push(failure);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Writes a table for each workload and number of threads that has been measured, and forgets
    /// them; lines go to `lines`.
    pub(crate) fn tell(
        &mut self,
        out: &mut dyn Write,
        mut lines: Option<&mut dyn Write>,
    ) -> Result<()> {
        let mut rows = std::mem::take(&mut self.rows);
        while let Some(first) = rows.first().map(|row| row.of.clone()) {
            let (table, others) = rows.into_iter().partition(|row| row.is_beside(&first));
            rows = others;
            out.write_all(tell_table(&table).as_bytes())?;
            out.flush()?;
            if let Some(lines) = &mut lines {
                for row in &table {
                    writeln!(lines, "{}", line(row))?;
                }
                lines.flush()?;
            }
        }
        for failure in self.failures.drain(..) {
            writeln!(out, "failed: {failure}")?;
        }
        Ok(())
    }
}

fn tell_table(rows: &[Row]) -> String {
    let Some(Row { of, values }) = rows.first() else { return String::new() };
    let (mode, threads, unit) = (of.mode.name(), of.threads, of.unit);
    let heading = format!("{}: {mode}, threads {threads}, {}", of.workload, unit.direction());
    let rounds = values.len();
    let mut table = format!("\n### {heading}\n\n| store | settings | median {}", unit.name());
    _ = writeln!(table, " of {rounds} | min..max | to gannet |\n| --- | --- | --- | --- | --- |");
    let gannet = rows.iter().find(|row| row.of.kind == Kind::Gannet).map(Row::median);
    for row in rows {
        let (least, median, greatest) = row.spread();
        let ratio = gannet.map_or("-".to_owned(), |gannet| format!("{:.2}", median / gannet));
        let (name, settings) = (row.of.kind.name(), &row.of.settings);
        let (median, least, greatest) =
            (figure(unit, median), figure(unit, least), figure(unit, greatest));
        _ = writeln!(table, "| {name} | {settings} | {median} | {least}..{greatest} | {ratio} |");
    }
    table
}

fn figure(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond if value >= 1e6 => format!("{:.2} M", value / 1e6),
        Unit::PerSecond if value >= 1e4 => format!("{:.0} k", value / 1e3),
        Unit::PerSecond if value >= 1e3 => format!("{:.1} k", value / 1e3),
        Unit::PerSecond | Unit::Megabytes => format!("{value:.0}"),
        Unit::Seconds => format!("{value:.4}"),
    }
}

fn line(row: &Row) -> serde_json::Value {
    let (min, median, max) = row.spread();
    serde_json::json!({
        "workload": row.of.workload,
        "store": row.of.kind.name(),
        "settings": row.of.settings,
        "mode": row.of.mode.name(),
        "threads": row.of.threads,
        "unit": row.of.unit.name(),
        "median": median,
        "min": min,
        "max": max,
        "rounds": row.values.len(),
    })
}
