//! Compressed batches: the records section of a batch as gzip, snappy, lz4 or zstd writes it
//! (`CompressionType`, `org.apache.kafka.common.compress`).
//!
//! A broker stores what its producer compressed as the same bytes, and decompresses where it must
//! see records: when it validates them, cleans a log or searches a timestamp. What comes from the
//! wire may be a bomb, so every decompression has a bound.
//!
//! What differs from Kafka: the content checksums of lz4 and zstd are verified, dependent lz4 blocks
//! are read too, and compression levels are those of the crates.

use crate::log::batch::{
    BatchError, BatchHeader, HEADER_BYTES, LOG_OVERHEAD, check_records as check_plain, rewrite_crc,
};
use crate::log::record::Records;
use bytes::Bytes;
use std::io::{self, Read, Write};

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Kafka's own names
pub enum Codec {
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why records cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No codec has that number.
    #[error("compression codec {0} is unknown")]
    Unknown(i16),
    /// The compressed bytes make no sense.
    #[error("{codec} records cannot be decompressed: {what}")]
    Corrupt {
        /// Which codec.
        codec: &'static str,
        /// As the decompressor says.
        what: String,
    },
    /// They are larger than the caller allows.
    #[error("{codec} records decompress to more than {max} bytes")]
    TooLarge {
        /// Which codec.
        codec: &'static str,
        /// The bound.
        max: usize,
    },
    /// The batch, or a record in what was decompressed, makes no sense.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// Begins a stream of snappy-java's `SnappyOutputStream`; version and oldest compatible version
/// follow, then blocks with their lengths.
const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const SNAPPY_HEADER_BYTES: usize = 16;
/// Uncompressed bytes of a block that `SnappyOutputStream` writes.
const SNAPPY_BLOCK_BYTES: usize = 32 * 1024;

impl Codec {
    /// The codec of that number in a batch's attributes, `None` for no compression.
    ///
    /// # Errors
    /// On a number that Kafka does not know.
    pub fn of(number: i16) -> Result<Option<Codec>, CodecError> {
        Ok(Some(match number {
            0 => return Ok(None),
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            other => return Err(CodecError::Unknown(other)),
        }))
    }

    /// Its number in a batch's attributes.
    pub fn number(self) -> i16 {
        match self {
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    fn corrupt(self, what: impl ToString) -> CodecError {
        CodecError::Corrupt {
            codec: self.name(),
            what: what.to_string(),
        }
    }

    fn too_large(self, max: usize) -> CodecError {
        let codec = self.name();
        CodecError::TooLarge { codec, max }
    }

    /// Appends what `bytes` decompress to. Never more than `max` bytes are appended, and not much
    /// more than that is ever held.
    ///
    /// # Errors
    /// Where the bytes are corrupt or decompress to more; `out` then holds a part of it.
    pub fn decompress(self, bytes: &[u8], max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Codec::Gzip => self.read(flate2::read::MultiGzDecoder::new(bytes), max, out),
            Codec::Lz4 => self.read(lz4_flex::frame::FrameDecoder::new(bytes), max, out),
            Codec::Snappy => self.decompress_snappy(bytes, max, out),
            Codec::Zstd => self.decompress_zstd(bytes, max, out),
        }
    }

    fn read(self, reader: impl Read, max: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let before = out.len();
        reader
            .take(max as u64 + 1)
            .read_to_end(out)
            .map_err(|error| self.corrupt(error))?;
        if out.len() - before > max {
            out.truncate(before + max);
            return Err(self.too_large(max));
        }
        Ok(())
    }

    /// Streams may follow each other (`SnappyInputStream.readHeader`), and a stream without that
    /// framing is one raw block.
    fn decompress_snappy(
        self,
        bytes: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        if !bytes.starts_with(&SNAPPY_MAGIC) {
            return self.decompress_snappy_block(bytes, max, out);
        }
        let (mut rest, before) = (bytes, out.len());
        while !rest.is_empty() {
            if rest.starts_with(&SNAPPY_MAGIC) {
                rest = rest
                    .get(SNAPPY_HEADER_BYTES..)
                    .ok_or_else(|| self.corrupt("bytes end in the header"))?;
                continue;
            }
            let (length, behind) = rest
                .split_first_chunk::<4>()
                .ok_or_else(|| self.corrupt("bytes end in a block's length"))?;
            let length = i32::from_be_bytes(*length);
            let block = usize::try_from(length)
                .ok()
                .and_then(|length| behind.get(..length))
                .ok_or_else(|| self.corrupt(format!("block length {length} is not valid")))?;
            let left = max - (out.len() - before);
            self.decompress_snappy_block(block, left, out)
                .map_err(|error| match error {
                    CodecError::TooLarge { .. } => self.too_large(max),
                    error => error,
                })?;
            rest = &behind[block.len()..];
        }
        Ok(())
    }

    fn decompress_snappy_block(
        self,
        block: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let length = snap::raw::decompress_len(block).map_err(|error| self.corrupt(error))?;
        if length > max {
            return Err(self.too_large(max));
        }
        let before = out.len();
        out.resize(before + length, 0);
        let written = snap::raw::Decoder::new()
            .decompress(block, &mut out[before..])
            .map_err(|error| self.corrupt(error))?;
        out.truncate(before + written);
        Ok(())
    }

    /// Frames may follow each other (`ZstdInputStream`).
    fn decompress_zstd(
        self,
        bytes: &[u8],
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let (mut rest, before) = (bytes, out.len());
        while !rest.is_empty() {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(&mut rest)
                .map_err(|error| self.corrupt(error))?;
            let left = max - (out.len() - before);
            self.read(&mut decoder, left, out)
                .map_err(|error| match error {
                    CodecError::TooLarge { .. } => self.too_large(max),
                    error => error,
                })?;
            let decoder = decoder.into_frame_decoder();
            if let Some(stored) = decoder.get_checksum_from_data()
                && decoder.get_calculated_checksum() != Some(stored)
            {
                return Err(self.corrupt("content checksum differs"));
            }
        }
        Ok(())
    }

    /// Appends `bytes` compressed, as Kafka's clients read it.
    pub fn compress(self, bytes: &[u8], out: &mut Vec<u8>) {
        let written: io::Result<()> = match self {
            Codec::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(&mut *out, Default::default());
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.finish().map(drop))
            }
            Codec::Lz4 => {
                // Kafka refuses dependent blocks, and writes blocks of 64 KiB.
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, &mut *out);
                encoder
                    .write_all(bytes)
                    .and_then(|()| encoder.finish().map(drop).map_err(io::Error::other))
            }
            Codec::Snappy => {
                compress_snappy(bytes, out);
                Ok(())
            }
            Codec::Zstd => {
                let level = ruzstd::encoding::CompressionLevel::Fastest;
                out.extend(ruzstd::encoding::compress_to_vec(bytes, level));
                Ok(())
            }
        };
        written.expect("writes to memory");
    }
}

