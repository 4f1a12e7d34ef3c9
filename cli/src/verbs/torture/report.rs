//! What torture prints: JSON, text, and one web page that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::place::Place;
use super::tally::Tally;
use crate::args::TortureArgs;
use crate::failure::printable;

#[derive(Serialize)]
pub(super) struct Report {
    dir: String,
    minutes: f64,
    seed: u64,
    backends: BTreeMap<String, Tally>,
    /// Backends that do not work here, and why.
    skipped: Vec<String>,
    /// The command that tries the first violation again.
    replay: Option<String>,
}

const COLUMNS: [&str; 10] = [
    "backend",
    "kills",
    "faults",
    "flips",
    "states",
    "lost",
    "holes",
    "partial",
    "revived",
    "violations",
];

const EXPLAINED: &str = "\
kills: child processes killed with SIGKILL while they committed; faults: calls of the storage that \
failed; flips: bytes of a closed database changed; states: what power cuts left in the simulator. \
lost: acknowledged but not there; holes: not there though something later is; partial: a part of a \
batch; revived: deleted or cut, and there again.";

impl Report {
    pub(super) fn new(
        args: &TortureArgs,
        seed: u64,
        backends: BTreeMap<String, Tally>,
        skipped: Vec<String>,
        place: &Place,
    ) -> Self {
        let first = backends.iter().find_map(|(name, tally)| Some((name, tally.first.as_ref()?)));
        let early = if args.acknowledge_early { " --acknowledge-early" } else { "" };
        let replay = first.map(|(backend, round)| {
            let dir = args.dir.display().to_string().replace('\'', "'\\''");
            format!(
                "gannet torture --dir '{dir}' --backend {backend} --seed {seed} --round \
                 '{round}'{early}"
            )
        });
        let dir = place.dir().display().to_string();
        Self { dir, minutes: args.minutes, seed, backends, skipped, replay }
    }

    /// The command that tries the first violation again; none if there is none.
    pub(super) fn replay(&self) -> Option<&str> {
        self.replay.as_deref()
    }

    /// Of all backends.
    pub(super) fn violations(&self) -> u64 {
        self.backends.values().map(|tally| tally.violations).sum()
    }

    fn rows(&self) -> impl Iterator<Item = [String; 10]> + '_ {
        self.backends.iter().map(|(name, tally)| {
            let Tally { kills, faults, flips, states, lost, holes, partial, revived, .. } = tally;
            let counts =
                [kills, faults, flips, states, lost, holes, partial, revived, &tally.violations];
            let mut row = [const { String::new() }; 10];
            row[0].clone_from(name);
            for (cell, count) in row[1..].iter_mut().zip(counts) {
                *cell = count.to_string();
            }
            row
        })
    }

    fn verdict(&self) -> &'static str {
        if self.replay.is_none() { "Nothing was violated." } else { "Promises were broken." }
    }

    /// Violations and what was skipped, a line each.
    fn notes(&self) -> Vec<String> {
        let found = self.backends.iter().flat_map(|(name, tally)| {
            tally.found.iter().map(move |what| format!("violation: {name}: {what}"))
        });
        let skipped = self.skipped.iter().map(|why| format!("skipped: {why}"));
        let replay = self.replay.iter().map(|replay| format!("try again: {replay}"));
        found.chain(skipped).chain(replay).collect()
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("torture in {}, seed {}\n\n", printable(&self.dir), self.seed);
        let header = COLUMNS.map(str::to_string);
        for row in std::iter::once(header).chain(self.rows()) {
            write!(text, "{:<8}", row[0]).expect("writing to a string succeeds");
            for cell in &row[1..] {
                write!(text, " {cell:>10}").expect("writing to a string succeeds");
            }
            text.push('\n');
        }
        writeln!(text, "\n{EXPLAINED}\n").expect("writing to a string succeeds");
        for note in self.notes() {
            writeln!(text, "{}", printable(&note)).expect("writing to a string succeeds");
        }
        text + self.verdict()
    }

    pub(super) fn html(&self) -> String {
        let cells = |tag: &str, row: &[String]| {
            row.iter().fold(String::new(), |html, cell| {
                html + "<" + tag + ">" + &escaped(cell) + "</" + tag + ">"
            })
        };
        let row = |html: String, row: [String; 10]| html + "<tr>" + &cells("td", &row) + "</tr>\n";
        let rows = self.rows().fold(String::new(), row);
        let note = |html: String, note: &String| html + "<li>" + &escaped(note) + "</li>\n";
        let notes = self.notes().iter().fold(String::new(), note);
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <title>gannet torture</title>\n<style>\nbody {{ font-family: sans-serif; margin: 2em; \
             max-width: 60em }}\ntd, th {{ padding: .3em .8em; text-align: right; border-bottom: \
             1px solid #ccc }}\n</style></head><body>\n<h1>gannet torture</h1>\n\
             <p>{verdict}</p>\n<p>Directory {dir}, seed {seed}, {minutes} minutes.</p>\n\
             <table>\n<tr>{header}</tr>\n{rows}</table>\n<p>{EXPLAINED}</p>\n<ul>\n{notes}</ul>\n\
             </body></html>\n",
            verdict = self.verdict(),
            dir = escaped(&self.dir),
            seed = self.seed,
            minutes = self.minutes,
            header = cells("th", &COLUMNS.map(str::to_string)),
        )
    }
}

fn escaped(text: &str) -> String {
    let mut clean = String::new();
    for character in printable(text).chars() {
        match character {
            '<' => clean.push_str("&lt;"),
            '>' => clean.push_str("&gt;"),
            '&' => clean.push_str("&amp;"),
            '"' => clean.push_str("&quot;"),
            other => clean.push(other),
        }
    }
    clean
}
