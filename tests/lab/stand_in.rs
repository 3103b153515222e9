//! What takes the place of vLLM on hosts: the simulator, where the venv's `vllm` leads.

use std::fs;

use super::hosts::Lab;
use super::laptop::program;

/// Runs the simulator by vLLM's own command line, in the place of the shell.
pub(super) const SIMULATES: &str = "exec /opt/lab/replica simulate \"$@\"";

/// Puts a shell script in the place of vLLM on hosts.
pub(super) fn stand_in(lab: &Lab, hosts: &[&str], script: &str) {
    let vllm = lab.folder().join("vllm");
    fs::write(&vllm, format!("#!/bin/sh\n{script}\n")).unwrap();
    for host in hosts {
        lab.install(host, program(), "/opt/lab/replica");
        lab.install(host, &vllm, "/opt/lab/vllm");
    }
}
