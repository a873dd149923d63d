//! The outline of a body, enough to find every length in it before anything is reserved for it.
//!
//! Only flexible versions are described: strings, byte strings and arrays have a varint length plus
//! one, where 0 is null, and structures end with tagged fields (KIP-482).

use super::{ApiKey, DecodeError};

/// Fields in the order of the schema.
pub(crate) type Shape = &'static [Field];

/// One field, or several of a fixed length together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field {
    /// This many bytes.
    Fixed(usize),
    /// A string or a byte string.
    Text,
    /// An array of such items.
    Array(Shape),
    /// The tagged fields at the end of a structure: those that the schema knows, by tag. Others are
    /// skipped by the size that they state.
    Tags(&'static [(u32, Shape)]),
}

/// A structure's end where the schema knows no tagged field.
pub(crate) const NO_TAGS: Field = Field::Tags(&[]);
/// An array of int32.
pub(crate) const INTS: Field = Field::Array(&[Field::Fixed(4)]);
/// An array of UUIDs.
pub(crate) const UUIDS: Field = Field::Array(&[Field::Fixed(16)]);

/// Checks every length in `body`; answers how many bytes trail behind it.
pub(crate) fn walk(api: ApiKey, shape: Shape, body: &[u8]) -> Result<usize, DecodeError> {
    let mut walk = Walk { api, rest: body };
    walk.fields(shape)?;
    Ok(walk.rest.len())
}

/// The fewest bytes that such fields can take; at least one for every shape in use.
const fn least_size(shape: Shape) -> usize {
    let mut size = 0;
    let mut i = 0;
    while i < shape.len() {
        size += match shape[i] {
            Field::Fixed(bytes) => bytes,
            Field::Text | Field::Array(_) | Field::Tags(_) => 1,
        };
        i += 1;
    }
    size
}

struct Walk<'a> {
    api: ApiKey,
    rest: &'a [u8],
}

impl Walk<'_> {
    fn fields(&mut self, shape: Shape) -> Result<(), DecodeError> {
        for field in shape {
            match *field {
                Field::Fixed(bytes) => self.skip(bytes)?,
                Field::Text => {
                    let length = self.varint()?.saturating_sub(1);
                    self.skip(length as usize)?;
                }
                Field::Array(item) => self.array(item)?,
                Field::Tags(known) => self.tags(known)?,
            }
        }
        Ok(())
    }

    fn array(&mut self, item: Shape) -> Result<(), DecodeError> {
        let count = self.varint()?.saturating_sub(1);
        let least = u64::from(count) * least_size(item) as u64;
        if least > self.rest.len() as u64 {
            return Err(self.too_long(u64::from(count)));
        }
        if let [Field::Fixed(_)] = item {
            return self.skip(least as usize);
        }
        for _ in 0..count {
            self.fields(item)?;
        }
        Ok(())
    }

    fn tags(&mut self, known: &[(u32, Shape)]) -> Result<(), DecodeError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let Some(end) = self.rest.len().checked_sub(size) else {
                return Err(self.too_long(size as u64));
            };
            match known.iter().find(|(known, _)| *known == tag) {
                None => self.skip(size)?,
                Some((_, shape)) => {
                    // The schema crate reads a known field without a look at its size, so that a
                    // size which lies would move everything behind it.
                    self.fields(shape)?;
                    if self.rest.len() != end {
                        return Err(self.too_long(size as u64));
                    }
                }
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.rest.get(bytes..) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(self.too_long(bytes as u64)),
        }
    }

    /// An unsigned varint of 32 bits; Kafka refuses one that is longer.
    #[inline]
    fn varint(&mut self) -> Result<u32, DecodeError> {
        // Most numbers are small.
        if let [byte @ ..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u32::from(*byte));
        }
        self.varint_of_several_bytes()
    }

    fn varint_of_several_bytes(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0;
        for i in 0..5 {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(self.too_long(1));
            };
            self.rest = rest;
            if i == 4 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed {
            api: self.api,
            reason: "varint past 32 bits".to_owned(),
        })
    }

    fn too_long(&self, length: u64) -> DecodeError {
        DecodeError::Length {
            api: self.api,
            length,
            remaining: self.rest.len(),
        }
    }
}
