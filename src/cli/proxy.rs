//! `replica proxy` and `replica proxy-control`: what nodes run, and what can be run alone.

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{BufReader, stdin, stdout};

use super::Global;
use super::error::Error;
use super::exit::Exit;
use crate::describe::describe;
use crate::manifest::load_proxy;
use crate::net::{InvalidServerUrl, ListenAddress};
use crate::node::variable;
use crate::plan::Role;
use crate::proxy::control::{InstanceLimits, Reply, relay};
use crate::proxy::policy::PolicySpec;
use crate::proxy::{self, Alone, Declared, Limits, Options, ProxyError, Server, Waits};
use crate::quantity::{Seconds, SecondsOrOff, Weight};
use crate::view;

/// What a file declares, and so nobody beside it.
const DECLARED: [&str; 13] = [
    "backends",
    "policy",
    "api_key_env",
    "no_headers",
    "access_log",
    "in_flight",
    "queue",
    "min_prefill_tokens",
    "queue_timeout",
    "hold",
    "listen",
    "host",
    "port",
];

/// Run the proxy: before servers that you name, or as `apply` starts it on nodes
///
/// `replica proxy --listen 127.0.0.1:8000 --backend http://10.0.0.7:8000 --backend http://10.0.0.8:8000`
/// passes requests to any servers that speak OpenAI's API. It cannot prove that they are who you
/// mean: that is for servers that `apply` has started.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["host", "port"])]
    listen: Option<ListenAddress>,
    /// A server to pass requests to, `http://HOST:PORT`, with `,weight=3` if it is to get three times as
    /// much as others, and with `,role=prefill` or `,role=decode` if it is to do a part of each; again for
    /// each
    #[arg(long = "backend", value_name = "URL", value_parser = server)]
    backends: Vec<Server>,
    /// How a server is chosen for each request [default: round_robin]
    #[arg(long, value_parser = policy, requires = "backends")]
    policy: Option<PolicySpec>,
    /// The variable with the key that the servers are shown, instead of what a client shows
    #[arg(long, value_name = "VARIABLE", requires = "backends")]
    api_key_env: Option<String>,
    /// Do not say in answers which server gave them, and how long that took
    #[arg(long, requires = "backends")]
    no_headers: bool,
    /// Write a line of JSON for each request to this file; `-` for the standard output
    #[arg(long, value_name = "FILE", requires = "backends")]
    access_log: Option<String>,
    /// How many requests a server has in flight at most [default: any number]
    #[arg(long, value_name = "REQUESTS", value_parser = in_flight, requires = "backends")]
    in_flight: Option<NonZeroU32>,
    /// How many requests wait for each server at most [default: twice `--in-flight`]
    #[arg(long, value_name = "REQUESTS", requires = "in_flight")]
    queue: Option<u32>,
    /// How long a prompt is at least, in tokens, that a `prefill` server reads for another [default: any]
    #[arg(long, value_name = "TOKENS", requires = "backends")]
    min_prefill_tokens: Option<u32>,
    /// How long a request waits for a server that has room for it, before it is answered with 429
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        requires = "backends"
    )]
    queue_timeout: Seconds,
    /// How long a request waits for a server to be ready where none is, before it is answered with 503;
    /// 0 for not at all
    #[arg(long, value_name = "TIME", default_value = "5s", requires = "backends")]
    hold: Seconds,
    /// A YAML file that declares all of this; SIGHUP has it read again
    #[arg(long, value_name = "FILE", conflicts_with_all = DECLARED)]
    config: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port to listen on
    #[arg(long)]
    port: Option<u16>,
    /// The unix socket that it is told things over
    #[arg(long)]
    control: Option<PathBuf>,
    /// Take over from the proxy that this socket belongs to, if one runs: no connection is refused and no
    /// stream cut
    #[arg(long, requires = "control")]
    succeed: bool,
    /// The file that keeps its last configuration
    #[arg(long)]
    state: Option<PathBuf>,
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

/// Runs it until it is told to stop.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Error> {
    for (time, flag, usual) in [
        (args.client_timeout, "--client-timeout", 60),
        (args.queue_timeout, "--queue-timeout", 30),
    ] {
        if time.duration().is_zero() {
            return Err(Error::refused(
                format!("`{flag}` must be more than 0"),
                format!("leave it out for {usual} seconds"),
            ));
        }
    }
    let alone = alone(args)?;
    let listen = listen_address(args, alone.as_ref())?;
    let options = Options {
        host: listen.host,
        port: listen.port,
        control: args.control.clone(),
        succeeds: args.succeed,
        state: args.state.clone(),
        declared: alone.as_ref().map(|alone| declared(args, alone)),
        limits: Limits {
            client: args.client_timeout.duration(),
            ..Limits::default()
        },
        workers: None,
    };
    let screen = global.screen();
    let began = |address| {
        if let Some(alone) = &alone {
            let servers: Vec<_> = alone.backends.iter().map(Server::name).collect();
            let serving = view::proxy::Serving {
                policy: alone.policy.name(),
                servers: &servers,
            };
            screen.say(&view::proxy::began(address, serving, screen.talk()));
        }
    };
    match proxy::run(options, began).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(refusal(&error)),
    }
}

