//! Where the nodes of a process keep what they have: a folder for each, as Kafka's `log.dirs`.
//!
//! `broker-1`, `broker-2` and so on, and `controller` for the metadata log. Each has Kafka's
//! `meta.properties`, which says whose it is and of which cluster, so that a folder is never opened as
//! another one's, and Kafka's `.lock`, which is held while the process runs.

use crate::ids::{BrokerId, NodeId};
use crate::log::meta_properties::{META_PROPERTIES_FILE, MetaProperties};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Kafka's lock file (`LogManager.LOCK_FILE_NAME`).
const LOCK_FILE: &str = ".lock";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The file system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Another process has it.
    #[error("{}: another process uses it", .0.display())]
    Locked(PathBuf),
    /// It is no folder of this node, or damaged.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// It was made for another number of brokers.
    #[error(
        "{}: it has {found} brokers, and {wanted} were asked for: the brokers of a cluster stay", path.display()
    )]
    Brokers {
        /// Which folder.
        path: PathBuf,
        /// How many it has.
        found: usize,
        /// How many were asked for.
        wanted: usize,
    },
}

/// The folders of all nodes, held by this process until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    /// `cluster.id`, drawn when the folder was made.
    pub cluster_id: String,
    nodes: Vec<(NodeId, PathBuf)>,
    _locks: Vec<File>,
}

impl DataDir {
    /// Opens the folders of these brokers and of the controller below `root`, which are made where there
    /// are none. `random` is for the ids of a new cluster.
    ///
    /// # Errors
    /// The file system's, and where the folder belongs to somebody else.
    pub fn open(
        root: &Path,
        brokers: &[BrokerId],
        random: &mut dyn FnMut() -> u128,
    ) -> Result<DataDir, DataDirError> {
        let failed = |error| DataDirError::Io {
            path: root.to_path_buf(),
            error,
        };
        fs::create_dir_all(root).map_err(failed)?;
        let nodes: Vec<(NodeId, PathBuf)> = brokers
            .iter()
            .map(|id| (NodeId::of_broker(*id), root.join(format!("broker-{id}"))))
            .chain([(NodeId(NodeId::FIRST_CONTROLLER), root.join("controller"))])
            .collect();
        check_number(root, brokers.len())?;
        let mut locks = Vec::with_capacity(nodes.len());
        for (_, path) in &nodes {
            locks.push(lock(path)?);
        }
        let mut cluster_id = None;
        for (node, path) in &nodes {
            cluster_id = belongs_to(path, *node, cluster_id)?;
        }
        let cluster_id = cluster_id.unwrap_or_else(|| base64(random()));
        for (node, path) in &nodes {
            claim(path, *node, &cluster_id, random)?;
        }
        Ok(DataDir {
            cluster_id,
            nodes,
            _locks: locks,
        })
    }

    /// The folder of a node.
    ///
    /// # Panics
    /// Where the folder was opened without it.
    pub fn of(&self, node: NodeId) -> &Path {
        let found = self.nodes.iter().find(|(id, _)| *id == node);
        &found.unwrap_or_else(|| panic!("no folder for {node}")).1
    }
}

fn base64(id: u128) -> String {
    URL_SAFE_NO_PAD.encode(id.to_be_bytes())
}

/// A cluster keeps its brokers: its topics name them.
fn check_number(root: &Path, wanted: usize) -> Result<(), DataDirError> {
    let count = |id: &usize| root.join(format!("broker-{id}")).is_dir();
    let found = (1usize..).take_while(count).count();
    if found == 0 || found == wanted {
        return Ok(());
    }
    Err(DataDirError::Brokers {
        path: root.to_path_buf(),
        found,
        wanted,
    })
}

