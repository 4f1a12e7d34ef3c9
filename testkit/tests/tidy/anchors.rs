//! A document in Markdown: the anchors of its headings, and the links in its text.
//!
//! Anchors are made as forges make them: letters small, punctuation dropped, a space a hyphen, a
//! number behind the second of a name.

use std::collections::{BTreeMap, BTreeSet};

/// A link as written, with its line from 1.
pub(crate) type Link<'a> = (usize, &'a str);

/// The anchors that a link into `text` may name.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::<String, u32>::new();
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        for key in ["id=\"", "name=\""] {
            let named = line.split(key).skip(1).filter_map(|rest| rest.split_once('"'));
            anchors.extend(named.map(|(name, _)| name.to_owned()));
        }
        let title = line.trim_start_matches('#');
        let depth = line.len() - title.len();
        if !(1..=6).contains(&depth) || !title.starts_with(' ') {
            continue;
        }
        let slug = slug(title.trim().trim_end_matches('#').trim_end());
        let seen = times.entry(slug.clone()).or_default();
        anchors.insert(if *seen == 0 { slug } else { format!("{slug}-{seen}") });
        *seen += 1;
    }
    anchors
}

/// The links of `text`: inline ones, images and reference definitions; not those in code.
pub(crate) fn links(text: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    for (line, text) in prose(text) {
        if let Some(target) = definition(text) {
            links.push((line, target_of(target)));
            continue;
        }
        for (start, _) in text.match_indices("](") {
            if !is_in_code(text, start) {
                links.push((line, target_of(&text[start + 2..])));
            }
        }
    }
    links
}

/// What follows `[label]:`; a footnote is not a link.
fn definition(line: &str) -> Option<&str> {
    let (label, target) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    (!label.contains(']') && !label.starts_with('^')).then_some(target)
}

/// Lines outside fenced blocks of code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => return true,
            (Some(_), _) => {}
        }
        false
    })
}

/// Whether an odd number of backticks stands before.
fn is_in_code(line: &str, at: usize) -> bool {
    line[..at].matches('`').count() % 2 == 1
}

/// `path "title")...` and `<path>)...` without the rest.
fn target_of(text: &str) -> &str {
    let text = text.trim_start();
    if let Some((inside, _)) = text.strip_prefix('<').and_then(|text| text.split_once('>')) {
        return inside;
    }
    let mut depth = 0_u32;
    let end = text.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ')' => return true,
            _ => return c.is_whitespace(),
        }
        false
    });
    &text[..end.unwrap_or(text.len())]
}

fn slug(title: &str) -> String {
    // The text of a link in a heading counts, its target does not.
    let mut plain = String::new();
    let mut rest = title;
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    let kept = plain.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[test]
fn headings_give_their_anchors() {
    for (heading, expect) in [
        ("# One", "one"),
        ("## 4. Log, commit, recovery", "4-log-commit-recovery"),
        ("### `durable_upto` & more ##", "durable_upto--more"),
        ("# A [link](to.md) here", "a-link-here"),
        ("<a id=\"place\"></a>", "place"),
    ] {
        assert_eq!(anchors(heading).into_iter().collect::<Vec<_>>(), [expect], "{heading}");
    }
    let text = "# A\n# A\n```\n# code\n```\n#hash\n####### seven\n";
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a", "a-1"]);
}

#[test]
fn links_are_found_and_code_is_not() {
    let text = "[a](b.md) and ![c](d.png \"title\"), [e](<f g.md>)\n`[h](i)` [j](k(l).md#m)\n\
                ```\n[n](o)\n```\n[p]: q.md \"title\"\n[^1]: not a link\n";
    let expect = [(1, "b.md"), (1, "d.png"), (1, "f g.md"), (2, "k(l).md#m"), (6, "q.md")];
    assert_eq!(links(text), expect);
}
