//! The `main` of an adapter's binary: configuration, telemetry, socket, registration, serving until a signal.

use std::{
    ffi::OsString,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use posmesh_kit::{
    Channel,
    config::{self, ConfigError},
    server::{self, ServeError, ServerConfig},
    shutdown,
    telemetry::{Telemetry, TelemetryConfig},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Adapter, Registration, http::HttpConfig, mount_registered};

/// The configuration that every adapter starts from, with comments.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// The configuration of an adapter's process. `A` is what the vendor's adapter asks for besides, in the section
/// `adapter`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "A: Default + DeserializeOwned")]
pub struct Config<A = ()> {
    /// One or more `http://host:port` of the router, separated by commas.
    pub router: String,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Where the router reaches this instance. Empty: where it listens.
    pub advertise: String,
    /// The connections that this instance serves. Empty: all of its vendor.
    pub connection_ids: Vec<String>,
    /// Limits of the gRPC server.
    pub server: ServerConfig,
    /// Limits of calls to the vendor.
    pub http: HttpConfig,
    /// Logs, traces, metrics.
    pub telemetry: TelemetryConfig,
    /// What the vendor's adapter asks for besides.
    #[serde(default)]
    pub adapter: A,
}

/// Runs an adapter's process. `build` makes the adapter from the configuration. The first argument may name a
/// configuration file; environment variables win over it. Ends with 64 for a configuration that cannot be used.
pub fn main<F>(name: &str, build: F) -> ExitCode
where
    F: FnOnce(&Config) -> Result<Arc<dyn Adapter>, ConfigError>,
{
    main_with("", name, build)
}

/// The same for an adapter with a configuration of its own. `defaults` is its section `adapter`, with comments, to be
/// added to [`DEFAULTS`].
pub fn main_with<A, F>(defaults: &str, name: &str, build: F) -> ExitCode
where
    A: Default + DeserializeOwned,
    F: FnOnce(&Config<A>) -> Result<Arc<dyn Adapter>, ConfigError>,
{
    match start(&format!("{DEFAULTS}{defaults}"), name, build) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            match error {
                ProgramError::Config(_) | ProgramError::Usage(_) => ExitCode::from(config::EXIT_CODE),
                ProgramError::Listen(..) | ProgramError::Io(_) | ProgramError::Serve(_) => ExitCode::FAILURE,
            }
        }
    }
}

/// Why an adapter's process ended.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The arguments.
    #[error("{0}")]
    Usage(String),
    /// A value of the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// Runtime or signals.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// The server ended.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

fn start<A, F>(defaults: &str, name: &str, build: F) -> Result<(), ProgramError>
where
    A: Default + DeserializeOwned,
    F: FnOnce(&Config<A>) -> Result<Arc<dyn Adapter>, ConfigError>,
{
    let Some(file) = arguments(defaults, name, std::env::args_os().skip(1))? else { return Ok(()) };
    let mut config: Config<A> = config::load(defaults, file.as_deref())?;
    if config.telemetry.service_name.is_empty() {
        config.telemetry.service_name = name.to_owned();
    }
    let adapter = build(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let telemetry = Telemetry::install(&config.telemetry)?;
        let shutdown = shutdown::on_signal()?;
        let listener = TcpListener::bind(config.listen).await.map_err(|e| ProgramError::Listen(config.listen, e))?;
        let result = run(&config, adapter, listener, shutdown).await;
        telemetry.shutdown();
        result
    })
}

/// The configuration file, if one is named; nothing where only help was asked for.
fn arguments(
    defaults: &str,
    name: &str,
    mut arguments: impl Iterator<Item = OsString>,
) -> Result<Option<Option<PathBuf>>, ProgramError> {
    let usage = || format!("usage: {name} [CONFIG.toml]\nany key can also be set as POSMESH__SECTION__KEY");
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(Some(None)),
        (Some(help), None) if help == "--help" || help == "-h" => {
            println!("{}\nthe defaults:\n\n{defaults}", usage());
            Ok(None)
        }
        (Some(file), None) if !file.to_string_lossy().starts_with('-') => Ok(Some(Some(file.into()))),
        _ => Err(ProgramError::Usage(usage())),
    }
}

/// Serves an adapter on `listener`, registered at the router, until `shutdown`.
pub async fn run<A>(
    config: &Config<A>,
    adapter: Arc<dyn Adapter>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), ProgramError> {
    config.server.check("server")?;
    let router = Channel::remote("router", &config.router)?;
    let endpoint = advertised(config, listener.local_addr()?)?;
    let connection_ids = config.connection_ids.clone();
    let (mounted, _) = mount_registered(adapter, Registration { router, endpoint, connection_ids });
    Ok(server::serve(&config.server, listener, vec![mounted], shutdown).await?)
}

fn advertised<A>(config: &Config<A>, listens_on: SocketAddr) -> Result<String, ConfigError> {
    if !config.advertise.is_empty() {
        // Refuses what the router would refuse, before anything is served.
        Channel::remote("advertise", &config.advertise)?;
        return Ok(config.advertise.clone());
    }
    if IpAddr::is_unspecified(&listens_on.ip()) {
        let message = format!("must be set, since listen = {listens_on} names no address that the router could call");
        return Err(ConfigError::invalid("advertise", message));
    }
    Ok(format!("http://{listens_on}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_are_a_whole_configuration() {
        let config: Config = config::load(DEFAULTS, None).unwrap();
        assert!(config.http.connect_timeout < config.http.call_timeout);
        assert_eq!(advertised(&config, config.listen).unwrap(), format!("http://{}", config.listen));
    }

    #[test]
    fn an_adapter_adds_its_own_section() {
        #[derive(Debug, Default, Deserialize)]
        struct Own {
            cancels: bool,
        }
        let config: Config<Own> = config::load(&format!("{DEFAULTS}\n[adapter]\ncancels = true"), None).unwrap();
        assert!(config.adapter.cancels);
    }

    #[test]
    fn an_instance_that_listens_everywhere_must_say_where_it_is_reached() {
        let mut config: Config = config::load(DEFAULTS, None).unwrap();
        let everywhere = "0.0.0.0:50061".parse().unwrap();
        assert!(advertised(&config, everywhere).unwrap_err().to_string().contains("advertise"));
        config.advertise = "10.0.0.7".into();
        assert!(advertised(&config, everywhere).unwrap_err().to_string().contains("advertise"));
        config.advertise = "http://10.0.0.7:50061".into();
        assert_eq!(advertised(&config, everywhere).unwrap(), "http://10.0.0.7:50061");
    }

    #[test]
    fn an_unknown_flag_is_refused_with_the_usage() {
        let arguments = |list: &[&str]| super::arguments(DEFAULTS, "adapter-acme", list.iter().map(OsString::from));
        assert!(arguments(&["--verbose"]).unwrap_err().to_string().contains("usage: adapter-acme"));
        assert!(arguments(&["a.toml", "b.toml"]).is_err());
        assert_eq!(arguments(&["a.toml"]).unwrap(), Some(Some(PathBuf::from("a.toml"))));
        assert_eq!(arguments(&[]).unwrap(), Some(None));
    }
}
