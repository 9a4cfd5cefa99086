//! The plain pages, beside gRPC on one port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Submitter, TestCluster, soon};

async fn page(cluster: &TestCluster, path: &str) -> String {
    let connected = TcpStream::connect(cluster.address(0)).await;
    let mut socket = connected.expect("the node listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    let read = soon("a page", socket.read_to_string(&mut text)).await;
    read.expect("a page");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_says_over_plain_http_that_it_lives_and_takes_work_and_what_it_counts() {
    let cluster = TestCluster::start(1).await;
    let mut submitter = Submitter::of(&cluster, 0).await;
    submitter.submit("default", b"hello").await;
    assert!(page(&cluster, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(page(&cluster, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = page(&cluster, "/metrics").await;
    let counted = "leasehold_submits_total{outcome=\"accepted\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("leasehold_ready 1"), "{metrics}");
    cluster.stop().await;
}
