"""Networks in plain torch.nn, as people write them: recorded and planned as they stand."""
from collections import OrderedDict
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F


class Perceptron(nn.Module):
    """An MLP of a list of layers."""

    def __init__(self, width=512, depth=3, inputs=784, classes=10, dropout=0.1):
        super(Perceptron, self).__init__()
        sizes = [inputs] + [width] * depth
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:])])
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                module.bias.data.zero_()

    def forward(self, x):
        x = torch.flatten(x, 1)
        for layer in self.layers:
            x = F.relu(layer(x))
            x = self.drop(x)
        return self.head(x)


class ConvBlock(nn.Sequential):
    def __init__(self, inputs, outputs, stride=1, activation=nn.ReLU):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            activation(inplace=True),
        )


class ConvNet(nn.Module):
    """A CNN with batch norm and residual connections."""

    expansion = 2

    def __init__(self, channels=(32, 64, 128), classes=100, activation=nn.ReLU):
        super().__init__()
        self.stem = ConvBlock(3, channels[0], activation=activation)
        stages = []
        previous = channels[0]
        for width in channels:
            stages.append(self.make_stage(previous, width * self.expansion, activation))
            previous = width * self.expansion
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(OrderedDict([("drop", nn.Dropout(0.2)), ("fc", nn.Linear(previous, classes))]))

    def make_stage(self, inputs, outputs, activation):
        return nn.Sequential(
            ConvBlock(inputs, outputs, 2, activation),
            ConvBlock(outputs, outputs, activation=activation),
            nn.MaxPool2d(2, ceil_mode=False),
        )

    def forward(self, images):
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        x = self.pool(x).flatten(1)
        return self.classifier(x)


class DoubleConv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.both = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=3, padding="same"),
            nn.GroupNorm(8, outputs),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(outputs, outputs, kernel_size=3, padding=1),
            nn.GroupNorm(8, outputs),
            nn.SiLU(),
        )

    def forward(self, x):
        return self.both(x)


class UNet(nn.Module):
    """Down with max pooling, up with transposed convolutions, scores for each pixel."""

    def __init__(self, channels=3, classes=4, width=32, depth=3):
        super().__init__()
        widths = [width * 2**i for i in range(depth + 1)]
        self.down = nn.ModuleList()
        previous = channels
        for w in widths:
            self.down.append(DoubleConv(previous, w))
            previous = w
        self.up = nn.ModuleDict()
        for i in reversed(range(depth)):
            self.up[f"lift_{i}"] = nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2)
            self.up[f"merge_{i}"] = DoubleConv(2 * widths[i], widths[i])
        self.depth = depth
        self.out = nn.Conv2d(width, classes, 1)

    def forward(self, x, mask=None):
        kept = []
        for i, block in enumerate(self.down):
            x = block(x)
            if i < self.depth:
                kept.append(x)
                x = F.max_pool2d(x, 2)
        for i in reversed(range(self.depth)):
            x = self.up[f"lift_{i}"](x)
            x = torch.cat([kept.pop(), x], dim=1)
            x = self.up[f"merge_{i}"](x)
        scores = self.out(x)
        if mask is None:
            return scores
        return F.cross_entropy(scores, mask)


class Attention(nn.Module):
    def __init__(self, width, heads, qkv_bias=True):
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, width * 3, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        attn = (q * self.scale) @ k.transpose(-2, -1)
        attn = attn.softmax(dim=-1)
        x = (attn @ v).transpose(1, 2).reshape(B, N, C)
        return self.proj(x)


