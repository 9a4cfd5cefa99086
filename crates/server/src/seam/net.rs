//! Connections without saying what carries them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Listens and connects.
pub trait Net: Send + Sync + 'static {
    /// Listens on `host:port`; port 0 takes any free one.
    fn listen(&self, address: &str) -> BoxFuture<'static, io::Result<Listener>>;

    /// Connects to `host:port`.
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>>;
}

/// Connections as they come in.
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// A bound address and what arrives at it.
pub struct Listener {
    /// `host:port` as bound, with the real port.
    pub address: String,
    /// Connections as they come in.
    pub incoming: Incoming,
}

/// Bytes both ways.
pub trait BoxedIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> BoxedIo for T {}

/// One connection.
pub struct Connection {
    io: Box<dyn BoxedIo>,
    remote: String,
}

impl Connection {
    /// Wraps a stream and names its other end.
    pub fn new(io: impl BoxedIo, remote: impl Into<String>) -> Self {
        let remote = remote.into();
        Self {
            io: Box::new(io),
            remote,
        }
    }
}

/// Where a connection comes from, for logs.
#[derive(Debug, Clone)]
pub struct Remote(pub String);

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        Remote(self.remote.clone())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
