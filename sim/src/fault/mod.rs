//! Faults are data: a plan is a list of (when, what, whom, for how long).
//!
//! - [`family`] the fault families, by the names of the command line
//! - [`timeouts`] the configured timeouts that outages and phases are functions of
//! - [`draw`] plans drawn by family from a seeded stream

pub mod draw;
pub mod family;
pub mod timeouts;

pub use draw::{DrawContext, draw};
pub use family::Family;
pub use timeouts::Timeouts;

use serde::{Deserialize, Serialize};

/// What goes wrong in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// The faults; each fires at most once.
    pub faults: Vec<Fault>,
    /// Name of the mechanism that this plan was written for; drawn plans have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it strikes.
    pub when: When,
    /// What happens.
    pub what: What,
    /// To whom; a role binds when the fault strikes.
    pub whom: Whom,
    /// How long the outage lasts, in milliseconds; the heal ends it at the latest.
    pub for_ms: u64,
    /// The outage is counted from the strike of the fault with this index, and lasts until then in
    /// any case; `None` counts from its own strike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_from: Option<usize>,
}

impl Fault {
    /// A fault whose outage is counted from its own strike.
    pub fn new(when: When, what: What, whom: Whom, for_ms: u64) -> Fault {
        Fault {
            when,
            what,
            whom,
            for_ms,
            counted_from: None,
        }
    }
}

/// When a fault strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// That many microseconds after the producers started.
    AtUs(u64),
    /// That many microseconds after the n-th event of a kind, counted from 1 and from the instant
    /// at which the producers start: what happened before does not count.
    After {
        /// Which event.
        event: Trigger,
        /// The n-th one.
        nth: u32,
        /// Delay in microseconds.
        delay_us: u64,
    },
    /// That many milliseconds after the fault with this index struck.
    AfterFault {
        /// Index in the plan.
        fault: usize,
        /// Delay in milliseconds.
        delay_ms: u64,
    },
    /// That many milliseconds after the outage of the fault with this index ended.
    AfterOutage {
        /// Index in the plan.
        fault: usize,
        /// Delay in milliseconds.
        delay_ms: u64,
    },
    /// That many microseconds after the n-th event of a kind, counted from 1 and from the instant at
    /// which the fault with this index struck.
    Then {
        /// Index in the plan.
        fault: usize,
        /// Which event.
        event: Trigger,
        /// The n-th one.
        nth: u32,
        /// Delay in microseconds.
        delay_us: u64,
    },
}