class Block(nn.Module):
    def __init__(self, width, heads, ratio=4.0, norm=nn.LayerNorm, act=nn.GELU):
        super().__init__()
        self.norm1 = norm(width)
        self.attn = Attention(width, heads)
        self.norm2 = norm(width)
        hidden = int(width * ratio)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), act(), nn.Linear(hidden, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return x


class VisionTransformer(nn.Module):
    """A ViT with attention written out and a class token."""

    def __init__(self, image=224, patch=16, width=192, depth=4, heads=3, classes=1000):
        super().__init__()
        assert image % patch == 0, f"{image} is no multiple of {patch}"
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.patch = nn.Conv2d(3, width, kernel_size=patch, stride=patch)
        count = (image // patch) ** 2
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, count + 1, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, heads, norm=norm) for _ in range(depth)])
        self.norm = norm(width)
        self.head = nn.Linear(width, classes)
        nn.init.trunc_normal_(self.token, std=0.02)
        self.apply(self._init_weights)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        token = self.token.expand(x.shape[0], -1, -1)
        x = torch.cat((token, x), dim=1)
        x = x + self.positions
        x = self.blocks(x)
        x = self.norm(x)
        return self.head(x[:, 0])


class SequenceTagger(nn.Module):
    """Tokens to a label each: convolutions along the sequence and torch.nn's multi-head attention."""

    def __init__(self, vocabulary=5000, width=256, heads=4, depth=2, labels=20):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.register_buffer("positions", torch.arange(512), persistent=False)
        self.position = nn.Embedding(512, width)
        self.convolutions = nn.ModuleList([nn.Conv1d(width, width, 5, padding=2) for _ in range(depth)])
        self.attentions = nn.ModuleList([nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=True) for _ in range(depth)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(depth)])
        self.out = nn.Linear(width, labels)

    def forward(self, tokens):
        length = tokens.size(1)
        x = self.embedding(tokens) + self.position(self.positions[:length])
        for convolution, attention, norm in zip(self.convolutions, self.attentions, self.norms):
            y = F.gelu(convolution(x.transpose(1, 2))).transpose(1, 2)
            a, _ = attention(y, y, y, need_weights=False)
            x = norm(x + a)
        return self.out(x)


class AutoEncoder(nn.Module):
    """Gives back what it takes: the loss is its own, and it returns a dictionary."""

    def __init__(self, width=784, hidden=(256, 64)):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(width, hidden[0]), nn.ELU(inplace=True), nn.Linear(hidden[0], hidden[1]))
        self.decoder = nn.Sequential(nn.Linear(hidden[1], hidden[0]), nn.Tanh(), nn.Linear(hidden[0], width))
        self.loss = nn.MSELoss()

    def forward(self, x):
        code = self.encoder(x)
        restored = self.decoder(code)
        return {"code": code, "loss": self.loss(restored, x)}


def small_conv_net(classes=10, **kwargs):
    return ConvNet(channels=(16, 32), classes=classes, **kwargs)


class TextEncoder(nn.Module):
    """torch.nn's own encoder of transformers, with positions of sines and cosines."""

    def __init__(self, vocabulary=2000, width=128, heads=4, depth=2, classes=3, longest=256, norm_first=True):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        places = torch.arange(longest).unsqueeze(1)
        rates = torch.exp(torch.arange(0, width, 2) * (-9.21 / width))
        positions = torch.zeros(longest, width)
        positions[:, 0::2] = torch.sin(places * rates)
        positions[:, 1::2] = torch.cos(places * rates)
        self.register_buffer("positions", positions)
        layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=4 * width, activation="gelu", batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, num_layers=depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens):
        x = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        x = self.encoder(x)
        x = self.norm(x).mean(dim=1)
        return self.classifier(x)


class Pooler(nn.Module):
    """A query that is learnt looks at all tokens, which look at each other first."""

    def __init__(self, width=96, heads=6, queries=4):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, queries, width))
        self.mix = nn.MultiheadAttention(width, heads, batch_first=True)
        self.pool = nn.MultiheadAttention(width, heads, batch_first=True)
        self.score = nn.Linear(width, 1)

    def forward(self, x, padding=None):
        x = x + self.mix(x, x, x, need_weights=False)[0]
        queries = self.queries.repeat(x.size(0), 1, 1)
        pooled, weights = self.pool(queries, x, x, key_padding_mask=padding)
        return self.score(pooled).squeeze(-1), weights
