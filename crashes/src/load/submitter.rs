//! One client that submits batches of all sizes, and repeats them until their outcome is known, or gives up.

use std::time::Duration;

use leasehold_api::v1;
use leasehold_api::v1::jobs_client::JobsClient;
use leasehold_client::{CancellationToken, Kind};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::packer::{Batch, Slice};
use super::{Common, client, queue};
use crate::history::Shelf;

/// Submitters wait while so many acknowledged jobs are undone.
const OPEN_MAX: u64 = 8_000;
/// Between two batches when enough was submitted: the disk stays busy, and the jobs few.
const TRICKLE: Duration = Duration::from_millis(25);
/// Times that a batch is sent before what is still unknown stays so.
const ROUNDS: u32 = 40;
/// Of the unknown outcomes of a round, this share is left at that.
const GIVE_UP: f64 = 0.05;
/// Share of the batches that are sent once more after they were acknowledged.
const AGAIN: f64 = 0.05;

pub(super) async fn run(common: Common, seed: u64, stop: CancellationToken) {
    let mut rng = SmallRng::seed_from_u64(seed);
    // A client of its own: connections are part of what a crash breaks.
    let Ok(client) = client(&common.endpoints) else {
        return;
    };
    let common = Common { client, ..common };
    while !stop.is_cancelled() && wait_for_room(&common, &stop).await {
        let shelf = if rng.random_bool(0.5) {
            Shelf::Kept
        } else {
            Shelf::Brief
        };
        let slice = route(&common, shelf).await;
        let is_enough = common.ledger.is_over_quota();
        let size = if is_enough { 2 } else { size(&mut rng) };
        let batch = pack(&common, (shelf, slice), size, &mut rng);
        submit(&common, batch, &mut rng, &stop).await;
        if is_enough {
            tokio::time::sleep(TRICKLE).await;
        }
    }
}

/// Waits until more may be submitted; false when it is time to stop.
async fn wait_for_room(common: &Common, stop: &CancellationToken) -> bool {
    let mut progress = common.ledger.watch();
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        room = progress.wait_for(|progress| progress.open < OPEN_MAX) => room.is_ok(),
    }
}

/// Where ids may be minted; none when nobody says so.
async fn route(common: &Common, shelf: Shelf) -> Option<Slice> {
    let ask = |channel| {
        let request = v1::RouteRequest {
            queue: queue(shelf).to_owned(),
            ..v1::RouteRequest::default()
        };
        async move { JobsClient::new(channel).route(request).await }
    };
    let route = common.client.call(Kind::Read, ask).await.ok()?;
    Some(Slice {
        first: u16::try_from(route.first_virtual_shard).ok()?,
        count: u16::try_from(route.virtual_shards).ok()?,
    })
}

fn size(rng: &mut SmallRng) -> u32 {
    match rng.random_range(0..10) {
        0..=1 => rng.random_range(1..=5),
        2..=4 => rng.random_range(6..=100),
        _ => rng.random_range(100..=800),
    }
}

/// Half of the jobs have keys; all of them where no id can be minted.
fn pack(
    common: &Common,
    (shelf, slice): (Shelf, Option<Slice>),
    size: u32,
    rng: &mut SmallRng,
) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..size {
        let minted = match slice {
            Some(slice) if rng.random_bool(0.5) => Some(slice.mint(rng)),
            Some(_) | None => None,
        };
        batch.add(common, shelf, minted);
    }
    batch
}

async fn submit(common: &Common, mut batch: Batch, rng: &mut SmallRng, stop: &CancellationToken) {
    for _ in 0..ROUNDS {
        let mut acknowledged = batch.send(common, &common.client).await;
        if !acknowledged.is_empty() && rng.random_bool(AGAIN) {
            acknowledged.send(common, &common.client).await;
        }
        if batch.is_empty() || stop.is_cancelled() {
            return;
        }
        batch.forget_some(GIVE_UP, rng);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
