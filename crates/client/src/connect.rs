//! How a connection to an endpoint is made: TCP by default, anything else by injection.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;

/// Whatever kept a connection from being made.
pub type ConnectFailure = Box<dyn Error + Send + Sync>;

/// Makes connections. Any function from an [`Address`] to a future of a channel will do, so that a simulation or a
/// deployment with TLS can bring its own:
///
/// ```
/// use futures_util::FutureExt;
/// use leasehold_client::{Address, Client};
/// use tonic::transport::Endpoint;
///
/// let lazily = |address: Address| {
///     async move { Ok(Endpoint::from_shared(address.uri())?.connect_lazy()) }.boxed()
/// };
/// let client = Client::builder().endpoint("127.0.0.1:7101").connector(lazily).build();
/// # assert!(client.is_ok());
/// ```
pub trait Connector: Send + Sync + 'static {
    /// Connects, on the runtime that polls the future. Whoever calls bounds the time.
    fn connect(&self, address: Address) -> BoxFuture<'static, Result<Channel, ConnectFailure>>;
}

impl<F> Connector for F
where
    F: Fn(Address) -> BoxFuture<'static, Result<Channel, ConnectFailure>> + Send + Sync + 'static,
{
    fn connect(&self, address: Address) -> BoxFuture<'static, Result<Channel, ConnectFailure>> {
        self(address)
    }
}

/// Plain HTTP/2 over TCP: no delay, and pings that notice a peer which is gone without a word.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Tcp {
    /// The settings of a connection, for connectors that only replace what is below HTTP/2.
    ///
    /// # Errors
    /// When the address does not make a URI.
    pub fn endpoint(address: &Address) -> Result<Endpoint, ConnectFailure> {
        const PING_EVERY: Duration = Duration::from_secs(5);
        const PING_TIMEOUT: Duration = Duration::from_secs(5);
        // The default window of 64 KiB holds one payload: over a WAN it would be the limit.
        const WINDOW: u32 = 2 * 1024 * 1024;
        Ok(Endpoint::from_shared(address.uri())?
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW))
    }
}

impl Connector for Tcp {
    fn connect(&self, address: Address) -> BoxFuture<'static, Result<Channel, ConnectFailure>> {
        async move { Ok(Self::endpoint(&address)?.connect().await?) }.boxed()
    }
}

/// A connector as it is passed around.
pub(crate) type SharedConnector = Arc<dyn Connector>;
