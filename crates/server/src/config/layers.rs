//! File, environment and flags, laid over each other.

use std::path::PathBuf;

use leasehold_core::policy::Timings;
use leasehold_types::RegionName;

use super::text::{self, WrongText};
use super::{Config, InvalidConfig, LogFormat};

/// What every variable that sets something begins with.
pub const ENVIRONMENT_PREFIX: &str = "LEASEHOLD_";

/// Variables with the prefix that belong to the command line and not to a node.
const COMMAND_LINE: [&str; 2] = ["CONFIG", "ENDPOINTS"];

/// Why there is no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not what a configuration looks like.
    #[error("configuration file: {0}")]
    File(String),
    /// A variable that sets nothing.
    #[error("variable {name} sets nothing: known are {known}")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// Those that do, for people.
        known: String,
    },
    /// A variable with a value that cannot be read.
    #[error("variable {name} is {given:?}: {rule}")]
    Variable {
        /// The variable.
        name: String,
        /// Its value.
        given: String,
        /// What would be taken.
        rule: String,
    },
    /// A setting that cannot be in force.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
}

/// What can be set outside of the file. Absent keeps what the layer below says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// See [`Config::init`].
    pub init: Option<bool>,
    /// See [`Config::region`].
    pub region: Option<RegionName>,
    /// See [`Config::data`].
    pub data: Option<PathBuf>,
    /// The address for clients to listen on.
    pub listen: Option<String>,
    /// The address for peers to listen on.
    pub peer_listen: Option<String>,
    /// The address for clients to make known.
    pub advertise: Option<String>,
    /// The address for peers to make known.
    pub peer_advertise: Option<String>,
    /// Addresses to join through; replaces the whole list.
    pub join: Option<Vec<String>>,
    /// Timings of a new cluster.
    pub timings: Option<Timings>,
    /// Regions of a new cluster.
    pub regions: Option<u16>,
    /// See [`super::ListenConfig::insecure`].
    pub insecure: Option<bool>,
    /// See [`super::LogConfig::format`].
    pub log_format: Option<LogFormat>,
    /// See [`super::LogConfig::level`].
    pub log_level: Option<String>,
}

type Set = fn(&mut Overrides, &str) -> Result<(), WrongText>;

/// Every variable, without the prefix.
const VARIABLES: [(&str, Set); 13] = [
    ("INIT", |to, text| {
        text::set(&mut to.init, text::switch(text))
    }),
    ("REGION", |to, text| {
        text::set(&mut to.region, text::region(text))
    }),
    ("DATA", |to, text| {
        text::set(&mut to.data, text::word(text).map(PathBuf::from))
    }),
    ("LISTEN", |to, text| {
        text::set(&mut to.listen, text::word(text))
    }),
    ("PEER_LISTEN", |to, text| {
        text::set(&mut to.peer_listen, text::word(text))
    }),
    ("ADVERTISE", |to, text| {
        text::set(&mut to.advertise, text::word(text))
    }),
    ("PEER_ADVERTISE", |to, text| {
        text::set(&mut to.peer_advertise, text::word(text))
    }),
    ("JOIN", |to, text| {
        text::set(&mut to.join, Ok(text::list(text)))
    }),
    ("TIMINGS", |to, text| {
        text::set(&mut to.timings, text::timings(text))
    }),
    ("REGIONS", |to, text| {
        text::set(&mut to.regions, text::count(text))
    }),
    ("INSECURE", |to, text| {
        text::set(&mut to.insecure, text::switch(text))
    }),
    ("LOG_FORMAT", |to, text| {
        text::set(&mut to.log_format, text::log_format(text))
    }),
    ("LOG_LEVEL", |to, text| {
        text::set(&mut to.log_level, text::word(text))
    }),
];

