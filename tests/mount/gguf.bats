#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The GGUF file of a model: keys, tensors and data are those expected, and the numbers those of the fp32 view.

load lib

gguf() {
	python3 -S "$TESTS/tools/gguf.py" "$@"
}

# find_gguf NAME: what is expected of the file of a model, in $expected.
find_gguf() {
	for expected in "$TESTS/data/gguf/expected/$1.json" "$ROOT/../shared/gguf/expected/$1.json"; do
		[[ -e $expected ]] && return
	done
	skip "no expected GGUF file of $1"
}

# same NAME...: the files of these models are the expected ones.
same() {
	local name

	for name; do
		find_model "$name"
		find_gguf "$name"
		mount_model "$source" "$mnt"
		gguf "$mnt/gguf/$name.gguf" "$expected"
		unmount "$mnt"
	done
}

# exact [OPTION...]: the file of $model has the numbers of its fp32 view.
exact() {
	mount_model "$@" "$model" "$mnt"
	gguf "$mnt/gguf/model.gguf" "$mnt/fp32/model.safetensors" || fail "$(cat "$mnt/gguf/README")"
}

# borrow_tokenizer: gives $model, which has 256 tokens, the tokenizer of a model that has one.
borrow_tokenizer() {
	find_model tiny-llama-4b-g32-shard
	cp "$source"/tokenizer*.json "$model/"
}

# no_gguf WORD...: there is no file, README has these words in this order, and the fp16 view is untouched.
no_gguf() {
	local pattern

	in_order "$@"
	mount_model "$model" "$mnt"
	[[ $(ls "$mnt/gguf") = README ]] || fail "$(ls "$mnt/gguf")"
	[[ $(cat "$mnt/gguf/README") = $pattern ]] || fail "$(cat "$mnt/gguf/README")"
	[[ ! -e $mnt/gguf/model.gguf ]]
	cat "$mnt/fp16/model.safetensors" >/dev/null
	unmount "$mnt"
	run -3 "$GPTQFS" -o view=gguf "$model" "$mnt"
	[[ $output = $pattern ]] || fail "$output"
}

@test "Llama 3: factors of rope, merges that are ignored, negative scales" { same llama3; }
@test "Mistral: a SentencePiece model, added tokens; 2, 3 and 8 bits" { same mistral-spm; }
@test "Llama: SentencePiece as JSON, a tied head, linear rope" { same llama-spm-json; }
@test "Mixtral: stacks of experts, one of which fits no block type" { same mixtral; }
@test "Qwen2: yarn, biases, an F16 embedding" { same qwen2-yarn; }
@test "Qwen2-MoE: shared experts" { same qwen2moe; }
@test "Qwen3: head_dim, a quantized head" { same qwen3-2bit; }
@test "Phi-3: joined in the file, longrope" { same phi3-longrope; }
@test "Gemma 2" { same gemma2; }
@test "Gemma 3" { same gemma3; }
@test "GPTQ of every width" { same tiny-llama-2b-g32-asym tiny-llama-3b-g32-asym tiny-llama-5b-planar tiny-llama-8b-g64-sym; }
@test "GPTQ with all kinds of groups and zeros" {
	same tiny-llama-4b-dynamic tiny-llama-4b-g128-ragged tiny-llama-4b-g32-asym tiny-llama-4b-g32-asym-act \
		tiny-llama-4b-g32-asym-v2 tiny-llama-4b-g32-autoround tiny-llama-4b-g32-shard tiny-llama-4b-g32-sym \
		tiny-llama-4b-gm1-sym tiny-llamabf16-4b-g32-asym
}
@test "Phi-3 with gate and up apart, Qwen2, Qwen3-MoE" {
	same tiny-phi3-4b-g32 tiny-qwen2-4b-g64-asym tiny-qwen3moe-4b-g32-asym-act
}
@test "SmolLM2" { same smollm2-135m-gptq-4bit-g64; }

