//! The services on a channel, with room for the largest answers.

use leasehold_api::v1::admin_client::AdminClient;
use leasehold_api::v1::jobs_client::JobsClient;
use tonic::transport::Channel;

/// Largest answer that is taken, in bytes. A full page of jobs with every text at its longest has about half of it.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

pub(crate) fn jobs(channel: Channel) -> JobsClient<Channel> {
    JobsClient::new(channel).max_decoding_message_size(ANSWER_BYTES)
}

pub(crate) fn admin(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES)
}
