//! A cluster in this process, and a client that speaks to it in frames.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use everyack_broker::config::PropertyMap;
use everyack_broker::host::{Cluster, HostError, Settings};
use kafka_protocol::messages::{self as kafka, ApiKey};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Nothing here takes that long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster on a folder, with a runtime of its own.
pub struct Server {
    runtime: Runtime,
    cluster: Option<Cluster>,
    pub addresses: Vec<String>,
}

impl Server {
    /// A cluster that is ready, with these properties beside Kafka's defaults.
    pub fn start(brokers: u16, data_dir: &Path, properties: &[(&str, &str)]) -> Server {
        Server::try_start(brokers, data_dir, properties).expect("it starts")
    }

    pub fn try_start(
        brokers: u16,
        data_dir: &Path,
        properties: &[(&str, &str)],
    ) -> Result<Server, HostError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let own = [("offsets.topic.replication.factor", "1")];
        let properties = own.iter().chain(properties);
        let settings = Settings {
            brokers,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            data_dir: data_dir.to_path_buf(),
            properties: properties
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect::<PropertyMap>(),
        };
        let cluster = runtime.block_on(async {
            let mut cluster = Cluster::start(&settings).await?;
            cluster.until_ready().await?;
            Ok::<_, HostError>(cluster)
        })?;
        Ok(Server {
            addresses: cluster.bootstrap(),
            cluster: Some(cluster),
            runtime,
        })
    }

    /// Ends it in order.
    pub fn shut_down(mut self) {
        let cluster = self.cluster.take().expect("it runs");
        self.runtime
            .block_on(cluster.shut_down())
            .expect("in order");
    }

    /// A connection to the first broker.
    pub fn connect(&self) -> Client {
        Client::to(&self.addresses[0])
    }

    /// Whether the first broker still answers a client that knows how to ask.
    pub fn answers(&self) {
        let answer: kafka::ApiVersionsResponse =
            self.connect().ask(&kafka::ApiVersionsRequest::default(), 0);
        assert!(answer.api_keys.len() > 10, "{answer:?}");
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub fn to(address: &str) -> Client {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            stream,
            correlation_id: 0,
        }
    }

    /// Sends a request and reads its answer.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response
    where
        R::Response: Decodable + HeaderVersion,
    {
        self.send(request, version);
        let mut bytes = self.read_frame().expect("an answer");
        let header = R::Response::header_version(version);
        let header = kafka::ResponseHeader::decode(&mut bytes, header).expect("a header");
        assert_eq!(header.correlation_id, self.correlation_id);
        R::Response::decode(&mut bytes, version).expect("a body")
    }

    pub fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.correlation_id += 1;
        let frame = frame(request, version, self.correlation_id);
        self.stream.write_all(&frame).expect("it is read");
    }

    pub fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut bytes = vec![0; (&prefix[..]).get_i32() as usize];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Waits until the other end closes, whatever it says before.
    pub fn until_closed(&mut self) {
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("it stays open: {error}"),
            }
        }
    }
}

/// A request with its length.
pub fn frame<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_i32(0);
    kafka::RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .encode(&mut buf, R::header_version(version))
        .expect("a header");
    request.encode(&mut buf, version).expect("a body");
    with_length(buf)
}

/// The frame of an API whose body is these bytes.
pub fn raw_frame(api: ApiKey, version: i16, body: &[u8]) -> Bytes {
    let mut buf = BytesMut::new();
    buf.put_i32(0);
    kafka::RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .encode(&mut buf, api.request_header_version(version))
        .expect("a header");
    buf.put_slice(body);
    with_length(buf)
}

fn with_length(mut buf: BytesMut) -> Bytes {
    let length = (buf.len() - 4) as i32;
    buf[..4].copy_from_slice(&length.to_be_bytes());
    buf.freeze()
}

/// Tries until it gives something.
pub fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
