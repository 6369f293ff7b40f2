# SPDX-License-Identifier: MIT
"""transformers loads models through the Python module of the wheel, which is installed in a virtual environment.

    wheel.py MODEL_DIR EXPECTED_JSON [MODEL_DIR EXPECTED_JSON]...
"""
import hashlib
import json
import os
import sys

import gptqfs
import torch
from report import check, group
from transformers import AutoModelForCausalLM


def digest(tensor):
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def load(model, expected):
    with check(f"wheel: {os.path.basename(model)}: every tensor as transformers has it") as notes:
        with gptqfs.mount(model, view="bf16") as path:
            state = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).state_dict()
            for name in expected:
                assert digest(state[name]) == expected[name]["sha256"], name
            del state
        notes.append(f"{len(expected)} tensors")
        assert expected
    assert not os.path.exists(path), "the mount is still there"


with check("wheel: the program is the one that it carries"):
    assert gptqfs.program().startswith(sys.prefix + os.sep), gptqfs.program()
for model, expected in zip(sys.argv[1::2], sys.argv[2::2]):
    with open(expected) as f:
        group(f"wheel: {model}", [], load, model, json.load(f))
