//! Rust source, told apart into code and comments: a rule about code must not trip over a string.
//!
//! Knows just enough of the language: line comments, nested block comments, strings with escapes,
//! raw strings, characters and lifetimes.

/// The lines of a file twice, each as long as the original: code with everything else blanked, and
/// comments with everything else blanked. Literals are in neither.
#[derive(Debug)]
pub(crate) struct Code {
    code: Vec<String>,
    comments: Vec<String>,
}

/// What a character belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Code {
    pub(crate) fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let parts = parts(&chars);
        let only = |wanted: Part| -> Vec<String> {
            let keep = |(&c, &part)| if c == '\n' || part == wanted { c } else { ' ' };
            let kept: String = chars.iter().zip(&parts).map(keep).collect();
            kept.lines().map(str::to_owned).collect()
        };
        Self { code: only(Part::Code), comments: only(Part::Comment) }
    }

    /// Lines of code with their numbers, from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.iter().map(String::as_str))
    }

    /// Lines of comments with their numbers, from 1; signs of comments included.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.comments.iter().map(String::as_str))
    }
}

/// Whether `word` stands in `line` as a word of its own.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
    })
}

fn parts(chars: &[char]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(chars.len());
    while parts.len() < chars.len() {
        let at = parts.len();
        let (part, len) = match &chars[at..] {
            ['/', '/', ..] => (Part::Comment, line_len(&chars[at..])),
            ['/', '*', ..] => (Part::Comment, block_len(&chars[at..])),
            ['"', ..] => (Part::Literal, quoted_len(&chars[at..], '"')),
            ['\'', '\\', ..] | ['\'', _, '\'', ..] => {
                (Part::Literal, quoted_len(&chars[at..], '\''))
            }
            ['r', ..] if !follows_word(chars, at) => match raw_len(&chars[at..]) {
                Some(len) => (Part::Literal, len),
                None => (Part::Code, 1),
            },
            _ => (Part::Code, 1),
        };
        parts.resize((at + len).min(chars.len()), part);
    }
    parts
}

/// Whether the character before belongs to an identifier; `b` and `c` of `br""` and `cr""` do not.
fn follows_word(chars: &[char], at: usize) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let before = match &chars[..at] {
        [before @ .., 'b' | 'c'] | before => before,
    };
    before.last().is_some_and(|&c| is_part(c))
}

fn line_len(chars: &[char]) -> usize {
    chars.iter().position(|&c| c == '\n').unwrap_or(chars.len())
}

fn block_len(chars: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_len(chars: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Of `r"..."` with any number of `#`; `None` for `r#name` and for other words.
fn raw_len(chars: &[char]) -> Option<usize> {
    let hashes = chars[1..].iter().take_while(|&&c| c == '#').count();
    let start = 1 + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let is_end = |at: usize| {
        chars[at] == '"'
            && chars[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
    };
    let end = (start + 1..chars.len()).find(|&at| is_end(at));
    Some(end.map_or(chars.len(), |at| at + 1 + hashes))
}

#[track_caller]
fn check(text: &str, code: &[&str], comments: &[&str]) {
    let of = Code::of(text);
    let words = |lines: &[String]| -> Vec<String> {
        lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
    };
    assert_eq!(words(&of.code), code, "code of {text:?}");
    assert_eq!(words(&of.comments), comments, "comments of {text:?}");
    assert_eq!(of.code.len(), text.lines().count(), "lines of {text:?}");
}

#[test]
fn comments_and_literals_are_not_code() {
    check("a // b \"c\"\nd", &["a", "d"], &["//", "b", "\"c\""]);
    check("a /* b /* c */ d */ e", &["a", "e"], &["/*", "b", "/*", "c", "*/", "d", "*/"]);
    check("a \"b // \\\" c\" d", &["a", "d"], &[]);
    check("a \"b\nc\" d", &["a", "d"], &[]);
    check("r\"a\\\" b r#\"c \" d\"# e br\"f\" cr##\"g\"# \"## h", &["b", "e", "b", "c", "h"], &[]);
    check("'a' b '\\'' c '\"' d", &["b", "c", "d"], &[]);
    check("b'\"' c", &["b", "c"], &[]);
    check("\"never ends // a", &[], &[]);
    check("/* never ends \"", &[], &["/*", "never", "ends", "\""]);
}

#[test]
fn lifetimes_and_raw_names_are_code() {
    check("fn f<'a>(x: &'a str) // y", &["fn", "f<'a>(x:", "&'a", "str)"], &["//", "y"]);
    check("r#match + var\"s\" r", &["r#match", "+", "var", "r"], &[]);
    check("&'_ (a, 'b', 'c: loop {})", &["&'_", "(a,", ",", "'c:", "loop", "{})"], &[]);
}

#[test]
fn a_word_ends_where_another_character_stands() {
    for (line, expect) in
        [("unsafe {", true), ("#[unsafe(x)]", true), ("unsafe_code", false), ("an_unsafe", false)]
    {
        assert_eq!(has_word(line, "unsafe"), expect, "{line}");
    }
}
