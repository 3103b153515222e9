//! Waiting until it serves.

use super::*;

/// The first of the four pieces that the server writes of.
fn weights() -> Part {
    Part {
        name: "weights".to_owned(),
        count: Some(Count::Pieces { done: 1, of: 4 }),
    }
}

#[tokio::test]
async fn ready_means_that_the_right_process_answers() {
    for node in shells() {
        let thing = Thing::new();
        let started = launch(&node, &thing.server(&[])).await.unwrap();
        let heard = Mutex::new(Vec::new());
        let progress = |phase: Phase| {
            heard.lock().unwrap().push(named(&phase));
        };
        let served = wait_ready(&node, &thing.ready(), &progress).await.unwrap();
        assert_eq!(served.pid, started.pid);
        // The log may be heard before, between or after them: it comes by another way.
        let mut heard = heard.into_inner().unwrap();
        heard.retain(|line| !line.starts_with("loading"));
        assert_eq!(
            heard,
            [
                "checking: the health check",
                "checking: its name among the models"
            ]
        );
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn the_time_that_loading_takes_is_noted_and_told_the_next_time() {
    for node in shells() {
        let thing = Thing::new();
        launch(&node, &thing.server(&["late"])).await.unwrap();
        let mut wanted = thing.ready();
        wanted.expected = Some(Duration::from_secs(130));
        let heard = Mutex::new(Vec::new());
        let progress = |phase: Phase| heard.lock().unwrap().push(phase);
        wait_ready(&node, &wanted, &progress).await.unwrap();
        let mut heard = heard.into_inner().unwrap();
        heard.retain(|phase| phase.doing == "loading");
        assert!(
            heard.iter().any(|phase| phase.part == weights()),
            "{heard:?}"
        );
        let expected = heard.iter().map(|phase| phase.time.unwrap().expected);
        assert!(expected.eq(heard.iter().map(|_| Duration::from_secs(130))));
        let note = fs::read_to_string(thing.at("logs/a.ready")).unwrap();
        assert!(note.trim_end().parse::<u64>().unwrap() >= 1, "{note}");
        // Looked at again it listens already, which tells nothing new.
        wait_ready(&node, &thing.ready(), &silent).await.unwrap();
        assert_eq!(fs::read_to_string(thing.at("logs/a.ready")).unwrap(), note);
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}

/// How long it took is good to know, and no reason to call what serves a failure.
#[tokio::test]
async fn a_note_for_which_there_is_no_room_fails_nothing() {
    let thing = Thing::new();
    launch(&here(), &thing.server(&["late"])).await.unwrap();
    std::os::unix::fs::symlink("/dev/full", thing.at("logs/a.ready")).unwrap();
    wait_ready(&here(), &thing.ready(), &silent).await.unwrap();
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn a_death_is_told_at_once_with_its_cause() {
    for node in shells() {
        let thing = Thing::new();
        // It may be dead before it was seen to have started.
        let failure = match launch(&node, &thing.server(&["dies"])).await {
            Ok(_) => wait_ready(&node, &thing.ready(), &silent)
                .await
                .unwrap_err(),
            Err(failure) => failure,
        };
        assert_eq!(
            failure,
            Failure {
                kind: FailureKind::World,
                source: None,
                message: "torch.OutOfMemoryError: CUDA out of memory".to_owned(),
                log: vec![
                    "Loading checkpoint shards:  25% Completed | 1/4 [".to_owned(),
                    "torch.OutOfMemoryError: CUDA out of memory".to_owned(),
                    "Traceback: see above".to_owned(),
                ],
                hint: Some("lower args.gpu_memory_utilization or args.max_model_len".to_owned()),
            }
        );
    }
}

#[tokio::test]
async fn a_refusal_that_stays_ends_the_wait_with_what_to_do() {
    let thing = Thing::new();
    launch(&here(), &thing.server(&["refuses"])).await.unwrap();
    let failure = wait_ready(&here(), &thing.ready(), &silent)
        .await
        .unwrap_err();
    assert_eq!(
        failure.message,
        "it can never be ready: its name among the models: it answers \
         {\"error\": {\"message\": \"The model does not\", \"code\": 400}}"
    );
    assert_eq!(failure.hint.as_deref(), Some("do something else"));
    assert!(!failure.log.is_empty(), "{failure:?}");
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn one_that_failed_and_stands_still_is_not_waited_for() {
    let thing = Thing::new();
    let mut wanted = thing.ready();
    wanted.patience = Duration::from_secs(3600);
    launch(&here(), &thing.server(&["stumbles"])).await.unwrap();
    let failure = wait_ready(&here(), &wanted, &silent).await.unwrap_err();
    assert_eq!(
        failure.message,
        "zmq.error.ZMQError: Address already in use (addr=tcp://127.0.0.1:5600)"
    );
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn one_that_went_on_after_a_failure_is_waited_for() {
    let thing = Thing::new();
    let mut wanted = thing.ready();
    // Longer than it would be believed to stand still.
    wanted.patience = Duration::from_secs(12);
    launch(&here(), &thing.server(&["stumbles", "recovers"]))
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    let failure = wait_ready(&here(), &wanted, &silent).await.unwrap_err();
    assert!(
        failure.message.contains("Address already in use"),
        "{failure:?}"
    );
    assert!(began.elapsed() >= wanted.patience);
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn two_servers_on_one_port_are_never_ready() {
    let thing = Thing::new();
    let port = thing.port.to_string();
    let foreign = Foreign::run(&[python(), "-u", "-c", SERVER, &port]);
    while tokio::net::TcpStream::connect(("127.0.0.1", thing.port))
        .await
        .is_err()
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    launch(&here(), &thing.server(&[])).await.unwrap();
    let failure = wait_ready(&here(), &thing.ready(), &silent)
        .await
        .unwrap_err();
    let named = format!("pid {} (", foreign.0.id());
    assert!(failure.message.contains(&named), "{failure:?}");
    drop(foreign);
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}

#[tokio::test]
async fn patience_ends_with_what_is_still_wrong() {
    let thing = Thing::new();
    launch(&here(), &thing.server(&["nameless"])).await.unwrap();
    let mut wanted = thing.ready();
    wanted.patience = Duration::from_secs(3);
    let heard = Mutex::new(Phase::default());
    let progress = |phase: Phase| {
        if phase.doing == "loading" {
            *heard.lock().unwrap() = phase;
        }
    };
    let failure = wait_ready(&here(), &wanted, &progress).await.unwrap_err();
    assert_eq!(heard.lock().unwrap().part, weights());
    assert!(
        failure
            .message
            .contains("its name among the models: the answer lacks `nonce-1`: {}"),
        "{failure:?}"
    );
    wanted.probe.checks[0].api_key = Some(Secret::Variable("NO_SUCH_KEY".to_owned()));
    let failure = wait_ready(&here(), &wanted, &silent).await.unwrap_err();
    assert!(failure.message.contains("`NO_SUCH_KEY`"), "{failure:?}");
    stop(&here(), &thing.stop(MINUTE), &silent).await.unwrap();
}
