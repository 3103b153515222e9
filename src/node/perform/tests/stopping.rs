//! Stopping.

use super::*;

#[tokio::test]
async fn stopping_ends_the_whole_session_and_nothing_else() {
    for node in shells() {
        let thing = Thing::new();
        let other = Thing::new();
        let bystander = launch(&node, &other.launch(&["sleep", "1000"]))
            .await
            .unwrap();
        // A marked process in the session of somebody's shell: it is ours, the shell is not.
        let shell = Foreign::run(&[
            "setsid",
            "sh",
            "-c",
            &format!(
                "REPLICA_MARK={} sleep 1000 & wait; exec sleep 1000",
                thing.mark()
            ),
        ]);
        while thing.marked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut started = thing.server(&["child"]);
        started.mark = format!("{}2:def", thing.prefix);
        let leader = launch(&node, &started).await.unwrap();
        let mut ready = thing.ready();
        ready.mark.clone_from(&started.mark);
        super::wait_ready(&node, &ready, &silent).await.unwrap();

        let stopped = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(stopped.ended.len(), 3, "{stopped:?}");
        assert_eq!(stopped.killed(), 0, "{stopped:?}");
        assert!(
            stopped
                .ended
                .iter()
                .any(|process| process.pid == leader.pid)
        );
        assert!(
            stopped
                .ended
                .iter()
                .filter(|process| process.command == "sleep")
                .count()
                == 2
        );
        for process in &stopped.ended {
            assert!(!lives(process.pid), "{process:?}");
        }
        assert!(lives(shell.0.id()));
        assert!(lives(bystander.pid));
        let again = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(again.ended, []);
        stop(&node, &other.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn orphans_without_an_environment_are_ended_too() {
    for node in shells() {
        let thing = Thing::new();
        // The leader is killed; one orphan still has the mark, the other lost its environment.
        let script = "sleep 1000 & env -i sleep 1000 & echo up; wait";
        let leader = launch(&node, &thing.launch(&["sh", "-c", script]))
            .await
            .unwrap();
        while thing.log() != "up\n" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = leader.pid.to_string();
        assert!(
            Program::new("kill")
                .args(["-KILL", &pid])
                .status()
                .unwrap()
                .success()
        );
        gone(&pid).await;
        let failure = launch(&node, &thing.launch(&["sleep", "1000"]))
            .await
            .unwrap_err();
        assert!(failure.message.contains("still lives"), "{failure:?}");
        let stopped = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
        assert_eq!(stopped.ended.len(), 2, "{stopped:?}");
        assert_eq!(stopped.killed(), 0, "{stopped:?}");
    }
}

#[tokio::test]
async fn who_does_not_listen_to_sigterm_is_killed() {
    let thing = Thing::new();
    launch(&here(), &thing.server(&["deaf", "child"]))
        .await
        .unwrap();
    wait_ready(&here(), &thing.ready(), &silent).await.unwrap();
    let heard = Mutex::new(Vec::new());
    let progress = |phase: Phase| heard.lock().unwrap().push(phase.doing);
    let stopped = stop(&here(), &thing.stop(Duration::from_millis(1)), &progress)
        .await
        .unwrap();
    assert_eq!(
        (stopped.ended.len(), stopped.killed()),
        (2, 2),
        "{stopped:?}"
    );
    assert!(heard.lock().unwrap().iter().any(|phase| phase == "killing"));
}

#[tokio::test]
async fn a_foreign_listener_is_named_and_left_alone() {
    for node in shells() {
        let thing = Thing::new();
        let listener = TcpListener::bind(("127.0.0.1", thing.port)).unwrap();
        let failure = stop(&node, &thing.stop(MINUTE), &silent).await.unwrap_err();
        let own = format!("held by pid {} (", std::process::id());
        assert!(failure.message.contains(&own), "{failure:?}");
        launch(&node, &thing.launch(&["sleep", "1000"]))
            .await
            .unwrap();
        let failure = wait_ready(&node, &thing.ready(), &silent)
            .await
            .unwrap_err();
        assert!(failure.message.contains(&own), "{failure:?}");
        drop(listener);
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}