/// Events that a fault can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A producer was told that a record of partition 0 is sent.
    Acked,
    /// A producer was told so while no other in-sync replica had the record. With one replica, and
    /// with acks=0 (told before any broker has the record), every `Acked` is one.
    AckedUnreplicated,
    /// A producer was told so while some replica had not made the record durable.
    AckedUnsynced,
    /// The leader of partition 0 appended.
    Appended,
    /// The leader appended records that no follower has yet; with one replica, every append.
    AppendedUnreplicated,
    /// A Produce request for partition 0 is on its way to the leader.
    ProduceInFlight,
    /// A Produce request for partition 0 has arrived at the leader's process and waits there for a
    /// request handler: it is neither appended nor refused yet.
    ProduceArrived,
    /// The controller shrank the ISR of partition 0 to its leader. With one replica, where it never
    /// is another, every append of the leader.
    IsrIsLeader,
    /// The controller elected another leader of partition 0.
    LeaderElected,
    /// A broker applied the metadata that makes it the leader of partition 0
    /// (`Fact::BecameLeader`), after the producers started.
    LeaderApplied,
    /// The leader of partition 0 was fenced.
    LeaderFenced,
    /// The controller unfenced a broker: one that it had fenced, or one that has registered again.
    Unfenced,
    /// A leader of partition 0 made a proposal for its ISR.
    IsrProposed,
    /// An application processed a record.
    Processed,
    /// A poll returned records to an application.
    Polled,
    /// A commit succeeded.
    Committed,
    /// A commit succeeded whose offset lies behind a record that a poll of the same application
    /// returned and that it has not processed yet.
    CommittedUnprocessed,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The connections between a producer and the leader are reset.
    ResetConnections,
    /// The link between the producers and the leader is silently cut, then reset.
    CutConnections,
    /// The process is killed (SIGKILL) and started again after the outage.
    Crash,
    /// The machine loses power and comes back after the outage.
    PowerLoss {
        /// What its page cache had not synced: see [`Unsynced`].
        unsynced: Unsynced,
    },
    /// The process is shut down in order (SIGTERM), and started again that long after it was asked, or
    /// once it has ended.
    ShutDown,
    /// The process is stopped (SIGSTOP) and goes on after the outage: it takes no input meanwhile, its
    /// machine keeps its connections and accepts new ones, its timers fire late.
    Pause,
    /// The process is killed, the machine's disk replaced by an empty one, and the process started
    /// again after the outage.
    DestroyDisk,
    /// The disk has no space left: from the n-th write that follows, every write and every new file
    /// fails (ENOSPC) until the outage ends. A process that ended over it is then started again.
    FillDisk {
        /// Which write fails first, from 1.
        nth: u32,
    },
    /// The disk fails operations; a sync that fails drops the pages that it should have made durable. A process that ended over it is started again after the outage.
    FailDisk {
        /// Which operations fail.
        operation: DiskOperation,
        /// On which files; `None` on all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<FileKind>,
        /// Which of them fails first, from 1.
        nth: u32,
        /// Whether all that follow fail too, until the outage ends, or only that one.
        lasting: bool,
        /// How they fail.
        #[serde(default, skip_serializing_if = "Errno::is_io")]
        errno: Errno,
    },
    /// The disk lies: it says of a sync that it is done, at once, and has kept nothing. Nobody sees it while
    /// the power stays; a power loss then takes what was told to be durable. After the outage it syncs
    /// again, and with a file what it had kept back of it.
    LieAboutSyncs,
    /// Bits of a stored batch of the target's log of its partition (`Whom`, else partition 0) flip, of the
    /// page cache as of the device: the page was read again. Offset and leader epoch of the batch, which
    /// no checksum covers, are spared.
    FlipBits {
        /// In which part of the log.
        part: LogPart,
        /// Which batch of it, in thousandths of the way from the first to the last.
        permille: u16,
        /// Which bit, in thousandths of the batch.
        bit_permille: u16,
    },
    /// The last write of the target's log of its partition has gone elsewhere: its last sectors hold zeros,
    /// and an earlier place holds them as well.
    MisdirectWrite {
        /// How many sectors.
        sectors: u16,
        /// Where to.
        to: Elsewhere,
    },
    /// The disk stalls: between two operations that it serves lie that many milliseconds.
    SlowDisk {
        /// Length of a stall.
        stall_ms: u64,
    },
    /// The machine's wall clock jumps, and jumps back after the outage; its monotonic clock does not.
    ClockJump {
        /// How far, in milliseconds; negative is back.
        by_ms: i64,
    },
    /// The machine's wall clock runs fast or slow, and is set right after the outage.
    ClockDrift {
        /// Parts per million; negative is slow.
        ppm: i64,
    },
    /// All links between the target and the clients are cut.
    CutFromClients {
        /// Which directions.
        direction: Direction,
    },
    /// All links between the target and brokers and controllers are cut, both ways: what reaches it
    /// still are clients.
    CutFromCluster {
        /// Whether this producer (from 0) is the only client that still reaches it.
        only_producer: Option<u32>,
    },
    /// The handler of the target's application fails on the records that it is given next; after the
    /// outage it works again.
    FailProcessing {
        /// On how many different records.
        records: u32,
        /// How often on each; `u32::MAX` is for as long as the outage lasts.
        times: u32,
    },
    /// All links between the target and the other brokers are cut.
    CutFromFollowers {
        /// Which directions.
        direction: Direction,
    },
    /// The links between the target and the controllers are cut.
    CutFromController {
        /// Which directions.
        direction: Direction,
    },
    /// The leadership of the target's partition (`Whom::LeaderOf`) is moved to another, unfenced
    /// member of the ISR; nothing happens, and the fault has not struck, where there is none.
    MoveLeader,
    /// The links that leave the target towards brokers get this extra latency, in microseconds.
    SlowLinks {
        /// Extra one-way latency.
        extra_us: u64,
    },
    /// The links that lead from other brokers to the target get this extra latency, in microseconds:
    /// what it copies arrives late.
    SlowCopies {
        /// Extra one-way latency.
        extra_us: u64,
    },
    /// The links that lead from the controllers to the target get this extra latency, in
    /// microseconds: it applies metadata late, and is answered late.
    LateMetadata {
        /// Extra one-way latency.
        extra_us: u64,
    },
    /// What the target proposes for an ISR (AlterPartition) is held up on its way, and goes on when the
    /// outage ends: one connection among several that does not get through. Heartbeats do.
    HoldIsrProposals,
    /// The leadership of partition 0 is moved to the target, as planned. Where the target is not an
    /// unfenced member of the ISR, the fault has not struck; where it leads already, or has no replica,
    /// nothing happens.
    GiveLeadership,
    /// The consumer group starts now. With this fault in a plan no consumer starts before it, and
    /// the producers wait for none; its target is not read.
    StartConsumers,
}

