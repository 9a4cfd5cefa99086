//! Setting up a client.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use leasehold_core::policy::BackoffPolicy;

use super::channels::Channels;
use super::{Client, Limits, Shared};
use crate::address::Address;
use crate::connect::{Connector, SharedConnector, Tcp};
use crate::endpoints::Endpoints;
use crate::entropy::Entropy;
use crate::error::{ClientError, SetupError};

/// Sets a client up; see [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    limits: Limits,
    connector: SharedConnector,
    entropy: Option<Entropy>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            limits: Limits {
                total: Duration::from_secs(30),
                attempt: Duration::from_secs(5),
                backoff: BackoffPolicy {
                    base: Duration::from_millis(100),
                    cap: Duration::from_secs(5),
                },
            },
            connector: Arc::new(Tcp),
            entropy: None,
        }
    }
}

impl ClientBuilder {
    /// Adds an endpoint, `host:port` or `http://host:port`. Name the nearest first, and some of other regions.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Adds endpoints.
    pub fn endpoints<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.endpoints.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// How long a call may take with all its repeats: 30 s unless set.
    pub fn timeout(mut self, total: Duration) -> Self {
        self.limits.total = total;
        self
    }

    /// How long one attempt at one endpoint may take before the next endpoint is tried: 5 s unless set.
    pub fn attempt_timeout(mut self, attempt: Duration) -> Self {
        self.limits.attempt = attempt;
        self
    }

    /// Ceilings of the waits between attempts: 100 ms, doubling up to 5 s, unless set.
    pub fn backoff(mut self, base: Duration, cap: Duration) -> Self {
        self.limits.backoff = BackoffPolicy { base, cap };
        self
    }

    /// How connections are made: over TCP unless set.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Where random numbers come from: the operating system unless set.
    pub fn entropy(mut self, entropy: Entropy) -> Self {
        self.entropy = Some(entropy);
        self
    }

    /// The client. Nothing is dialled yet.
    ///
    /// # Errors
    /// When no endpoint was given, or one is malformed.
    pub fn build(self) -> Result<Client, ClientError> {
        let parsed = self.endpoints.iter().map(|text| text.parse());
        let addresses: Vec<Address> = parsed.collect::<Result<_, _>>().map_err(SetupError::from)?;
        if addresses.is_empty() {
            return Err(SetupError::NoEndpoint.into());
        }
        let shared = Shared {
            endpoints: Mutex::new(Endpoints::new(addresses)),
            channels: Channels::new(self.connector),
            routes: Mutex::default(),
            entropy: self.entropy.unwrap_or_else(Entropy::from_system),
            limits: self.limits,
        };
        Ok(Client {
            shared: Arc::new(shared),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("endpoints", &self.endpoints)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_without_a_usable_endpoint_is_refused_before_anything_is_sent() {
        let none = Client::builder().build().unwrap_err();
        assert_eq!(none, SetupError::NoEndpoint.into());
        let wrong = Client::builder().endpoint("eu").build().unwrap_err();
        assert!(wrong.to_string().contains("\"eu\""), "{wrong}");
    }
}
