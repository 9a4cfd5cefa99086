//! Jobs: one with everything, or many in a table.

use std::collections::BTreeMap;

use leasehold_api::v1;
use serde::Serialize;

use super::{hex, text_or_hex, word};
use crate::output::{fields, span, table};

/// One job, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct JobOut {
    pub(crate) job_id: String,
    pub(crate) queue: String,
    pub(crate) tenant: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) priority: u32,
    pub(crate) age_ms: u64,
    pub(crate) remaining_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) needs: BTreeMap<String, u64>,
    pub(crate) tries: TriesOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<LeaseOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) done: Option<DoneOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<EndedOut>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<AttemptOut>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) payload: String,
    pub(crate) digest: String,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct TriesOut {
    pub(crate) granted: u32,
    pub(crate) failed: u32,
    pub(crate) lost: u32,
    pub(crate) infrastructure: u32,
    pub(crate) released: u32,
    pub(crate) redriven: u32,
}

#[derive(Debug, Serialize)]
pub(crate) struct LeaseOut {
    pub(crate) fence: String,
    pub(crate) worker: String,
    pub(crate) session: String,
    pub(crate) region: String,
    pub(crate) running_ms: u64,
    pub(crate) progress: u64,
    pub(crate) phase: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct DoneOut {
    pub(crate) result: String,
    pub(crate) digest: String,
    pub(crate) fence: String,
    pub(crate) ago_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct EndedOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    pub(crate) reason: String,
    pub(crate) ago_ms: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct AttemptOut {
    pub(crate) number: u32,
    pub(crate) fence: String,
    pub(crate) worker: String,
    pub(crate) region: String,
    pub(crate) started_ago_ms: u64,
    pub(crate) ended_ago_ms: u64,
    pub(crate) end: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

fn class_word(class: v1::FailureClass) -> Option<String> {
    (class != v1::FailureClass::Unspecified).then(|| word(class.as_str_name(), "FAILURE_CLASS_"))
}

impl From<v1::Job> for JobOut {
    fn from(job: v1::Job) -> Self {
        let state = job.state();
        let requirement = job.requirement.unwrap_or_default();
        Self {
            job_id: job.job_id,
            queue: job.queue,
            tenant: job.tenant,
            key: job.idempotency_key,
            state: word(state.as_str_name(), "JOB_STATE_"),
            priority: job.priority,
            age_ms: job.age_ms,
            remaining_ms: job.remaining_ms,
            due_in_ms: (state == v1::JobState::Waiting).then_some(job.due_in_ms),
            labels: requirement.labels.into_iter().collect(),
            needs: requirement.capacity.into_iter().collect(),
            tries: job.tries.unwrap_or_default().into(),
            lease: job.lease.map(LeaseOut::from),
            done: job.done.map(DoneOut::from),
            ended: job.ended.map(EndedOut::from),
            history: job.history.into_iter().map(AttemptOut::from).collect(),
            payload: text_or_hex(&job.payload),
            digest: hex(&job.digest),
        }
    }
}

impl From<v1::Tries> for TriesOut {
    fn from(tries: v1::Tries) -> Self {
        Self {
            granted: tries.granted,
            failed: tries.failed,
            lost: tries.lost,
            infrastructure: tries.infrastructure,
            released: tries.released,
            redriven: tries.redriven,
        }
    }
}

impl From<v1::LeaseView> for LeaseOut {
    fn from(lease: v1::LeaseView) -> Self {
        let phase = word(lease.phase().as_str_name(), "WORK_PHASE_");
        Self {
            fence: lease.fence,
            worker: lease.worker,
            session: lease.session,
            region: lease.region,
            running_ms: lease.running_ms,
            progress: lease.progress,
            phase,
        }
    }
}

impl From<v1::DoneView> for DoneOut {
    fn from(done: v1::DoneView) -> Self {
        Self {
            result: text_or_hex(&done.result),
            digest: hex(&done.digest),
            fence: done.fence,
            ago_ms: done.ago_ms,
        }
    }
}

impl From<v1::EndedView> for EndedOut {
    fn from(ended: v1::EndedView) -> Self {
        Self {
            class: class_word(ended.class()),
            reason: ended.reason,
            ago_ms: ended.ago_ms,
        }
    }
}

impl From<v1::Attempt> for AttemptOut {
    fn from(attempt: v1::Attempt) -> Self {
        use v1::attempt::End;
        let plain = |end: &str| (end.to_owned(), None, String::new(), String::new());
        let (end, class, message, detail) = match attempt.end {
            None => plain("unknown"),
            Some(End::Completed(_)) => plain("completed"),
            Some(End::Cancelled(_)) => plain("cancelled"),
            Some(End::Expired(reason)) => {
                let reason = v1::ExpireReason::try_from(reason).unwrap_or_default();
                let reason = word(reason.as_str_name(), "EXPIRE_REASON_");
                ("expired".to_owned(), None, reason, String::new())
            }
            Some(End::Released(released)) => {
                ("released".to_owned(), None, released.reason, String::new())
            }
            Some(End::Failed(failed)) => {
                let class = class_word(failed.class());
                let detail = text_or_hex(&failed.detail);
                ("failed".to_owned(), class, failed.message, detail)
            }
        };
        Self {
            number: attempt.number,
            fence: attempt.fence,
            worker: attempt.worker,
            region: attempt.region,
            started_ago_ms: attempt.started_ago_ms,
            ended_ago_ms: attempt.ended_ago_ms,
            end,
            class,
            message,
            detail,
        }
    }
}

impl JobOut {
    /// Everything about one job, for people.
    pub(crate) fn describe(&self) -> String {
        let mut rows = vec![
            ("job", self.job_id.clone()),
            ("queue", format!("{} (tenant {})", self.queue, self.tenant)),
            ("state", self.state_line()),
            ("priority", self.priority.to_string()),
            ("submitted", format!("{} ago", span(self.age_ms))),
        ];
        if !self.key.is_empty() {
            rows.push(("key", self.key.clone()));
        }
        if self.remaining_ms > 0 {
            rows.push(("deadline", format!("in {}", span(self.remaining_ms))));
        }
        let asks = self.asks();
        if !asks.is_empty() {
            rows.push(("asks for", asks));
        }
        let history = self.history_table();
        format!("{}{history}", fields(&rows))
    }

    fn state_line(&self) -> String {
        if let Some(due) = self.due_in_ms {
            return format!("{} for {} more", self.state, span(due));
        }
        if let Some(lease) = &self.lease {
            let (worker, region) = (&lease.worker, &lease.region);
            let running = span(lease.running_ms);
            return format!(
                "leased to {worker} in {region} for {running}, fence {}",
                lease.fence
            );
        }
        if let Some(done) = &self.done {
            return format!("done {} ago, fence {}", span(done.ago_ms), done.fence);
        }
        match &self.ended {
            Some(ended) => {
                let class = ended
                    .class
                    .as_ref()
                    .map_or(String::new(), |class| format!(" ({class})"));
                format!(
                    "{}{class} {} ago: {}",
                    self.state,
                    span(ended.ago_ms),
                    ended.reason
                )
            }
            None => self.state.clone(),
        }
    }

    fn asks(&self) -> String {
        let labels = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let needs = self
            .needs
            .iter()
            .map(|(name, least)| format!("{name}>={least}"));
        labels.chain(needs).collect::<Vec<_>>().join(" ")
    }

    fn history_table(&self) -> String {
        if self.history.is_empty() {
            return String::new();
        }
        let rows = self.history.iter().map(|attempt| {
            let ran = attempt.started_ago_ms.saturating_sub(attempt.ended_ago_ms);
            let class = attempt
                .class
                .as_ref()
                .map_or(String::new(), |class| format!(" ({class})"));
            vec![
                attempt.number.to_string(),
                attempt.fence.clone(),
                attempt.worker.clone(),
                attempt.region.clone(),
                span(ran),
                format!("{}{class}", attempt.end),
                attempt.message.clone(),
            ]
        });
        let headers = ["ATTEMPT", "FENCE", "WORKER", "REGION", "RAN", "END", "WHY"];
        format!("\n\n{}", table(&headers, rows))
    }
}

/// Many jobs, one a line.
pub(crate) fn job_rows(jobs: &[JobOut]) -> String {
    let rows = jobs.iter().map(|job| {
        vec![
            job.job_id.clone(),
            job.queue.clone(),
            job.state.clone(),
            job.tries.granted.to_string(),
            span(job.age_ms),
            job.where_or_why(),
        ]
    });
    table(
        &["JOB", "QUEUE", "STATE", "TRIES", "AGE", "WHERE / WHY"],
        rows,
    )
}

impl JobOut {
    fn where_or_why(&self) -> String {
        if let Some(lease) = &self.lease {
            return format!("{} in {}", lease.worker, lease.region);
        }
        match (&self.ended, self.due_in_ms) {
            (Some(ended), _) => match &ended.class {
                Some(class) => format!("{class}: {}", ended.reason),
                None => ended.reason.clone(),
            },
            (None, Some(due)) => format!("due in {}", span(due)),
            (None, None) => String::new(),
        }
    }
}