/// Operations of a disk that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOperation {
    /// All of the next five; of those, where no space is left, what takes some: new files and appends.
    Write,
    /// New files: the next segment, a checkpoint's temporary file.
    Create,
    /// Appends.
    Append,
    /// Truncations.
    Truncate,
    /// Renames.
    Rename,
    /// Deletions.
    Delete,
    /// Syncs of files and directories.
    Sync,
}

impl DiskOperation {
    /// Whether it is meant where the other is said.
    pub fn is_one_of(self, said: DiskOperation) -> bool {
        self == said || (said == DiskOperation::Write && self != DiskOperation::Sync)
    }
}

/// What a file is for, by its name as Kafka gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Segments, `.log`.
    Log,
    /// Offset indexes, `.index`.
    Index,
    /// Time indexes, `.timeindex`.
    TimeIndex,
    /// Indexes of aborted transactions, `.txnindex`.
    TransactionIndex,
    /// Producer state, `.snapshot`.
    Snapshot,
    /// Checkpoints: `leader-epoch-checkpoint`, `recovery-point-offset-checkpoint` and so on, and the
    /// temporary files that become one.
    Checkpoint,
    /// Directories, which are synced only.
    Directory,
}

impl FileKind {
    /// The kind of a file of that path; `None` for any other.
    pub fn of(path: &str) -> Option<FileKind> {
        let name = path.rsplit('/').next().unwrap_or(path);
        // On its way in or out (`UnifiedLog.DELETED_FILE_SUFFIX` and its neighbours).
        let passing = [".tmp", ".deleted", ".cleaned", ".swap"];
        let passing = passing.iter().find_map(|suffix| name.strip_suffix(suffix));
        let name = passing.unwrap_or(name);
        if name.ends_with("checkpoint") {
            return Some(FileKind::Checkpoint);
        }
        match name.rsplit_once('.')?.1 {
            "log" => Some(FileKind::Log),
            "index" => Some(FileKind::Index),
            "timeindex" => Some(FileKind::TimeIndex),
            "txnindex" => Some(FileKind::TransactionIndex),
            "snapshot" => Some(FileKind::Snapshot),
            _ => None,
        }
    }
}

/// With which error an operation of a disk fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errno {
    /// EIO.
    #[default]
    Io,
    /// ENOSPC; for a sync too, where space is given out when pages are written.
    NoSpace,
}

impl Errno {
    fn is_io(&self) -> bool {
        *self == Errno::Io
    }
}

/// Part of a replica's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogPart {
    /// All of it.
    All,
    /// Below the recovery point: what no restart looks at.
    Flushed,
    /// From the recovery point on: what a restart after a crash looks at.
    Unflushed,
}

/// Where a misdirected write lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Elsewhere {
    /// On sectors of the same file, that many thousandths of the way from its first to where the write
    /// should have gone.
    SameFile {
        /// Thousandths.
        permille: u16,
    },
    /// In a file that nobody reads, or in free space.
    Nowhere,
}

/// What happens to bytes that were not synced when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unsynced {
    /// All of it is gone.
    Gone,
    /// A drawn subset of pages survives, torn inside a page where the draw says so.
    Drawn,
}

/// Which directions of a link are cut, seen from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both.
    Both,
    /// What the target sends.
    Outbound,
    /// What the target would receive.
    Inbound,
}

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whom {
    /// The leader of that partition of the topic at that moment.
    LeaderOf(i32),
    /// The n-th follower (from 0, by broker id) of that partition; with one replica the n-th of the
    /// brokers that have none.
    FollowerOf(i32, u32),
    /// The leader of that partition and its n-th follower, as above, at one instant.
    LeaderAndFollowerOf(i32, u32),
    /// The n-th broker (from 0) of that partition's assignment, then of those that have no replica.
    ReplicaOf(i32, u32),
    /// The broker that the fault with this index hit.
    SameAs(usize),
    /// A broker by id.
    Broker(i32),
    /// All brokers at one instant.
    AllBrokers,
    /// The n-th producer application (from 0).
    Producer(u32),
    /// The n-th consumer application (from 0).
    Consumer(u32),
    /// The application at which the event of `When::After` happened (`Acked`, `Processed`,
    /// `Polled`, `Committed`, `CommittedUnprocessed`).
    WhereItHappened,
}
