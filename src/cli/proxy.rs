//! `replica proxy` and `replica proxy-control`: what nodes run.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{BufReader, stdin, stdout};

use super::error::Error;
use super::exit::Exit;
use crate::proxy::control::{Reply, relay};
use crate::proxy::{self, Limits, Options};
use crate::quantity::Seconds;

/// How a proxy is started.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on
    #[arg(long)]
    port: u16,
    /// The unix socket that it is told things over
    #[arg(long)]
    control: PathBuf,
    /// The file that keeps its last configuration
    #[arg(long)]
    state: PathBuf,
    /// How long a client may take nothing of its answer before it is cut off, where the
    /// configuration does not say
    #[arg(long, default_value = "60s")]
    client_timeout: Seconds,
}

/// What is said to a proxy: see [`crate::proxy::control::Request`].
#[derive(Debug, clap::Args)]
pub(super) struct ControlArgs {
    /// The proxy's control socket
    socket: PathBuf,
    /// Seconds to wait for the last word; without it, as long as it takes
    #[arg(long)]
    timeout: Option<f64>,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Error> {
    if args.client_timeout.duration().is_zero() {
        return Err(Error::refused(
            "`--client-timeout` must be more than 0",
            "leave it out for 60 seconds",
        ));
    }
    let options = Options {
        host: args.host.clone(),
        port: args.port,
        control: args.control.clone(),
        state: args.state.clone(),
        limits: Limits {
            client: args.client_timeout.duration(),
            ..Limits::default()
        },
    };
    match proxy::run(options).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(Error::Refused {
            message: error.to_string(),
            hint: None,
        }),
    }
}

pub(super) async fn control(args: &ControlArgs) -> Result<Exit, Error> {
    let relayed = relay(&args.socket, BufReader::new(stdin()), stdout());
    let relayed = match args.timeout.map(Duration::try_from_secs_f64) {
        Some(Ok(limit)) => match tokio::time::timeout(limit, relayed).await {
            Ok(relayed) => relayed,
            Err(_) => {
                return Err(Error::refused(
                    "the proxy did not answer in time",
                    "look at its log",
                ));
            }
        },
        _ => relayed.await,
    };
    match relayed {
        Ok(Reply::Done(_)) => Ok(Exit::Done),
        Ok(_) => Ok(Exit::Failed),
        Err(error) => Err(Error::refused(error.to_string(), "is the proxy running?")),
    }
}
