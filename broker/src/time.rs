//! Time as the state machines see it: handed in, never read.

/// Monotonic time of the world in nanoseconds since the run began.
pub type Nanos = u64;

/// One microsecond.
pub const MICROS: Nanos = 1_000;
/// One millisecond.
pub const MILLIS: Nanos = 1_000_000;
/// One second.
pub const SECONDS: Nanos = 1_000_000_000;

/// Milliseconds of a configuration value as nanoseconds, saturating: Kafka's `Long.MAX` means never.
pub fn millis(ms: i64) -> Nanos {
    u64::try_from(ms).unwrap_or(0).saturating_mul(MILLIS)
}