/// What is declared where it is started, if anything is.
fn alone(args: &Args) -> Result<Option<Alone>, Error> {
    if let Some(path) = &args.config {
        return Ok(Some(load_proxy(path, variable)?));
    }
    if args.backends.is_empty() {
        return match args.control {
            Some(_) => Ok(None),
            None => Err(Error::Usage(
                "there is no server to pass requests to: name it, `--backend http://HOST:PORT`, or a \
                 file that does, `--config FILE`"
                    .to_owned(),
            )),
        };
    }
    if let Some(name) = &args.api_key_env
        && variable(name).is_none()
    {
        return Err(Error::refused(
            format!("the variable `{name}` is not set, or empty"),
            "it is to hold the key that the servers are shown",
        ));
    }
    let with_key = |server: &Server| Server {
        api_key_env: args.api_key_env.clone(),
        ..server.clone()
    };
    Ok(Some(Alone {
        listen: listen_address(args, None)?,
        backends: args.backends.iter().map(with_key).collect(),
        policy: args.policy.clone().unwrap_or_default(),
        timeouts: Waits {
            client: args.client_timeout,
            queue: args.queue_timeout,
            hold: SecondsOrOff::Seconds(args.hold),
            ..Waits::default()
        },
        limits: InstanceLimits {
            in_flight: args.in_flight,
            queue: args.queue,
            min_prefill_tokens: args.min_prefill_tokens,
        },
        headers: !args.no_headers,
        access_log: args.access_log.clone(),
    }))
}

fn listen_address(args: &Args, alone: Option<&Alone>) -> Result<ListenAddress, Error> {
    let declared = alone.map(|alone| &alone.listen);
    if let Some(listen) = args.listen.as_ref().or(declared) {
        return Ok(listen.clone());
    }
    let port = args.port.ok_or_else(|| {
        Error::Usage("it is not said where to listen: `--listen 127.0.0.1:8000`".to_owned())
    })?;
    Ok(ListenAddress {
        host: args.host.clone(),
        port,
    })
}

fn declared(args: &Args, alone: &Alone) -> Declared {
    let config = alone.config(variable);
    let Some(path) = args.config.clone() else {
        return Declared::once(config);
    };
    let listens = alone.listen.clone();
    Declared::read_by(config, move || {
        let read = load_proxy(&path, variable).map_err(|error| error.to_string())?;
        if read.listen != listens {
            let now = &read.listen;
            return Err(format!(
                "it listens on {listens}, and `{}` says {now}: that takes another start",
                path.display()
            ));
        }
        Ok(read.config(variable))
    })
}

/// Reads where a server is, and what it is to get beside the others.
fn server(text: &str) -> Result<Server, String> {
    let mut words = text.split(',');
    let url = words.next().unwrap_or_default();
    let mut server = Server {
        name: None,
        url: url
            .parse()
            .map_err(|error: InvalidServerUrl| error.to_string())?,
        api_key_env: None,
        role: Role::Both,
        weight: Weight::ONE,
    };
    for word in words {
        match word.trim().split_once('=') {
            Some(("weight", number)) => server.weight = weight(number)?,
            Some(("role", role)) => server.role = role_named(role)?,
            _ => return Err(BEHIND_URL.to_owned()),
        }
    }
    Ok(server)
}

/// What may be said of a server.
const BEHIND_URL: &str = "behind the URL there may be a weight, `,weight=3`, and a role, `,role=prefill` or `,role=decode`";

fn weight(number: &str) -> Result<Weight, String> {
    Weight::new(number.parse().map_err(|_| BEHIND_URL.to_owned())?)
}

fn role_named(name: &str) -> Result<Role, String> {
    match name {
        "prefill" => Ok(Role::Prefill),
        "decode" => Ok(Role::Decode),
        "both" => Ok(Role::Both),
        _ => Err(format!(
            "`{name}` is no role: it can be `prefill`, `decode` or `both`"
        )),
    }
}

/// Reads a policy as it is named in a manifest.
fn policy(text: &str) -> Result<PolicySpec, String> {
    let unknown = || format!("it can be {}", PolicySpec::NAMES.join(", "));
    PolicySpec::named(text).ok_or_else(unknown)
}

/// Reads how many requests a server may have.
fn in_flight(text: &str) -> Result<NonZeroU32, String> {
    let none = |_| "it must be a number from 1 on: leave it out for any number of requests";
    text.parse().map_err(none).map_err(str::to_owned)
}

fn refusal(error: &ProxyError) -> Error {
    let hint = match error {
        ProxyError::Listen { error, .. } => match error.kind() {
            ErrorKind::AddrInUse => {
                Some("another program listens there: end it, or choose another port")
            }
            ErrorKind::PermissionDenied => Some("ports below 1024 are for root: choose another"),
            _ => Some("is it an address of this machine?"),
        },
        ProxyError::Control { .. } => Some("name another path with `--control`"),
        ProxyError::State { .. } => Some("name another file with `--state`, or remove this one"),
        ProxyError::Declared(_) | ProxyError::System(_) => None,
    };
    Error::Refused {
        message: describe(error),
        hint: hint.map(str::to_owned),
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
