//! The operating system's side of the seam.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads clocks, draws randomness and starts threads"
)]

use std::io;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use leasehold_storage::LogWriter;
use leasehold_types::Timestamp;
use rand::RngExt;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;

use super::{Clock, Connection, Entropy, Listener, Net, Threads};

/// `CLOCK_BOOTTIME`: monotonic, and it goes on while the machine is suspended, where `Instant` stops
/// (rust-lang/rust#87906).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Timestamp::ZERO + Duration::new(seconds, nanos)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// TCP with `TCP_NODELAY`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNet;

impl Net for SystemNet {
    fn listen(&self, address: &str) -> BoxFuture<'static, io::Result<Listener>> {
        let address = address.to_owned();
        Box::pin(async move {
            let listener = TcpListener::bind(&address).await?;
            let address = listener.local_addr()?.to_string();
            let incoming = TcpListenerStream::new(listener).map(|socket| accepted(socket?));
            Ok(Listener {
                address,
                incoming: Box::pin(incoming),
            })
        })
    }

    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let address = address.to_owned();
        Box::pin(async move {
            let socket = TcpStream::connect(&address).await?;
            socket.set_nodelay(true)?;
            Ok(Connection::new(socket, address))
        })
    }
}

fn accepted(socket: TcpStream) -> io::Result<Connection> {
    socket.set_nodelay(true)?;
    let remote = socket.peer_addr()?.to_string();
    Ok(Connection::new(socket, remote))
}

/// The thread's generator, seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next(&self) -> u64 {
        rand::rng().random()
    }
}

/// Real threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemThreads;

impl Threads for SystemThreads {
    fn run_log_writer(&self, writer: LogWriter) -> io::Result<()> {
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run_blocking())?;
        Ok(())
    }
}
