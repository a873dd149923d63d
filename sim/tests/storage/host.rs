//! A process with one log, and the naive model that it is held against.

use super::interrupted::{Budget, Interrupted};
use everyack_broker::config::{BrokerConfig, TopicConfig};
use everyack_broker::disk::Disk;
use everyack_broker::env::{Stream, SyncToken};
use everyack_broker::ids::{LeaderEpoch, Offset, ProducerId};
use everyack_broker::log::checkpoint::{
    CheckpointWrite, offset_checkpoint_text, parse_offset_checkpoint, read_text,
};
use everyack_broker::log::index::{OffsetIndex, TimeIndex};
use everyack_broker::log::{
    BatchBuilder, BatchHeader, CheckpointProgress, DeletedSegment, FlushProgress, LoadFrom,
    PartitionLog,
};
use everyack_sim::fault::Unsynced;
use everyack_sim::kernel::disk::{DiskHandle, Handles, Owner, SimDisk};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const DIR: &str = "t-0";
const NOW: i64 = 1_700_000_000_000;
const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// How a process ends.
#[derive(Debug, Clone, Copy)]
pub enum Death {
    /// It is killed; the page cache stays.
    Process,
    /// With its machine; of what was not synced a drawn part stays, or nothing.
    Power { drawn: bool },
}

/// What the process does next.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Append { producer: u8, records: u8 },
    Flush,
    FlushWithoutWaiting,
    CompleteOne,
    CheckpointRecoveryPoint,
    Truncate { back: u8 },
    NewEpoch,
    Retain,
    MoveLogStart { forward: u8 },
    DeleteFiles,
    Die(Death),
    ShutDown,
}

/// A mixture of everything but deaths, always the same.
pub fn script(steps: usize) -> Vec<Step> {
    let one = |n: usize| match n % 20 {
        3 => Step::FlushWithoutWaiting,
        5 | 12 => Step::CompleteOne,
        7 => Step::Flush,
        9 => Step::CheckpointRecoveryPoint,
        11 if n % 40 == 11 => Step::Truncate { back: 3 },
        14 => Step::NewEpoch,
        16 if n % 60 == 16 => Step::Retain,
        17 if n % 60 == 37 => Step::MoveLogStart { forward: 2 },
        18 => Step::DeleteFiles,
        _ => Step::Append {
            producer: (n % 3) as u8,
            records: (n % 4 + 1) as u8,
        },
    };
    (0..steps).map(one).collect()
}

/// A batch as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Known {
    base: Offset,
    last: Offset,
    epoch: LeaderEpoch,
    producer: ProducerId,
    base_sequence: i32,
}

/// What a sync is for.
#[derive(Debug, Clone, Copy)]
enum SyncUse {
    Flush,
    Epochs,
    RecoveryPoints,
}

/// The process, its machine, and what must be true of its log.
pub struct Host {
    disk: SimDisk,
    handles: Handles,
    /// What the device has in hand, in order.
    queue: VecDeque<u64>,
    log: Option<PartitionLog>,
    recovery_points: CheckpointWrite,
    syncs: BTreeMap<SyncToken, SyncUse>,
    next_sync: u64,
    deleted: Vec<DeletedSegment>,
    config: TopicConfig,
    /// What the log holds, as far as the model knows.
    batches: Vec<Known>,
    /// What was cut, has expired, or was about to be written as the process died: it may come back.
    gone: BTreeSet<Known>,
    /// Everything below was synced while it was in the log.
    synced: Offset,
    /// Where the log starts, as its checkpoint has it.
    log_start: Offset,
    epoch: LeaderEpoch,
    written: u32,
}

impl Host {
    /// With an empty log.
    pub fn new(seed: u64) -> Host {
        let mut config = BrokerConfig::from_properties(&BTreeMap::new())
            .expect("the defaults are legal")
            .topic_defaults;
        config.segment_bytes = 500;
        config.index_interval_bytes = 100;
        config.retention_ms = -1;
        config.retention_bytes = 1200;
        let mut host = Host {
            disk: SimDisk::new(Stream::new(seed, 7)),
            handles: Handles::default(),
            queue: VecDeque::new(),
            log: None,
            recovery_points: CheckpointWrite::new(RECOVERY_POINTS),
            syncs: BTreeMap::new(),
            next_sync: 0,
            deleted: Vec::new(),
            config,
            batches: Vec::new(),
            gone: BTreeSet::new(),
            synced: 0,
            log_start: 0,
            epoch: 0,
            written: 0,
        };
        assert!(host.start(false, &mut Budget::unlimited()));
        host
    }

