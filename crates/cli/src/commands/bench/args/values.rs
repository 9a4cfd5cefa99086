//! How the values of arguments are read, and their bounds.

use leasehold_types::limits;

use crate::commands::bench::ledger::JOBS_MAX;

fn within(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number: u64 = text
        .replace('_', "")
        .parse()
        .map_err(|_| format!("{text:?} is no whole number"))?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("give {least} to {most}")),
    }
}

pub(super) fn nodes(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _other => Err("give 1 or 3: two nodes survive no more than one does".to_owned()),
    }
}

pub(super) fn connections(text: &str) -> Result<usize, String> {
    let number = within(text, 1, 4096)?;
    usize::try_from(number).map_err(|error| error.to_string())
}

pub(super) fn batch(text: &str) -> Result<u32, String> {
    let number = within(text, 1, limits::BATCH_JOBS as u64)?;
    u32::try_from(number).map_err(|error| error.to_string())
}

pub(super) fn queued(text: &str) -> Result<u64, String> {
    within(text, 0, JOBS_MAX / 2)
}

pub(super) fn jobs(text: &str) -> Result<u64, String> {
    within(text, 1, JOBS_MAX / 2)
}

/// Bytes, or `KiB`; no more than a job may carry.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = match text.strip_suffix("KiB") {
        Some(number) => (number.trim_end(), 1024),
        None => (text, 1),
    };
    let number: usize = number
        .parse()
        .map_err(|_| format!("{text:?} is no size: write bytes, or KiB as in 1KiB"))?;
    let bytes = number.saturating_mul(unit);
    match bytes <= limits::INLINE_BYTES {
        true => Ok(bytes),
        false => Err(format!(
            "a job carries at most {} bytes",
            limits::INLINE_BYTES
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_kibibytes_up_to_what_a_job_carries() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert!(size("65KiB").unwrap_err().contains("65536"));
        assert!(size("1MB").unwrap_err().contains("KiB"));
    }

    #[test]
    fn numbers_take_underscores_and_keep_their_bounds() {
        assert_eq!(jobs("1_000_000"), Ok(1_000_000));
        assert!(jobs("0").is_err() && batch("1001").is_err() && connections("5000").is_err());
        assert!(nodes("2").unwrap_err().contains("1 or 3"));
    }
}
