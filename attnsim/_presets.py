"""Real workloads: presets shipped with the package, and the config.json of Hugging Face decoder models."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .simulator.errors import InputError, unknown

FOLDER = Path(__file__).parent / "presets"


@dataclass(frozen=True)
class Preset:
    """A workload: problem arguments, the variants worth showing on it, and their parameters there."""

    title: str
    source: str
    arguments: dict[str, Any]
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants shown when none is named."""
        return tuple(self.parameters)


def names() -> list[str]:
    """Presets by name: the files of the folder."""
    return sorted(p.stem for p in FOLDER.glob("*.toml"))


def preset(name: str) -> Preset:
    """The preset called `name`. Raises InputError with the nearest name otherwise."""
    import tomllib

    key = name.lower().replace("_", "-")
    if key not in names():
        raise unknown("preset", name, names())
    data = tomllib.loads((FOLDER / f"{key}.toml").read_text())
    tuples = {n: {k: _tuple(v) for k, v in values.items()} for n, values in data.get("variants", {}).items()}
    return Preset(data["title"], data["source"], {k: _tuple(v) for k, v in data["problem"].items()}, tuples)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


HEADS = ("num_attention_heads", "n_head", "num_heads")
WIDTH = ("hidden_size", "n_embd", "d_model", "word_embed_proj_dim")
DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
LATENT = ("deepseek_v2", "deepseek_v3")
FAMILIES = (
    "llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "gemma", "gemma2", "gemma3",
    "gemma3_text", "phi", "phi3", "falcon", "gpt2", "gpt_neox", "gptj", "opt", "olmo", "olmo2", "cohere", "cohere2",
    "gpt_oss", "stablelm", "starcoder2", "glm", "glm4", "granite", "smollm3", "ministral", *LATENT,
)  # fmt: skip


def read_config(path: str) -> Preset:
    """The attention of a Hugging Face config.json: heads, kv heads, head_dim, type, window, latent sizes.

    Raises InputError for files that cannot be read, unknown families, and missing or impossible values.
    """
    try:
        config = json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"cannot read {path!r}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: a config.json is an object, not a {type(config).__name__}")
    nested = config.get("text_config")
    if isinstance(nested, dict):
        config = {**config, **nested}
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise unknown(f"model_type in {path}", family, FAMILIES)
    heads = _whole(path, config, HEADS)
    arguments: dict[str, Any] = {"heads": heads, "causal": True, "dtype": _dtype(path, config)}
    title = f"{family} from {Path(path).name}"
    if family in LATENT:
        sizes = {"kv_rank": "kv_lora_rank", "rope_dim": "qk_rope_head_dim", "nope_dim": "qk_nope_head_dim",
                 "value_dim": "v_head_dim"}  # fmt: skip
        latent = {ours: _whole(path, config, (theirs,)) for ours, theirs in sizes.items()}
        arguments |= {"head_dim": latent["nope_dim"] + latent["rope_dim"], "v_dim": latent["value_dim"]}
        return Preset(title, path, arguments, {"mha": {}, "mla": latent})
    arguments["kv_heads"] = _kv_heads(path, config, family, heads)
    if config.get("head_dim") is not None:
        arguments["head_dim"] = _whole(path, config, ("head_dim",))
    else:
        width = _whole(path, config, WIDTH)
        if width % heads:
            raise InputError(f"{path}: {heads} heads do not divide a width of {width}")
        arguments["head_dim"] = width // heads
    shown: dict[str, dict[str, Any]] = {"mha": {}}
    if config.get("sliding_window") is not None and config.get("use_sliding_window", True):
        shown["sliding-window"] = {"window": _whole(path, config, ("sliding_window",))}
    return Preset(title, path, arguments, shown)


def _whole(path: str, config: dict[str, Any], keys: tuple[str, ...]) -> int:
    """The first of `keys` that the config has, a whole number above 0."""
    key = next((k for k in keys if config.get(k) is not None), None)
    if key is None:
        raise InputError(f"{path}: has no {' or '.join(keys)}")
    value = config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**40:
        raise InputError(f"{path}: {key} is {value!r}; allowed: a whole number above 0")
    return value


def _kv_heads(path: str, config: dict[str, Any], family: str, heads: int) -> int:
    """Key and value heads: as stated, one for multi-query models, else as many as query heads."""
    for key in ("num_key_value_heads", "num_kv_heads"):
        if config.get(key) is not None:
            if family == "falcon" and config.get("multi_query") and not config.get("new_decoder_architecture"):
                return 1
            found = _whole(path, config, (key,))
            if heads % found:
                raise InputError(f"{path}: {key} {found} does not divide {heads} heads")
            return found
    return 1 if family == "falcon" and config.get("multi_query", True) else heads


def _dtype(path: str, config: dict[str, Any]) -> str:
    """The type weights are stored in; bf16 where none is stated."""
    name = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16")
    if name not in DTYPES:
        raise unknown(f"torch_dtype in {path}", name, DTYPES)
    return DTYPES[name]
