"""Tiny pipelines of Transformers with random weights, made without network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "very", "anna", "lives", "in", "rome"]


def bert_tokenizer(folder: Path, **options: Any) -> Any:
    from transformers import BertTokenizerFast

    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(WORDS))
    return BertTokenizerFast(
        vocab_file=str(vocabulary), vocab=str(vocabulary), **{"model_max_length": 16, **options}
    )


def bert(kind: str, folder: Path, **settings: Any) -> Any:
    """A pipeline around a tiny BERT; the task follows from the class of its model.

    Args:
        kind: `SequenceClassification`, `TokenClassification`, `MaskedLM` or `QuestionAnswering`.
        folder: for the vocabulary.
        settings: of `transformers.pipeline`; `labels` is the number of labels.
    """
    import torch
    import transformers

    tasks = {
        "SequenceClassification": "text-classification",
        "TokenClassification": "token-classification",
        "MaskedLM": "fill-mask",
    }
    torch.manual_seed(11)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
        num_labels=settings.pop("labels", 3),
    )
    model = getattr(transformers, f"BertFor{kind}")(config).eval()
    task = settings.pop("task", None) or tasks[kind]
    tokenizer = settings.pop("tokenizer", None) or bert_tokenizer(folder)
    return transformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu", **settings)


def generator(folder: Path, **settings: Any) -> Any:
    """A pipeline that goes on writing a text, around a tiny GPT-2 whose input and output embeddings are one tensor."""
    import torch
    import transformers

    torch.manual_seed(12)
    config = transformers.GPT2Config(
        bos_token_id=None,
        eos_token_id=None,
        vocab_size=len(WORDS),
        n_positions=32,
        n_embd=8,
        n_layer=1,
        n_head=2,
        initializer_range=1.0,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    return transformers.pipeline(
        "text-generation", model=model, tokenizer=bert_tokenizer(folder), device="cpu", **settings
    )
