//! Ending what somebody else started.

use super::*;

/// A process as an end names it.
fn known(pid: u32) -> (u32, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    (pid, rest.split(' ').nth(19).unwrap().parse().unwrap())
}

fn boot_id() -> String {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    boot_id.trim().to_owned()
}

/// What somebody started from a shell, as with `nohup … &`.
struct Unmanaged {
    thing: Thing,
    shell: Foreign,
}

impl Unmanaged {
    /// Starts a server with these habits, and beside it what the shell is given; both say their pids.
    fn run(more: &[&str], beside: &str) -> Self {
        Self::on(Thing::new(), more, beside)
    }

    fn on(thing: Thing, more: &[&str], beside: &str) -> Self {
        let server = thing.at("server.py");
        fs::write(&server, SERVER).unwrap();
        let words = [python(), "-u", &server, &thing.port.to_string()].map(quote);
        let script = format!(
            "{} {} & echo $! >{}; {beside} & echo $! >{}; wait; exec sleep 1000",
            words.join(" "),
            more.join(" "),
            quote(&thing.at("pid")),
            quote(&thing.at("beside")),
        );
        let shell = Foreign::run(&["setsid", "sh", "-c", &script]);
        Self { thing, shell }
    }

    async fn pid(&self, name: &str) -> u32 {
        loop {
            let pid = fs::read_to_string(self.thing.at(name)).unwrap_or_default();
            if let Ok(pid) = pid.trim().parse() {
                return pid;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the server listens, and returns its pid.
    async fn server(&self) -> u32 {
        while std::net::TcpStream::connect(("127.0.0.1", self.thing.port)).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.pid("pid").await
    }

    fn end(&self, processes: &[(u32, u64)], grace: Duration) -> KillUnmanaged {
        KillUnmanaged {
            address: "here/unmanaged.1".parse().unwrap(),
            boot_id: boot_id(),
            processes: processes.to_vec(),
            ports: vec![self.thing.port],
            grace,
        }
    }
}

impl Drop for Unmanaged {
    /// Ends what a failed test leaves behind: all of it is in the group of its shell.
    fn drop(&mut self) {
        let group = format!("-{}", self.shell.0.id());
        let _ = Program::new("kill").args(["-KILL", "--", &group]).status();
    }
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split(' ')
        .filter_map(|it| it.parse().ok())
        .collect()
}

#[tokio::test]
async fn a_server_ends_with_what_it_started_and_nothing_of_the_shell_around_it() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&["child"], "tail -f /dev/null");
        let server = unmanaged.server().await;
        let child = children(server)[0];
        let end = unmanaged.end(&[known(server)], MINUTE);
        let ended = super::kill_unmanaged(&node, &end, &silent).await.unwrap();
        let pids: Vec<_> = ended.ended.iter().map(|it| it.pid).collect();
        assert_eq!(pids, [server, child], "{ended:?}");
        assert_eq!(ended.killed(), 0, "{ended:?}");
        assert!(!lives(server) && !lives(child));
        assert!(lives(unmanaged.shell.0.id()) && lives(unmanaged.pid("beside").await));
        TcpListener::bind(("127.0.0.1", unmanaged.thing.port)).unwrap();
        let again = super::kill_unmanaged(&node, &end, &silent).await.unwrap();
        assert_eq!(again.ended, []);
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_killed_with_what_it_started() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&["deaf", "child"], "true");
        let server = unmanaged.server().await;
        let child = children(server)[0];
        let end = unmanaged.end(&[known(server), known(child)], Duration::from_millis(1));
        let ended = super::kill_unmanaged(&node, &end, &silent).await.unwrap();
        assert_eq!((ended.ended.len(), ended.killed()), (2, 2), "{ended:?}");
        assert!(!lives(server) && !lives(child));
    }
}

#[tokio::test]
async fn what_a_killed_server_left_behind_is_ended_alone() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&["child"], "true");
        let server = unmanaged.server().await;
        let orphan = children(server)[0];
        let known = known(orphan);
        let _ = Program::new("kill")
            .args(["-KILL", &server.to_string()])
            .status();
        gone(&server.to_string()).await;
        let ended = super::kill_unmanaged(&node, &unmanaged.end(&[known], MINUTE), &silent)
            .await
            .unwrap();
        assert_eq!(ended.ended.len(), 1, "{ended:?}");
        assert!(!lives(orphan));
    }
}

#[tokio::test]
async fn a_pid_of_another_start_or_boot_is_another_process() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&[], "true");
        let server = unmanaged.server().await;
        let (pid, start) = known(server);
        let reused = unmanaged.end(&[(pid, start - 1)], MINUTE);
        let rebooted = KillUnmanaged {
            boot_id: "0f9c".to_owned(),
            ..unmanaged.end(&[(pid, start)], MINUTE)
        };
        for end in [reused, rebooted] {
            let ended = super::kill_unmanaged(&node, &end, &silent).await.unwrap();
            assert_eq!(ended.ended, []);
            assert!(lives(server));
        }
    }
}

#[tokio::test]
async fn what_carries_a_mark_is_spared_and_so_is_its_session() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&[], "true");
        let thing = Thing::new();
        // Its child has lost the mark.
        let script = "env -i sleep 1000 & echo up; wait";
        let leader = launch(&node, &thing.launch(&["sh", "-c", script]))
            .await
            .unwrap();
        while thing.log() != "up\n" || children(leader.pid).is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let child = children(leader.pid)[0];
        for pid in [leader.pid, child] {
            let end = unmanaged.end(&[known(pid)], MINUTE);
            let failure = super::kill_unmanaged(&node, &end, &silent)
                .await
                .unwrap_err();
            assert!(
                failure.message.contains(&format!("pid {pid} (")),
                "{failure:?}"
            );
            assert!(failure.message.contains("left alone"), "{failure:?}");
            assert!(lives(leader.pid) && lives(child));
        }
        stop(&node, &thing.stop(MINUTE), &silent).await.unwrap();
    }
}

#[tokio::test]
async fn of_two_on_one_port_one_ends_and_the_other_goes_on() {
    for node in shells() {
        let unmanaged = Unmanaged::run(&[], "true");
        let mut shared = Thing::new();
        shared.port = unmanaged.thing.port;
        let server = unmanaged.server().await;
        let other = Unmanaged::on(shared, &[], "true");
        let other_pid = other.pid("pid").await;
        let sockets = || {
            let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
            let port = format!(":{:04X} 00000000:0000 0A", unmanaged.thing.port);
            sockets.matches(&port).count()
        };
        while sockets() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let end = unmanaged.end(&[known(server)], MINUTE);
        let ended = super::kill_unmanaged(&node, &end, &silent).await.unwrap();
        assert_eq!(ended.ended.len(), 1, "{ended:?}");
        assert!(!lives(server) && lives(other_pid));
        assert_eq!(sockets(), 1);
    }
}