    fn with_disk<R>(&mut self, budget: &mut Budget, what: impl FnOnce(&mut dyn Disk) -> R) -> R {
        let mut disk = DiskHandle {
            disk: &mut self.disk,
            handles: &mut self.handles,
            owner: Owner {
                node: 0,
                incarnation: 1,
            },
        };
        what(&mut Interrupted {
            disk: &mut disk,
            budget,
        })
    }

    fn with<R>(
        &mut self,
        budget: &mut Budget,
        what: impl FnOnce(&mut PartitionLog, &mut dyn Disk) -> R,
    ) -> R {
        let mut log = self.log.take().expect("the process lives");
        let result = self.with_disk(budget, |disk| what(&mut log, disk));
        self.log_start = log.log_start_offset();
        self.log = Some(log);
        result
    }

    fn log(&self) -> &PartitionLog {
        self.log.as_ref().expect("the process lives")
    }

    fn token(&mut self, what_for: SyncUse) -> SyncToken {
        let token = SyncToken(self.next_sync);
        self.next_sync += 1;
        self.syncs.insert(token, what_for);
        token
    }

    /// Takes a step; where the budget ends in the middle of it, the rest does not happen.
    pub fn take(&mut self, step: Step, budget: &mut Budget) {
        match step {
            Step::Append { producer, records } => self.append(producer, records, budget),
            Step::Flush => {
                self.flush(Offset::MAX, budget);
                self.complete(usize::MAX, budget);
            }
            Step::FlushWithoutWaiting => self.flush(Offset::MAX, budget),
            Step::CompleteOne => self.complete(1, budget),
            Step::CheckpointRecoveryPoint => self.checkpoint_recovery_point(budget),
            Step::Truncate { back } => self.truncate(i64::from(back), budget),
            Step::NewEpoch => {
                self.epoch += 1;
                let (epoch, end) = (self.epoch, self.log().log_end_offset());
                self.with(budget, |log, _| log.assign_epoch_start_offset(epoch, end));
                self.do_chores(budget);
            }
            Step::Retain => self.retain(budget),
            Step::MoveLogStart { forward } => {
                // Behind what was never flushed a log start is not safe in Kafka either.
                let to = self.log().log_start_offset() + i64::from(forward);
                let to = to.min(self.log().recovery_point());
                self.with(budget, |log, _| log.maybe_increment_log_start(to));
            }
            Step::DeleteFiles => {
                for segment in std::mem::take(&mut self.deleted) {
                    let done = self.with_disk(budget, |disk| segment.delete(disk));
                    assert!(done.is_ok() || budget.is_spent());
                }
            }
            Step::Die(death) => {
                self.die(death);
                assert!(self.start(false, budget));
                self.check();
            }
            Step::ShutDown => self.shut_down(budget),
        }
    }

    fn append(&mut self, producer: u8, records: u8, budget: &mut Budget) {
        let mut builder = BatchBuilder::new();
        for _ in 0..records {
            self.written += 1;
            let value = format!("value {}", self.written);
            let timestamp = NOW + i64::from(self.written);
            builder.append(timestamp, None, Some(value.as_bytes()), &[]);
        }
        // The third is not idempotent.
        let id = if producer < 2 {
            100 + i64::from(producer)
        } else {
            -1
        };
        let base = self.log().log_end_offset();
        let known_producer = self.log().producers().producers().get(&id);
        let base_sequence = match (id, known_producer) {
            (-1, _) => -1,
            (_, None) => 0,
            (_, Some(entry)) => entry.last_sequence() + 1,
        };
        if id >= 0 {
            builder.set_producer_state(id, 0, base_sequence);
        }
        let (batch, config, epoch) = (builder.build(), self.config.clone(), self.epoch);
        let appended = self.with(budget, |log, disk| {
            log.append_as_leader(&batch, epoch, &config, NOW, disk)
        });
        let known = Known {
            base,
            last: base + i64::from(records) - 1,
            epoch,
            producer: id,
            base_sequence,
        };
        if budget.is_spent() {
            // It may be in the file.
            self.gone.insert(known);
            return;
        }
        let appended = appended.expect("the disk is sound and the sequence is next");
        assert_eq!((appended.base_offset, appended.duplicate), (base, false));
        self.batches.push(known);
        self.do_chores(budget);
    }

