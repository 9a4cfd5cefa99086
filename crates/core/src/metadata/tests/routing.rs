//! A key leads to one slice for good; a job without a key stays near its gateway.

use std::collections::BTreeMap;

use leasehold_types::{IdempotencyKey, TenantName, VirtualShard};

use super::*;
use crate::metadata::routing::{home_shards, virtual_shard_for_key};

fn route(cluster: &Cluster, tenant: &str, key: &str) -> VirtualShard {
    let queue = cluster.state.queue(&queue("default")).unwrap();
    let tenant = TenantName::new(tenant).unwrap();
    let key = IdempotencyKey::new(key).unwrap();
    virtual_shard_for_key(queue, &cluster.state, &tenant, &key).unwrap()
}

/// These numbers are part of the cluster's data: a version that computes others makes two jobs of one request.
#[test]
fn route_of_a_key_is_the_same_in_every_version() {
    let cluster = Cluster::settled(&["a", "b", "c"]);
    let routes = ["order-1", "order-2", "order-3", "x"].map(|key| route(&cluster, "acme", key));
    assert_eq!(routes.map(VirtualShard::get), [16, 5, 9, 21]);
    assert_eq!(route(&cluster, "default", "order-1").get(), 1);
}

#[test]
fn route_of_a_key_stays_when_regions_join() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let routes = |cluster: &Cluster| -> Vec<VirtualShard> {
        (0..500)
            .map(|n| route(cluster, "acme", &format!("k{n}")))
            .collect()
    };
    let before = routes(&cluster);
    for name in ["0", "d", "e"] {
        cluster.add_node(name);
        cluster.settle();
        assert_eq!(routes(&cluster), before);
    }
}

#[test]
fn keys_spread_evenly_over_all_slices_of_the_keyed_shards() {
    let cluster = Cluster::settled(&["a", "b", "c"]);
    let mut counts = BTreeMap::<VirtualShard, u32>::new();
    for n in 0..24_000 {
        *counts
            .entry(route(&cluster, "acme", &n.to_string()))
            .or_default() += 1;
    }
    assert_eq!(counts.len(), 24);
    assert!(
        counts.values().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn job_without_a_key_goes_home_first_and_then_to_the_oldest() {
    let cluster = Cluster::settled(&["a", "b", "c"]);
    let queue = cluster.state.queue(&queue("default")).unwrap();
    let order = |name| -> Vec<u32> {
        let shards = home_shards(&cluster.state, queue, &region(name));
        shards.iter().map(|id| id.get()).collect()
    };
    assert_eq!(order("b"), [2, 1, 3]);
    assert_eq!(order("a"), [1, 2, 3]);
    assert_eq!(order("elsewhere"), [1, 2, 3]);
}

#[test]
fn every_slice_that_a_shard_gives_out_is_its_own() {
    let cluster = Cluster::settled(&["a", "b", "c"]);
    for shard in cluster.state.shards() {
        let slices: BTreeSet<_> = (0..100).map(|number| shard.slice(number)).collect();
        assert_eq!(slices.len(), usize::from(shard.virtual_count));
        assert!(
            slices
                .iter()
                .all(|slice| cluster.state.shard_of(*slice) == Some(shard.id))
        );
    }
}