fn compress_snappy(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(SNAPPY_MAGIC);
    out.extend(1i32.to_be_bytes());
    out.extend(1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(SNAPPY_BLOCK_BYTES) {
        let block = encoder
            .compress_vec(block)
            .expect("a block is far below the limit of snappy");
        out.extend((block.len() as i32).to_be_bytes());
        out.extend(block);
    }
}

/// One whole plain batch with its records compressed.
///
/// # Panics
/// Where `batch` is shorter than its header, or compressed already.
pub fn compress_batch(batch: &[u8], codec: Codec) -> Bytes {
    let mut header = BatchHeader::read(batch).expect("a whole batch");
    assert_eq!(header.compression(), 0, "the batch is compressed already");
    let mut bytes = Vec::with_capacity(batch.len());
    bytes.extend(&batch[..HEADER_BYTES]);
    codec.compress(&batch[HEADER_BYTES..], &mut bytes);
    header.attributes |= codec.number();
    header.batch_length = length_of(&bytes).expect("it was a batch before");
    header.write(&mut bytes);
    rewrite_crc(&mut bytes);
    bytes.into()
}

/// The batch's header, and its records as they are without compression.
fn decompressed(
    batch: &[u8],
    header: &BatchHeader,
    codec: Codec,
    max: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(batch.len().saturating_mul(3).min(max) + HEADER_BYTES);
    out.extend(&batch[..HEADER_BYTES]);
    codec.decompress(&batch[HEADER_BYTES..header.size()], max, &mut out)?;
    Ok(out)
}

/// One whole batch as it is without compression, with the header that fits it; its checksum does not.
/// `max` bounds the decompressed bytes.
///
/// # Errors
/// Where the bytes are not one whole batch, or cannot be decompressed within the bound.
pub fn plain(batch: &Bytes, max: usize) -> Result<(BatchHeader, Bytes), CodecError> {
    let mut header = BatchHeader::read(batch)?;
    if batch.len() != header.size() {
        return Err(BatchError::Length(header.batch_length).into());
    }
    let Some(codec) = Codec::of(header.compression())? else {
        return Ok((header, batch.clone()));
    };
    let mut whole = decompressed(batch, &header, codec, max)?;
    header.attributes -= codec.number();
    header.batch_length = length_of(&whole).ok_or_else(|| codec.too_large(max))?;
    header.write(&mut whole);
    Ok((header, whole.into()))
}

/// What a batch of these bytes has in its length field, where it fits.
fn length_of(batch: &[u8]) -> Option<i32> {
    i32::try_from(batch.len() - LOG_OVERHEAD).ok()
}

/// The records of one whole batch, whatever its codec; those of a compressed one are slices of what
/// it decompresses to, and so are positions in errors. `max` bounds the decompressed bytes.
///
/// # Errors
/// Where the bytes are not one whole batch, or cannot be decompressed within the bound.
pub fn records(batch: &Bytes, max: usize) -> Result<Records, CodecError> {
    let (header, batch) = plain(batch, max)?;
    Ok(Records::new(batch, &header))
}

/// Walks all records of one whole batch, whatever its codec, and hands each one's timestamp, and whether
/// it has a key, to `see`. `max` bounds the decompressed bytes.
///
/// # Errors
/// Where they cannot be decompressed within the bound, a record makes no sense, or bytes are left
/// behind the last one.
pub fn check_records(
    batch: &[u8],
    header: &BatchHeader,
    max: usize,
    see: impl FnMut(i64, bool),
) -> Result<(), CodecError> {
    match Codec::of(header.compression())? {
        None => Ok(check_plain(batch, header, see)?),
        Some(codec) => check_compressed(batch, header, codec, max, see),
    }
}

#[cold]
fn check_compressed(
    batch: &[u8],
    header: &BatchHeader,
    codec: Codec,
    max: usize,
    see: impl FnMut(i64, bool),
) -> Result<(), CodecError> {
    let whole = decompressed(batch, header, codec, max)?;
    let mut plain = *header;
    plain.batch_length = length_of(&whole).ok_or_else(|| codec.too_large(max))?;
    Ok(check_plain(&whole, &plain, see)?)
}

#[cfg(test)]
mod tests;
