//! Why a server died, by what its log says: vLLM's own words, and those of what it stands on.
//!
//! A line that fits is the cause, should the process die, and its remedy is the hint.

const MEMORY: &str = "lower args.gpu_memory_utilization or args.max_model_len";
const ARGUMENT: &str = "see `vllm serve --help=all` on the node";
const LICENCE: &str = "accept the model's licence and fetch it with a token";
const TOKEN: &str = "the hub does not take the token, or wants one: declare `token: {from_env: HF_TOKEN}` at the model";
const REPOSITORY: &str = "the hub has no such repository, or shows it to nobody without a token; see the model's `repo`, \
     and what `args` names beside it";
const OFFLINE: &str = "a server is started with what the node has and fetches nothing: give what `args` names beside \
     the model (a tokenizer, a draft model) as a path on the node";
const UNCACHED: &str =
    "the model is not whole in the cache of the node; `replica plan` looks for it anew";
const KILLED: &str = "it was ended from outside, as the kernel does where memory runs out (`dmesg` on the node tells): \
     free memory there, or lower what the server asks for";
const DRIVER: &str = "the driver of the node is older than the CUDA of this build: update it, or declare an older build";
const NO_DRIVER: &str = "the node has no NVIDIA driver, or none that programs can find";
const NO_GPU: &str = "see `nvidia-smi` on the node, and env CUDA_VISIBLE_DEVICES";
const FEWER_GPUS: &str = "the node has fewer GPUs than the server is to use: see args.tensor_parallel_size, and env CUDA_VISIBLE_DEVICES";
const CODE: &str = "this build has no code for the GPU of the node: declare one that has, with its index (`vllm`, \
     `packages.torch`, `extra_indexes`)";
const TOGETHER: &str =
    "vLLM and torch are builds that do not go together; see the engine's `vllm` and `packages`";
const LIBRARY: &str = "the node lacks the library, or programs do not find it: install it there, or name its folder by \
     env LD_LIBRARY_PATH";
const ARCHITECTURE: &str = "this vLLM version does not know the model's architecture: declare a newer `vllm`, or another model";
const WEIGHTS: &str =
    "a file of the weights is not whole: remove it from the cache of the node, and apply again";
const DISK: &str = "free some of the node's disk";
const ASSEMBLER: &str = "set env TRITON_PTXAS_PATH: /usr/local/cuda/bin/ptxas";
const TRANSPORTS: &str = "NIXL did not find its own CUDA transports (nixl-cu13 1.0.0 does not): name their folder by env \
     UCX_MODULE_DIR, the `nixl_cu13.libs/ucx` in the environment's site-packages";
const HEADERS: &str = "install the headers of the node's Python, such as python3-dev";

