//! Names and addresses that are not what the manifest takes them for.

use std::fs;

use super::hosts::Lab;
use super::laptop::{DEMO, Laptop, change};
use super::stage::scenario;

/// What is planned for `a`, as text.
fn planned(laptop: &Laptop) -> (String, String) {
    let plan = laptop.plan();
    let a = change(&plan, "spark-01/instance.a");
    (a["action"].to_string(), a["reasons"].to_string())
}

fn at(address: &str) -> String {
    DEMO.replace("{lan: 10.77.0.11}", &format!("{{lan: {address}}}"))
}

fn knows(lab: &Lab, host: &str, line: &str) {
    lab.exec(host, &format!("echo '{line}' >>/etc/hosts"));
}

/// A name that its own node maps to loopback, as Debian does: nothing is started where nobody reaches
/// it, and the address to declare is told. With that, it serves.
#[test]
fn a_name_that_stands_for_loopback_on_its_node_is_planned() {
    scenario("3", |lab| {
        for host in ["controller", "spark-01", "spark-02"] {
            knows(lab, host, "127.0.1.1 gpu-box-01.local");
        }
        let laptop = Laptop::with(lab, &at("GPU-Box-01.local"));
        let (action, reasons) = planned(&laptop);
        assert_eq!(action, "\"blocked\"", "{reasons}");
        assert!(reasons.contains("no_address"), "{reasons}");
        assert!(reasons.contains("stands for 127.0.1.1"), "{reasons}");
        assert!(reasons.contains("{lan: 10.77.0.11}"), "{reasons}");
        laptop.replica("apply -y").exits(6).shows("127.0.1.1");
        assert_eq!(lab.marked("spark-01", "v1:demo:instance/a:"), []);

        laptop.declares(&at("10.77.0.99"));
        assert!(planned(&laptop).1.contains("has no address 10.77.0.99"));
        laptop.declares(DEMO);
        laptop.applies();
        laptop.is_converged();
    });
}

/// A node that is known by its alias in the SSH configuration alone: that is no name there.
#[test]
fn an_alias_is_no_address_and_the_one_to_declare_is_told() {
    scenario("3", |lab| {
        let config = fs::read_to_string(lab.file("ssh_config")).unwrap();
        let alias = config.replace("Host spark-01", "Host dgx-left spark-01");
        let manifest = DEMO.replace(
            "{ssh: spark-01, addresses: {lan: 10.77.0.11}}",
            "{ssh: dgx-left}",
        );
        let laptop = Laptop::with(lab, &manifest).with_ssh_config(&alias);
        let (action, reasons) = planned(&laptop);
        assert_eq!(action, "\"blocked\"", "{reasons}");
        assert!(
            reasons.contains("does not know the name `dgx-left`"),
            "{reasons}"
        );
        assert!(reasons.contains("{lan: 10.77.0.11}"), "{reasons}");
        laptop.declares(&manifest.replace(
            "{ssh: dgx-left}",
            "{ssh: dgx-left, addresses: {lan: 10.77.0.11}}",
        ));
        laptop.applies();
        laptop.is_converged();
    });
}