    /// What a broker does behind each change of a log: epochs at once, since Kafka's append waits for
    /// them, the flush behind a roll in the background.
    fn do_chores(&mut self, budget: &mut Budget) {
        if self.log().epoch_checkpoint_due() {
            let token = self.token(SyncUse::Epochs);
            let begun = self.with(budget, |log, disk| log.begin_epoch_checkpoint(disk, token));
            assert!(begun.is_ok() || budget.is_spent());
            self.complete(usize::MAX, budget);
        }
        let (rolled, deleted) = self.with(budget, |log, _| {
            (log.take_roll_flush(), log.take_deleted_segments())
        });
        self.deleted.extend(deleted);
        if let Some(offset) = rolled {
            self.flush(offset, budget);
        }
    }

    fn flush(&mut self, up_to: Offset, budget: &mut Budget) {
        if budget.is_spent() {
            return;
        }
        let token = self.token(SyncUse::Flush);
        self.with(budget, |log, disk| {
            log.begin_flush_up_to(up_to.min(log.log_end_offset()), disk, token)
        });
    }

    fn checkpoint_recovery_point(&mut self, budget: &mut Budget) {
        let point = self.log().recovery_point();
        let text = offset_checkpoint_text([("t", 0, point)].into_iter());
        let token = self.token(SyncUse::RecoveryPoints);
        let mut write = self.recovery_points.clone();
        let begun = self.with_disk(budget, |disk| write.begin(disk, text, token));
        assert!(begun.is_ok() || budget.is_spent());
        self.recovery_points = write;
        self.complete(usize::MAX, budget);
    }

    fn truncate(&mut self, back: Offset, budget: &mut Budget) {
        let log = self.log();
        let to = (log.log_end_offset() - back).max(log.log_start_offset());
        let cut = self.batches.partition_point(|batch| batch.last < to);
        // Logs part between batches: an epoch ends with one.
        let to = self.batches.get(cut).map_or(to, |batch| batch.base);
        if to < self.log_start {
            return;
        }
        self.gone.extend(self.batches.drain(cut..));
        self.synced = self.synced.min(to);
        let done = self.with(budget, |log, disk| log.truncate_to(to, disk));
        assert!(done.is_ok() || budget.is_spent());
        // A follower cuts its log in a newer epoch.
        self.epoch += 1;
        if !budget.is_spent() {
            self.do_chores(budget);
            // `LogManager.truncateTo`
            self.checkpoint_recovery_point(budget);
        }
    }

    fn retain(&mut self, budget: &mut Budget) {
        let (config, bound) = (self.config.clone(), self.log().recovery_point());
        let done = self.with(budget, |log, disk| {
            log.delete_old_segments(&config, bound, NOW, disk)
        });
        assert!(done.is_ok() || budget.is_spent());
        // The one at which it was interrupted may be gone as well.
        let gone = usize::from(budget.is_spent());
        let first = self.log().segment_base_offsets().nth(gone);
        let first = first.expect("the active one stays");
        let kept = self.batches.partition_point(|batch| batch.base < first);
        self.gone.extend(self.batches.drain(..kept));
        if !budget.is_spent() {
            self.do_chores(budget);
        }
    }

    /// Lets the device finish up to so many syncs, and the process go on with what they were for.
    fn complete(&mut self, count: usize, budget: &mut Budget) {
        for _ in 0..count {
            let due = self.disk.schedule_started(0);
            self.queue.extend(due.into_iter().map(|(id, _)| id));
            let Some(id) = self.queue.pop_front().filter(|_| !budget.is_spent()) else {
                return;
            };
            let told = self.disk.complete(id);
            let (_, token, outcome) = told.expect("the process lives");
            self.synced(token, outcome, budget);
        }
    }

    fn synced(
        &mut self,
        token: SyncToken,
        outcome: Result<(), everyack_broker::disk::DiskError>,
        budget: &mut Budget,
    ) {
        let again = match self.syncs[&token] {
            SyncUse::Flush => {
                let progress = self.with(budget, |log, disk| {
                    log.flush_completed(token, outcome, NOW, disk)
                });
                match progress.expect("no sync fails") {
                    FlushProgress::Again => true,
                    FlushProgress::Done { recovery_point } => {
                        self.synced = self.synced.max(recovery_point);
                        false
                    }
                }
            }
            SyncUse::Epochs => {
                let progress = self.with(budget, |log, disk| {
                    log.epoch_checkpoint_synced(disk, outcome)
                });
                assert!(progress.is_ok() || budget.is_spent());
                progress == Ok(CheckpointProgress::Again)
            }
            SyncUse::RecoveryPoints => {
                let mut write = self.recovery_points.clone();
                let progress = self.with_disk(budget, |disk| write.synced(disk, outcome));
                assert!(progress.is_ok() || budget.is_spent());
                self.recovery_points = write;
                progress == Ok(CheckpointProgress::Again)
            }
        };
        if !again {
            self.syncs.remove(&token);
        }
    }