/// What is said, in lower case, and what to do about it: the first that fits counts.
const CAUSES: &[(&str, &str)] = &[
    // Memory.
    (
        "is less than desired gpu memory utilization",
        "free memory on the node, or lower args.gpu_memory_utilization",
    ),
    (
        "no available memory for the cache blocks",
        "the model leaves nothing of its share: raise args.gpu_memory_utilization",
    ),
    (
        "is larger than the available kv cache memory",
        "lower args.max_model_len, or raise args.gpu_memory_utilization",
    ),
    (
        "is larger than the maximum number of tokens",
        "lower args.max_model_len",
    ),
    (
        "is greater than the derived max_model_len",
        "lower args.max_model_len to what the model was made for",
    ),
    ("out of memory: killed", KILLED),
    ("out of memory", MEMORY),
    ("outofmemoryerror", MEMORY),
    (
        "nv_err_no_memory",
        "free memory on the node: the driver found none",
    ),
    (
        "unable to allocate shared memory",
        "/dev/shm of the node is too small, or full",
    ),
    (
        "bus error",
        "/dev/shm of the node is too small, or full: what is in the memory of two processes is there",
    ),
    // Ended from outside: the status of a part of the server, or of what a wrapper ran.
    (": -9}", KILLED),
    (": -9, ", KILLED),
    ("exit code -9", KILLED),
    ("signals.sigkill", KILLED),
    ("status 137", KILLED),
    ("code 137", KILLED),
    // Arguments.
    (
        "unrecognized arguments",
        "this vLLM version does not know the argument; see `vllm serve --help=all` on the node",
    ),
    (
        "error: argument --",
        "vLLM does not take the value; see `vllm serve --help=all` on the node",
    ),
    (
        "error: ambiguous option",
        "write the argument's whole name; see `vllm serve --help=all` on the node",
    ),
    ("must be divisible by tensor parallel size", ARGUMENT),
    (
        "bfloat16 is only supported on gpus with compute capability",
        "set args.dtype: half",
    ),
    // Drivers, GPUs, and what is built for them.
    (
        "libcudart.so",
        "the vLLM build and the node's CUDA differ; see engines.vllm and its build variant",
    ),
    ("libcuda.so", NO_DRIVER),
    ("found no nvidia driver", NO_DRIVER),
    ("cuda driver version is insufficient", DRIVER),
    ("nvidia driver on your system is too old", DRIVER),
    ("compiled with an unsupported toolchain", DRIVER),
    ("forward compatibility was attempted", DRIVER),
    ("no kernel image is available", CODE),
    (
        "failed to infer device type",
        "vLLM found no GPU; see `nvidia-smi` on the node, and whether the build is one for CPUs",
    ),
    ("no cuda gpus are available", NO_GPU),
    ("no cuda-capable device", NO_GPU),
    ("cuda unknown error", NO_GPU),
    ("invalid device ordinal", FEWER_GPUS),
    ("is larger than the number of available gpus", FEWER_GPUS),
    (
        "system not yet initialized",
        "the GPUs wait for the fabric manager: start nvidia-fabricmanager on the node",
    ),
    (
        "uncorrectable ecc error",
        "the GPU is faulty, or wants a reset; see `nvidia-smi -q -d ECC` on the node",
    ),
    (
        "nccl error",
        "the GPUs do not reach each other: set env NCCL_DEBUG: INFO to see why",
    ),
    (
        "illegal instruction",
        "this build uses instructions that the processor of the node does not have",
    ),
    // Libraries and packages.
    (
        "glibcxx_",
        "the node's libstdc++ is older than this build wants: install a newer one (libstdc++6), or \
         name the folder of one by env LD_LIBRARY_PATH",
    ),
    (
        "cxxabi_",
        "the node's libstdc++ is older than this build wants: install a newer one (libstdc++6), or \
         name the folder of one by env LD_LIBRARY_PATH",
    ),
    (
        "version `glibc_",
        "the system of the node is older than this build wants: declare an older build, or upgrade it",
    ),
    ("undefined symbol", TOGETHER),
    ("cannot open shared object file", LIBRARY),
    (
        "modulenotfounderror: no module named",
        "the environment lacks a package: declare it in the engine's `packages`",
    ),
    ("vram memory is detected as host", TRANSPORTS),
    ("ptxaserror", ASSEMBLER),
    ("ptxas fatal", ASSEMBLER),
    (
        "failed to find c compiler",
        "install gcc on the node, or name a compiler by env CC",
    ),
    (
        "no working c++ compiler found",
        "install g++ on the node, or name a compiler by env CXX",
    ),
    ("python.h: no such file", HEADERS),
    // Ports and addresses.
    (
        "zmqerror: address already in use",
        "a port beside the server's own is taken: give each server of a node its own, as by env \
         VLLM_NIXL_SIDE_CHANNEL_PORT",
    ),
    (
        "address already in use",
        "another process holds the port; `replica plan` names it",
    ),
    (
        "cannot assign requested address",
        "the node has no such address; see `host` and the node's `addresses`",
    ),
    (
        "gaierror",
        "the node does not know the name: declare the address itself in the node's `addresses`",
    ),
    // The model.
    ("gatedrepo", LICENCE),
    ("access a gated repo", LICENCE),
    ("cannot access gated repo", LICENCE),
    (
        "is restricted and you are not in the authorized list",
        LICENCE,
    ),
    ("401 client error", TOKEN),
    ("invalid user token", TOKEN),
    ("repositorynotfound", REPOSITORY),
    ("404 client error", REPOSITORY),
    ("is not a valid model identifier", REPOSITORY),
    ("offlinemodeisenabled", OFFLINE),
    ("offline mode is enabled", OFFLINE),
    ("outgoing traffic has been disabled", OFFLINE),
    ("couldn't find them in the cached files", OFFLINE),
    (
        "hfvalidationerror:",
        "the model is not where it should be; `replica plan` looks for it anew",
    ),
    ("localentrynotfounderror:", UNCACHED),
    (
        "cannot find any model weights",
        "the model has no weights in its folder; `replica plan` looks for them anew",
    ),
    ("safetensorerror", WEIGHTS),
    (
        "trust_remote_code=true",
        "the model brings code of its own: set args.trust_remote_code: true if you trust it",
    ),
    ("are not supported for now", ARCHITECTURE),
    ("does not recognize this architecture", ARCHITECTURE),
    ("has no vllm implementation", ARCHITECTURE),
    (
        "can't load tokenizer for",
        "the model has no tokenizer in its folder; name one by args.tokenizer",
    ),
    (
        "package is not available in your environment",
        "declare the package in the engine's `packages`, or take back the variable that wants it",
    ),
    // The node.
    ("no space left on device", DISK),
    ("disk quota exceeded", DISK),
    (
        "permissionerror: [errno 13]",
        "the user that replica logs in as may not use it: give it to that user (chown), or log in as another one",
    ),
    (
        "read-only file system",
        "the server writes there: mount it so that it can be written, or name another place by env",
    ),
];

