//! What is wrong with hosts is told, and nothing on them is changed.

use serde_json::Value;

use super::laptop::{DEMO, Laptop};
use super::stage::scenario;

/// A clock that is off and an address that is not there are found over SSH; hosts that are well have neither.
#[test]
fn what_is_wrong_with_a_host_is_told_with_the_line_that_mends_it() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let told = laptop.replica("doctor --json").exits(0).json();
        let ids = |told: &serde_json::Value| -> Vec<String> {
            let findings = told["findings"].as_array().expect("it is a list");
            let id = |it: &serde_json::Value| it["id"].as_str().expect("it has one").to_owned();
            findings.iter().map(id).collect()
        };
        for id in ["A1", "F1", "N3"] {
            assert!(!ids(&told).contains(&id.to_owned()), "{told:#}");
        }
        let files = lab.files("spark-01");

        lab.does("skew spark-02 3600");
        let wrong = DEMO.replace(
            "addresses: {lan: 10.77.0.11}",
            "addresses: {lan: 10.77.0.11, fabric: 10.99.0.1}",
        );
        laptop.declares(&wrong);
        let told = laptop.replica("doctor --json --exit-code").exits(2).json();
        for id in ["F1", "N3"] {
            assert!(ids(&told).contains(&id.to_owned()), "{told:#}");
        }
        let _ = laptop
            .replica("doctor topology.yaml spark-01")
            .exits(0)
            .shows("F1 problem, the fast link is not there")
            .shows("spark-01: no interface has its `fabric` address 10.99.0.1")
            .hides("N3");
        assert_eq!(lab.files("spark-01"), files, "it only looks");
        let _ = laptop.replica("doctor nobody").exits(64);
        lab.does("cut spark-02 --mode reject");
        let told = laptop.replica("doctor --json").exits(4).json();
        assert!(told["unreachable"]["spark-02"].is_string(), "{told:#}");
    });
}

/// What is told of the link between two hosts, and how much goes from the first to the second.
fn links(laptop: &Laptop) -> (Value, f64) {
    let told = laptop.replica("doctor topology.yaml spark-01 spark-02 --measure --json");
    let told = told.exits(0).json();
    let links = told["measured"]["links"].as_array().expect("it is a list");
    assert_eq!(links.len(), 2, "{told:#}");
    for link in links {
        assert!(link["gbit_per_s"].as_f64() > Some(0.0), "{told:#}");
        assert!(link["rtt_ms"].as_f64() > Some(0.0), "{told:#}");
        assert_eq!(
            (&link["network"], &link["encrypted"]),
            (&"fabric".into(), &false.into())
        );
    }
    let there = links[0]["gbit_per_s"].as_f64().expect("it is a number");
    (told, there)
}

/// What goes through a link is measured from host to host, and one through which little goes is told, though its
/// interfaces say what they said before. Nothing of it stays.
#[test]
fn what_goes_through_a_link_is_measured() {
    scenario("3", |lab| {
        let trusted = ["11", "12"].iter().fold(DEMO.to_owned(), |manifest, host| {
            let lan = format!("lan: 10.77.0.{host}");
            let both = format!("{lan}, fabric: {{address: 10.77.0.{host}, trusted: true}}");
            manifest.replace(&lan, &both)
        });
        let laptop = Laptop::with(lab, &trusted);
        let (_, before) = links(&laptop);

        // A tenth of a percent of what the interface says: whatever else this machine does, more goes through it.
        lab.exec(
            "spark-01",
            "tc qdisc add dev eth0 root tbf rate 10mbit burst 64kb latency 50ms",
        );
        let (told, there) = links(&laptop);
        assert!(there < before && there < 0.05, "{told:#}");
        let findings = told["findings"].as_array().expect("it is a list");
        let found: Vec<_> = findings.iter().filter(|it| it["id"] == "F8").collect();
        assert_eq!(found[0]["severity"], "problem", "{told:#}");
        assert_eq!(found[0]["nodes"][0], "spark-01", "{told:#}");
        assert_eq!(
            found[0]["evidence"]["interfaces_say_gbit_per_s"], 10.0,
            "{told:#}"
        );
        lab.exec("spark-01", "tc qdisc del dev eth0 root");

        let (_, after) = links(&laptop);
        assert!(after > there);
        // Sealed too, where nobody says that the network is trusted; and one host alone has no link.
        laptop.declares(&trusted.replace(", trusted: true", ""));
        let _ = laptop
            .replica("doctor topology.yaml spark-01 spark-02 --measure")
            .exits(0)
            .shows("spark-01 to spark-02 over fabric:")
            .shows("AES-256-GCM");
        let _ = laptop
            .replica("doctor topology.yaml spark-01 --measure")
            .exits(0)
            .shows("not measured: the links: no two of these nodes");
        for host in ["spark-01", "spark-02"] {
            let left = lab.files(host);
            assert!(!left.iter().any(|it| it.contains("measure")), "{left:?}");
            assert!(!lab.exec(host, "ps ax").contains("copy-"));
        }
    });
}

/// A server that runs answers a burst, and what its GPU is at meanwhile is told; where none runs, it is said what to
/// do. A GPU that is held back shows it only then.
#[test]
fn a_server_is_measured_while_it_works() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        let measures = || laptop.replica("doctor topology.yaml spark-01 spark-02 --measure --json");
        let told = measures().exits(0).json();
        let left_out = told["measured"]["left_out"].to_string();
        for why in [
            "spark-01 under a load: `a` does not serve there; `replica apply`",
            "spark-02 under a load: `b` does not serve there",
        ] {
            assert!(left_out.contains(why), "{told:#}");
        }

        laptop.applies();
        for (host, at) in [
            ("spark-01", "2411 61.00 96 0x0000000000000000"),
            ("spark-02", "695 28.00 96 0x0000000000000000"),
        ] {
            lab.exec(host, &format!("echo {at} >/etc/fake-gpu-at"));
        }
        let told = measures().exits(0).json();
        let loads = told["measured"]["loads"].as_array().expect("it is a list");
        let of = |name: &str| {
            let mut all = loads.iter();
            let load = all.find(|it| it["instance"] == name);
            load.unwrap_or_else(|| panic!("no {name} in {told:#}"))
        };
        for (name, clock) in [("a", 2411.0), ("b", 695.0)] {
            assert!(of(name)["decode_ms"].as_f64() > Some(0.0), "{told:#}");
            assert!(of(name)["tok_s"].as_f64() > Some(0.0), "{told:#}");
            assert_eq!(of(name)["gpu"]["clock_mhz"], clock, "{told:#}");
        }
        let findings = told["findings"].as_array().expect("it is a list");
        let held_back: Vec<_> = findings.iter().filter(|it| it["id"] == "N6").collect();
        assert_eq!(held_back.len(), 1, "{told:#}");
        assert_eq!(held_back[0]["nodes"][0], "spark-02", "{told:#}");
        laptop.is_converged();
        let shows = laptop.replica("doctor topology.yaml spark-01 --measure");
        let _ = shows
            .exits(0)
            .shows("`a` on spark-01 alone:")
            .shows("its GPU at 2411 MHz, 61 W");
    });
}
