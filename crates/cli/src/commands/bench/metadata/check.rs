//! Whether what was acknowledged is what every node shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use leasehold_api::v1;
use leasehold_client::Address;
use tokio::time::sleep;

use super::changer::{Ended, shown};
use crate::commands::bench::clock::now;
use crate::commands::bench::target::Target;
use crate::commands::bench::wire::connect;
use crate::commands::reach;

/// Longest that a node may be behind with what a majority has.
const CATCH_UP: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Queues that some node does not show under what was acknowledged last, although it was given time to catch up.
pub(super) async fn lost<'a>(
    target: &Target,
    ended: &'a [Ended],
) -> anyhow::Result<BTreeSet<&'a str>> {
    let began = now();
    loop {
        let mut lost = BTreeSet::new();
        for endpoint in target.endpoints() {
            let values = values(endpoint).await?;
            lost.extend(astray(ended, &values));
        }
        if lost.is_empty() || began.elapsed() > CATCH_UP {
            return Ok(lost);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What one node shows of each queue.
async fn values(endpoint: &Address) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut admin = reach::admin(connect(endpoint).await?);
    let queues = admin.list_queues(v1::ListQueuesRequest {}).await;
    let queues = queues.with_context(|| format!("reading the queues from {endpoint}"))?;
    let queues = queues.into_inner().queues.into_iter();
    let value = |queue: v1::Queue| Some((queue.name.clone(), shown(Some(&queue))?));
    Ok(queues.filter_map(value).collect())
}

fn astray<'a>(ended: &'a [Ended], values: &BTreeMap<String, u64>) -> Vec<&'a str> {
    let is_astray = |it: &&Ended| {
        let shown = values.get(&it.queue);
        !shown.is_some_and(|shown| it.standing.allows(*shown))
    };
    let astray = ended.iter().filter(is_astray);
    astray.map(|it| it.queue.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::changer::Standing;
    use super::*;
    use crate::commands::bench::run::Errors;
    use crate::commands::bench::times::Times;

    fn left(queue: &str, value: u64) -> Ended {
        Ended {
            standing: Standing::new(value),
            queue: queue.to_owned(),
            times: Times::new(),
            errors: Errors::new(),
            unsure: 0,
        }
    }

    #[test]
    fn queue_is_astray_when_it_shows_another_value_or_is_not_there() {
        let ended = [left("a", 1), left("b", 2), left("c", 3)];
        let values = [("a".to_owned(), 1), ("b".to_owned(), 1)].into();
        assert_eq!(astray(&ended, &values), ["b", "c"]);
    }
}
