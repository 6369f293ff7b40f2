# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py about config.json, and what it should be in each view."""
import json
import os

from checkpoint import Model, VIEWS, kind, write_bytes, write_json


# Good ones: how config.json may be spelled. What is not about quantization or type keeps every byte.

MEMBERS = [
    ('"architectures"', '[ "LlamaForCausalLM" ]'), ('"rope_theta"', '10000.0'), ('"rms_norm_eps"', '1e-06'),
    ('"tiny"', '1E-7'), ('"negative"', '-0.0'), ('"long"', '123456789012345678901234567890'),
    ('"name"', '"Grüße 模型 😀"'), ('"esc\\u00e9"', '"\\u00e9\\/\\ud83d\\ude00\\t"'),
    ('"note"', '{"quantization_config_note" : "kept","a" :[1,2 , 3] }'), ('"empty"', '{ }'),
    ('"torch_dtype"', None), ('"yes"', 'true'), ('"dtype"', None), ('"end"', 'null'),
]


def join(members, style, dtype):
    before, between, colon, after = style
    items = [key + colon + (f'"{dtype}"' if value is None else value) for key, value in members]
    return "{" + before + ("," + between).join(items) + after + "}"


PRETTY = ("\n  ", "\n  ", ": ", "\n")
COMPACT = ("", "", ":", "")
ODD = (" \t", "\r\n\t ", " :  ", "\r\n ")


def config_case(path, source, expected):
    """source is the whole text of config.json; expected(dtype) what a view makes of it."""
    m = Model().usual()
    m.write(path, config=False)
    m.write_expected(path)
    write_bytes(path, "config.json", source.encode())
    for view, (_, dtype) in VIEWS.items():
        write_bytes(os.path.dirname(path), f"{os.path.basename(path)}.config.{view}.json", expected(dtype).encode())


def config_at(path, position, style):
    quant = ('"quantization_config"', json.dumps(Model().quant))
    members = MEMBERS[:position] + [quant] + MEMBERS[position:]
    config_case(path, join(members, style, "bfloat16"), lambda dtype: join(MEMBERS, style, dtype))


@kind
def config_first(path):
    config_at(path, 0, PRETTY)


@kind
def config_middle(path):
    config_at(path, 5, PRETTY)


@kind
def config_last(path):
    config_at(path, len(MEMBERS), PRETTY)


@kind
def config_compact_first(path):
    config_at(path, 0, COMPACT)


@kind
def config_compact_last(path):
    config_at(path, len(MEMBERS), COMPACT)


@kind
def config_odd_blanks(path):
    config_at(path, 5, ODD)


@kind
def config_only_member(path):
    added = [('"torch_dtype"', None), ('"dtype"', None)]
    config_case(path, join([('"quantization_config"', json.dumps(Model().quant))], PRETTY, ""),
                lambda dtype: join(added, PRETTY, dtype))


@kind
def config_without_dtype(path):
    quant = ('"quantization_config"', json.dumps(Model().quant, indent=4))
    rest = [m for m in MEMBERS if m[1] is not None]
    added = rest + [('"torch_dtype"', None), ('"dtype"', None)]
    config_case(path, join(rest[:3] + [quant] + rest[3:], PRETTY, ""), lambda dtype: join(added, PRETTY, dtype))


@kind
def config_python(path):
    """json.dumps writes numbers that JSON does not have; Mamba hybrids have them in time_step_limit."""
    members = MEMBERS + [('"time_step_limit"', '[0.0, Infinity]'), ('"low"', '-Infinity'), ('"none"', 'NaN')]
    quant = ('"quantization_config"', json.dumps({**Model().quant, "damp": float("nan"), "mse": float("inf")}))
    config_case(path, join(members[:3] + [quant] + members[3:], PRETTY, "bfloat16"),
                lambda dtype: join(members, PRETTY, dtype))
    write_json(path, "quantize_config.json", {**Model().quant, "damp": float("-inf")})


@kind
def config_text(path):
    """A model of several parts keeps it in text_config, and has a type there too."""
    inner = [('"hidden_size"', '64'), ('"dtype"', None), ('"rope_theta"', '1000000.0')]
    style = ("\n    ", "\n    ", ": ", "\n  ")
    quant = ('"quantization_config"', json.dumps(Model().quant))

    def whole(parts, dtype):
        return join(MEMBERS[:4] + [('"text_config"', join(parts, style, dtype))] + MEMBERS[4:], PRETTY, dtype)
    config_case(path, whole(inner[:1] + [quant] + inner[1:], "bfloat16"), lambda dtype: whole(inner, dtype))
    os.remove(os.path.join(path, "quantize_config.json"))
