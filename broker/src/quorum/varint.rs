//! Kafka's unsigned variable-length integers (`ByteUtils`), as the flexible schemas of metadata
//! records use them.

use bytes::{BufMut, BytesMut};

/// Appends an unsigned varint.
pub(crate) fn put_unsigned(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes an unsigned varint off the front; `None` where the bytes end, or where it does not fit 32
/// bits, which are all that Kafka reads.
pub(crate) fn take_unsigned(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok().map(u64::from);
        }
    }
    None
}
