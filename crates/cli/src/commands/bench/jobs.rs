//! The jobs of a run: their ids and payloads, so that each can be told from every other wherever it turns up.
//!
//! A job's number is hidden in its id, spread over the whole id space as the SDK's random ids are: ids that count up
//! would be kinder to a server's ordered maps than any real client is. The number is read back by the inverse, so
//! that no table from ids to jobs is needed, however many there are.

use bytes::Bytes;
use leasehold_api::v1;

/// Different payloads in use; more would only cost the client its caches.
const PAYLOADS: usize = 64;

/// Odd, so that multiplying by it is a bijection of 64 bits: 2^64 divided by the golden ratio, which spreads.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
const GATHER: u64 = inverse(SPREAD);

/// The inverse of an odd number modulo 2^64, by Newton's iteration: each round doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let (mut guess, mut round) = (odd, 0);
    while round < 6 {
        guess = guess.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(guess)));
        round += 1;
    }
    guess
}

/// Where in the id space a connection's jobs are minted: what `Route` answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slices {
    pub(super) first: u64,
    pub(super) count: u64,
}

/// Makes the jobs of one run.
#[derive(Debug)]
pub(super) struct Mint {
    /// Differs between runs, so that the jobs of an older one are told apart.
    run: u32,
    queue: String,
    payloads: Vec<Bytes>,
}

impl Mint {
    pub(super) fn new(run: u32, queue: &str, payload_bytes: usize) -> Self {
        let queue = queue.to_owned();
        let payloads = (0..PAYLOADS).map(|at| payload(at as u64, payload_bytes));
        Self {
            run,
            queue,
            payloads: payloads.collect(),
        }
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// The job of this number.
    pub(super) fn job(&self, slices: Slices, number: u64) -> v1::NewJob {
        v1::NewJob {
            job_id: self.id(slices, number),
            queue: self.queue.clone(),
            payload: self.payload(number).clone(),
            ..v1::NewJob::default()
        }
    }

    pub(super) fn id(&self, slices: Slices, number: u64) -> String {
        let slice = slices.first + number % slices.count.max(1);
        format!(
            "{slice:04x}-{:08x}{:016x}",
            self.run,
            number.wrapping_mul(SPREAD)
        )
    }

    /// The number of a job of this run; none for any other.
    pub(super) fn number(&self, id: &str) -> Option<u64> {
        let run = id.get(5..13)?;
        if u32::from_str_radix(run, 16).ok()? != self.run {
            return None;
        }
        let spread = u64::from_str_radix(id.get(13..)?, 16).ok()?;
        Some(spread.wrapping_mul(GATHER))
    }

    /// What the job of this number carries.
    pub(super) fn payload(&self, number: u64) -> &Bytes {
        let at = number % self.payloads.len() as u64;
        &self.payloads[usize::try_from(at).expect("less than the number of payloads")]
    }
}

/// Bytes that do not compress, the same for the same seed.
fn payload(seed: u64, bytes: usize) -> Bytes {
    let mut state = seed.wrapping_mul(SPREAD) | 1;
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend_from_slice(&state.to_le_bytes());
    }
    content.truncate(bytes);
    content.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_types::JobId;

    const SLICES: Slices = Slices { first: 8, count: 8 };

    #[test]
    fn number_is_read_back_from_the_id_and_the_id_is_a_job_id() {
        let mint = Mint::new(7, "bench", 16);
        for number in [0, 1, 2, 63, 64, 1_000_000, u64::from(u32::MAX)] {
            let id = mint.id(SLICES, number);
            assert_eq!(mint.number(&id), Some(number));
            let parsed: JobId = id.parse().unwrap();
            assert!((8..16).contains(&parsed.virtual_shard().get()), "{id}");
        }
    }

    #[test]
    fn jobs_of_another_run_are_nobodys() {
        let (one, other) = (Mint::new(1, "bench", 1), Mint::new(2, "bench", 1));
        assert_eq!(one.number(&other.id(SLICES, 5)), None);
        assert_eq!(one.number("nonsense"), None);
    }

    #[test]
    fn payloads_have_their_size_and_differ() {
        let mint = Mint::new(1, "bench", 1000);
        assert!(mint.payloads.iter().all(|payload| payload.len() == 1000));
        assert_ne!(mint.payload(1), mint.payload(2));
    }
}
