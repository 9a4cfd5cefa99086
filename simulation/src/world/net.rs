//! The network of a simulation, as the server's seam wants it.

use std::io;

use futures_util::future::BoxFuture;
use futures_util::stream;
use leasehold_server::seam::{Connection, Listener, Net};
use turmoil::net::{TcpListener, TcpStream};

/// turmoil's TCP: latency, partitions and crashes are the simulation's to set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SimulatedNet;

impl Net for SimulatedNet {
    fn listen(&self, address: &str) -> BoxFuture<'static, io::Result<Listener>> {
        let address = address.to_owned();
        Box::pin(async move {
            let listener = TcpListener::bind(address.as_str()).await?;
            let incoming = stream::unfold(listener, |listener| async move {
                let accepted = listener.accept().await;
                let connection =
                    accepted.map(|(socket, from)| Connection::new(socket, from.to_string()));
                Some((connection, listener))
            });
            Ok(Listener {
                address,
                incoming: Box::pin(incoming),
            })
        })
    }

    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Connection>> {
        let address = address.to_owned();
        Box::pin(async move {
            let socket = TcpStream::connect(address.as_str()).await?;
            Ok(Connection::new(socket, address))
        })
    }
}
