//! E1: a driver that is older than the CUDA of a declared vLLM. Its wheels bring CUDA with them, and find the driver
//! too old when the engine starts, after everything was installed: CUDA 13 wants 580, CUDA 12 wants 525.

use serde_json::json;

use super::Case;
use super::case::Seen;
use super::finding::{Check, Found, Severity};
use crate::resource::engine::cuda_of_vllm;

/// The first driver of each major version of CUDA, of which later ones need no newer.
const DRIVERS: [(u32, u32); 2] = [(12, 525), (13, 580)];

pub(super) const CHECK: Check = Check {
    id: "E1",
    name: "the driver is too old for the wheels",
    why: "They install, and end at the start with `CUDA driver version is insufficient for CUDA runtime version`.",
    reported: Some("https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/index.html"),
    look,
};

fn look(case: &Case<'_>) -> Vec<Found> {
    case.each(|seen| found(case, seen))
}

fn found(case: &Case<'_>, seen: &Seen<'_>) -> Option<Found> {
    let driver = seen.machine.driver.as_deref()?;
    let major: u32 = driver.split('.').next()?.parse().ok()?;
    let servers = case.servers(seen.name).into_iter();
    let too_new = servers.filter_map(|(_, server)| {
        let version = &server.runtime.vllm()?.engine.version;
        let cuda = cuda_of_vllm(version)?;
        let (_, least) = DRIVERS.iter().find(|(major, _)| *major == cuda)?;
        (major < *least).then_some((version.as_str(), cuda, *least))
    });
    let (version, cuda, least) = too_new.max_by_key(|(_, cuda, _)| *cuda)?;
    Some(Found {
        severity: Severity::Problem,
        nodes: vec![seen.name.clone()],
        message: format!(
            "driver {driver}, and vLLM {version} is built for CUDA {cuda}, which wants {least}"
        ),
        evidence: json!({"driver": driver, "vllm": version, "cuda": cuda, "driver_at_least": least}),
        hint: format!(
            "sudo apt install nvidia-driver-{least}-open and reboot, or a `vllm:` for an older CUDA (`+cu129`)"
        ),
    })
}
