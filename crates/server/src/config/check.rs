//! Which settings are refused, and what would be taken instead.

use std::net::IpAddr;

use leasehold_core::metadata::SLICES_PER_SHARD;
use leasehold_types::limits;

use super::Config;

/// A setting that cannot be in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {given}: {rule}")]
pub struct InvalidConfig {
    /// The key as it stands in the file, with its section.
    pub key: &'static str,
    /// What was given.
    pub given: String,
    /// What would be taken.
    pub rule: String,
}

/// Longest list of addresses to join through.
const SEEDS: usize = 64;
/// Longest that any step of stopping may be given, in milliseconds.
const STOPPING_MS: u64 = 600_000;

/// Most that may be kept free, in MiB: 1 TiB.
const FREE_MIB_MIN_MOST: u64 = 1_048_576;

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that breaks a rule, with the rule.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        self.check_addresses()?;
        self.check_joining()?;
        self.check_founding()?;
        self.check_bounds()
    }

    fn check_addresses(&self) -> Result<(), InvalidConfig> {
        let listen = &self.listen;
        let addresses = [
            (
                "listen.client",
                &listen.client,
                "listen.advertise_client",
                &listen.advertise_client,
            ),
            (
                "listen.peer",
                &listen.peer,
                "listen.advertise_peer",
                &listen.advertise_peer,
            ),
        ];
        for (key, address, advertise_key, advertised) in addresses {
            let host = host(key, address)?;
            if !listen.insecure && !is_loopback(host) {
                return Err(refused(key, address, BEYOND_LOOPBACK));
            }
            match advertised {
                Some(advertised) => check_advertised(advertise_key, advertised)?,
                None if is_any(host) => {
                    let rule = format!(
                        "nobody can dial it: set {advertise_key} to an address that others can"
                    );
                    return Err(refused(key, address, rule));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn check_joining(&self) -> Result<(), InvalidConfig> {
        let seeds = &self.cluster.join;
        if seeds.len() > SEEDS {
            let rule = format!("give at most {SEEDS} addresses");
            return Err(refused(
                "cluster.join",
                &format!("{} addresses", seeds.len()),
                rule,
            ));
        }
        if self.init && !seeds.is_empty() {
            let rule = "a node either founds a cluster or joins one: leave out --init or the addresses to join";
            return Err(refused("cluster.join", &seeds.join(","), rule));
        }
        seeds
            .iter()
            .try_for_each(|seed| check_advertised("cluster.join", seed))
    }

    fn check_founding(&self) -> Result<(), InvalidConfig> {
        let founding = &self.founding;
        let regions = usize::from(founding.regions);
        if regions == 0 || regions > limits::REGIONS {
            let rule = format!("give 1 to {}", limits::REGIONS);
            return Err(refused("founding.regions", &regions.to_string(), rule));
        }
        let least = founding.regions * SLICES_PER_SHARD;
        if founding.virtual_shards < least {
            let rule = format!("give at least {least}, which is {SLICES_PER_SHARD} a region");
            let given = founding.virtual_shards.to_string();
            return Err(refused("founding.virtual_shards", &given, rule));
        }
        Ok(())
    }

    fn check_bounds(&self) -> Result<(), InvalidConfig> {
        let (storage, shutdown) = (&self.storage, &self.shutdown);
        within("storage.segment_mib", storage.segment_mib.into(), 4, 1_024)?;
        let mib = |name, value: u32, least, most| within(name, value.into(), least, most);
        within(
            "storage.free_mib_min",
            storage.free_mib_min.into(),
            0,
            FREE_MIB_MIN_MOST,
        )?;
        within(
            "storage.checkpoint_every_ms",
            storage.checkpoint_every_ms,
            100,
            600_000,
        )?;
        mib("storage.checkpoint_mib", storage.checkpoint_mib, 1, 128)?;
        mib(
            "storage.checkpoint_cache_mib",
            storage.checkpoint_cache_mib,
            4,
            65_536,
        )?;
        mib("storage.log_kept_mib", storage.log_kept_mib, 0, 1_048_576)?;
        mib(
            "storage.snapshot_mib_per_second",
            storage.snapshot_mib_per_second,
            1,
            65_536,
        )?;
        within("shutdown.handover_ms", shutdown.handover_ms, 0, STOPPING_MS)?;
        within("shutdown.drain_ms", shutdown.drain_ms, 0, STOPPING_MS)
    }
}

const BEYOND_LOOPBACK: &str = "this version has neither TLS nor tokens, so it listens on loopback only; \
    where the network itself is trusted, say so with --insecure";

/// An address that others dial: any host, but a port of its own.
fn check_advertised(key: &'static str, address: &str) -> Result<(), InvalidConfig> {
    if is_any(host(key, address)?) {
        return Err(refused(
            key,
            address,
            "give an address that others can dial",
        ));
    }
    match port(address) {
        Some(0) => Err(refused(
            key,
            address,
            "give the port that others dial, not 0",
        )),
        Some(_) | None => Ok(()),
    }
}

/// The host of a `host:port`.
fn host<'a>(key: &'static str, address: &'a str) -> Result<&'a str, InvalidConfig> {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    if host.is_empty() || port(address).is_none() {
        return Err(refused(
            key,
            address,
            "give host:port, such as 127.0.0.1:7101",
        ));
    }
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

fn port(address: &str) -> Option<u16> {
    address.rsplit_once(':')?.1.parse().ok()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_any(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

fn within(key: &'static str, given: u64, least: u64, most: u64) -> Result<(), InvalidConfig> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    let rule = format!("give {least} to {most}");
    Err(refused(key, &given.to_string(), rule))
}

fn refused(key: &'static str, given: &str, rule: impl Into<String>) -> InvalidConfig {
    InvalidConfig {
        key,
        given: if given.is_empty() {
            "empty".to_owned()
        } else {
            given.to_owned()
        },
        rule: rule.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn listening_beyond_loopback_needs_to_be_called_insecure() {
        let error = refusal(|config| config.listen.client = "10.0.0.1:7101".to_owned());
        assert!(
            error.contains("listen.client is 10.0.0.1:7101") && error.contains("--insecure"),
            "{error}"
        );
        let mut config = Config::default();
        config.listen.client = "10.0.0.1:7101".to_owned();
        config.listen.insecure = true;
        assert_eq!(config.validate(), Ok(()));
    }

    #[test]
    fn every_loopback_name_is_loopback() {
        for address in ["localhost:1", "127.0.0.1:0", "127.8.9.1:1", "[::1]:7101"] {
            let mut config = Config::default();
            config.listen.peer = address.to_owned();
            assert_eq!(config.validate(), Ok(()), "{address}");
        }
    }

    #[test]
    fn address_that_nobody_can_dial_asks_for_one_to_advertise() {
        let any = |config: &mut Config| {
            config.listen.insecure = true;
            config.listen.peer = "0.0.0.0:7102".to_owned();
        };
        assert!(refusal(any).contains("listen.advertise_peer"));
        let error = refusal(|config| {
            any(config);
            config.listen.advertise_peer = Some("[::]:7102".to_owned());
        });
        assert!(error.contains("others can dial"), "{error}");
    }

    #[test]
    fn malformed_address_is_named_with_the_right_form() {
        for address in ["", "7101", ":7101", "host:", "host:70000"] {
            let error = refusal(|config| config.listen.client = address.to_owned());
            assert!(
                error.contains("listen.client") && error.contains("host:port"),
                "{error}"
            );
        }
    }

    #[test]
    fn founder_that_would_also_join_is_refused() {
        let error = refusal(|config| {
            config.init = true;
            config.cluster.join = vec!["127.0.0.1:7202".to_owned()];
        });
        assert!(
            error.contains("either founds a cluster or joins one"),
            "{error}"
        );
    }

    #[test]
    fn too_few_virtual_shards_are_refused_with_the_least() {
        let error = refusal(|config| {
            config.founding.regions = 3;
            config.founding.virtual_shards = 23;
        });
        assert!(error.contains("at least 24"), "{error}");
    }
}
