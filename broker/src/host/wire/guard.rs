//! Every length in a body is held against the frame before a decoder sees it.
//!
//! The schema crate's decoders reserve memory for whatever array length they find, 2^31 items if a
//! frame of 30 bytes says so. Bounding lengths by the frame's size is not enough, as an item of one byte
//! becomes a value of some hundred, so that items are counted, too. Rather than patch its generated
//! code, which would have to be done again with each of its releases, a body is first walked along its
//! outline: an outline is some lines an API, holds for all its versions, and a property test holds each
//! version of each against what the crate writes.
//!
//! What trails behind a body is ignored, since librdkafka appends some bytes to Metadata.

/// The most items in all arrays of one request together, tagged fields counted: memory for a request
/// stays below a few MiB beyond its bytes. Kafka has no such bound.
pub const ITEMS_MAX: usize = 20_000;

/// Kafka's own bound on every string (`Short.MAX_VALUE`), in compact encoding too.
const STRING_MAX: usize = i16::MAX as usize;

/// Fields in the order of the schema.
pub type Outline = &'static [Field];

/// One field and the versions that have it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    from: i16,
    to: i16,
    kind: Kind,
}

/// What a field consists of.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// This many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes up to the frame's size, or null.
    Bytes,
    /// An array of values of this many bytes.
    Packed(usize),
    /// An array of strings.
    Texts,
    /// An array of structures.
    Array(Outline),
    /// A tagged field of its structure, with this tag.
    Tagged(u32, Outline),
}

/// A field of all versions.
pub const fn always(kind: Kind) -> Field {
    between(0, i16::MAX, kind)
}

/// A field of this version and later ones.
pub const fn since(from: i16, kind: Kind) -> Field {
    between(from, i16::MAX, kind)
}

/// A field of these versions, both included.
pub const fn between(from: i16, to: i16, kind: Kind) -> Field {
    Field { from, to, kind }
}

/// Why a body is not handed to a decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A length that claims more than there is.
    #[error("a length of {length} does not fit the {remaining} bytes left")]
    Length {
        /// The claim: bytes, or items of an array.
        length: i64,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// A string that Kafka would not take either.
    #[error("a string of {0} bytes is longer than {STRING_MAX}")]
    String(usize),
    /// More items than a request may have.
    #[error("more than {ITEMS_MAX} items")]
    Items,
    /// An overlong varint, a length below that of null, or a tagged field of another size than it states.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Checks every length in `body` at this version; answers how many bytes trail behind it.
///
/// # Errors
/// Whatever the bytes are, a [`Refused`] and no panic.
pub fn check(
    outline: Outline,
    version: i16,
    is_flexible: bool,
    body: &[u8],
) -> Result<usize, Refused> {
    let mut walk = Walk {
        version,
        is_flexible,
        rest: body,
        items: 0,
    };
    walk.structure(outline)?;
    Ok(walk.rest.len())
}

struct Walk<'a> {
    version: i16,
    is_flexible: bool,
    rest: &'a [u8],
    items: usize,
}

