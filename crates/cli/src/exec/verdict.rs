//! What the end of a command means for its job.

use std::collections::BTreeMap;

use bytes::Bytes;
use leasehold_core::shard::command::FailureClass;
use leasehold_types::limits;

use super::process::{End, Finished};

/// Exit codes with a meaning of their own, over the table in the help.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExitRules(BTreeMap<i32, FailureClass>);

impl FromIterator<(i32, FailureClass)> for ExitRules {
    fn from_iter<T: IntoIterator<Item = (i32, FailureClass)>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl ExitRules {
    /// After sysexits(3), where it has a word for it; 126 and 127 are the shell's.
    fn class_of(&self, code: i32) -> FailureClass {
        let usual = || match code {
            64 | 65 | 126 => FailureClass::Permanent,
            69 | 127 => FailureClass::Infrastructure,
            77 => FailureClass::Policy,
            _other => FailureClass::Transient,
        };
        self.0.get(&code).copied().unwrap_or_else(usual)
    }
}

/// A failure to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) class: FailureClass,
    pub(crate) message: String,
    pub(crate) detail: Bytes,
}

/// The result, or the failure to report.
pub(crate) fn verdict(rules: &ExitRules, finished: Finished) -> Result<Bytes, Failed> {
    let detail = finished.stderr_tail.clone();
    let failed = |class, message: String| {
        Err(Failed {
            class,
            message,
            detail,
        })
    };
    match finished.end {
        End::Exited(0) if finished.stdout_bytes > limits::INLINE_BYTES as u64 => failed(
            FailureClass::Permanent,
            format!(
                "the result has {} bytes, at most {} are taken",
                finished.stdout_bytes,
                limits::INLINE_BYTES
            ),
        ),
        End::Exited(0) => Ok(finished.stdout),
        End::Exited(code) => {
            let said = last_line(&finished.stderr_tail);
            failed(rules.class_of(code), format!("exit code {code}{said}"))
        }
        End::Signalled(signal) => failed(
            FailureClass::Transient,
            format!("the command was ended by signal {signal}"),
        ),
    }
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!(": {}", line.trim().chars().take(200).collect::<String>()),
        None => String::new(),
    }
}

/// Reads `CODE=CLASS`.
pub(crate) fn exit_rule(text: &str) -> Result<(i32, FailureClass), String> {
    let (code, class) = text
        .split_once('=')
        .ok_or("write CODE=CLASS, such as 3=permanent")?;
    let code: u8 = code
        .parse()
        .map_err(|_| format!("{code:?} is no exit code, 1 to 255"))?;
    if code == 0 {
        return Err("exit code 0 always means done".to_owned());
    }
    Ok((i32::from(code), failure_class(class)?))
}

/// Reads the name of a failure class.
pub(crate) fn failure_class(text: &str) -> Result<FailureClass, String> {
    match text {
        "transient" => Ok(FailureClass::Transient),
        "permanent" => Ok(FailureClass::Permanent),
        "policy" => Ok(FailureClass::Policy),
        "context-overflow" => Ok(FailureClass::ContextOverflow),
        "poison" => Ok(FailureClass::Poison),
        "budget" => Ok(FailureClass::Budget),
        "semantic" => Ok(FailureClass::Semantic),
        "lost" => Ok(FailureClass::Lost),
        "infrastructure" => Ok(FailureClass::Infrastructure),
        other => Err(format!(
            "{other:?} is no failure class: use transient, permanent, policy, context-overflow, poison, budget, \
             semantic, lost or infrastructure"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(end: End, stdout_bytes: u64) -> Finished {
        Finished {
            end,
            stdout: Bytes::from_static(b"out"),
            stdout_bytes,
            stderr_tail: Bytes::from_static(b"first\nno such model\n\n"),
        }
    }

    #[test]
    fn exit_code_decides_the_class_and_stderr_the_message() {
        let rules: ExitRules = [(3, FailureClass::Budget)].into_iter().collect();
        let class = |code| {
            verdict(&rules, finished(End::Exited(code), 3))
                .unwrap_err()
                .class
        };
        assert_eq!(class(65), FailureClass::Permanent);
        assert_eq!(class(127), FailureClass::Infrastructure);
        assert_eq!(class(1), FailureClass::Transient);
        assert_eq!(class(3), FailureClass::Budget);
        let failed = verdict(&rules, finished(End::Exited(65), 3)).unwrap_err();
        assert_eq!(failed.message, "exit code 65: no such model");
    }

    #[test]
    fn result_over_the_limit_is_a_permanent_failure() {
        let too_long = limits::INLINE_BYTES as u64 + 1;
        let failed =
            verdict(&ExitRules::default(), finished(End::Exited(0), too_long)).unwrap_err();
        assert_eq!(failed.class, FailureClass::Permanent);
        assert!(failed.message.contains("65537"), "{}", failed.message);
    }

    #[test]
    fn exit_rule_names_what_is_wrong() {
        assert_eq!(exit_rule("3=permanent"), Ok((3, FailureClass::Permanent)));
        assert!(exit_rule("0=permanent").is_err());
        assert!(exit_rule("3=odd").unwrap_err().contains("semantic"));
    }
}
