"""Transformers with random weights: right for joules and seconds, never for quality. Torch is loaded here alone."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BYTES_PER_PARAMETER = 2
_ROOM = 1.4  # of the weights' size, for the KV cache of 64 short answers and workspace
PROMPT_TOKENS = 128
ANSWER_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's dimensions (LLaMA's architecture), those of a model people host.

    Attributes:
        name: Whose dimensions.
        layers: Blocks.
        hidden: Width.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        inner: Width of the feed-forward part.
        vocabulary: Tokens.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Weights, embedding and output tied."""
        head = self.hidden // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * head * self.kv_heads
        block = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.vocabulary * self.hidden + self.layers * block + self.hidden


SHAPES = (
    Shape("like SmolLM2-135M", 30, 576, 9, 3, 1536, 49152),
    Shape("like Qwen2.5-0.5B", 24, 896, 14, 2, 4864, 151936),
    Shape("like Qwen2.5-1.5B", 28, 1536, 12, 2, 8960, 151936),
    Shape("like Llama-3.2-3B", 28, 3072, 24, 8, 8192, 128256),
    Shape("like Llama-3.1-8B", 32, 4096, 32, 8, 14336, 128256),
)
TINY = Shape("tiny", 2, 32, 4, 2, 64, 128)

Work = Callable[[], int]
"""Does a piece of work to its end, the device idle again, and says how many units (tokens, prompts) it was."""


def fits(shape: Shape, free_bytes: int) -> bool:
    """Whether it can be run in so much memory."""
    return shape.parameters * BYTES_PER_PARAMETER * _ROOM + (1 << 30) < free_bytes


def free_bytes(device: str) -> int:
    """Memory left on the device."""
    import torch

    free, _total = torch.cuda.mem_get_info(device)
    return int(free)


def gpu_for_torch() -> str | None:
    """Why torch cannot compute on a GPU here, or None."""
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError as error:
        return f"{error}; pip install torch transformers nvidia-ml-py numpy"
    return None if torch.cuda.is_available() else "torch sees no CUDA device (is this a CPU build of torch?)"


def versions() -> dict[str, str]:
    """Of what shapes the figures."""
    import torch
    import transformers

    cuda = getattr(torch.version, "cuda", None)
    return {"torch": torch.__version__, "transformers": transformers.__version__, "cuda": str(cuda)}


class Decoder:
    """A decoder on a device; :meth:`generate` answers a batch, every answer equally long."""

    def __init__(self, shape: Shape, device: str, *, seed: int = 0) -> None:
        """Make the weights on the device itself: drawing billions of numbers on a processor takes minutes."""
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        self._torch = torch
        self._device = device
        self._shape = shape
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        )
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16 if device.startswith("cuda") else torch.float32)
        try:
            with torch.device(device):
                model: Any = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
        self._model = model.eval()

    @property
    def parameters(self) -> int:
        """As built."""
        return sum(weights.numel() for weights in self._model.parameters())

    def generate(self, batch: int, *, prompt_tokens: int = PROMPT_TOKENS, answer_tokens: int = ANSWER_TOKENS) -> int:
        """Answer a batch of random prompts greedily; the tokens written. Random weights never end an answer."""
        torch = self._torch
        prompts = torch.randint(0, self._shape.vocabulary, (batch, prompt_tokens), device=self._device)
        with torch.inference_mode():
            answers = self._model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=answer_tokens,
                min_new_tokens=answer_tokens,
                do_sample=False,
                use_cache=True,
            )
        _wait(torch, self._device)
        return int((answers.shape[1] - prompt_tokens) * batch)


class Encoder:
    """An embedder of MiniLM's dimensions (6 layers, width 384) with random weights."""

    def __init__(self, device: str, *, layers: int = 6, hidden: int = 384, seed: int = 0) -> None:
        """Make the weights."""
        import torch
        from transformers import BertConfig, BertModel

        self._torch = torch
        self._device = device
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=30522,
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=12,
            intermediate_size=4 * hidden,
        )
        model: Any = BertModel(config)
        self._model = model.eval().to(device)

    def embed(self, batch: int, *, prompt_tokens: int = PROMPT_TOKENS) -> int:
        """Embed a batch of random prompts; how many."""
        torch = self._torch
        tokens = torch.randint(0, 30522, (batch, prompt_tokens), device=self._device)
        with torch.inference_mode():
            self._model(input_ids=tokens).last_hidden_state.mean(dim=1).cpu()
        _wait(torch, self._device)
        return batch


def _wait(torch: Any, device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def release(device: str) -> None:
    """Give back what models that are gone held on the device."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
