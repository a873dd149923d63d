//! The marker of an orderly shutdown: `.kafka_cleanshutdown` in the log directory
//! (`CleanShutdownFileHandler`).
//!
//! That it is there spares the next start all recovery; the broker epoch in it shows the controller
//! that nothing happened between two registrations (KIP-966, PR#14706). It is deleted before any log
//! is loaded (KAFKA-10471). As in Kafka its bytes are synced and its directory entry is not, so that a
//! power loss may take it back, or bring one back that was deleted.

use crate::disk::{Disk, DiskError};
use crate::env::SyncToken;
use crate::ids::BrokerEpoch;
use crate::log::checkpoint::read_text;

/// The marker's file.
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";

const EPOCH_FIELD: &str = "\"brokerEpoch\":";

/// Takes the marker away. `None` where there was none; the epoch in it is -1 where it cannot be read,
/// which counts as an orderly shutdown for the logs and as none for the controller.
///
/// # Errors
/// The disk's.
pub fn take_clean_shutdown(disk: &mut dyn Disk) -> Result<Option<BrokerEpoch>, DiskError> {
    let Some(text) = read_text(disk, CLEAN_SHUTDOWN_FILE)? else {
        return Ok(None);
    };
    disk.delete(CLEAN_SHUTDOWN_FILE)?;
    Ok(Some(epoch_in(&text).unwrap_or(-1)))
}

fn epoch_in(text: &str) -> Option<BrokerEpoch> {
    let value = &text[text.find(EPOCH_FIELD)? + EPOCH_FIELD.len()..];
    let end = value.find([',', '}'])?;
    value[..end].trim().parse().ok()
}

/// Writes the marker and starts its sync; the shutdown was orderly once that completes.
///
/// # Errors
/// The disk's.
pub fn write_clean_shutdown(
    disk: &mut dyn Disk,
    epoch: BrokerEpoch,
    token: SyncToken,
) -> Result<(), DiskError> {
    let file = disk.open(CLEAN_SHUTDOWN_FILE)?;
    disk.truncate(file, 0)?;
    let text = format!("{{\"version\":0,{EPOCH_FIELD}{epoch}}}");
    disk.append(file, text.as_bytes())?;
    disk.sync(file, token);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory_disk::MemoryDisk;

    #[test]
    fn what_was_written_is_read_once() {
        let mut disk = MemoryDisk::default();
        assert_eq!(take_clean_shutdown(&mut disk), Ok(None));
        write_clean_shutdown(&mut disk, 42, SyncToken(7)).unwrap();
        assert_eq!(disk.syncs, [SyncToken(7)]);
        let text = disk.bytes(CLEAN_SHUTDOWN_FILE).clone();
        assert_eq!(text, br#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(take_clean_shutdown(&mut disk), Ok(Some(42)));
        assert_eq!(take_clean_shutdown(&mut disk), Ok(None), "it is deleted");
    }

    #[test]
    fn a_marker_without_an_epoch_spares_recovery_and_proves_nothing() {
        for text in [
            "",
            "{}",
            "{\"version\":0,\"brokerEpoch\":",
            "{\"brokerEpoch\":x}",
        ] {
            let mut disk = MemoryDisk::default();
            let file = disk.open(CLEAN_SHUTDOWN_FILE).unwrap();
            disk.append(file, text.as_bytes()).unwrap();
            assert_eq!(take_clean_shutdown(&mut disk), Ok(Some(-1)), "{text:?}");
        }
    }
}
