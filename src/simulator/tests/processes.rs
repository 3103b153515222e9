//! How the two processes look to others, from the first moment on.

use std::io::ErrorKind;
use std::net::TcpStream;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use rustix::process::Signal;

use super::client::get;
use super::world::{Outside, free_port, lives, signal, until};

fn proc_file(pid: i32, name: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/{name}")).expect("the process is there");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn session(pid: i32) -> String {
    let stat = proc_file(pid, "stat");
    let (_, fields) = stat.rsplit_once(") ").expect("a stat has a name");
    fields
        .split(' ')
        .nth(3)
        .expect("a stat has a session")
        .to_owned()
}

#[tokio::test]
async fn the_port_is_bound_before_loading_and_listens_after() {
    let server = Outside::start("--sim-load-seconds 3600");
    server.says("Starting to load model test/model...").await;
    let refused = TcpStream::connect(server.address).expect_err("nobody listens yet");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // Someone who does not share is told that the port is taken.
    let greedy =
        socket(AddressFamily::INET, SocketType::STREAM, None).expect("sockets can be made");
    assert_eq!(bind(&greedy, &server.address), Err(Errno::ADDRINUSE));
}

#[tokio::test]
async fn two_servers_share_a_port_silently() {
    let port = free_port();
    let old = Outside::start_on(port, "--served-model-name old", &[]);
    old.says("Application startup complete.").await;
    let new = Outside::start_on(port, "--served-model-name new", &[]);
    new.says("Application startup complete.").await;
    let mut seen = [false; 2];
    while seen != [true; 2] {
        let models = get(old.address, "/v1/models").await.json();
        seen[usize::from(models["data"][0]["id"] == "new")] = true;
    }
}

#[tokio::test]
async fn the_engine_overwrites_its_title_and_its_environment() {
    let server = Outside::start_on(free_port(), "", &[("REPLICA_TEST_MARK", "v1:here")]);
    server.says("Application startup complete.").await;
    let engine = server.engine_pid().await;
    assert_eq!(
        proc_file(engine, "cmdline").trim_end_matches('\0'),
        "VLLM::EngineCore"
    );
    assert_eq!(proc_file(engine, "comm"), "VLLM::EngineCor\n");
    assert!(!proc_file(engine, "environ").contains("REPLICA_TEST_MARK"));
    assert!(proc_file(server.pid(), "environ").contains("REPLICA_TEST_MARK=v1:here"));
    assert_eq!(session(engine), session(server.pid()));
}

#[tokio::test]
async fn the_engine_keeps_its_environment_when_told_to() {
    let server = Outside::start_on(
        free_port(),
        "",
        &[("REPLICA_TEST_MARK", "v1:here"), ("SPT_NOENV", "1")],
    );
    server.says("Application startup complete.").await;
    let engine = server.engine_pid().await;
    assert_eq!(
        proc_file(engine, "cmdline").trim_end_matches('\0'),
        "VLLM::EngineCore"
    );
    assert!(proc_file(engine, "environ").contains("REPLICA_TEST_MARK=v1:here"));
}

#[tokio::test]
async fn the_engine_survives_the_kill_of_its_parent_until_it_is_terminated() {
    let mut server = Outside::ready("").await;
    let engine = server.engine_pid().await;
    signal(server.pid(), Signal::KILL);
    server.ended().await;
    let orphaned = || !proc_file(engine, "status").contains(&format!("PPid:\t{}\n", server.pid()));
    until(orphaned).await.expect("it has another parent");
    assert!(lives(engine));
    signal(engine, Signal::TERM);
    until(|| !lives(engine)).await.expect("SIGTERM ends it");
}

#[tokio::test]
async fn the_log_has_vllms_milestones_in_order() {
    let server = Outside::ready(
        "--gpu-memory-utilization 0.3 --profile gb10-llama-3.1-8b --sim-load-seconds 0.1",
    )
    .await;
    let log = server.log();
    let milestones = [
        "Starting to load model test/model...",
        "default_loader.py:308] Loading weights took ",
        "monitor.py:34] torch.compile takes ",
        "Available KV cache memory: 17.96 GiB",
        "GPU KV cache size: 147,152 tokens",
        "Maximum concurrency for 131,072 tokens per request: 1.12x",
        "Graph capturing finished in ",
        "init engine (profile, create kv cache, warmup model) took ",
        "Starting vLLM API server 0 on http://127.0.0.1:",
    ];
    let places: Vec<_> = milestones
        .map(|text| {
            log.find(text)
                .unwrap_or_else(|| panic!("no `{text}` in:\n{log}"))
        })
        .into();
    assert!(places.is_sorted(), "{log}");
    // These go to the other stream, so only their presence is certain.
    for text in [
        &format!("(APIServer pid={}) INFO ", server.pid()),
        "vLLM API server version 0.13.0",
        "Loading safetensors checkpoint shards:  25% Completed | 1/4 [",
        "Capturing CUDA graphs (",
        "INFO:     Application startup complete.",
    ] {
        assert!(log.contains(text), "no `{text}` in:\n{log}");
    }
}

#[tokio::test]
async fn too_little_memory_ends_it_while_loading() {
    let mut server =
        Outside::start("--sim-fail-loading oom --sim-load-seconds 0 --gpu-memory-utilization 0.3");
    assert_eq!(server.ended().await.code(), Some(1));
    server.says("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}").await;
    server
        .says(
            "ValueError: Free memory on device (21.0/119.7 GiB) on startup is less than desired GPU memory utilization \
             (0.3, 35.91 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        )
        .await;
    let engine = server.engine_pid().await;
    assert!(!lives(engine));
}

#[tokio::test]
async fn a_flag_that_vllm_does_not_know_is_refused_in_its_words() {
    let mut server = Outside::start("--shutdown-timeout 5");
    assert_eq!(server.ended().await.code(), Some(2));
    server
        .says("vllm: error: unrecognized arguments: --shutdown-timeout 5")
        .await;
}

#[tokio::test]
async fn a_key_may_come_from_the_environment() {
    let server = Outside::start_on(free_port(), "", &[("VLLM_API_KEY", "secret")]);
    server.says("Application startup complete.").await;
    assert_eq!(get(server.address, "/v1/models").await.status(), 401);
    assert_eq!(get(server.address, "/health").await.status(), 200);
    assert!(!server.log().contains("secret"));
}
