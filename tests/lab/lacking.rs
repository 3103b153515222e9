//! Nodes that lack what is needed there: the plan says so, and the rest converges.

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change, reasons};
use super::stage::scenario;

/// Expects of both plans and applies that nothing is done on spark-02, for this reason, which names
/// what it is about; and that it is done once that is mended.
fn lacks(laptop: &Laptop, thing: &str, code: &str, words: &str) {
    let plan = laptop.plan();
    let blocked = change(&plan, &format!("spark-02/{thing}"));
    assert_eq!(blocked["action"], "blocked", "{plan:#}");
    assert_eq!(blocked["reasons"][0]["code"], code, "{plan:#}");
    let said = reasons(blocked);
    assert!(said.contains(words), "{said}");
    assert!(blocked["reasons"][0]["hint"].is_string(), "{blocked:#}");
    assert_eq!(change(&plan, "spark-02/instance.b")["action"], "blocked");
}

/// What else may be wrong with a home; at the end its `.local` is a file.
fn homes_are_told(lab: &Lab, laptop: &Laptop) {
    let on = |script: &str| drop(lab.exec("spark-02", script));
    let home = "/home/nvidia";
    on(&format!("mount -o remount,bind,rw,noexec {home}"));
    lacks(laptop, "program", "not_executable", "mounted noexec");
    // Where the keys are in the home, nobody logs in without one.
    on(&format!(
        "cp {home}/.ssh/authorized_keys /etc/keys; chmod 644 /etc/keys"
    ));
    lab.does_with(&["sshd", "spark-02", "AuthorizedKeysFile /etc/keys"]);
    on(&format!("umount {home}; mv {home} {home}.away"));
    lacks(
        laptop,
        "program",
        "not_writable",
        "its home /home/nvidia is not there",
    );
    on(&format!(
        "mv {home}.away {home}; mkdir -p {home}/.local/state; chmod 755 {home}/.local"
    ));
    lacks(
        laptop,
        "program",
        "not_writable",
        "/home/nvidia/.local/state cannot be written by this user",
    );
    on(&format!("rm -r {home}/.local; : >{home}/.local"));
    lacks(
        laptop,
        "program",
        "other_folder",
        "/home/nvidia/.local is in the way",
    );
}

/// A home that cannot be written, or holds something else, or lets no program run; no room; no tools.
#[test]
fn a_node_that_lacks_something_is_planned_and_the_rest_converges() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let on = |script: &str| drop(lab.exec("spark-02", script));
        let home = "/home/nvidia";
        on(&format!(
            "mount --bind {home} {home}; mount -o remount,bind,ro {home}"
        ));
        lacks(
            &laptop,
            "program",
            "not_writable",
            "/home/nvidia cannot be written: it is mounted read-only",
        );
        let done = laptop.replica("apply -y").exits(6);
        done.shows("mounted read-only").hides("another run");
        lab.leader("spark-01", "instance/a");
        assert_eq!(lab.marked("spark-02", "v1:"), []);

        homes_are_told(lab, &laptop);
        on(&format!(
            "rm {home}/.local; mount --bind /dev/null /usr/bin/flock"
        ));
        lacks(&laptop, "program", "no_tool", "there is no flock");
        laptop
            .replica("apply -y")
            .exits(1)
            .shows("there is no flock");
        on("umount /usr/bin/flock; mount --bind /dev/null /usr/bin/setsid");
        lacks(&laptop, "instance.b", "no_tool", "there is no setsid");
        on("umount /usr/bin/setsid");
        laptop.applies();
        laptop.is_converged();

        // What runs as declared stays, whatever its node lacks by now.
        on(&format!(
            "mount --bind {home} {home}; mount -o remount,bind,ro,noexec {home}"
        ));
        laptop.is_converged();
        laptop.replica("destroy -y").exits(6).shows("spark-02");
        lab.leader("spark-02", "instance/b");
        on(&format!("umount {home}"));
        laptop.replica("destroy -y").exits(0);
    });
}

/// One machine under two names is told with both, and never taken for another run.
#[test]
fn one_machine_under_two_names_is_planned() {
    scenario("3", |lab| {
        let twice = DEMO.replace(
            "{ssh: spark-02, addresses: {lan: 10.77.0.12}}",
            "{ssh: 'nvidia@10.77.0.11', addresses: {lan: 10.77.0.11}}",
        );
        let known = std::fs::read_to_string(lab.file("ssh_config")).unwrap();
        let config = known.replace("Host spark-01", "Host spark-01 10.77.0.11");
        let laptop = Laptop::with(lab, &twice).with_ssh_config(&config);
        let plan = laptop.plan();
        for thing in ["spark-01/instance.a", "spark-02/instance.b"] {
            let blocked = change(&plan, thing);
            assert_eq!(blocked["action"], "blocked", "{plan:#}");
            assert_eq!(blocked["reasons"][0]["code"], "shared_folder", "{plan:#}");
            let said = reasons(blocked);
            assert!(
                said.contains("spark-01 and spark-02 are one machine"),
                "{said}"
            );
        }
        let done = laptop.replica("apply -y").exits(6);
        done.shows("are one machine").hides("another run");
        assert_eq!(lab.marked("spark-01", "v1:"), []);
        laptop.declares(DEMO);
        laptop.applies();
        laptop.is_converged();
    });
}