    fn shut_down(&mut self, budget: &mut Budget) {
        self.complete(usize::MAX, budget);
        let token = self.token(SyncUse::Flush);
        let begun = self.with(budget, |log, disk| log.begin_close(disk, token));
        assert!(begun.is_ok() || budget.is_spent());
        self.complete(usize::MAX, budget);
        if budget.is_spent() {
            return;
        }
        self.die(Death::Process);
        assert!(self.start(true, budget));
        let held = self.held();
        assert_eq!(held, self.batches, "an orderly shutdown loses nothing");
        self.check();
    }

    /// The process ends, wherever it is.
    pub fn die(&mut self, death: Death) {
        self.log = None;
        self.deleted.clear();
        self.syncs.clear();
        self.recovery_points = CheckpointWrite::new(RECOVERY_POINTS);
        let due = self.disk.schedule_started(0);
        self.queue.extend(due.into_iter().map(|(id, _)| id));
        self.disk.process_died(0);
        self.handles.close_all(&mut self.disk);
        let unsynced = match death {
            Death::Process => None,
            Death::Power { drawn: true } => Some(Unsynced::Drawn),
            Death::Power { drawn: false } => Some(Unsynced::Gone),
        };
        match unsynced {
            Some(unsynced) => {
                self.queue.clear();
                self.disk.power_loss(unsynced);
            }
            None => {
                for id in self.queue.drain(..) {
                    let told = self.disk.complete(id);
                    assert_eq!(told, None, "nobody is there to hear it");
                }
            }
        }
    }

    /// A process starts and loads the log; false where its budget ended before.
    pub fn start(&mut self, clean: bool, budget: &mut Budget) -> bool {
        // As `log-start-offset-checkpoint` would say.
        let log_start = self.log_start;
        let loaded = self.with_disk(budget, |disk| {
            let text = read_text(disk, RECOVERY_POINTS)?.unwrap_or_default();
            let points = parse_offset_checkpoint(&text).expect("it is replaced as a whole");
            let from = LoadFrom {
                clean,
                recovery_point: points.first().map_or(0, |entry| entry.offset),
                log_start,
                now_ms: NOW,
                bug: None,
            };
            PartitionLog::open(DIR, disk, from)
        });
        match loaded {
            Ok((log, _)) if !budget.is_spent() => {
                self.log = Some(log);
                self.do_chores(budget);
                !budget.is_spent()
            }
            Ok(_) => false,
            Err(error) => {
                assert!(budget.is_spent(), "the log cannot be loaded: {error}");
                false
            }
        }
    }

    /// What the log says that it holds.
    fn held(&self) -> Vec<Known> {
        let held = self.log().batches().iter().map(|batch| Known {
            base: batch.base_offset,
            last: batch.last_offset,
            epoch: batch.leader_epoch,
            producer: batch.producer_id,
            base_sequence: batch.base_sequence,
        });
        held.collect()
    }

    /// Checks a log that was recovered, and goes on with what it holds.
    ///
    /// # Panics
    /// Where something synced is gone, something is there that nobody appended, or epochs, indexes or
    /// producers do not agree with the batches.
    pub fn check(&mut self) {
        let held = self.held();
        for batch in &held {
            let known = self.batches.contains(batch) || self.gone.contains(batch);
            assert!(known, "nobody appended {batch:?}");
        }
        // Of what was not synced any segment may be gone, and a later one there: Kafka does not look
        // whether one begins where the one before ends (`LogLoader.recoverLog`).
        for batch in &self.batches {
            assert!(
                batch.last < self.log_start || batch.last >= self.synced || held.contains(batch),
                "{batch:?} is gone, and everything below {} was synced; there is {held:?}",
                self.synced
            );
        }
        self.check_bytes();
        self.check_epochs(&held);
        self.check_indexes();
        self.check_producers(&held);
        self.synced = self.synced.min(self.log().log_end_offset());
        let lost: Vec<Known> = std::mem::replace(&mut self.batches, held);
        let lost = lost.into_iter().filter(|b| !self.batches.contains(b));
        self.gone.extend(lost);
    }

