//! The life of the API server: bind, load, listen, serve, and leave.
//!
//! As in vLLM 0.13: the socket is bound (with `SO_REUSEPORT`) before anything is loaded, but listens
//! only afterwards; SIGTERM closes it at once, ends the engine, and then waits for the connections
//! that are still open, for ever if need be.

use std::net::ToSocketAddrs;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{LoadFailure, Options};
use super::engine::Power;
use super::http::{self, Connections, Server};
use super::kv::settings::{Config, Environment};
use super::kv::{Connector, SideChannel};
use super::loading::Plan;
use super::log::Log;
use super::process::EngineProcess;
use crate::net::{Authority, file_table};

/// How many connections may wait to be accepted; uvicorn's figure.
const BACKLOG: i32 = 2048;
/// How long the API server outlives its engine: vLLM looks every 5 s, about 4 s were seen.
const WATCHDOG: Duration = Duration::from_secs(4);

/// Runs until told to stop, or until the engine is gone.
pub(super) async fn run(options: Options) -> ExitCode {
    let log = Log::api_server();
    match serve(options, &log).await {
        Ok(code) => code,
        Err(error) => {
            log.stderr(&format!("Traceback (most recent call last):\n{error}"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: Options, log: &Log) -> Result<ExitCode, String> {
    raise_file_limit();
    log.info("api_server.py:1351", "vLLM API server version 0.13.0");
    log.info(
        "utils.py:253",
        &format!("non-default args: {}", described(&options)),
    );
    let mut stop = StopSignals::new().map_err(|error| error.to_string())?;
    let socket = bound(&options).map_err(|error| python_error(&error))?;
    let mut process =
        EngineProcess::start(&plan(&options)).map_err(|error| python_error(&error))?;
    loaded(&mut process, &mut stop).await?;
    let connector = tokio::select! {
        connector = connected(&options, log) => connector,
        () = stop.received() => {
            process.stop().await;
            return Err(interrupted());
        }
    };
    log.info("api_server.py:1099", "Supported tasks: ['generate']");
    log.info(
        "api_server.py:1425",
        &format!("Starting vLLM API server 0 on http://{}", shown(&options)),
    );
    listen(&socket, BACKLOG).map_err(|error| python_error(&error.into()))?;
    log.uvicorn(&format!("Started server process [{}]", std::process::id()));
    log.uvicorn("Waiting for application startup.");
    log.uvicorn("Application startup complete.");
    let listener = TcpListener::from_std(std::net::TcpListener::from(socket))
        .map_err(|error| python_error(&error))?;
    let server = Arc::new(Server::start(options, connector, log.clone()));
    live(server, listener, process, stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Waits until the model is loaded; the error is the last of a traceback.
async fn loaded(process: &mut EngineProcess, stop: &mut StopSignals) -> Result<(), String> {
    let ready = tokio::select! {
        ready = process.ready() => ready,
        () = stop.received() => {
            process.stop().await;
            return Err(interrupted());
        }
    };
    if ready {
        return Ok(());
    }
    process.ended().await;
    Err(failed_core())
}

fn interrupted() -> String {
    "KeyboardInterrupt: terminated".to_owned()
}

/// The connector and its side channel, where there is one. When the side channel's port is taken,
/// the thread that was to listen dies, and vLLM waits for it for ever.
async fn connected(options: &Options, log: &Log) -> Option<(Connector, SideChannel)> {
    match Connector::of(options, &Environment::read()).await {
        Ok(connector) => connector,
        Err(error) => {
            let cause = python_error(&error);
            log.stderr(&format!(
                "Exception in thread nixl_handshake_listener:\nTraceback (most recent call last):\n{cause}"
            ));
            std::future::pending().await
        }
    }
}

/// A socket that has the address, but refuses connections until it listens.
fn bound(options: &Options) -> std::io::Result<OwnedFd> {
    let host = options
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or("0.0.0.0");
    let address = (host, options.port)
        .to_socket_addrs()?
        .next()
        .ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket)
}

fn shown(options: &Options) -> String {
    let host = options
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or("0.0.0.0");
    Authority::new(host, options.port).to_string()
}

fn plan(options: &Options) -> Plan {
    let limits = options.limits();
    Plan {
        model: options.model.clone(),
        time: options.load_time(),
        fails: options.sim_fail_loading == Some(LoadFailure::Oom),
        connector_refusal: options.connector().and_then(Config::refusal),
        enforce_eager: options.enforce_eager,
        gpu_memory_utilization: options.gpu_memory_utilization,
        max_model_len: limits.max_model_len,
        kv_tokens: limits.blocks * limits.block_size,
        blocks_overridden: options.num_gpu_blocks_override.is_some(),
    }
}

fn described(options: &Options) -> String {
    format!(
        "{{'model_tag': '{}', 'host': '{}', 'port': {}, 'served_model_name': {:?}, 'gpu_memory_utilization': {:?}}}",
        options.model,
        options.host.as_deref().unwrap_or_default(),
        options.port,
        options.names(),
        options.gpu_memory_utilization,
    )
}

fn python_error(error: &std::io::Error) -> String {
    let number = error.raw_os_error().unwrap_or_default();
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    format!("OSError: [Errno {number}] {words}")
}

fn failed_core() -> String {
    "  File \"/usr/lib/python3/dist-packages/vllm/v1/engine/utils.py\", line 960, in wait_for_engine_startup\n    \
     raise RuntimeError(\nRuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): \
     {}"
        .to_owned()
}

/// Room for so many open files is made before a stream has to wait for it.
const FILES: u64 = 4096;

/// Lifts the limit of open files as far as the user may: each stream is one.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without the right to, the limit stays; a test with many streams would say so.
    let _ = setrlimit(Resource::Nofile, limit);
    file_table::make_room_for(FILES);
}

/// The signals that ask a server to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Serves until asked to stop or left by the engine, and sees everyone out.
async fn live(
    server: Arc<Server>,
    listener: TcpListener,
    mut process: EngineProcess,
    mut stop: StopSignals,
) {
    let (engine, log) = (server.engine.clone(), server.log.clone());
    let connections = Connections::accept(Arc::clone(&server), listener);
    let throughput = tokio::spawn(http::metrics::log_throughput(server));
    let asked = tokio::select! {
        // A terminal's Ctrl-C reaches the engine as well: then it was asked.
        biased;
        () = stop.received() => true,
        () = process.ended() => false,
        () = engine.died() => {
            process.stop().await;
            false
        }
    };
    if asked {
        log.info("launcher.py:110", "Shutting down FastAPI HTTP server.");
        engine.switch(Power::Off);
    } else {
        log.error(
            "core_client.py:606",
            "Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        );
        engine.switch(Power::Dead);
        tokio::time::sleep(WATCHDOG).await;
    }
    throughput.abort();
    // From here on further signals change nothing: tokio has them, and nobody asks.
    tokio::join!(connections.close(&log), process.stop());
}
