//! Values of settings as texts.

use std::str::FromStr;

use leasehold_core::policy::Timings;
use leasehold_types::RegionName;

use super::LogFormat;

/// The rule that a text broke.
pub(super) struct WrongText(pub(super) String);

fn wrong(rule: impl Into<String>) -> WrongText {
    WrongText(rule.into())
}

pub(super) fn set<T>(
    setting: &mut Option<T>,
    given: Result<T, WrongText>,
) -> Result<(), WrongText> {
    *setting = Some(given?);
    Ok(())
}

pub(super) fn word(text: &str) -> Result<String, WrongText> {
    if text.is_empty() {
        return Err(wrong("give a value, or leave the variable out"));
    }
    Ok(text.to_owned())
}

pub(super) fn switch(text: &str) -> Result<bool, WrongText> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong("give true or false")),
    }
}

pub(super) fn count(text: &str) -> Result<u16, WrongText> {
    text.parse().map_err(|_| wrong("give a number below 65536"))
}

pub(super) fn region(text: &str) -> Result<RegionName, WrongText> {
    RegionName::from_str(text).map_err(|error| wrong(error.to_string()))
}

pub(super) fn list(text: &str) -> Vec<String> {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

pub(super) fn timings(text: &str) -> Result<Timings, WrongText> {
    match text {
        "wan" => Ok(Timings::Wan),
        "lan" => Ok(Timings::Lan),
        _ => Err(wrong("give wan or lan")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, WrongText> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(wrong("give text or json")),
    }
}
