//! A wrong command line, told in one line like every other error.

use clap::Error;

/// What clap says, without its usage and hints, joined to one line.
pub(crate) fn one_line(error: &Error) -> String {
    let text = error.render().to_string();
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        if !line.starts_with("tip:") {
            words.extend(line.split_whitespace());
        }
    }
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    format!("{}: try gannet --help", crate::failure::printable(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser;

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        let check = |line: &str, expect: &str| {
            let words = line.split(' ').filter(|word| !word.is_empty());
            let error = Cli::try_parse_from(words).expect_err(line);
            assert_eq!(one_line(&error), expect);
        };
        check("gannet fly", "unrecognized subcommand 'fly': try gannet --help");
        check(
            "gannet stats",
            "the following required arguments were not provided: --db <DIR>: try gannet --help",
        );
        check(
            "gannet search --db d --collection c --queries q --k 0",
            "invalid value '0' for '--k <K>': 0 is not in 1..=4294967295: try gannet --help",
        );
        check(
            "gannet get --db d k --bakend std",
            "unexpected argument '--bakend' found: try gannet --help",
        );
    }
}
