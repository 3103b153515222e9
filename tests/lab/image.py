"""The files that every host is made of: a base layer, and a layer that makes it a GPU host."""

import contextlib
import hashlib
import json
import os
import shutil
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
UID = 1000
HOME = "home/nvidia"
VENV = f"{HOME}/src/github.com/elizabetht/spark/.venv"
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
REVISION = "0e9e39f249a16976918f6564b8830bc894c89659"
DISTS = {
    "vllm": "0.13.0+cu130",
    "torch": "2.9.1",
    "torchvision": "0.24.1",
    "torchaudio": "2.9.1",
}

# What of the machine's /etc its programs need; nothing secret, nothing about the machine's users.
ETC = """alternatives bash.bashrc debian_version environment ld.so.cache ld.so.conf ld.so.conf.d
    localtime login.defs lsb-release os-release pam.conf pam.d profile protocols security services
    ssh/moduli ssl/openssl.cnf timezone""".split()

SSHD = """Include /etc/ssh/sshd_config.d/*.conf
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM {pam}
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
PidFile /run/sshd.pid
"""

VLLM = """#!/bin/sh
# Where vLLM's own launcher would be. There is no vLLM here: the stand-in of the test takes its place.
program=${FAKE_VLLM:-/opt/lab/vllm}
if ! [ -x "$program" ]; then
    echo "vllm: this host has no $program; put one there with: lab install HOST FILE $program" >&2
    exit 127
fi
exec "$program" "$@"
"""


class Layer:
    """A directory tree under construction."""

    def __init__(self, top):
        self.top = top

    def path(self, name):
        path = os.path.join(self.top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def file(self, name, content, mode=0o644):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)

    def directory(self, name, mode=0o755):
        os.makedirs(self.path(name), exist_ok=True)
        os.chmod(self.path(name), mode)

    def link(self, name, target):
        os.symlink(target, self.path(name))

    def give_home_away(self):
        """The home belongs to its user."""
        for folder, _, files in os.walk(os.path.join(self.top, HOME)):
            for name in ["", *files]:
                os.chown(os.path.join(folder, name), UID, UID, follow_symlinks=False)


def build(top, *, names, pam, authorized_key, system=None):
    """Make the layers `base` and `gpu` under `top`. `names`: address -> host name; `system`: the root
    of a system that lies below them, and boots."""
    base = Layer(os.path.join(top, "base"))
    if system:
        above(system, base)
    else:
        everything(base)
    base.file("etc/fake-gpu", "NVIDIA RTX PRO 6000 Blackwell Workstation Edition, 97887\n")
    base.file("etc/hosts", "127.0.0.1 localhost\n" + "".join(f"{a} {n}\n" for a, n in names.items()))
    base.file("etc/ssh/sshd_config", SSHD.format(pam="yes" if pam else "no"))
    base.directory("etc/ssh/sshd_config.d")
    base.file(f"{HOME}/.ssh/authorized_keys", authorized_key, 0o600)
    os.chmod(base.path(f"{HOME}/.ssh"), 0o700)
    base.file(f"{HOME}/.bashrc", "# a quiet one\n")
    base.give_home_away()

    gpu = Layer(os.path.join(top, "gpu"))
    gpu.file("etc/fake-gpu", "NVIDIA GB10\n")
    virtual_environment(gpu)
    model_cache(gpu)
    gpu.give_home_away()


def above(system, base):
    """What a host has over a system that boots: its user."""
    for name, line in (
        ("passwd", f"nvidia:x:{UID}:{UID}:NVIDIA:/home/nvidia:/bin/bash\n"),
        ("group", f"nvidia:x:{UID}:\n"),
        ("shadow", "nvidia:*:20000::::::\n"),
    ):
        with open(f"{system}/etc/{name}") as file:
            base.file(f"etc/{name}", file.read() + line, 0o600 if name == "shadow" else 0o644)
    base.file("usr/local/bin/nvidia-smi", open(f"{HERE}/nvidia-smi").read(), 0o755)
    base.directory("opt/lab")


