//! Connections from outside: one task each, one request at a time.
//!
//! The next request is read once the present one is answered, as `SocketServer` mutes a channel. So a
//! client holds one request and one answer in memory at most, and what it sends beyond that waits in its
//! own socket. A frame's buffer grows with what has arrived, whatever length the frame claims; a frame
//! past `socket.request.max.bytes` ends the connection before any of it is read. A connection on which
//! nothing moves for `connections.max.idle.ms`, in either direction, is closed: a half-open one, one that
//! never finishes its frame, one whose client reads no answer, and one whose request waits that long.

use super::node::{Answer, Message};
use super::wire;
use crate::env::ConnId;
use bytes::{Bytes, BytesMut};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, warn};

/// Bytes that are reserved for a frame before any of it has arrived, at most.
const FIRST_RESERVED: usize = 64 * 1024;
/// Bytes read ahead of a small frame.
const READ_AHEAD: usize = 16 * 1024;
/// How long the acceptor waits where the system has no descriptor left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// What a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `connections.max.idle.ms`.
    pub idle: Duration,
    /// Connections of one broker at once; one beyond that is closed as soon as it is accepted.
    pub connections_max: usize,
}

/// Accepts connections until its task is dropped.
pub(super) async fn accept(
    listener: TcpListener,
    node: Sender<Message>,
    limits: Limits,
    next_conn: Arc<AtomicU64>,
) {
    let free = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!("accepting a connection failed: {error}");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
            warn!(
                "{from}: closed, as {} connections are open",
                limits.connections_max
            );
            continue;
        };
        let conn = ConnId(next_conn.fetch_add(1, Ordering::Relaxed));
        let connection = Connection {
            conn,
            from,
            node: node.clone(),
            limits,
        };
        tokio::spawn(async move {
            debug!("{from}: connected");
            match connection.serve(stream).await {
                Ok(()) => debug!("{from}: closed"),
                Err(error) => debug!("{from}: closed: {error}"),
            }
            drop(place);
        });
    }
}

/// Why a connection ends, but for the ends in order.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing moved for {} ms", .0.as_millis())]
    Idle(Duration),
    #[error("a frame of {0} bytes is none, or too large")]
    Length(i32),
    #[error("{0}")]
    Unreadable(#[from] wire::Unreadable),
    #[error("the broker closed it")]
    ByBroker,
}

struct Connection {
    conn: ConnId,
    from: SocketAddr,
    node: Sender<Message>,
    limits: Limits,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A node that has ended does not care.
        let _ = self.node.send(Message::ClientClosed(self.conn));
    }
}

impl Connection {
    async fn serve(self, stream: TcpStream) -> Result<(), Ended> {
        stream.set_nodelay(true)?;
        let (tell, mut told) = mpsc::unbounded_channel();
        self.send(Message::ClientOpened(self.conn, tell))?;
        let mut stream = BufReader::with_capacity(READ_AHEAD, stream);
        while let Some(frame) = self.read(&mut stream).await? {
            let incoming = wire::read(frame)?;
            debug!("{}: {:?}", self.from, incoming.header);
            self.send(Message::ClientRequest(self.conn, Box::new(incoming)))?;
            let answer = timeout(self.limits.idle, told.recv()).await;
            let answer = answer.map_err(|_| Ended::Idle(self.limits.idle))?;
            let frame = match answer.ok_or(Ended::ByBroker)? {
                Answer::Unfinished(finish, responses) => finish(responses),
                Answer::Frame(frame) => frame,
                Answer::Nothing => continue,
            };
            self.write(stream.get_mut(), frame).await?;
        }
        Ok(())
    }

    fn send(&self, message: Message) -> Result<(), Ended> {
        self.node.send(message).map_err(|_| Ended::ByBroker)
    }

    /// The next frame without its length; `None` where the client has closed in order.
    async fn read(&self, stream: &mut BufReader<TcpStream>) -> Result<Option<Bytes>, Ended> {
        let idle = self.limits.idle;
        let mut prefix = [0; wire::LENGTH_PREFIX];
        let mut filled = 0;
        while filled < prefix.len() {
            let read = timeout(idle, stream.read(&mut prefix[filled..])).await;
            match read.map_err(|_| Ended::Idle(idle))?? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                read => filled += read,
            }
        }
        let length = i32::from_be_bytes(prefix);
        let wanted = usize::try_from(length).ok();
        let wanted = wanted.filter(|wanted| *wanted <= self.limits.request_bytes_max);
        let wanted = wanted.ok_or(Ended::Length(length))?;
        let mut frame = BytesMut::with_capacity(wanted.min(FIRST_RESERVED));
        while frame.len() < wanted {
            let missing = (wanted - frame.len()) as u64;
            let mut rest = (&mut *stream).take(missing);
            let read = timeout(idle, rest.read_buf(&mut frame)).await;
            if read.map_err(|_| Ended::Idle(idle))?? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(Some(frame.freeze()))
    }

    /// Writes an answer; only a part of it that moves counts as movement.
    async fn write(&self, stream: &mut TcpStream, mut frame: Bytes) -> Result<(), Ended> {
        let idle = self.limits.idle;
        while !frame.is_empty() {
            let written = timeout(idle, stream.write_buf(&mut frame)).await;
            if written.map_err(|_| Ended::Idle(idle))?? == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
        }
        Ok(())
    }
}
