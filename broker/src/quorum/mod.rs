//! The metadata log, replicated by a quorum of one voter.
//!
//! [`MetadataLog`] is the seam: what a KRaft quorum will put in its place keeps these calls (append a
//! batch in this epoch, learn how far the high watermark is, answer an observer's Fetch) and adds its
//! own inputs. A batch is committed once the only voter's disk holds it (KAFKA-10533): the high
//! watermark advances when a sync completes. Each start of the process opens a new leader epoch with
//! a `LeaderChangeMessage`, as `KafkaRaftClient` does on becoming leader, and a record that an older
//! epoch left behind is committed together with that batch.
//!
//! Not modelled: other voters, elections and votes; snapshots, so the log is kept whole; the no-op
//! records of `metadata.max.idle.interval.ms`; batches spread over several appends by
//! `BatchAccumulator`'s linger. Kafka hands uncommitted records to observers, which wait for the high
//! watermark themselves; here a Fetch reads up to the high watermark, which with one voter shows the
//! same one round trip earlier.

mod batch;
pub mod observer;
pub(crate) mod varint;

pub use batch::{DecodedBatches, decode_batches};

use crate::controller::{MetadataRecord, RecordError};
use crate::disk::{DiskError, FileId};
use crate::env::{Env, SyncToken};
use crate::ids::*;
use crate::log::BatchError;
use crate::wire::{ErrorCode, FetchPartition, FetchPartitionResult};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

