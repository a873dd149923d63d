use super::*;
use crate::log::append::{AppendError, validate_produced};
use crate::log::record::BatchBuilder;
use proptest::prelude::*;

const ALL: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const MAX: usize = 1 << 20;

fn compressed(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    codec.compress(bytes, &mut out);
    out
}

fn decompress(codec: Codec, bytes: &[u8], max: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    codec.decompress(bytes, max, &mut out).map(|()| out)
}

fn batch(records: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    for n in 0..records {
        let value = format!("value {n}");
        builder.append(1_000 + n as i64, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

#[test]
fn records_of_a_compressed_batch_are_those_of_the_plain_one() {
    let plain = batch(40);
    let expected: Vec<_> = records(&plain, MAX).unwrap().map(Result::unwrap).collect();
    assert_eq!(expected.len(), 40);
    for codec in ALL {
        let batch = compress_batch(&plain, codec);
        let header = BatchHeader::read(&batch).unwrap();
        assert_eq!(Codec::of(header.compression()), Ok(Some(codec)));
        let read: Vec<_> = records(&batch, MAX).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, expected, "{codec:?}");
        let mut last = 0;
        check_records(&batch, &header, MAX, |timestamp, _| last = timestamp).unwrap();
        assert_eq!(last, 1_039);
    }
}

/// Kafka's own crate must read what is written here.
#[test]
fn another_implementation_decompresses_the_batch() {
    for (codec, other) in [
        (Codec::Gzip, kafka_protocol::records::Compression::Gzip),
        (Codec::Zstd, kafka_protocol::records::Compression::Zstd),
    ] {
        let mut bytes = compress_batch(&batch(3), codec);
        let decoded = kafka_protocol::records::RecordBatchDecoder::decode_with_custom_compression(
            &mut bytes,
            Some(|compressed: &mut Bytes, kind| {
                assert_eq!(kind, other);
                Ok(Bytes::from(decompress(codec, compressed, MAX)?))
            }),
        )
        .expect("decodes");
        assert_eq!(decoded.records[2].value.as_deref(), Some(&b"value 2"[..]));
    }
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let zeros = vec![0; 8 << 20];
    for codec in ALL {
        let bomb = compressed(codec, &zeros);
        assert!(bomb.len() < zeros.len() / 10, "{codec:?}: {}", bomb.len());
        let mut out = Vec::new();
        let error = codec.decompress(&bomb, 1000, &mut out).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} records decompress to more than 1000 bytes",
                codec.name()
            )
        );
        assert!(out.capacity() < 1 << 20, "{codec:?}: {}", out.capacity());
        assert_eq!(decompress(codec, &bomb, zeros.len()), Ok(zeros.clone()));
    }
}

#[test]
fn snappy_comes_framed_and_raw_and_several_streams_follow_each_other() {
    let text = b"some text, some text, some text".repeat(3000);
    let framed = compressed(Codec::Snappy, &text);
    assert!(framed.starts_with(&SNAPPY_MAGIC));
    let raw = snap::raw::Encoder::new().compress_vec(&text).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, MAX), Ok(text.clone()));
    let twice = [framed.clone(), framed.clone()].concat();
    assert_eq!(decompress(Codec::Snappy, &twice, MAX), Ok(text.repeat(2)));
    let zstd = compressed(Codec::Zstd, &text);
    assert_eq!(
        decompress(Codec::Zstd, &zstd.repeat(2), MAX),
        Ok(text.repeat(2))
    );
    for (bytes, told) in [
        (&framed[..12], "bytes end in the header"),
        (&framed[..18], "bytes end in a block's length"),
        (&framed[..30], "block length"),
    ] {
        let error = decompress(Codec::Snappy, bytes, MAX).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn records_left_behind_the_last_one_are_noticed_and_an_unknown_codec_too() {
    for codec in ALL {
        let batch = compress_batch(&batch(3), codec);
        let mut header = BatchHeader::read(&batch).unwrap();
        header.record_count = 2;
        let error = check_records(&batch, &header, MAX, |_, _| ()).unwrap_err();
        let left = "bytes are left behind the last record";
        assert!(error.to_string().contains(left), "{error}");
    }
    assert_eq!(Codec::of(5), Err(CodecError::Unknown(5)));
    assert_eq!(Codec::of(0), Ok(None));
}

#[test]
fn the_leader_looks_into_compressed_batches() {
    let now_ms = 5_000;
    let config = crate::config::BrokerConfig::from_properties(&Default::default())
        .expect("the defaults are legal")
        .topic_defaults;
    let validate = |batch: &Bytes| validate_produced(batch, &config, now_ms);
    for codec in ALL {
        let batch = compress_batch(&batch(40), codec);
        assert_eq!(validate(&batch).unwrap().1, 1_039, "{codec:?}");
        let mut lying = batch.to_vec();
        crate::log::batch::set_max_timestamp(&mut lying, 9_000, false);
        let (_, latest) = validate(&lying.into()).unwrap();
        assert_eq!(latest, 1_039, "as the records say, not the header");
        let mut broken = batch.to_vec();
        broken.truncate(HEADER_BYTES + 6);
        let length = (broken.len() - crate::log::batch::LOG_OVERHEAD) as i32;
        broken[8..12].copy_from_slice(&length.to_be_bytes());
        crate::log::batch::rewrite_crc(&mut broken);
        let error = validate(&broken.into()).unwrap_err();
        assert!(matches!(error, AppendError::Compression(_)), "{error}");
        assert_eq!(error.code(), -1);
    }
    let mut one = BatchBuilder::new();
    let late = now_ms + config.message_timestamp_after_max_ms + 1;
    one.append(late, None, None, &[]);
    let mut bytes = compress_batch(&one.build(), Codec::Lz4).to_vec();
    crate::log::batch::set_max_timestamp(&mut bytes, now_ms, false);
    let error = validate(&bytes.into()).unwrap_err();
    assert_eq!(error.code(), 32, "the record's time counts: {error}");
}

proptest! {
    #[test]
    fn bytes_come_back(bytes in proptest::collection::vec(0..4u8, 0..100_000), which in 0..4usize) {
        let codec = ALL[which];
        prop_assert_eq!(decompress(codec, &compressed(codec, &bytes), bytes.len()), Ok(bytes));
    }

    #[test]
    fn damaged_bytes_give_an_error_or_other_bytes_within_the_bound(
        bytes in proptest::collection::vec(0..4u8, 0..2000), which in 0..4usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(),
    ) {
        let codec = ALL[which];
        let mut compressed = compressed(codec, &bytes);
        for (at, byte) in damage {
            let at = at.index(compressed.len());
            compressed[at] = byte;
        }
        let cut = cut.index(compressed.len() + 1);
        for bytes in [&compressed[..], &compressed[..cut]] {
            if let Ok(out) = decompress(codec, bytes, 3000) {
                prop_assert!(out.len() <= 3000);
            }
        }
    }
}
