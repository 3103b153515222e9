#!/usr/bin/env python3
"""A LoRA adapter for the tiny model, with small random weights.

    make_adapter.py FOLDER
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

RANK = 8
HIDDEN = 64
WIDTHS = {"q_proj": 64, "v_proj": 32}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    weights = {}
    for layer in range(2):
        for module, width in WIDTHS.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{name}.lora_A.weight"] = torch.randn(RANK, HIDDEN) * 0.1
            weights[f"{name}.lora_B.weight"] = torch.randn(width, RANK) * 0.1
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "base_model_name_or_path": "replica-test/tiny-llama",
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 16,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(WIDTHS),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


main()