/// Name of the metadata log's topic, which clients cannot see.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// Directory of the metadata log, `__cluster_metadata-0`.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
/// The one segment of the metadata log.
pub const METADATA_SEGMENT: &str = "__cluster_metadata-0/00000000000000000000.log";
/// `KafkaRaftClient.MAX_FETCH_SIZE_BYTES`.
const FETCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What can go wrong with the metadata log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// The disk failed.
    #[error("metadata log could not be read or written: {0}")]
    Disk(#[from] DiskError),
    /// A batch is corrupt.
    #[error("metadata log holds a corrupt batch: {0}")]
    Batch(#[from] BatchError),
    /// The last batch is not whole.
    #[error("metadata log ends with {0} bytes that are no whole batch")]
    CutShort(usize),
    /// A record could not be read.
    #[error("metadata log holds a record that cannot be read: {0}")]
    Record(#[from] RecordError),
}

/// A batch as it is stored.
#[derive(Debug)]
struct StoredBatch {
    last_offset: Offset,
    bytes: Bytes,
}

/// A single voter's metadata log. See the head of this module.
#[derive(Debug)]
pub struct MetadataLog {
    node: i32,
    file: FileId,
    leader_epoch: LeaderEpoch,
    /// By base offset.
    batches: BTreeMap<Offset, StoredBatch>,
    /// First offset of each epoch, ascending.
    epoch_starts: Vec<(LeaderEpoch, Offset)>,
    end_offset: Offset,
    high_watermark: Offset,
    /// The file sync under way and the end offset that it makes durable.
    file_sync: Option<(SyncToken, Offset)>,
    /// The sync of the file's name, until it completes.
    dir_sync: Option<SyncToken>,
    durable_offset: Offset,
    next_token: u64,
}

impl MetadataLog {
    /// Opens the log, cuts off what is no whole batch at its end, and opens the next leader epoch
    /// for `node`. Returns the metadata records found, with their offsets; they are committed once
    /// the high watermark has passed them.
    ///
    /// # Errors
    /// The disk's, and a record that cannot be read.
    pub fn open(
        node: i32,
        env: &mut Env<'_>,
    ) -> Result<(MetadataLog, Vec<(Offset, MetadataRecord)>), QuorumError> {
        let file = env.disk.open(METADATA_SEGMENT)?;
        let length = env.disk.len(file);
        let bytes = env.disk.read(file, 0, length)?;
        let mut log = MetadataLog {
            node,
            file,
            leader_epoch: 0,
            batches: BTreeMap::new(),
            epoch_starts: Vec::new(),
            end_offset: 0,
            high_watermark: 0,
            file_sync: None,
            dir_sync: None,
            durable_offset: 0,
            next_token: 0,
        };
        let valid = log.recover(&bytes);
        if valid < bytes.len() {
            env.disk.truncate(file, valid as u64)?;
        }
        let records = decode_batches(&bytes.slice(..valid))?.records;
        log.leader_epoch += 1;
        let token = log.token();
        env.disk.sync_dir(METADATA_DIR, token);
        log.dir_sync = Some(token);
        let opening =
            batch::encode_leader_change(log.end_offset, log.leader_epoch, env.wall_ms, node);
        log.append_batch(opening, env)?;
        Ok((log, records))
    }

    /// Takes over the whole batches at the front of `bytes`; answers how many bytes they are.
    fn recover(&mut self, bytes: &Bytes) -> usize {
        let mut at = 0;
        while let Some(header) = batch::whole(&bytes[at..]) {
            let epoch = header.partition_leader_epoch;
            if header.base_offset != self.end_offset || epoch < self.leader_epoch {
                break;
            }
            self.store(bytes.slice(at..at + header.size()));
            at += header.size();
        }
        at
    }

    fn store(&mut self, bytes: Bytes) {
        let header = batch::whole(&bytes).expect("a batch just made or checked is whole");
        let (base_offset, last_offset) = (header.base_offset, header.last_offset());
        assert_eq!(base_offset, self.end_offset, "a gap in the metadata log");
        let epoch = header.partition_leader_epoch;
        if self.epoch_starts.last().map(|(e, _)| *e) != Some(epoch) {
            self.epoch_starts.push((epoch, base_offset));
        }
        self.leader_epoch = epoch;
        self.end_offset = last_offset + 1;
        self.batches
            .insert(base_offset, StoredBatch { last_offset, bytes });
    }

    fn token(&mut self) -> SyncToken {
        self.next_token += 1;
        SyncToken(self.next_token)
    }

    fn append_batch(&mut self, bytes: Bytes, env: &mut Env<'_>) -> Result<(), QuorumError> {
        env.disk.append(self.file, &bytes)?;
        self.store(bytes);
        self.maybe_sync(env);
        Ok(())
    }

    /// One sync at a time: what is appended meanwhile shares the next one, as the IO thread of
    /// `KafkaRaftClient` flushes once per pass.
    fn maybe_sync(&mut self, env: &mut Env<'_>) {
        if self.file_sync.is_none() && self.durable_offset < self.end_offset {
            let token = self.token();
            self.file_sync = Some((token, self.end_offset));
            env.disk.sync(self.file, token);
        }
    }

    /// `RaftClient.prepareAppend` and `schedulePreparedAppend`: appends the records as one atomic
    /// batch and answers the offset of its first record. It is committed once
    /// [`high_watermark`](Self::high_watermark) is above its last.
    ///
    /// # Errors
    /// The disk's.
    pub fn append(
        &mut self,
        records: &[MetadataRecord],
        env: &mut Env<'_>,
    ) -> Result<Offset, QuorumError> {
        let base_offset = self.end_offset;
        let bytes = batch::encode(base_offset, self.leader_epoch, env.wall_ms, records);
        self.append_batch(bytes, env)?;
        Ok(base_offset)
    }

    /// A sync completed. True where the high watermark moved.
    ///
    /// # Errors
    /// The sync's; nothing above the high watermark can be relied upon any more.
    pub fn synced(
        &mut self,
        token: SyncToken,
        result: Result<(), DiskError>,
        env: &mut Env<'_>,
    ) -> Result<bool, QuorumError> {
        result?;
        if self.dir_sync == Some(token) {
            self.dir_sync = None;
        } else if let Some((expected, offset)) = self.file_sync {
            assert_eq!(
                expected, token,
                "a sync that the metadata log did not start"
            );
            self.file_sync = None;
            self.durable_offset = offset;
            self.maybe_sync(env);
        }
        let before = self.high_watermark;
        if self.dir_sync.is_none() {
            self.high_watermark = self.durable_offset;
        }
        Ok(self.high_watermark > before)
    }

    /// Every record below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The offset that the next record will have (`OffsetControlManager.nextWriteOffset`).
    pub fn end_offset(&self) -> Offset {
        self.end_offset
    }

    /// The epoch in which this node leads the quorum.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Answers one observer's Fetch as far as it can be answered now
    /// (`KafkaRaftClient.tryCompleteFetchRequest`). Empty records without an error or a diverging
    /// epoch mean that the observer is up to date, and that its request may wait.
    pub fn fetch(&self, request: &FetchPartition, max_bytes: i32) -> FetchPartitionResult {
        let mut answer = self.fetch_answer(ErrorCode::None);
        // validateLeaderOnlyRequest; an observer that knows no epoch yet (-1) is not refused.
        if request.current_leader_epoch != NO_EPOCH {
            if request.current_leader_epoch < self.leader_epoch {
                return self.fetch_answer(ErrorCode::FencedLeaderEpoch);
            }
            if request.current_leader_epoch > self.leader_epoch {
                return self.fetch_answer(ErrorCode::UnknownLeaderEpoch);
            }
        }
        if request.partition != 0 || request.fetch_offset < 0 {
            return self.fetch_answer(ErrorCode::InvalidRequest);
        }
        answer.diverging_epoch = self.diverging(request.fetch_offset, request.last_fetched_epoch);
        if answer.diverging_epoch.is_none() {
            let bound = request.partition_max_bytes.min(max_bytes).max(0) as usize;
            answer.records = self.read(request.fetch_offset, bound.min(FETCH_BYTES_MAX));
        }
        answer
    }

    /// An answer without records; an error that says that the epoch is another carries the epoch.
    pub fn fetch_answer(&self, error: ErrorCode) -> FetchPartitionResult {
        let known = error.is_none();
        let wrong_epoch = matches!(
            error,
            ErrorCode::FencedLeaderEpoch | ErrorCode::UnknownLeaderEpoch
        );
        FetchPartitionResult {
            partition: 0,
            error,
            high_watermark: if known { self.high_watermark } else { -1 },
            last_stable_offset: if known { self.high_watermark } else { -1 },
            log_start_offset: if known { 0 } else { -1 },
            diverging_epoch: None,
            current_leader: if wrong_epoch {
                (self.node, self.leader_epoch)
            } else {
                (NO_BROKER, NO_EPOCH)
            },
            records: Bytes::new(),
        }
    }

    /// `ReplicatedLog.validateOffsetAndEpoch`: where the observer's log parts from this one.
    fn diverging(&self, offset: Offset, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        if offset == 0 && epoch <= 0 {
            return None;
        }
        if epoch == NO_EPOCH {
            let last = self.epoch_starts.last().map_or(NO_EPOCH, |(e, _)| *e);
            return (offset > self.end_offset).then_some((last, self.end_offset));
        }
        let index = self.epoch_starts.partition_point(|(e, _)| *e <= epoch);
        let found = match index {
            0 => 0,
            i => self.epoch_starts[i - 1].0,
        };
        let end = match self.epoch_starts.get(index) {
            Some((_, next_start)) => *next_start,
            None => self.end_offset,
        };
        (found != epoch || end < offset).then_some((found, end))
    }

    /// Whole batches from the one that holds `offset` up to the high watermark: at least one where
    /// there is any, more while they fit.
    fn read(&self, offset: Offset, max_bytes: usize) -> Bytes {
        if offset >= self.high_watermark {
            return Bytes::new();
        }
        let (first, _) = self
            .batches
            .range(..=offset)
            .next_back()
            .expect("a batch holds every offset from 0 on");
        let mut found: Vec<&Bytes> = Vec::new();
        let mut bytes = 0;
        for (_, batch) in self.batches.range(*first..) {
            let full = !found.is_empty() && bytes + batch.bytes.len() > max_bytes;
            if full || batch.last_offset >= self.high_watermark {
                break;
            }
            bytes += batch.bytes.len();
            found.push(&batch.bytes);
        }
        if let [one] = found[..] {
            return one.clone();
        }
        let mut joined = BytesMut::with_capacity(bytes);
        found.iter().for_each(|b| joined.extend_from_slice(b));
        joined.freeze()
    }
}
