//! What is wrong with a file of a log folder, and where.

/// A byte sequence is not what its format asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct Malformed {
    /// First byte that is wrong, counted from 0; the file's length where bytes are missing.
    pub at: u64,
    /// Which field, and how.
    pub what: String,
}

impl Malformed {
    /// That at this byte.
    pub fn new(at: u64, what: impl Into<String>) -> Malformed {
        Malformed {
            at,
            what: what.into(),
        }
    }

    /// The same with the name of the file that holds the bytes.
    pub fn in_file(self, file: &str) -> CorruptFile {
        CorruptFile {
            file: file.to_owned(),
            at: self.at,
            what: self.what,
        }
    }
}

/// A file is corrupt: which, where and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: byte {at}: {what}")]
pub struct CorruptFile {
    /// Path as the caller named it.
    pub file: String,
    /// First byte that is wrong, counted from 0; the file's length where bytes are missing.
    pub at: u64,
    /// Which field, and how.
    pub what: String,
}

/// The lines of a text with the byte at which each begins and its number, counted from 1.
///
/// # Errors
/// Where the bytes are no UTF-8.
pub(super) fn lines(bytes: &[u8]) -> Result<impl Iterator<Item = Line<'_>>, Malformed> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Malformed::new(error.valid_up_to() as u64, "not UTF-8"))?;
    let mut at = 0;
    Ok(text
        .split_inclusive('\n')
        .enumerate()
        .map(move |(index, line)| {
            let start = at;
            at += line.len() as u64;
            Line {
                at: start,
                number: index + 1,
                text: line.trim_end_matches(['\n', '\r']),
            }
        }))
}

/// One line of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Its first byte.
    pub(super) at: u64,
    /// Counted from 1.
    pub(super) number: usize,
    /// Without its end.
    pub(super) text: &'a str,
}

impl Line<'_> {
    pub(super) fn wrong(&self, what: &str) -> Malformed {
        let Line { at, number, text } = *self;
        Malformed::new(at, format!("line {number} {text:?}: {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_file_byte_and_what() {
        let error = Malformed::new(12, "entry is cut off").in_file("t-0/00.index");
        assert_eq!(error.to_string(), "t-0/00.index: byte 12: entry is cut off");
    }

    #[test]
    fn lines_know_where_they_begin() {
        let found: Vec<(u64, usize, &str)> = lines(b"a\r\n\nbc")
            .unwrap()
            .map(|line| (line.at, line.number, line.text))
            .collect();
        assert_eq!(found, [(0, 1, "a"), (3, 2, ""), (4, 3, "bc")]);
        assert_eq!(lines(b"ab\xff").err().unwrap().at, 2);
    }
}
