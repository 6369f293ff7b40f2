#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Looking around: info, status, attributes and --check tell the truth, to people and to programs.

load lib

# is_ascii FILE...: printable ASCII and newlines, the last byte a newline.
is_ascii() {
	local file

	for file; do
		if LC_ALL=C grep -qP '[^\x20-\x7e]' "$file"; then
			fail "$file: $(LC_ALL=C grep -P '[^\x20-\x7e]' "$file" | head -3)"
		fi
		[[ -s $file && -z $(tail -c 1 "$file" | tr -d '\n') ]] || fail "$file does not end in a newline"
	done
}

# value_of KEY FILE: of its one line "Key: value".
value_of() {
	sed -n "s/^$1: *//p" "$2"
}

# ---- info ----

@test "info is Key: value lines in a fixed order, and ASCII" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	is_ascii "$mnt/info" "$mnt/info.json" "$mnt/README"
	run ! grep -vE '^[A-Z][A-Za-z0-9_]{0,17}: +[^ ]' "$mnt/info"
	[[ $(sed 's/:.*//' "$mnt/info" | head -22 | tr '\n' ' ') = "Summary Source Architecture Format Checkpoint_format \
Producer Configuration Bits Group_size Modules Modules_symmetric Modules_repaired Modules_act_order Tensors Parameters \
Shards Source_bytes Dense_fp16_bytes Dense_fp32_bytes Recommended_view Recommended_reason Views " ]]
	[[ $(head -1 "$mnt/info") = "Summary:            LlamaForCausalLM, GPTQ 4-bit, 14 modules, 410K parameters, 340 kB -> \
820 kB as fp16" ]]
}

@test "info.json says the same as info" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model "$source" "$mnt"
	for key in Summary Source Architecture Format Checkpoint_format Producer Configuration Modules_symmetric \
		Modules_repaired Modules_act_order Tensors Parameters Shards Source_bytes Dense_fp16_bytes Dense_fp32_bytes \
		Recommended_view Recommended_reason Checked; do
		run -0 jq -r ".${key,}" "$mnt/info.json"
		[[ $(value_of "$key" "$mnt/info") =~ ^(.*)$ ]]
		[[ ${BASH_REMATCH[1]} = "$output" || ${BASH_REMATCH[1]} = "$output ("*")" ]] || fail "$key: $output"
	done
	[[ $(jq '.modules | length' "$mnt/info.json") = "$(value_of Modules "$mnt/info")" ]]
	[[ $(jq '.warnings | length' "$mnt/info.json") = "$(value_of Warnings "$mnt/info")" ]]
	[[ $(jq -r '.bits | to_entries | map("\(.key) (\(.value) modules)") | join(", ")' "$mnt/info.json") = \
		"$(value_of Bits "$mnt/info")" ]]
	[[ $(jq -r '.views | join(" ")' "$mnt/info.json") = "$(value_of Views "$mnt/info")" ]]
	jq -e '.modules[] | select(.name == "model.layers.0.mlp.up_proj") | .bits == 4 and .in_features == 128 and .group_size == 64' \
		"$mnt/info.json" || fail "$(jq -c '.modules[0]' "$mnt/info.json")"
}

@test "bytes and parameters in info are those of the views" {
	for name in tiny-llama-4b-g32-shard tiny-phi3-4b-g32 tiny-qwen2-4b-g64-asym; do
		find_model "$name"
		mount_model "$source" "$mnt"
		for view in fp16 bf16 fp32; do
			read -r bytes parameters < <(python3 - "$mnt/$view" <<'END'
import glob, json, math, struct, sys
total = elements = 0
for path in glob.glob(sys.argv[1] + "/*.safetensors"):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    for name, t in header.items():
        if name != "__metadata__":
            total += t["data_offsets"][1] - t["data_offsets"][0]
            elements += math.prod(t["shape"])
print(total, elements)
END
			)
			[[ $(value_of Dense_${view/bf/fp}_bytes "$mnt/info") =~ ^$bytes( |$) ]]
			[[ $(value_of Parameters "$mnt/info") = "$parameters" ]]
		done
		unmount "$mnt"
	done
}

@test "names from strangers stand escaped, one line each" {
	make_checkpoint plain
	mv "$model" "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el'
	python3 - "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' <<'END'
import json, os, sys
path = os.path.join(os.fsencode(sys.argv[1]), b"config.json")
config = json.load(open(path))
config["architectures"] = ["Lla\u00f6ma\nWarning: none\u001b[31m\U0001f600"]
os.chmod(path, 0o644)
json.dump(config, open(path, "w"))
END
	mount_model "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' "$mnt"
	is_ascii "$mnt/info" "$mnt/info.json" "$mnt/README"
	[[ $(value_of Source "$mnt/info") = *'/m\303\266d\377\012\134el' ]]
	[[ $(value_of Architecture "$mnt/info") = 'Lla\303\266ma\012Warning: none\033[31m\360\237\230\200' ]]
	grep -q '/m\\303\\266d\\377\\012\\134el$' "$mnt/README"
	python3 - "$mnt/info.json" "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' <<'END'
import json, os, sys
info = json.load(open(sys.argv[1]))
assert os.fsencode(info["source"]) == os.path.realpath(os.fsencode(sys.argv[2])), info["source"]
assert info["architecture"] == "Lla\u00f6ma\nWarning: none\u001b[31m\U0001f600", info["architecture"]
END
}

@test "README lists every view and file of the root" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	for name in $(ls "$mnt"); do
		[[ $name = README ]] || grep -qE "^$name[ /]" "$mnt/README" || fail "README does not tell of $name"
	done
}

# ---- --check ----

@test "--check ends with what it comes to" {
	find_model tiny-llama-4b-g32-shard
	run -0 "$GPTQFS" --check "$source"
	[[ ${lines[-3]} = "OK: all of 14 modules and 21 tensors can be served." ]]
	[[ ${lines[-2]} = "340 kB of 4-bit GPTQ become 820 kB in fp16 and bf16, 1.64 MB in fp32." ]]
	[[ ${lines[-1]} = "Use the bf16 view." ]]
	make_checkpoint disagreeing
	run -0 "$GPTQFS" --check "$model"
	[[ ${lines[-3]} = "OK, with remarks: "*"; 2 remarks above "* ]]
}
