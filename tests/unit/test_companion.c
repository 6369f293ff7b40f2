/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "checkpoint/companion.h"
#include "../test.h"

/* Names from repositories on the Hugging Face hub. */
static const char *const passes[] = {"tokenizer.json", "modeling_custom.py", "config.json", "spk_dict.pt",
    "campplus.onnx", "training_args.bin", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin",
    "speech-lora/adapter_config.json", "speech-lora/adapter_model.safetensors", "vision-lora/adapter_config.json",
    "1_Pooling/config.json", "text_encoder/model.safetensors.index.json", "onnx/README.md", "speakers/a.pt",
    "sub/quantize_config.json", NULL};
static const char *const weights[] = {"mtp.safetensors", "model-00001-of-00002.safetensors", "x.safetensors", NULL};
static const char *const hidden[] = {"pytorch_model.bin", "pytorch_model-00001-of-00002.bin",
    "pytorch_model.bin.index.json", "model.safetensors.index.json", "tf_model.h5", "flax_model.msgpack",
    "rust_model.ot", "consolidated.00.pth", "consolidated.safetensors", "original/consolidated.00.pth",
    "original/model.safetensors", "original/dtypes.json", "original/config.json", "metal/model.bin",
    "model-q4_k_m.gguf", "llama.gguf", "model.onnx", "onnx/model.onnx", "onnx/decoder_model_merged.onnx_data",
    "onnx/model_q4.onnx", "model.pt", "adapter_config.json", "adapter_model.bin", "adapter_model.safetensors",
    "quantize_config.json", "quant_config.json", "quantization_config.json", "hf_quant_config.json", "quant_log.csv",
    "gptq_model-4bit-128g.bin", NULL};

static void check_all(const char *const *names, enum companion kind)
{
	for (; *names; names++)
		if (!CHECK(companion_of(*names) == kind))
			printf("  %s\n", *names);
}

int main(void)
{
	check_all(passes, COMPANION_PASSES);
	check_all(weights, COMPANION_WEIGHTS);
	check_all(hidden, COMPANION_HIDDEN);
	return test_done();
}
