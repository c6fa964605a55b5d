"""A language model that computes its loss itself, as nanoGPT's model.py does: cross entropy of its scores as they are, in bf16
under autocast. Who imports this finds it among transformers' architectures."""
from dataclasses import dataclass
from typing import Optional

import torch
import transformers
from torch.nn import functional as F
from transformers.utils import ModelOutput


@dataclass
class OwnLossOutput(ModelOutput):
    loss: Optional[torch.Tensor] = None
    logits: Optional[torch.Tensor] = None


class OwnLossConfig:
    def __init__(self, vocab_size=512, width=64, depth=2):
        self.vocab_size, self.width, self.depth = vocab_size, width, depth


class OwnLossLM(torch.nn.Module):
    config_class = OwnLossConfig
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = torch.nn.Embedding(config.vocab_size, config.width)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(config.width, config.width) for _ in range(config.depth))
        self.head = torch.nn.Linear(config.width, config.vocab_size, bias=False)

    def forward(self, input_ids, labels):
        x = self.embedding(input_ids)
        for layer in self.layers:
            x = layer(x)
            x = F.gelu(x)
        logits = self.head(x)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1))
        return OwnLossOutput(loss=loss, logits=logits)


def inputs_for(case, model, torch):
    """Labels are a tensor of their own, as batches of a data loader have them."""
    ids, labels = (torch.zeros(case["batch"], case["seq"], dtype=torch.long, device="cuda") for _ in range(2))
    return {"input_ids": ids, "labels": labels}


transformers.OwnLossLM = OwnLossLM
