//! What `status` tells of the machines.

use super::laptop::{DEMO, Laptop};
use super::stage::scenario;

/// A GPU has its memory, or shares the node's; without an answer it is told why.
#[test]
fn the_memory_of_each_gpu_is_shown_or_called_unified() {
    scenario("3", |lab| {
        let laptop = Laptop::with(lab, DEMO);
        lab.exec(
            "controller",
            "echo 'NVIDIA RTX PRO 6000, 97887' >/etc/fake-gpu",
        );
        lab.starts("controller", "env FAKE_GPU_MIB=2048 sleep 1000");
        lab.exec("spark-02", "touch /etc/fake-gpu-fail");
        let told = laptop.replica("status --json").exits(0).json();
        let nodes = &told["nodes"];
        let memory = &nodes["controller"]["gpus"][0]["memory"];
        assert_eq!(memory["used"], 2048_u64 << 20, "{nodes:#}");
        assert_eq!(memory["total"], 97_887_u64 << 20, "{nodes:#}");
        let spark = &nodes["spark-01"];
        assert_eq!(spark["gpus"][0]["name"], "NVIDIA GB10", "{nodes:#}");
        assert_eq!(spark["gpus"][0]["memory"], "unified", "{nodes:#}");
        let of = |key: &str| spark["memory"][key].as_u64().expect("it is told in bytes");
        assert!(
            0 < of("available") && of("available") < of("total"),
            "{nodes:#}"
        );
        let silent = nodes["spark-02"]["gpus"].as_array().expect("it answered");
        assert!(silent.is_empty(), "{nodes:#}");
        let trouble = nodes["spark-02"]["gpu_trouble"]
            .as_str()
            .unwrap_or_default();
        assert!(
            trouble.starts_with("fails: NVIDIA-SMI has failed"),
            "{nodes:#}"
        );

        laptop
            .replica("status")
            .exits(0)
            .shows("controller NVIDIA RTX PRO 6000 2.0 of 95.6 GiB used")
            .shows("spark-01 NVIDIA GB10 unified, ")
            .shows("spark-02 ? nvidia-smi fails: NVIDIA-SMI has failed")
            .shows("GiB available");
        lab.does("cut spark-02 --mode reject");
        let told = laptop.replica("status --json").exits(4).json();
        assert!(told["nodes"]["spark-02"].get("gpus").is_none(), "{told:#}");
    });
}