/// What to do about what a line says; nothing where it is not known to be a cause.
pub(super) fn remedy(line: &str) -> Option<&'static str> {
    if is_killed(line) {
        return Some(KILLED);
    }
    let low = line.to_lowercase();
    let found = CAUSES.iter().find(|(sign, _)| low.contains(sign));
    found.map(|(_, remedy)| *remedy)
}

/// What a shell says of a child that got SIGKILL: `Killed`, or `run.sh: line 3: 71 Killed  vllm serve`.
fn is_killed(line: &str) -> bool {
    let line = line.trim();
    line == "Killed" || (line.contains(": line ") && line.contains(" Killed "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Last words of servers, each with a part of what is to be done. The first were written by vLLM
    /// 0.13.0 as it was made to fail; the others are as its users reported them.
    const LAST_WORDS: &[(&str, &str)] = &[
        (
            "vllm: error: unrecognized arguments: --gpu-memory-utilisation 0.3",
            "does not know",
        ),
        (
            "vllm serve: error: argument --dtype: invalid choice: 'fp12' (choose from 'auto')",
            "does not take the value",
        ),
        (
            "OSError: [Errno 98] Address already in use",
            "holds the port",
        ),
        (
            "OSError: [Errno 99] Cannot assign requested address",
            "`addresses`",
        ),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/nowhere/model'. Use `repo_type` argument if needed.",
            "looks for it anew",
        ),
        (
            "Value error, User-specified max_model_len (999999) is greater than the derived max_model_len (max_position_embeddings=2048.0 or model_max_length=None in model's config.json).",
            "was made for",
        ),
        (
            "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory",
            "build variant",
        ),
        ("Killed", "dmesg"),
        (
            "/opt/run.sh: line 3:  4711 Killed                  vllm serve /m --port 8100",
            "dmesg",
        ),
        (
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': -9}",
            "dmesg",
        ),
        (
            "subprocess.CalledProcessError: Command '['vllm']' died with <Signals.SIGKILL: 9>.",
            "dmesg",
        ),
        ("container exited with code 137", "dmesg"),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
            "args.gpu_memory_utilization",
        ),
        (
            "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
            "no code for the GPU",
        ),
        (
            "ImportError: /lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /v/lib/python3.12/site-packages/x.so)",
            "libstdc++",
        ),
        (
            "ImportError: /lib/libstdc++.so.6: version `CXXABI_1.3.15' not found",
            "libstdc++",
        ),
        (
            "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found",
            "older build",
        ),
        (
            "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory",
            "no NVIDIA driver",
        ),
        (
            "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
            "LD_LIBRARY_PATH",
        ),
        (
            "ImportError: /v/vllm/_C.abi3.so: undefined symbol: _ZN3c104cuda9SetDeviceEi",
            "do not go together",
        ),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver",
            "update it",
        ),
        (
            "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
            "update it",
        ),
        (
            "RuntimeError: Found no NVIDIA driver on your system.",
            "no NVIDIA driver",
        ),
        ("RuntimeError: No CUDA GPUs are available", "nvidia-smi"),
        (
            "RuntimeError: CUDA error: invalid device ordinal",
            "fewer GPUs",
        ),
        (
            "Value error, World size (2) is larger than the number of available GPUs (1) in this node.",
            "fewer GPUs",
        ),
        (
            "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (3).",
            "--help=all",
        ),
        ("OSError: You are trying to access a gated repo.", "licence"),
        (
            "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: Root=1)",
            "licence",
        ),
        (
            "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized for url: http://hub/api/models/o/m",
            "from_env: HF_TOKEN",
        ),
        (
            "huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1)",
            "no such repository",
        ),
        (
            "OSError: o/draft is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
            "no such repository",
        ),
        (
            "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://huggingface.co/o/draft: offline mode is enabled.",
            "path on the node",
        ),
        (
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.",
            "path on the node",
        ),
        (
            "Value error, Model architectures ['NewForCausalLM'] are not supported for now. Supported architectures: dict_keys([",
            "newer `vllm`",
        ),
        (
            "Value error, The checkpoint you are trying to load has model type `new` but Transformers does not recognize this architecture.",
            "newer `vllm`",
        ),
        (
            "ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (1.21 GiB).",
            "args.max_model_len",
        ),
        (
            "safetensors_rust.SafetensorError: Error while deserializing header: header too large",
            "not whole",
        ),
        (
            "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.1:5600')",
            "VLLM_NIXL_SIDE_CHANNEL_PORT",
        ),
        (
            "socket.gaierror: [Errno -2] Name or service not known",
            "`addresses`",
        ),
        (
            "OSError: [Errno 28] No space left on device: '/home/n/.cache/vllm'",
            "disk",
        ),
        ("OSError: [Errno 122] Disk quota exceeded", "disk"),
        (
            "PermissionError: [Errno 13] Permission denied: '/home/n/.cache/vllm/x'",
            "chown",
        ),
        (
            "ModuleNotFoundError: No module named 'flashinfer'",
            "`packages`",
        ),
        (
            "E0509 10:00:00.000000 60 ucx_utils.cpp:592] VRAM memory is detected as host by UCX. UCX is likely not configured with CUDA support.",
            "UCX_MODULE_DIR",
        ),
        ("Illegal instruction (core dumped)", "instructions"),
        ("Fatal Python error: Bus error", "/dev/shm"),
    ];

    #[test]
    fn last_words_are_told_with_what_to_do() {
        for (line, do_this) in LAST_WORDS {
            let hint = remedy(line).unwrap_or_else(|| panic!("{line}"));
            assert!(hint.contains(do_this), "{line}: {hint}");
        }
    }

    /// Each sign is lower case, and none stands in the shadow of one before it.
    #[test]
    fn every_sign_is_found_by_itself() {
        for (at, (sign, remedy)) in CAUSES.iter().enumerate() {
            assert_eq!(*sign, sign.to_lowercase());
            let shadow = CAUSES[..at]
                .iter()
                .find(|(before, other)| sign.contains(before) && other != remedy);
            assert_eq!(shadow, None, "{sign}");
        }
    }

    #[test]
    fn what_goes_on_is_no_cause() {
        for line in [
            "INFO 11-25 13:20:59 [api_server.py:262] Killed 3 idle connections",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore_DP0': 1}",
            "Loading safetensors checkpoint shards:  75% Completed | 3/4",
        ] {
            assert_eq!(remedy(line), None, "{line}");
        }
    }
}