    fn check_bytes(&mut self) {
        let mut read = Vec::new();
        let mut budget = Budget::unlimited();
        self.with(&mut budget, |log, disk| {
            for bytes in log.batches_from(0, disk).expect("no read fails") {
                let header = BatchHeader::read(&bytes).expect("it was scanned");
                header.check_crc(&bytes).expect("it is whole");
                read.push(header.base_offset);
            }
        });
        let held: Vec<Offset> = self.held().iter().map(|batch| batch.base).collect();
        assert_eq!(read, held);
    }

    fn check_epochs(&self, held: &[Known]) {
        let start = self.log().log_start_offset();
        for batch in held.iter().filter(|batch| batch.last >= start) {
            let epoch = self.log().epochs().epoch_for_offset(batch.last);
            assert_eq!(epoch, Some(batch.epoch), "epoch of {batch:?}");
        }
    }

    fn check_indexes(&mut self) {
        let bases: Vec<Offset> = self.log().segment_base_offsets().collect();
        let batches = self.log().batches().to_vec();
        for base in bases {
            let path = |suffix: &str| format!("{DIR}/{base:020}{suffix}");
            let content = |path: String| self.disk.content(&path).unwrap_or_default().to_vec();
            let offsets = OffsetIndex::parse(&content(path(".index")), base, false);
            for entry in offsets.expect("it is well-formed").entries() {
                let batch = batches.iter().find(|b| b.last_offset == entry.offset);
                let position = batch.map(|b| b.position);
                assert_eq!(position, Some(entry.position), "index entry {entry:?}");
            }
            let times = TimeIndex::parse(&content(path(".timeindex")), base, false);
            for entry in times.expect("it is well-formed").entries() {
                let batch = batches.iter().find(|b| b.last_offset == entry.offset);
                let timestamp = batch.map(|b| b.max_timestamp);
                assert_eq!(
                    timestamp,
                    Some(entry.timestamp),
                    "time index entry {entry:?}"
                );
            }
        }
    }

    fn check_producers(&self, held: &[Known]) {
        let mut last: BTreeMap<ProducerId, &Known> = BTreeMap::new();
        for batch in held.iter().filter(|batch| batch.producer >= 0) {
            last.insert(batch.producer, batch);
        }
        let start = self.log().log_start_offset();
        for (id, batch) in last.into_iter().filter(|(_, batch)| batch.last >= start) {
            let entry = self.log().producers().producers().get(&id);
            let entry = entry.unwrap_or_else(|| panic!("producer {id} is unknown"));
            let known = entry.batches().last().expect("it has a batch");
            let sequence = batch.base_sequence + (batch.last - batch.base) as i32;
            assert_eq!(
                (known.first_offset, known.last_offset, known.last_sequence),
                (batch.base, batch.last, sequence),
                "last batch of producer {id}"
            );
        }
    }

    // ---- damage, to see that the checks notice it -------------------------------------------

    pub fn drop_last_batch(&mut self) {
        let base = self
            .log()
            .batches()
            .last()
            .expect("there is one")
            .base_offset;
        let cut = self.with(&mut Budget::unlimited(), |log, disk| {
            log.truncate_to(base, disk)
        });
        assert_eq!(cut, Ok(true));
    }

    pub fn change_the_epochs(&mut self) {
        self.with(&mut Budget::unlimited(), |log, _| {
            log.assign_epoch_start_offset(999, 0);
        });
    }

    pub fn forget_the_producers(&mut self) {
        self.with(&mut Budget::unlimited(), |log, _| {
            log.remove_expired_producers(i64::MAX, 0);
        });
    }

    pub fn damage_an_index(&mut self) {
        let base = self.log().segment_base_offsets().next().expect("the first");
        let path = format!("{DIR}/{base:020}.index");
        self.with_disk(&mut Budget::unlimited(), |disk| {
            let file = disk.open(&path).expect("it is there");
            let entry = [0, 0, 0, 99, 0, 0, 1, 99];
            disk.append(file, &entry).expect("the disk is sound");
        });
    }

    pub fn append_in_secret(&mut self) {
        let mut builder = BatchBuilder::new();
        builder.append(NOW, None, Some(b"nobody knows"), &[]);
        let (batch, config, epoch) = (builder.build(), self.config.clone(), self.epoch);
        let appended = self.with(&mut Budget::unlimited(), |log, disk| {
            log.append_as_leader(&batch, epoch, &config, NOW, disk)
        });
        appended.expect("the disk is sound");
    }
}
