"""Small modules of torch; travel by value with the models that are made of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Heads(nn.Module):
    """One array for each of three heads, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3, size) for size in (2, 4, 3))

    def forward(self, x: Any) -> Any:
        return [head(x) for head in self.heads]


class Similarity(nn.Module):
    """Each image against each text, as contrastive models answer."""

    def __init__(self) -> None:
        super().__init__()
        self.images, self.texts = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, images: Any, texts: Any) -> Any:
        logits = torch.matmul(self.images(images), self.texts(texts).T)
        return logits, logits.T
