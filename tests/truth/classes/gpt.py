"""A GPT whose config is a dataclass and whose forward returns scores and a loss, as many training scripts have it."""
import inspect
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F


@dataclass
class GPTConfig:
    context: int = 256
    vocabulary: int = 1024
    depth: int = 3
    heads: int = 4
    width: int = 256
    dropout: float = 0.0
    bias: bool = True
    fused: bool = True


class Norm(nn.Module):
    """Layer norm whose bias may be left out."""

    def __init__(self, size, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size)) if bias else None

    def forward(self, input):
        return F.layer_norm(input, self.weight.shape, self.weight, self.bias, 1e-5)


class CausalAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config.width % config.heads == 0
        self.projections = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.output = nn.Linear(config.width, config.width, bias=config.bias)
        self.attention_dropout = nn.Dropout(config.dropout)
        self.residual_dropout = nn.Dropout(config.dropout)
        self.heads = config.heads
        self.width = config.width
        self.dropout = config.dropout
        self.fused = config.fused and hasattr(torch.nn.functional, "scaled_dot_product_attention")
        if not self.fused:
            print("WARNING: attention is computed step by step")
            self.register_buffer(
                "causal", torch.tril(torch.ones(config.context, config.context)).view(1, 1, config.context, config.context)
            )

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.projections(x).split(self.width, dim=2)
        k = k.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        q = q.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        v = v.view(B, T, self.heads, C // self.heads).transpose(1, 2)
        if self.fused:
            y = F.scaled_dot_product_attention(
                q, k, v, attn_mask=None, dropout_p=self.dropout if self.training else 0, is_causal=True
            )
        else:
            weights = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            weights = weights.masked_fill(self.causal[:, :, :T, :T] == 0, float("-inf"))
            weights = F.softmax(weights, dim=-1)
            weights = self.attention_dropout(weights)
            y = weights @ v
        y = y.transpose(1, 2).contiguous().view(B, T, C)
        return self.residual_dropout(self.output(y))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.width, 4 * config.width, bias=config.bias)
        self.act = nn.GELU()
        self.down = nn.Linear(4 * config.width, config.width, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        x = self.up(x)
        x = self.act(x)
        x = self.down(x)
        x = self.dropout(x)
        return x


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.before_attention = Norm(config.width, bias=config.bias)
        self.attention = CausalAttention(config)
        self.before_feed_forward = Norm(config.width, bias=config.bias)
        self.feed_forward = FeedForward(config)

    def forward(self, x):
        x = x + self.attention(self.before_attention(x))
        x = x + self.feed_forward(self.before_feed_forward(x))
        return x


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config.vocabulary is not None
        self.config = config
        self.body = nn.ModuleDict(
            dict(
                tokens=nn.Embedding(config.vocabulary, config.width),
                positions=nn.Embedding(config.context, config.width),
                dropout=nn.Dropout(config.dropout),
                layers=nn.ModuleList([Layer(config) for _ in range(config.depth)]),
                norm=Norm(config.width, bias=config.bias),
            )
        )
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.body.tokens.weight = self.head.weight
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("output.weight"):
                torch.nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * config.depth))
        print("number of parameters: %.2fM" % (self.count() / 1e6,))

    def count(self):
        return sum(p.numel() for p in self.parameters())

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def forward(self, tokens, targets=None):
        device = tokens.device
        b, t = tokens.size()
        assert t <= self.config.context, f"a sequence of {t} is longer than the context, {self.config.context}"
        places = torch.arange(0, t, dtype=torch.long, device=device)
        token_embedding = self.body.tokens(tokens)
        position_embedding = self.body.positions(places)
        x = self.body.dropout(token_embedding + position_embedding)
        for layer in self.body.layers:
            x = layer(x)
        x = self.body.norm(x)
        if targets is not None:
            logits = self.head(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)
        else:
            logits = self.head(x[:, [-1], :])
            loss = None
        return logits, loss

    def optimizer(self, rate, betas, device_type):
        decayed = [p for p in self.parameters() if p.dim() >= 2]
        fused = "fused" in inspect.signature(torch.optim.AdamW).parameters and device_type == "cuda"
        return torch.optim.AdamW([{"params": decayed}], lr=rate, betas=betas, fused=fused)

    @torch.no_grad()
    def generate(self, tokens, count, temperature=1.0):
        for _ in range(count):
            logits, _ = self(tokens)
            probabilities = F.softmax(logits[:, -1, :] / temperature, dim=-1)
            tokens = torch.cat((tokens, torch.multinomial(probabilities, num_samples=1)), dim=1)
        return tokens