def everything(base):
    """What a host has that is started by ours: the machine lends it its kernel and its /usr."""
    for name in ("dev", "mnt", "proc", "run", "srv", "sys", "usr", "opt/lab", "var/log", "root"):
        base.directory(name)
    base.directory("tmp", 0o1777)
    base.directory("var/tmp", 0o1777)
    base.link("var/run", "/run")
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if os.path.islink(f"/{name}"):
            base.link(name, f"usr/{name}")
    # /usr is the machine's and read-only; /usr/local is the host's own.
    base.file("opt/local/bin/nvidia-smi", open(f"{HERE}/nvidia-smi").read(), 0o755)
    base.directory("opt/local/cuda-13.0/bin")
    base.link("opt/local/cuda", "cuda-13.0")

    for name in ETC:
        source = f"/etc/{name}"
        if os.path.isdir(source):
            with contextlib.suppress(shutil.Error):  # what only root may read is not needed
                shutil.copytree(source, base.path(f"etc/{name}"), symlinks=True)
        elif os.path.lexists(source):
            shutil.copy2(source, base.path(f"etc/{name}"), follow_symlinks=False)
    base.file("etc/passwd", PASSWD)
    base.file("etc/group", GROUP)
    base.file("etc/shadow", "root:*:20000::::::\nsshd:*:20000::::::\nnvidia:*:20000::::::\n", 0o600)
    base.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


PASSWD = """root:x:0:0:root:/root:/bin/bash
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
nvidia:x:1000:1000:NVIDIA:/home/nvidia:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\ntty:x:5:\nnvidia:x:1000:\nnogroup:x:65534:\n"


def virtual_environment(layer):
    """What a file-only look at the venv of the seed reads; nothing in it can be imported."""
    site = f"{VENV}/lib/python3.12/site-packages"
    layer.file(
        f"{VENV}/pyvenv.cfg",
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.12.3\n"
        f"executable = /usr/bin/python3.12\ncommand = /usr/bin/python3 -m venv /{VENV}\n",
    )
    layer.link(f"{VENV}/bin/python", "/usr/bin/python3")
    layer.link(f"{VENV}/bin/python3", "python")
    layer.file(f"{VENV}/bin/vllm", VLLM, 0o755)
    for name, version in DISTS.items():
        info = f"{name}-{version}.dist-info"
        layer.file(f"{site}/{info}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
        layer.file(f"{site}/{info}/INSTALLER", "uv\n")
        files = [f"{info}/METADATA", f"{info}/INSTALLER", f"{info}/RECORD", f"{name}/version.py"]
        layer.file(f"{site}/{info}/RECORD", "".join(f"{file},,\n" for file in files))
        text = f"__version__ = '{version}'\n"
        if name == "torch":
            text = "__version__ = '2.9.1+cu130'\ndebug = False\ncuda = '13.0'\nhip = None\nxpu = None\n"
        layer.file(f"{site}/{name}/version.py", text)


def model_cache(layer):
    """A Hugging Face cache with one complete snapshot: blobs, refs, links, four valid shards."""
    shards = [f"model-{i:05}-of-00004.safetensors" for i in range(1, 5)]
    tensors = {
        shards[0]: ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"],
        shards[1]: ["model.layers.1.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"],
        shards[2]: ["model.layers.2.self_attn.q_proj.weight", "model.layers.2.mlp.up_proj.weight"],
        shards[3]: ["model.norm.weight", "lm_head.weight"],
    }
    files = {shard: safetensors(names) for shard, names in tensors.items()}
    weight_map = {name: shard for shard, names in tensors.items() for name in names}
    documents = {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009],
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 131072,
            "model_type": "llama",
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "torch_dtype": "bfloat16",
            "vocab_size": 128256,
        },
        "generation_config.json": {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
        "model.safetensors.index.json": {
            "metadata": {"total_size": 64 * len(weight_map)},
            "weight_map": weight_map,
        },
        "special_tokens_map.json": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
        "tokenizer.json": {"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}},
        "tokenizer_config.json": {"model_max_length": 131072, "eos_token": "<|eot_id|>"},
    }
    files |= {name: json.dumps(value, indent=2).encode() for name, value in documents.items()}

    repo = f"{HOME}/.cache/huggingface/hub/models--{MODEL.replace('/', '--')}"
    layer.file(f"{repo}/refs/main", REVISION)
    for name, content in files.items():
        if name.endswith(".safetensors"):
            blob = hashlib.sha256(content).hexdigest()
        else:  # git's own name for a small file
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        layer.file(f"{repo}/blobs/{blob}", content)
        layer.link(f"{repo}/snapshots/{REVISION}/{name}", f"../../blobs/{blob}")


def safetensors(names):
    """A file of 4x8 BF16 tensors: header length, header, data; nothing before or after."""
    size = 64
    header = {
        name: {"dtype": "BF16", "shape": [4, 8], "data_offsets": [i * size, (i + 1) * size]}
        for i, name in enumerate(names)
    }
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(hashlib.sha256(name.encode()).digest() * 2 for name in names)
    return struct.pack("<Q", len(text)) + text + data

