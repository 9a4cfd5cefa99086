//! The sample file says what is true: it loads, it changes nothing, and it names every key.
//!
//! People copy `deploy/leasehold.toml` and change a line. A default that moved here and not there, or a key that is
//! missing there, would be believed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Config, Overrides};

const SAMPLE: &str = include_str!("../../../../deploy/leasehold.toml");

/// The sample with the keys set that have no default: those are the lines that begin with `#` and a key.
fn sample_in_full() -> String {
    let is_key = |rest: &&str| rest.starts_with(|first: char| first.is_ascii_lowercase());
    let full = |line| str::strip_prefix(line, '#').filter(is_key).unwrap_or(line);
    SAMPLE.lines().map(full).collect::<Vec<_>>().join("\n")
}

/// Every key with its section, such as `listen.client`, whether it is set or not.
fn keys(config: &Value) -> BTreeSet<String> {
    let sections = config.as_object().expect("a configuration has keys");
    let keys = sections.iter().flat_map(|(name, value)| {
        value.as_object().map_or_else(
            || vec![name.clone()],
            |section| section.keys().map(|key| format!("{name}.{key}")).collect(),
        )
    });
    keys.collect()
}

#[test]
fn sample_file_is_valid_and_says_the_defaults() {
    let config = Config::load(Some(SAMPLE), [], Overrides::default()).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn sample_file_names_every_key_and_its_examples_are_valid() {
    let full = sample_in_full();
    Config::load(Some(&full), [], Overrides::default()).unwrap();
    let named: Value = toml::from_str(&full).unwrap();
    let known = serde_json::to_value(Config::default()).unwrap();
    assert_eq!(keys(&named), keys(&known));
}
