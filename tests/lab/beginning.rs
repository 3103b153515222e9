//! A first manifest, by what hosts say of themselves over SSH.

use std::fs;

use super::laptop::{DEMO, Laptop};
use super::stage::{eventually, scenario};

/// What the nodes have is found, and the plan of it is one that `apply` could go on with.
#[test]
fn what_the_hosts_have_is_declared_and_can_be_planned() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        fs::remove_file(laptop.folder().join("topology.yaml")).expect("the folder is ours");
        lab.starts("spark-01", "python3 -m http.server 8100");
        eventually("somebody listens on port 8100", || {
            (lab.listeners("spark-01", 8100) > 0).then_some(())
        });
        let said = laptop.replica("init spark-01 spark-02 controller").exits(0);
        let _ =
            said.shows("topology.yaml is written, by what spark-01, spark-02 and controller said.");
        let text = fs::read_to_string(laptop.folder().join("topology.yaml")).expect("it is there");
        for line in [
            "    ssh: spark-01\n    addresses: {lan: 10.77.0.11}\n",
            "    venv: ~/src/github.com/elizabetht/spark/.venv\n    vllm: 0.13.0+cu130\n",
            "    repo: meta-llama/Llama-3.1-8B-Instruct\n    revision: ",
            "  a: {node: spark-01, port: 8101, engine: vllm, model: Llama-3.1-8B-Instruct}\n",
            "  b: {node: spark-02, port: 8100, engine: vllm, model: Llama-3.1-8B-Instruct}\n",
            "8100 (python3)",
            "NVIDIA GB10",
        ] {
            assert!(text.contains(line), "no `{line}` in\n{text}");
        }
        let _ = laptop.replica("validate").exits(0);
        let plan = laptop.replica("plan --json").exits(0).json();
        assert_eq!(plan["summary"]["blocked"], 0, "{plan:#}");

        // Without hosts, those of the SSH configuration: one that does not answer is told.
        lab.does("cut spark-02 --mode reject");
        let said = laptop.replica("init -o own.yaml").exits(0);
        let text = fs::read_to_string(laptop.folder().join("own.yaml")).expect("it is there");
        assert!(
            text.contains("#   spark-02: ") || text.contains("# spark-02: "),
            "{text}"
        );
        assert!(said.err.contains("spark-02 is not in it"), "{}", said.err);
    });
}