impl Walk<'_> {
    fn structure(&mut self, outline: Outline) -> Result<(), Refused> {
        let version = self.version;
        let present = |field: &&Field| (field.from..=field.to).contains(&version);
        for field in outline.iter().filter(present) {
            match field.kind {
                Kind::Fixed(bytes) => self.skip(bytes)?,
                Kind::Text => self.text()?,
                Kind::Bytes => {
                    let length = if self.is_flexible {
                        self.compact_length()?
                    } else {
                        i64::from(i32::from_be_bytes(self.take()?))
                    };
                    self.skip_nullable(length)?;
                }
                Kind::Packed(size) => {
                    let count = self.array()?;
                    self.need(count as i64, count.saturating_mul(size))?;
                    self.skip(count * size)?;
                }
                Kind::Texts => {
                    for _ in 0..self.array()? {
                        self.text()?;
                    }
                }
                Kind::Array(item) => {
                    for _ in 0..self.array()? {
                        self.structure(item)?;
                    }
                }
                Kind::Tagged(..) => {}
            }
        }
        if self.is_flexible {
            self.tags(outline)?;
        }
        Ok(())
    }

    fn text(&mut self) -> Result<(), Refused> {
        let length = if self.is_flexible {
            self.compact_length()?
        } else {
            i64::from(i16::from_be_bytes(self.take()?))
        };
        if length > STRING_MAX as i64 {
            return Err(Refused::String(length as usize));
        }
        self.skip_nullable(length)
    }

    /// How many items follow; null counts as none. Each takes a byte at least.
    fn array(&mut self) -> Result<usize, Refused> {
        let count = if self.is_flexible {
            self.compact_length()?
        } else {
            i64::from(i32::from_be_bytes(self.take()?))
        };
        if count < -1 {
            return Err(Refused::Malformed("an array of less than no items"));
        }
        let count = count.max(0) as usize;
        self.need(count as i64, count)?;
        self.count(count)?;
        Ok(count)
    }

    fn tags(&mut self, outline: Outline) -> Result<(), Refused> {
        let number = self.varint()?;
        self.need(i64::from(number), number as usize)?;
        self.count(number as usize)?;
        for _ in 0..number {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            self.need(size as i64, size)?;
            let version = self.version;
            let known = outline.iter().find_map(|field| match field.kind {
                Kind::Tagged(known, content) if known == tag => {
                    let present = (field.from..=field.to).contains(&version);
                    present.then_some(content)
                }
                _ => None,
            });
            match known {
                None => self.skip(size)?,
                Some(content) => {
                    // The crate reads a known field without a look at its size, so that a size which
                    // lies would move everything behind it.
                    let end = self.rest.len() - size;
                    self.tagged(content)?;
                    if self.rest.len() != end {
                        return Err(Refused::Malformed("a tagged field of another size"));
                    }
                }
            }
        }
        Ok(())
    }

    /// A tagged field that is a structure ends with tagged fields of its own; a plain value does not.
    fn tagged(&mut self, content: Outline) -> Result<(), Refused> {
        match content {
            [
                Field {
                    kind: Kind::Text, ..
                },
            ] => self.text(),
            [
                Field {
                    kind: Kind::Fixed(bytes),
                    ..
                },
            ] => self.skip(*bytes),
            structure => self.structure(structure),
        }
    }

    fn count(&mut self, items: usize) -> Result<(), Refused> {
        self.items = self.items.saturating_add(items);
        if self.items > ITEMS_MAX {
            return Err(Refused::Items);
        }
        Ok(())
    }

    fn need(&self, length: i64, bytes: usize) -> Result<(), Refused> {
        if bytes > self.rest.len() {
            return Err(Refused::Length {
                length,
                remaining: self.rest.len(),
            });
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Refused> {
        self.need(bytes as i64, bytes)?;
        self.rest = &self.rest[bytes..];
        Ok(())
    }

    fn skip_nullable(&mut self, length: i64) -> Result<(), Refused> {
        match usize::try_from(length) {
            Ok(bytes) => self.skip(bytes),
            Err(_) if length == -1 => Ok(()),
            Err(_) => Err(Refused::Malformed("a length below that of null")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        self.need(N as i64, N)?;
        let (taken, rest) = self.rest.split_at(N);
        self.rest = rest;
        Ok(taken.try_into().expect("it was split there"))
    }

    /// A varint of length plus one; 0 is null.
    fn compact_length(&mut self) -> Result<i64, Refused> {
        Ok(i64::from(self.varint()?) - 1)
    }

    /// An unsigned varint of 32 bits; Kafka refuses one that is longer.
    fn varint(&mut self) -> Result<u32, Refused> {
        let mut value = 0;
        for i in 0..5 {
            let [byte] = self.take()?;
            if i == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Refused::Malformed("a varint past 32 bits"))
    }
}
