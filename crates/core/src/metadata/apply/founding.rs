//! `Found`: once, and before everything else.

use leasehold_types::limits;

use super::Applied;
use crate::metadata::SLICES_PER_SHARD;
use crate::metadata::command::Found;
use crate::metadata::outcome::{MetadataOutcome, MetadataRefusal};
use crate::metadata::records::Founding;
use crate::metadata::state::MetadataState;

impl MetadataState {
    pub(super) fn found(&mut self, found: &Found) -> Applied {
        if let Some(founding) = self.founding() {
            // The founder asks again when it never heard the first answer.
            return match founding.cluster == found.cluster {
                true => Ok(MetadataOutcome::Founded(founding.cluster)),
                false => Err(MetadataRefusal::AlreadyFounded(founding.cluster)),
            };
        }
        check(found)?;
        self.founding = Some(Founding {
            cluster: found.cluster,
            virtual_shards: found.virtual_shards,
            timings: found.timings,
            regions: found.regions,
        });
        Ok(MetadataOutcome::Founded(found.cluster))
    }
}

fn check(found: &Found) -> Result<(), MetadataRefusal> {
    let regions = usize::from(found.regions);
    if regions == 0 || regions > limits::REGIONS {
        let most = limits::REGIONS;
        return Err(MetadataRefusal::Invalid(format!(
            "a cluster cannot start with {regions} regions: give 1 to {most}"
        )));
    }
    let (given, least) = (found.virtual_shards, found.regions * SLICES_PER_SHARD);
    if given < least {
        return Err(MetadataRefusal::Invalid(format!(
            "{given} virtual shards are too few for {regions} regions: give at least {least}"
        )));
    }
    Ok(())
}