@test "no expected GGUF file is forgotten here" {
	for file in "$TESTS"/data/gguf/expected/*.json "$ROOT"/../shared/gguf/expected/*.json; do
		[[ ! -e $file ]] || grep -qE "[[:blank:]]$(basename "$file" .json)( |;|$)" "$BATS_TEST_FILENAME" || fail "no test for $file"
	done
}

@test "the plain C code gives the same" {
	GPTQFS_CPU=c same qwen2-yarn mistral-spm
}

@test "the numbers of the fp32 view: models of AWQ and compressed-tensors" {
	local name tried=0

	for name in awq-gemm-g32 awq-gemm-moe-gptqmodel awq-gemm-sym-autoround awq-gemvfast-g128 ct-bits-2to7 ct-kvcache-w4 \
		ct-mixed-lmhead ct-moe-w4 ct-sharded-gptq-asym ct-w4-asym-g32 ct-w4-g128-bf16 ct-w8-channel-ragged \
		ct-w8-tensor-asym-naive ct-w8a8 ct012-actorder-group ct012-bits-3567-words ct081-asym-i8-zeros; do
		has_model "$name" || continue
		copy_model "$name"
		borrow_tokenizer
		exact
		unmount "$mnt"
		rm -rf "$model"
		tried=$((tried + 1))
	done
	[[ $tried -ge 3 ]]
}

@test "the numbers of the fp32 view: GPTQ" {
	copy_model tiny-llama-5b-planar
	exact
	grep -q 'Q8_0 *14$' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
}

@test "Q2_0 on request, for zeros of 1 and 2" {
	copy_model qwen3-2bit
	exact -o gguf_q2
	grep -q 'Q2_0 *14$' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
}

@test "README lists the modules that fit no block type, and why" {
	find_model tiny-llama-4b-g32-asym-act
	mount_model "$source" "$mnt"
	grep -q 'model.layers.0.mlp.up_proj: act-order' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
	grep -q '^Gguf_view: .*gguf/README' "$mnt/info"
}

@test "README counts modules by the type they get: gate and up share one" {
	copy_model tiny-phi3-4b-g32
	edit_model <<<'tensors["model.layers.0.mlp.gate_proj.g_idx"][2] = ints("<128i", *(i % 4 for i in range(128)))'
	exact
	grep -q ' F16 *2$' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
	[[ $(grep -c 'act-order' "$mnt/gguf/README") = 1 ]] || fail "$(cat "$mnt/gguf/README")"
}

@test "any piece of the file is what it is in the whole file" {
	find_model qwen2-yarn
	mount_model "$source" "$mnt"
	compare_pieces "$mnt/gguf/qwen2-yarn.gguf"
}

@test "direct I/O is rounded to 4096 bytes, not to a whole request" {
	find_model qwen2-yarn
	mount_model "$source" "$mnt"
	[[ $(stat -c %o "$mnt/gguf/qwen2-yarn.gguf") = 4096 ]]
	[[ $(stat -c %o "$mnt/fp16/model.safetensors") -gt 4096 ]]
}

@test "planned once by concurrent lookups" {
	local i pids=()

	find_model mistral-spm
	find_gguf mistral-spm
	mount_model "$source" "$mnt"
	for i in {1..8}; do
		stat -c %s "$mnt/gguf/mistral-spm.gguf" >"$BATS_TEST_TMPDIR/size.$i" &
		pids+=($!)
	done
	wait "${pids[@]}"
	[[ $(sort -u "$BATS_TEST_TMPDIR"/size.*) = "$(jq .size "$expected")" ]]
	gguf "$mnt/gguf/mistral-spm.gguf" "$expected"
}

@test "view=gguf: the file is in the root" {
	find_model mistral-spm
	find_gguf mistral-spm
	mount_model -o view=gguf "$source" "$mnt"
	[[ $(ls "$mnt") = $'README\nmistral-spm.gguf' ]] || fail "$(ls "$mnt")"
	gguf "$mnt/mistral-spm.gguf" "$expected"
}

@test "a class that llama.cpp is not known to have: no gguf/, info says why, view=gguf is exit 3" {
	copy_model tiny-llama-4b-g32-shard
	sed -i 's/LlamaForCausalLM/OtherForCausalLM/' "$model/config.json"
	mount_model "$model" "$mnt"
	[[ ! -e $mnt/gguf ]]
	grep -q '^Gguf_view: .*OtherForCausalLM' "$mnt/info" || fail "$(cat "$mnt/info")"
	unmount "$mnt"
	run -3 "$GPTQFS" -o view=gguf "$model" "$mnt"
	[[ $output = *OtherForCausalLM* ]] || fail "$output"
}

@test "no tokenizer: no gguf/, and info says why" {
	copy_model tiny-llama-4b-g32-shard
	rm "$model/tokenizer.json"
	mount_model "$model" "$mnt"
	[[ ! -e $mnt/gguf ]]
	grep -q '^Gguf_view: .*tokenizer.json' "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "an adapter's tokenizer that is none: no gguf/, and info says why" {
	copy_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -rL "$adapter" "$BATS_TEST_TMPDIR/adapter"
	chmod -R u+w "$BATS_TEST_TMPDIR/adapter"
	rm -f "$BATS_TEST_TMPDIR"/adapter/{tokenizer*,vocab*,merges*}
	echo '{}' >"$BATS_TEST_TMPDIR/adapter/tokenizer_config.json"
	mount_model -o lora="$BATS_TEST_TMPDIR/adapter" "$model" "$mnt"
	[[ ! -e $mnt/gguf && ! -e $mnt/fp16/tokenizer.json ]]
	grep -q '^Gguf_view: .*tokenizer.json' "$mnt/info" || fail "$(cat "$mnt/info")"
	unmount "$mnt"
	mount_model -o lora="$BATS_TEST_TMPDIR/adapter",lora_tokenizer=base "$model" "$mnt"
	[[ -e $mnt/gguf/model.gguf ]]
}

@test "a cache entry has the name of its repository, wherever the cache is" {
	local entry=$BATS_TEST_TMPDIR/snapshots/hub/models--some--real-name

	copy_model qwen2-yarn
	mkdir -p "$entry"/{blobs,snapshots}
	mv "$model" "$entry/snapshots/0123abcd"
	mount_model "$entry/snapshots/0123abcd" "$mnt"
	[[ $(ls "$mnt/gguf") = $'README\nreal-name.gguf' ]] || fail "$(ls "$mnt/gguf")"
}

@test "a rule for words that llama.cpp has no name for: README quotes it" {
	copy_model refused-pre
	no_gguf 'Split ' '{1,2}' ByteLevel gguf_kv
}

@test "refused by name: damaged tokenizers" {
	copy_model mistral-spm
	truncate -s 1000 "$model/tokenizer.model"
	no_gguf tokenizer.model SentencePiece
	head -c 100000 /dev/urandom >"$model/tokenizer.model"
	no_gguf tokenizer.model
	rm "$model/tokenizer.model"
	echo '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["ab"], "byte_fallback": true}}' >"$model/tokenizer.json"
	no_gguf merges
	echo '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": [], "byte_fallback": true}}' >"$model/tokenizer.json"
	no_gguf vocab
	echo '{"model": {"type": "BPE", "vocab": {"[PAD7]": 3}, "merges": [], "byte_fallback": true}}' >"$model/tokenizer.json"
	no_gguf 'same text' PAD7
	echo '{"model": {"type": "Unigram", "vocab": []}}' >"$model/tokenizer.json"
	no_gguf Unigram gguf_kv
	echo '{"model": ' >"$model/tokenizer.json"
	no_gguf tokenizer.json JSON
}

# planned_within MEGABYTES MORE: looking up gguf/ of $model takes at most that much memory, of which MORE stays.
planned_within() {
	local status=/proc/$server/status before

	before=$(awk '/^VmRSS/ { print $2 }' "$status")
	ls "$mnt/gguf" >/dev/null
	sanitized || awk -v before="$before" -v peak="$1" -v kept="$2" '
		/^VmHWM/ && $2 - before > peak * 1024 || /^VmRSS/ && $2 - before > kept * 1024 { exit 1 }' "$status" ||
		fail "$before kB before" "$(cat "$status")"
}

@test "a tokenizer of 150,000 tokens is planned within 64 MB, and its keys are right" {
	copy_model qwen2-yarn
	python3 -S "$TESTS/tools/make_tokenizer.py" "$model" 151643
	[[ $(stat -c %s "$model/tokenizer.json") -gt 6500000 ]]
	mount_model "$model" "$mnt"
	planned_within 40 12
	PYTHONPATH=$TESTS/tools python3 - "$mnt/gguf/model.gguf" "$model/tokenizer.json" <<'END'
import hashlib, json, struct, sys
import gguf
kv = gguf.read(sys.argv[1])["kv"]
model = json.load(open(sys.argv[2]))["model"]
for key, texts in ("tokens", list(model["vocab"])), ("merges", model["merges"]):
    packed = b"".join(struct.pack("<Q", len(t.encode())) + t.encode() for t in texts)
    found = kv["tokenizer.ggml." + key]
    assert found["count"] == len(texts) and found["sha256"] == hashlib.sha256(packed).hexdigest(), (key, found)
END
}

@test "files of a tokenizer that would take far more memory than they have bytes" {
	copy_model qwen2-yarn
	python3 -S - "$model" <<'END'
import json, sys
zeros = [0] * 490000
parts = {"tokenizer.json": ("added_tokens", "normalizer", "pre_tokenizer", "post_processor"),
         "tokenizer_config.json": ("added_tokens_decoder", "chat_template")}
for file in parts:
    with open(f"{sys.argv[1]}/{file}") as f:
        tokenizer = json.load(f)
    tokenizer.update((part, zeros) for part in parts[file])
    with open(f"{sys.argv[1]}/{file}", "w") as f:
        json.dump(tokenizer, f)
END
	mount_model "$model" "$mnt"
	planned_within 24 8
	grep -q 'tokenizer.*gguf_kv' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
}

# change PYTHON: $model is tiny-llama again, but for that.
change() {
	rm -rf "$model"
	copy_model tiny-llama-4b-g32-shard
	python3 -S - "$model" <<'END'
import json, pathlib, struct, sys
model = pathlib.Path(sys.argv[1])
# The shards as one file, which edit_model.py takes.
header, data = {}, b""
for shard in sorted(model.glob("*.safetensors")):
    raw = shard.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    part = json.loads(raw[8:8 + size])
    part.pop("__metadata__", None)
    for name, t in part.items():
        header[name] = dict(t, data_offsets=[n + len(data) for n in t["data_offsets"]])
    data += raw[8 + size:]
    shard.unlink()
for index in model.glob("*.index.json"):
    index.unlink()
header = json.dumps(header).encode()
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
END
	edit_model <<<"$1"
}

@test "refused by name: models that do not fit their class" {
	change 'config["vocab_size"] = 255'
	no_gguf embed_tokens vocab_size
	change 'config["num_hidden_layers"] = 1'
	no_gguf layers.1. 'no place'
	change 'config["num_attention_heads"] = 8'
	no_gguf self_attn.q_proj heads
	change 'config["rope_parameters"] = {"rope_type": "linear"}'
	no_gguf factor
	change 'tensors["model.layers.0.mlp.odd.weight"] = ["F16", [2], bytes(4)]'
	no_gguf mlp.odd.weight 'no place'
	change 'tensors["model.layers.1.input_layernorm.weight"][1] = [16, 8]'
	no_gguf layers.1.input_layernorm 'one dimension'
	change 'config["architectures"] = ["Qwen3ForCausalLM"]'
	no_gguf q_norm missing
}

@test "biases: those of zeros are left out, others have a place or are refused" {
	change 'tensors["model.layers.0.mlp.up_proj.bias"] = ["F16", [tensors["model.layers.0.mlp.up_proj.qweight"][1][1]], bytes(2 * tensors["model.layers.0.mlp.up_proj.qweight"][1][1])]'
	exact
	unmount "$mnt"
	change '
config["attention_bias"] = config["mlp_bias"] = True
for m in ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj"):
    n = tensors[f"model.layers.0.{m}.qweight"][1][1]
    tensors[f"model.layers.0.{m}.bias"] = ["F16", [n], ints(f"<{n}e", *(i - 3 for i in range(n)))]'
	exact
	unmount "$mnt"
	change '
config["architectures"], config["model_type"] = ["Gemma2ForCausalLM"], "other"
tensors["model.layers.0.self_attn.o_proj.bias"] = ["F32", [1], ints("<f", 1)]'
	no_gguf self_attn.o_proj.bias
}

@test "biases of no float type are refused, whatever their bytes" {
	local type

	for type in F4 F6_E2M3 F6_E3M2 I8 BOOL F8_E8M0; do
		change "
bits = {'F4': 4, 'F6_E2M3': 6, 'F6_E3M2': 6}.get('$type', 8)
n = tensors['model.layers.0.self_attn.o_proj.qweight'][1][1]
tensors['model.layers.0.self_attn.o_proj.bias'] = ['$type', [n], b'\x80' * (n * bits // 8)]"
		no_gguf self_attn.o_proj.bias 'float type'
	done
}

@test "a type of rope that GGUF cannot express" {
	change 'config["rope_parameters"] = {"rope_type": "dynamic", "factor": 2}'
	mount_model "$model" "$mnt"
	[[ ! -e $mnt/gguf ]]
	grep -q '^Gguf_view: .*dynamic' "$mnt/info"
}

@test "a quantized head that the class of Gemma ignores is left out, or refused if config.json unties it" {
	copy_model gemma2
	edit_model <<'END'
for part, kind, rows, columns in ("qweight", "I32", 16, 400), ("qzeros", "I32", 4, 50), ("scales", "F16", 4, 400):
    tensors["lm_head." + part] = [kind, [rows, columns], bytes(rows * columns * (2 if kind == "F16" else 4))]
END
	"$GPTQFS" --cat=gguf/model.gguf "$model" >"$BATS_TEST_TMPDIR/file"
	run -1 grep -qaP '\x0d\x00{7}output\.weight' "$BATS_TEST_TMPDIR/file"
	jq '.tie_word_embeddings = false' "$model/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	"$GPTQFS" --cat=gguf/README "$model" | grep -q 'lm_head.weight is not the embedding'
}

@test "a warning where llama.cpp scales the attention of Gemma otherwise" {
	copy_model gemma2
	run -0 "$GPTQFS" --cat=info "$model"
	[[ $output != *query_pre_attn_scalar* ]] || fail "$output"
	jq '.query_pre_attn_scalar = 28' "$source/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	run -0 "$GPTQFS" --cat=info "$model"
	[[ $output = *'no key for query_pre_attn_scalar'* ]] || fail "$output"
	"$GPTQFS" --cat=gguf/README "$model" | grep -q query_pre_attn_scalar
}

@test "an activation that llama.cpp does not compute for the class" {
	copy_model tiny-llama-4b-g32-shard
	jq '.hidden_act = "relu"' "$source/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	run -0 "$GPTQFS" --cat=info "$model"
	[[ $output = *'Gguf_view:'*'hidden_act is "relu", and llama.cpp always computes silu for llama'* ]] || fail "$output"
}

@test "gguf_kv: the tokenizer of another GGUF file, byte for byte" {
	find_model mistral-spm
	mount_model "$source" "$mnt"
	cp "$mnt/gguf/mistral-spm.gguf" "$BATS_TEST_TMPDIR/other.gguf"
	unmount "$mnt"
	model=$BATS_TEST_TMPDIR/mistral-spm
	copy_model mistral-spm
	find_gguf mistral-spm
	rm "$model"/tokenizer*
	mount_model -o gguf_kv="$BATS_TEST_TMPDIR/other.gguf" "$model" "$mnt"
	gguf "$mnt/gguf/mistral-spm.gguf" "$expected"
}

@test "gguf_kv: files that cannot be it" {
	local file=$BATS_TEST_TMPDIR/file

	find_model qwen2-yarn
	mount_model "$source" "$mnt"
	head -c 5000 "$mnt/gguf/qwen2-yarn.gguf" >"$file"
	cp "$mnt/gguf/qwen2-yarn.gguf" "$BATS_TEST_TMPDIR/other.gguf"
	unmount "$mnt"
	run -1 "$GPTQFS" -o gguf_kv="$file" "$source" "$mnt"
	[[ $output = *gguf_kv*vocab-only* ]] || fail "$output"
	echo text >"$file"
	run -1 "$GPTQFS" -o gguf_kv="$file" "$source" "$mnt"
	run -1 "$GPTQFS" -o gguf_kv="$BATS_TEST_TMPDIR" "$source" "$mnt"
	run -1 "$GPTQFS" -o gguf_kv="$file.none" "$source" "$mnt"
	[[ $output = *"No such file"* ]] || fail "$output"
	find_model mistral-spm
	run -3 "$GPTQFS" -o view=gguf,gguf_kv="$BATS_TEST_TMPDIR/other.gguf" "$source" "$mnt"
	[[ $output = *"392 tokens, the model 416"* ]] || fail "$output"
}

@test "--check reports types and inexact modules, as text and as JSON; a refusal too" {
	find_model mistral-spm
	run -0 "$GPTQFS" --check "$source"
	[[ $output = *"Gguf_types: "*"Q4_0 (10 modules), Q8_0 (2 modules), F16 (2 modules)"*"Gguf_inexact: "*up_proj* ]] || fail "$output"
	"$GPTQFS" --check --json "$source" | jq -e '(.gguf_inexact | length) == 2 and (.gguf_types | startswith("Q4_0"))'
	find_model refused-pre
	"$GPTQFS" --check --json "$source" | jq -e '.gguf_inexact == [] and (.gguf_types | contains("{1,2}"))'
}

@test "--check --sha256: the hash of the file and of each tensor" {
	local name

	for name in qwen2-yarn mixtral; do
		[[ $name != mixtral ]] || has_model "$name" || continue
		find_model "$name"
		find_gguf "$name"
		"$GPTQFS" --check --sha256 -o view=gguf "$source" >"$BATS_TEST_TMPDIR/hashes"
		jq --arg file "$name.gguf" '[{key: $file, value: {bytes: .size, sha256}}] +
			[.tensors[] | {key: .name, value: {dtype: .type, shape: .ne, sha256}}] | from_entries' "$expected" |
			diff <(jq -S . "$BATS_TEST_TMPDIR/hashes") <(jq -S .)
	done
}

# merged MODEL ADAPTER: the file has the numbers of the views, with an adapter merged into them.
merged() {
	find_model "$1"
	find_adapter "$2"
	mount_model -o lora="$adapter" "$source" "$mnt"
	gguf "$mnt/gguf/$1.gguf" "$mnt/fp32/model.safetensors" || fail "$(cat "$mnt/gguf/README")"
	grep -q ': an adapter is merged into it' "$mnt/gguf/README" || fail "$(cat "$mnt/gguf/README")"
}

@test "with an adapter: what it touches is F16, as in the view" { merged tiny-llama-4b-g32-asym-act llama-r16-bf16; }
@test "with an adapter that brings tokens, rows for them and a tokenizer" { merged tiny-llama-4b-g32-asym llama-tokens; }
@test "with an adapter that unties the head" { merged tiny-qwen2-4b-g64-asym qwen2-tied-head; }
@test "with an adapter for a stack of experts" { merged tiny-qwen3moe-4b-g32-asym-act qwen3moe-experts; }
