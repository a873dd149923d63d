//! Which partition a record goes to that names none: Kafka's `BuiltInPartitioner` (KIP-480, KIP-794).
//!
//! A key decides by its murmur2 hash, unless `partitioner.ignore.keys` is set. A record without a key
//! goes where the records before it went, until `batch.size` bytes went there and the batch is full;
//! then the next partition is drawn: evenly, or, with `partitioner.adaptive.partitioning.enable`,
//! so that a partition with a longer queue is drawn less often, and one whose node takes nothing for
//! `partitioner.availability.timeout.ms` is not drawn at all.
//!
//! Where librdkafka differs: its default partitioner hashes keys with CRC32, and `sticky.partitioning.linger.ms`
//! decides how long a random partition is kept.
//!
//! NOT modelled: `partitioner.class`.

use crate::env::Stream;

/// `BuiltInPartitioner.partitionForKey`.
pub(super) fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    // Utils.toPositive
    (murmur2(key) & i32::MAX as u32) as i32 % partitions
}

/// `Utils.murmur2`: MurmurHash2 in 32 bits with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (index, byte) in tail.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !tail.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// `StickyPartitionInfo`: where records without a key go at present.
#[derive(Debug, Clone, Copy)]
struct Sticky {
    partition: i32,
    produced_bytes: usize,
}

/// `PartitionLoadStats`: a partition is drawn in proportion to its step of the running sum.
#[derive(Debug, Default)]
struct Load {
    running_sum: Vec<usize>,
    partitions: Vec<i32>,
}

/// Of one topic.
#[derive(Debug)]
pub(super) struct BuiltInPartitioner {
    batch_size: usize,
    sticky: Option<Sticky>,
    load: Option<Load>,
}

/// What a topic's partitions are, for a draw.
#[derive(Debug)]
pub(super) struct Choice {
    /// Those with a leader.
    pub available: Vec<i32>,
    /// All of them.
    pub partitions: i32,
}

impl BuiltInPartitioner {
    pub(super) fn new(batch_size: usize) -> Self {
        BuiltInPartitioner {
            // KafkaProducer raises batch.size to at least 1 for it.
            batch_size: batch_size.max(1),
            sticky: None,
            load: None,
        }
    }

    /// Whether any record went through it: only then the load matters.
    pub(super) fn is_used(&self) -> bool {
        self.sticky.is_some()
    }

    /// `peekCurrentPartitionInfo`.
    pub(super) fn current(&mut self, choice: impl Fn() -> Choice, rng: &mut Stream) -> i32 {
        match self.sticky {
            Some(sticky) => sticky.partition,
            None => self.switch(choice, rng),
        }
    }

    /// `updatePartitionInfo`: so many bytes went to the partition. It is left once `batch.size` bytes
    /// went there and its last batch is full, or twice as many whatever is full. True where it was left.
    pub(super) fn produced(
        &mut self,
        bytes: usize,
        full: bool,
        choice: impl Fn() -> Choice,
        rng: &mut Stream,
    ) -> bool {
        let sticky = self.sticky.as_mut().expect("a partition was chosen");
        sticky.produced_bytes += bytes;
        let enough = sticky.produced_bytes >= self.batch_size;
        let leave = enough && full || sticky.produced_bytes >= 2 * self.batch_size;
        if leave {
            self.switch(choice, rng);
        }
        leave
    }

    /// `nextPartition`.
    fn switch(&mut self, choice: impl Fn() -> Choice, rng: &mut Stream) -> i32 {
        let partition = match &self.load {
            Some(load) => {
                let all = *load.running_sum.last().expect("made of one at least");
                let drawn = rng.below(all as u64) as usize;
                load.partitions[load.running_sum.partition_point(|sum| *sum <= drawn)]
            }
            None => {
                let choice = choice();
                match choice.available.len() {
                    0 => rng.below(choice.partitions as u64) as i32,
                    count => choice.available[rng.below(count as u64) as usize],
                }
            }
        };
        self.sticky = Some(Sticky {
            partition,
            produced_bytes: 0,
        });
        partition
    }

    /// `updatePartitionLoadStats`: the batches that wait for each available partition, of `all`
    /// partitions; `None` where adaptive partitioning is off.
    pub(super) fn update_load<Q>(&mut self, queues: Option<Q>, all: usize)
    where
        Q: Iterator<Item = (i32, usize)> + Clone,
    {
        let Some(queues) = queues.filter(|_| all >= 2) else {
            self.load = None;
            return;
        };
        let (mut count, mut shortest, mut longest) = (0, usize::MAX, 0);
        for (_, length) in queues.clone() {
            count += 1;
            shortest = shortest.min(length);
            longest = longest.max(length);
        }
        if count == 0 || shortest == longest && count == all {
            self.load = None;
            return;
        }
        let load = self.load.get_or_insert_default();
        load.running_sum.clear();
        load.partitions.clear();
        let mut sum = 0;
        for (partition, length) in queues {
            sum += longest + 1 - length;
            load.running_sum.push(sum);
            load.partitions.push(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_what_kafkas_own_test_says() {
        // UtilsTest.testMurmur2
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (text, hash) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    fn queues(lengths: &[(i32, usize)]) -> Option<impl Iterator<Item = (i32, usize)> + Clone> {
        Some(lengths.iter().copied())
    }

    fn three() -> Choice {
        Choice {
            available: vec![0, 1, 2],
            partitions: 3,
        }
    }

    #[test]
    fn a_longer_queue_is_drawn_less_often() {
        let mut rng = Stream::new(1, 1);
        let mut partitioner = BuiltInPartitioner::new(1);
        let mut drawn = [0; 3];
        for _ in 0..8_000 {
            // UniformStickyPartitioner's example: queues 0 3 1 become weights 4 1 3.
            partitioner.update_load(queues(&[(0, 0), (1, 3), (2, 1)]), 3);
            drawn[partitioner.current(three, &mut rng) as usize] += 1;
            assert!(partitioner.produced(1, true, three, &mut rng));
        }
        for (count, expected) in drawn.into_iter().zip([4_000, 1_000, 3_000]) {
            assert!(
                (expected - 200..expected + 200).contains(&count),
                "{drawn:?}"
            );
        }
    }

    #[test]
    fn equal_queues_and_a_single_partition_are_drawn_evenly() {
        let mut partitioner = BuiltInPartitioner::new(1);
        partitioner.update_load(queues(&[(0, 2), (1, 2), (2, 2)]), 3);
        assert!(partitioner.load.is_none());
        partitioner.update_load(queues(&[(0, 9)]), 1);
        assert!(partitioner.load.is_none());
        partitioner.update_load(queues(&[]).filter(|_| false), 3);
        assert!(partitioner.load.is_none());
        // Of three partitions two are left: those only.
        partitioner.update_load(queues(&[(0, 2), (2, 2)]), 3);
        let mut rng = Stream::new(1, 1);
        for _ in 0..100 {
            assert_ne!(partitioner.current(three, &mut rng), 1);
            partitioner.produced(1, true, three, &mut rng);
        }
    }

    #[test]
    fn a_partition_is_kept_for_a_full_batch_and_never_for_more_than_two() {
        let mut rng = Stream::new(1, 1);
        let mut partitioner = BuiltInPartitioner::new(100);
        partitioner.current(three, &mut rng);
        assert!(!partitioner.produced(99, true, three, &mut rng));
        assert!(!partitioner.produced(50, false, three, &mut rng));
        assert!(partitioner.produced(0, true, three, &mut rng));
        assert!(!partitioner.produced(199, false, three, &mut rng));
        assert!(partitioner.produced(1, false, three, &mut rng));
    }
}
