"""A tiny Llama with random weights, its tokenizer and chat template, and adapters as PEFT writes them.

`PYTHON -m bench.conformance.tiny FOLDER`, by a Python that has torch and transformers, makes `FOLDER/model`
and `FOLDER/adapters`. Nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

WIDTH, LAYERS, HEADS, CONTEXT, VOCABULARY = 64, 2, 2, 1024, 1500
SEED = 7
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# By name: rank, width of the base, modules (without them there are no weights), and what else is configured.
ADAPTERS: dict[str, tuple[int, int, tuple[str, ...], dict[str, Any]]] = {
    "fits": (8, WIDTH, ("self_attn.q_proj", "self_attn.v_proj"), {}),
    "fits-too": (8, WIDTH, ("self_attn.q_proj", "self_attn.v_proj"), {}),
    "rank-64": (64, WIDTH, ("self_attn.q_proj",), {}),
    "strange": (8, WIDTH, ("self_attn.q_proj", "mlp.fancy_proj"), {}),
    "other-width": (8, 96, ("self_attn.q_proj",), {"base_model_name_or_path": "another/model"}),
    "same-width": (8, WIDTH, ("self_attn.q_proj",), {"base_model_name_or_path": "another/model"}),
    "dora": (8, WIDTH, ("self_attn.q_proj",), {"use_dora": True}),
    "bare": (8, WIDTH, (), {}),
}


def make(folder: Path) -> None:
    """Make all of it anew."""
    model = folder / "model"
    _save_model(model)
    _save_tokenizer(model)
    for number, (name, (rank, width, modules, more)) in enumerate(ADAPTERS.items()):
        config = _config(model, rank, modules, more)
        _save_adapter(folder / "adapters" / name, config, rank, width, modules, number)
    (folder / "adapters" / "empty").mkdir(exist_ok=True)


def _save_model(folder: Path) -> None:
    import torch  # type: ignore[import-not-found]
    from transformers import LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found]

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def _save_tokenizer(folder: Path) -> None:
    """Learned from Python's own sources, so all of its tokens are readable."""
    from tokenizers import (  # type: ignore[import-not-found]
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast

    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    texts = (path.read_bytes() for path in sorted(Path(json.__file__).parents[1].glob("[a-d]*.py")))
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=list(special.values()))
    made.train_from_iterator((text.decode("ascii", "ignore") for text in texts), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=CONTEXT, chat_template=TEMPLATE, **special
    )
    fast.save_pretrained(folder)


def _config(model: Path, rank: int, modules: tuple[str, ...], more: dict[str, Any]) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(model),
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [module.rpartition(".")[2] for module in modules] or ["q_proj"],
        **more,
    }


def _save_adapter(
    folder: Path, config: dict[str, Any], rank: int, width: int, modules: tuple[str, ...], seed: int
) -> None:
    import torch
    from safetensors.torch import save_file  # type: ignore[import-not-found]

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for module in modules:
            key, out = (
                f"base_model.model.model.layers.{layer}.{module}",
                width if "q" in module else width // 2,
            )
            weights[f"{key}.lora_A.weight"] = torch.randn(rank, width, dtype=torch.bfloat16)
            weights[f"{key}.lora_B.weight"] = torch.randn(out, rank, dtype=torch.bfloat16)
    if weights:
        save_file(weights, folder / "adapter_model.safetensors")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
