//! `serve`: a cluster in this process, on real sockets and disks.

use crate::args::ServeArguments;
use crate::exit::{Error, Status};
use crate::{input, output};
use everyack_broker::config::PropertyMap;
use everyack_broker::host::{Cluster, HostError, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr};
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{Level, warn};

/// Threads for syncs: more would only queue in the disk.
const BLOCKING_THREADS: usize = 16;
/// Kafka's default of `offsets.topic.replication.factor`, where there are so many brokers.
const OFFSETS_REPLICAS: u16 = 3;

/// Serves until a signal comes or a node fails.
pub fn serve(arguments: &ServeArguments) -> Result<Status, Error> {
    log_lines(arguments.verbose);
    raise_open_files();
    let properties = properties(arguments)?;
    let last_port = u32::from(arguments.port) + u32::from(arguments.brokers) - 1;
    if arguments.port > 0 && last_port > u32::from(u16::MAX) {
        return Err(Error::Input(format!(
            "--port: found {} for {} brokers, allowed is one from which all of theirs are below 65536",
            arguments.port, arguments.brokers
        )));
    }
    let (temporary, data_dir) = match &arguments.data_dir {
        Some(path) => (None, path.clone()),
        None => {
            let made = tempfile::Builder::new().prefix("everyack-").tempdir();
            let made = made.map_err(|error| {
                Error::Input(format!(
                    "no temporary directory: {error}; name one with --data-dir"
                ))
            })?;
            let path = made.path().to_path_buf();
            eprintln!("everyack: data in {}, removed at the end", path.display());
            (Some(made), path)
        }
    };
    let settings = Settings {
        brokers: arguments.brokers,
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: arguments.port,
        data_dir,
        properties,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| Error::Testbed(format!("starting the runtime failed: {error}")))?;
    let outcome = runtime.block_on(run(&settings));
    // Whatever still blocks is of no use any more.
    runtime.shutdown_background();
    outcome.and(remove(temporary)).map(|()| Status::AsPromised)
}

/// The brokers' properties. On fewer brokers than Kafka's default wants, the topic of committed offsets
/// could never be created.
fn properties(arguments: &ServeArguments) -> Result<PropertyMap, Error> {
    let (mut properties, warnings) = match &arguments.config {
        Some(path) => input::server(path)?,
        None => (PropertyMap::new(), Vec::new()),
    };
    for warning in warnings {
        eprintln!("everyack: {warning}");
    }
    if arguments.brokers < OFFSETS_REPLICAS {
        properties
            .entry("offsets.topic.replication.factor".to_string())
            .or_insert_with(|| arguments.brokers.to_string());
    }
    Ok(properties)
}

async fn run(settings: &Settings) -> Result<(), Error> {
    let mut ends = Ends::new()?;
    let mut cluster = Cluster::start(settings).await.map_err(refused)?;
    tokio::select! {
        ready = cluster.until_ready() => ready.map_err(failed)?,
        () = ends.next() => return end(cluster, ends).await,
    }
    output::print(&format!(
        "ready bootstrap={}\n",
        cluster.bootstrap().join(",")
    ))?;
    tokio::select! {
        failure = cluster.failure() => {
            // The others end in order.
            let _ = cluster.shut_down().await;
            Err(failed(failure))
        }
        () = ends.next() => end(cluster, ends).await,
    }
}

async fn end(cluster: Cluster, mut ends: Ends) -> Result<(), Error> {
    tokio::select! {
        outcome = cluster.shut_down() => outcome.map_err(failed),
        () = ends.next() => Err(Error::Testbed(
            "ended at once by a second signal; the logs are checked at the next start".to_string(),
        )),
    }
}

/// SIGTERM and SIGINT.
struct Ends {
    term: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> Result<Ends, Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::Testbed(format!(
                    "installing the handler of a signal failed: {error}"
                ))
            })
        };
        Ok(Ends {
            term: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ports and folders are the user's.
fn refused(error: HostError) -> Error {
    match error {
        HostError::Config(_) | HostError::DataDir(_) | HostError::Listen { .. } => {
            Error::Input(error.to_string())
        }
        HostError::System { .. } | HostError::Node { .. } => failed(error),
    }
}

fn failed(error: HostError) -> Error {
    Error::Testbed(error.to_string())
}

fn remove(temporary: Option<TempDir>) -> Result<(), Error> {
    let Some(made) = temporary else {
        return Ok(());
    };
    let path = made.path().display().to_string();
    made.close()
        .map_err(|error| Error::Testbed(format!("removing {path} failed: {error}")))
}

/// As many open files as the system allows this process, as the JVM has them (`MaxFDLimit`): each log
/// segment is one, and each connection. Where that fails, the present limit stands.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!("open files stay at {:?}: {error}", limit.current);
    }
}

/// Log lines go to stderr; what goes wrong is always told.
fn log_lines(verbose: u8) {
    let level = match verbose {
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(!plain && io::stderr().is_terminal())
        .with_target(false)
        .init();
}