/// `LogManager.lockLogDirs`: the lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, DataDirError> {
    let failed = |error| DataDirError::Io {
        path: path.to_path_buf(),
        error,
    };
    fs::create_dir_all(path).map_err(failed)?;
    let mut options = OpenOptions::new();
    let options = options.create(true).write(true).truncate(false);
    let file = options.open(path.join(LOCK_FILE)).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(DataDirError::Locked(path.to_path_buf()))
        }
        Err(error) => Err(failed(error.into())),
    }
}

fn number(node: NodeId) -> i32 {
    node.0 as i32
}

/// Holds a folder's `meta.properties`, if it has one, against whom it should be of.
fn belongs_to(
    path: &Path,
    node: NodeId,
    cluster_id: Option<String>,
) -> Result<Option<String>, DataDirError> {
    let path = path.join(META_PROPERTIES_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(cluster_id),
        Err(error) => return Err(DataDirError::Io { path, error }),
    };
    let foreign = |what: String| DataDirError::Foreign {
        path: path.clone(),
        what,
    };
    let found = MetaProperties::parse(&bytes).map_err(|error| foreign(error.to_string()))?;
    if found.node_id != number(node) {
        let what = format!("node.id is {}, and not {}", found.node_id, number(node));
        return Err(foreign(what));
    }
    match cluster_id {
        Some(known) if known != found.cluster_id => Err(foreign(format!(
            "cluster.id is {}, and that of another node's folder {known}",
            found.cluster_id
        ))),
        _ => Ok(Some(found.cluster_id)),
    }
}

fn claim(
    path: &Path,
    node: NodeId,
    cluster_id: &str,
    random: &mut dyn FnMut() -> u128,
) -> Result<(), DataDirError> {
    let path = path.join(META_PROPERTIES_FILE);
    if path.exists() {
        return Ok(());
    }
    let written = MetaProperties {
        cluster_id: cluster_id.to_string(),
        node_id: number(node),
        directory_id: Some(Uuid::from_u128(random())),
    };
    // Whole or not at all, however this process ends.
    let new = path.with_extension("properties.tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&new)?;
        file.write_all(written.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(|error| DataDirError::Io {
        path: path.clone(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> impl FnMut() -> u128 {
        let mut last = 0;
        move || {
            last += 1;
            last
        }
    }

    #[test]
    fn a_folder_is_made_once_and_keeps_its_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path(), &[1, 2, 3], &mut counting()).unwrap();
        let cluster_id = first.cluster_id.clone();
        assert_eq!(cluster_id.len(), 22);
        assert!(first.of(NodeId(2)).ends_with("broker-2"));
        drop(first);
        let mut other = || 77;
        let again = DataDir::open(dir.path(), &[1, 2, 3], &mut other).unwrap();
        assert_eq!(again.cluster_id, cluster_id);
    }

    #[test]
    fn a_folder_that_a_process_has_is_refused_and_so_is_another_number_of_brokers() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path(), &[1], &mut counting()).unwrap();
        let error = DataDir::open(dir.path(), &[1], &mut counting()).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        drop(held);
        let error = DataDir::open(dir.path(), &[1, 2, 3], &mut counting()).unwrap_err();
        assert!(error.to_string().contains("has 1 brokers"), "{error}");
        DataDir::open(dir.path(), &[1], &mut counting()).unwrap();
    }

    #[test]
    fn another_nodes_folder_is_refused_with_the_file_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), &[1, 2, 3], &mut counting()).unwrap());
        let meta = |n: u32| {
            dir.path()
                .join(format!("broker-{n}/{META_PROPERTIES_FILE}"))
        };
        fs::copy(meta(1), meta(2)).unwrap();
        let error = DataDir::open(dir.path(), &[1, 2, 3], &mut counting()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("broker-2/meta.properties") && text.contains("node.id"),
            "{text}"
        );
        fs::write(meta(2), "version=1\n").unwrap();
        let error = DataDir::open(dir.path(), &[1, 2, 3], &mut counting()).unwrap_err();
        assert!(
            error.to_string().contains("cluster.id is missing"),
            "{error}"
        );
    }
}
