//! Connections that are kept, one an endpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::transport::Channel;

use crate::address::Address;
use crate::connect::{ConnectFailure, SharedConnector};

/// Longest that a connection may take to be made.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Open connections by endpoint. Two callers that dial at once both get a connection and the later one is kept.
pub(super) struct Channels {
    connector: SharedConnector,
    open: Mutex<BTreeMap<Address, Channel>>,
}

impl Channels {
    pub(super) fn new(connector: SharedConnector) -> Self {
        Self {
            connector,
            open: Mutex::default(),
        }
    }

    pub(super) fn connector(&self) -> &SharedConnector {
        &self.connector
    }

    pub(super) async fn get(&self, address: &Address) -> Result<Channel, ConnectFailure> {
        if let Some(channel) = self.open().get(address) {
            return Ok(channel.clone());
        }
        let channel = connect(&self.connector, address.clone()).await?;
        self.open().insert(address.clone(), channel.clone());
        Ok(channel)
    }

    /// The next call dials anew.
    pub(super) fn forget(&self, address: &Address) {
        self.open().remove(address);
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Address, Channel>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials, for no longer than [`CONNECT_TIMEOUT`].
pub(crate) async fn connect(
    connector: &SharedConnector,
    address: Address,
) -> Result<Channel, ConnectFailure> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(address)).await {
        Ok(connected) => connected.map_err(innermost),
        Err(_) => Err(format!("no connection within {CONNECT_TIMEOUT:?}").into()),
    }
}

/// What the network said: the wrappers around it only repeat that it is a transport error.
fn innermost(failure: ConnectFailure) -> ConnectFailure {
    let mut cause: &(dyn std::error::Error + 'static) = &*failure;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().into()
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.open().keys()).finish()
    }
}