impl Overrides {
    /// Reads the variables that begin with [`ENVIRONMENT_PREFIX`] and passes over all others.
    ///
    /// # Errors
    /// For a variable with the prefix that sets nothing, or whose value cannot be read.
    pub fn from_environment(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut overrides = Self::default();
        for (name, value) in variables {
            let Some(key) = name.strip_prefix(ENVIRONMENT_PREFIX) else {
                continue;
            };
            if !COMMAND_LINE.contains(&key) && !is_of_a_service(key) {
                overrides.set(key, &name, value)?;
            }
        }
        Ok(overrides)
    }

    fn set(&mut self, key: &str, name: &str, value: String) -> Result<(), ConfigError> {
        let Some((_, set)) = VARIABLES.iter().find(|(known, _)| *known == key) else {
            let known = VARIABLES.map(|(known, _)| format!("{ENVIRONMENT_PREFIX}{known}"));
            return Err(ConfigError::UnknownVariable {
                name: name.to_owned(),
                known: known.join(", "),
            });
        };
        set(self, &value).map_err(|WrongText(rule)| ConfigError::Variable {
            name: name.to_owned(),
            given: value,
            rule,
        })
    }

    fn lay_over(self, config: &mut Config) {
        put(&mut config.init, self.init);
        put(&mut config.region, self.region);
        put(&mut config.data, self.data);
        put(&mut config.listen.client, self.listen);
        put(&mut config.listen.peer, self.peer_listen);
        put(
            &mut config.listen.advertise_client,
            self.advertise.map(Some),
        );
        put(
            &mut config.listen.advertise_peer,
            self.peer_advertise.map(Some),
        );
        put(&mut config.cluster.join, self.join);
        put(&mut config.founding.timings, self.timings);
        put(&mut config.founding.regions, self.regions);
        put(&mut config.listen.insecure, self.insecure);
        put(&mut config.log.format, self.log_format);
        put(&mut config.log.level, self.log_level);
    }
}

/// Kubernetes tells every container about every service: one that is called `leasehold` or `leasehold-eu` sets
/// `LEASEHOLD_PORT`, `LEASEHOLD_EU_SERVICE_HOST` and more, and none of them is meant for us.
fn is_of_a_service(key: &str) -> bool {
    key.split('_')
        .any(|part| matches!(part, "PORT" | "SERVICE"))
}

fn put<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

