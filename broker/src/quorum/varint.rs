//! Kafka's variable-length integers (`ByteUtils`): unsigned, and zigzag for signed ones.

use bytes::{BufMut, BytesMut};

/// Appends an unsigned varint.
pub(crate) fn put_unsigned(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends a signed varint.
pub(crate) fn put_zigzag(out: &mut BytesMut, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes an unsigned varint off the front; `None` where the bytes end or it has more than 64 bits.
pub(crate) fn take_unsigned(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes a signed varint off the front.
pub(crate) fn take_zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let raw = take_unsigned(bytes)?;
    Some((raw >> 1) as i64 ^ -((raw & 1) as i64))
}
