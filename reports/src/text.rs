//! Lines of bounded width.

/// Breaks a text at spaces into lines of at most `width` characters. A word that is longer than a
/// line stands on one of its own, whole: a command or a path that was broken could not be copied.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = line.chars().count() + 1 + word.chars().count() <= width;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// A labelled paragraph: the label once, the text beside it, its further lines indented as far.
pub fn labelled(label: &str, text: &str, width: usize) -> String {
    let indent = visible_width(label);
    let mut out = String::new();
    for (at, line) in wrap(text, width.saturating_sub(indent)).iter().enumerate() {
        let lead = if at == 0 {
            label.to_string()
        } else {
            " ".repeat(indent)
        };
        out.push_str(format!("{lead}{line}").trim_end());
        out.push('\n');
    }
    out
}

/// Characters that a terminal shows: colour sequences take no room.
pub fn visible_width(text: &str) -> usize {
    let mut width = 0;
    let mut in_sequence = false;
    for character in text.chars() {
        match (in_sequence, character) {
            (false, '\u{1b}') => in_sequence = true,
            (true, 'm') => in_sequence = false,
            (true, _) => {}
            (false, _) => width += 1,
        }
    }
    width
}

/// Breaks a hyphenated name into lines of at most `width` characters where a part allows it; every
/// hyphen stays, at the end of its line.
pub fn wrap_hyphens(name: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for part in name.split_inclusive('-') {
        if !line.is_empty() && line.chars().count() + part.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(part);
    }
    lines.push(line);
    lines
}

/// Breaks a line that is too wide behind its dots, hyphens and equals signs: the keys of Kafka are
/// long words.
pub fn split_long(line: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut out = String::new();
    for part in line.split_inclusive(['.', '-', '=', ' ']) {
        if !out.is_empty() && out.chars().count() + part.trim_end().chars().count() > width {
            lines.push(std::mem::take(&mut out).trim_end().to_string());
        }
        out.push_str(part);
    }
    lines.push(out.trim_end().to_string());
    lines
}

/// A count with thousands set apart: `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 run`, `3 runs`, `1,000 messages`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Names as a sentence lists them: `a`, `a and b`, `a, b and c`.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_string(),
        [head @ .., last] => {
            let head: Vec<&str> = head.iter().map(|name| name.as_ref()).collect();
            format!("{} and {}", head.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_longer_than_the_line_is_never_broken() {
        assert_eq!(
            wrap("run everyack-replay-file now", 6),
            ["run", "everyack-replay-file", "now"]
        );
        assert_eq!(
            labelled("  why  ", "one two three", 14),
            "  why  one two\n       three\n"
        );
    }

    #[test]
    fn a_family_name_breaks_behind_its_hyphens() {
        assert_eq!(
            wrap_hyphens("leader-cut-from-followers", 12),
            ["leader-cut-", "from-", "followers"]
        );
        assert_eq!(wrap_hyphens("none", 12), ["none"]);
    }

    #[test]
    fn a_long_key_breaks_behind_its_dots() {
        let key = "log.flush.interval.messages=10000";
        assert_eq!(
            split_long(key, 20),
            ["log.flush.interval.", "messages=10000"]
        );
        assert_eq!(split_long("short", 20), ["short"]);
    }

    #[test]
    fn counts_and_lists_read_as_a_sentence_has_them() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1234567), "1,234,567");
        assert_eq!(counted(1, "run"), "1 run");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