impl Config {
    /// Puts the layers together: the text of the file where there is one, then the environment, then the flags.
    ///
    /// # Errors
    /// For what cannot be read, for what sets nothing, and for what [`Config::validate`] refuses.
    pub fn load(
        file: Option<&str>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            Some(text) => Self::from_toml(text)?,
            None => Self::default(),
        };
        Overrides::from_environment(environment)?.lay_over(&mut config);
        flags.lay_over(&mut config);
        config.validate()?;
        Ok(config)
    }

    /// Reads a file's text. What it leaves out has its default; not yet validated.
    ///
    /// # Errors
    /// With line and column, and for unknown keys with those that are known.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let trimmed = |error: toml::de::Error| error.to_string().trim_end().to_owned();
        toml::from_str(text).map_err(|error| ConfigError::File(trimmed(error)))
    }

    /// The configuration as a file that says everything.
    ///
    /// # Errors
    /// When the data folder's path is not Unicode.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string(self).map_err(|error| ConfigError::File(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn load(
        file: &str,
        environment: &[(&str, &str)],
        flags: Overrides,
    ) -> Result<Config, ConfigError> {
        Config::load(Some(file), variables(environment), flags)
    }

    #[test]
    fn flags_are_over_the_environment_and_that_is_over_the_file() {
        let file = "region = 'file'\ndata = '/file'\n[log]\nlevel = 'debug'";
        let environment = [
            ("LEASEHOLD_REGION", "variable"),
            ("LEASEHOLD_DATA", "/variable"),
            ("HOME", "/"),
        ];
        let flags = Overrides {
            region: Some(RegionName::new("flag").unwrap()),
            ..Overrides::default()
        };
        let config = load(file, &environment, flags).unwrap();
        assert_eq!(config.region.as_str(), "flag");
        assert_eq!(config.data, PathBuf::from("/variable"));
        assert_eq!(config.log.level, "debug");
    }

    #[test]
    fn every_variable_sets_what_it_is_called_after() {
        let environment = [
            ("LEASEHOLD_INIT", "true"),
            ("LEASEHOLD_REGION", "eu"),
            ("LEASEHOLD_DATA", "/d"),
            ("LEASEHOLD_LISTEN", "127.0.0.1:1"),
            ("LEASEHOLD_PEER_LISTEN", "127.0.0.1:2"),
            ("LEASEHOLD_ADVERTISE", "host:3"),
            ("LEASEHOLD_PEER_ADVERTISE", "host:4"),
            ("LEASEHOLD_JOIN", " a:1 , b:2 "),
            ("LEASEHOLD_TIMINGS", "lan"),
            ("LEASEHOLD_REGIONS", "3"),
            ("LEASEHOLD_INSECURE", "0"),
            ("LEASEHOLD_LOG_FORMAT", "json"),
            ("LEASEHOLD_LOG_LEVEL", "warn"),
            ("LEASEHOLD_CONFIG", "/etc/leasehold.toml"),
        ];
        let overrides = Overrides::from_environment(variables(&environment)).unwrap();
        let expected = Overrides {
            init: Some(true),
            region: Some(RegionName::new("eu").unwrap()),
            data: Some(PathBuf::from("/d")),
            listen: Some("127.0.0.1:1".to_owned()),
            peer_listen: Some("127.0.0.1:2".to_owned()),
            advertise: Some("host:3".to_owned()),
            peer_advertise: Some("host:4".to_owned()),
            join: Some(vec!["a:1".to_owned(), "b:2".to_owned()]),
            timings: Some(Timings::Lan),
            regions: Some(3),
            insecure: Some(false),
            log_format: Some(LogFormat::Json),
            log_level: Some("warn".to_owned()),
        };
        assert_eq!(overrides, expected);
        assert_eq!(environment.len(), VARIABLES.len() + 1);
    }

    #[test]
    fn variable_that_sets_nothing_is_refused_with_those_that_do() {
        let error = load("", &[("LEASEHOLD_REIGON", "eu")], Overrides::default()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("LEASEHOLD_REIGON") && message.contains("LEASEHOLD_REGION,"),
            "{message}"
        );
        let error = load("", &[("LEASEHOLD_REGIONS", "many")], Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("\"many\""), "{error}");
    }

    #[test]
    fn variables_that_kubernetes_sets_for_a_service_are_passed_over() {
        let environment = [
            ("LEASEHOLD_PORT", "tcp://10.0.0.1:7101"),
            ("LEASEHOLD_EU_SERVICE_HOST", "10.0.0.1"),
            ("LEASEHOLD_PORT_7101_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(
            load("", &environment, Overrides::default()),
            Ok(Config::default())
        );
    }

    #[test]
    fn unknown_key_in_the_file_is_refused_with_its_line() {
        let error = load("[listen]\nclinet = 'x:1'", &[], Overrides::default()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("clinet") && message.contains("line 2"),
            "{message}"
        );
    }

    #[test]
    fn founding_is_no_key_of_the_file() {
        assert!(load("init = true", &[], Overrides::default()).is_err());
    }

    #[test]
    fn what_is_loaded_was_validated() {
        let error = load("[founding]\nregions = 0", &[], Overrides::default()).unwrap_err();
        assert!(matches!(error, ConfigError::Invalid(_)));
    }

    #[test]
    fn written_configuration_reads_back_as_itself() {
        let mut config = Config::default();
        config.cluster.join = vec!["a:1".to_owned()];
        config.listen.advertise_peer = Some("b:2".to_owned());
        let text = config.to_toml().unwrap();
        assert_eq!(Config::from_toml(&text).unwrap(), config);
    }
}
