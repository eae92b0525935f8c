"""The same Di[M]O step in PyTorch eager as it is usually written, and as the public MaskGIT code is: `nn.Module`s with
`nn.MultiheadAttention` in its default form (which returns the attention weights), logits of every row and column of the
tied table, the surrogate loss, and `torch.optim.Adam` and the moving average with their defaults.

`train_step_torch.py` holds the tuned peer and the protocol; this file only changes how the step is written.
"""

import torch
import torch.nn.functional as F
from torch import nn

from train_step_torch import FROZEN, Distillation


class PreNorm(nn.Module):
    def __init__(self, hidden, fn):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(hidden), fn

    def forward(self, x):
        return self.fn(self.norm(x))


class Attention(nn.Module):
    def __init__(self, hidden, heads):
        super().__init__()
        self.mha = nn.MultiheadAttention(hidden, heads, batch_first=True)

    def forward(self, x):
        return self.mha(x, x, x)


class FeedForward(nn.Module):
    def __init__(self, hidden, mlp):
        super().__init__()
        # The dropout of the original, switched off as in our own run.
        self.net = nn.Sequential(nn.Linear(hidden, mlp), nn.GELU(), nn.Dropout(0.0), nn.Linear(mlp, hidden), nn.Dropout(0.0))

    def forward(self, x):
        return self.net(x)


class Encoder(nn.Module):
    def __init__(self, hidden, depth, heads, mlp):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([PreNorm(hidden, Attention(hidden, heads)), PreNorm(hidden, FeedForward(hidden, mlp))]) for _ in range(depth)
        )

    def forward(self, x):
        for attention, feed_forward in self.layers:
            value, _ = attention(x)
            x = x + value
            x = x + feed_forward(x)
        return x


class MaskTransformer(nn.Module):
    def __init__(self, facts):
        super().__init__()
        h = facts.hidden
        self.facts = facts
        self.tok_emb = nn.Embedding(facts.vocabulary, h)
        self.pos_emb = nn.Parameter(torch.zeros(1, facts.length + 1, h))
        self.bias = nn.Parameter(torch.zeros(facts.length + 1, facts.vocabulary))
        drop = nn.Dropout(0.0)
        self.first_layer = nn.Sequential(nn.LayerNorm(h, eps=1e-12), drop, nn.Linear(h, h), nn.GELU(), nn.LayerNorm(h, eps=1e-12), drop, nn.Linear(h, h))
        self.transformer = Encoder(h, facts.depth, facts.heads, facts.mlp)
        self.last_layer = nn.Sequential(nn.LayerNorm(h, eps=1e-12), drop, nn.Linear(h, h), nn.GELU(), nn.LayerNorm(h, eps=1e-12))

    def forward(self, tokens, labels, noise=None, noise_scale=0.0):
        n = self.facts.length
        ids = torch.cat([tokens, (self.facts.codes + 1 + labels)[:, None]], 1)
        x = self.tok_emb(ids)
        if noise is not None and noise_scale > 0:
            perturbed = noise_scale * noise + (1 - noise_scale**2) ** 0.5 * x[:, :n]
            x = torch.cat([perturbed, x[:, n:]], 1)
        x = self.last_layer(self.transformer(self.first_layer(x + self.pos_emb)))
        logits = torch.matmul(x, self.tok_emb.weight.T) + self.bias
        return logits[:, :n, : self.facts.codes + 1]


class PlainDistillation(Distillation):
    """Same draws, same numbers, another way to write the step."""

    def __init__(self, model, options, teacher, auxiliary, generator):
        self.model, self.options = model, options
        self.networks = {}
        for name, weights in (("teacher", teacher), ("auxiliary", auxiliary), ("generator", generator), ("average", generator)):
            network = MaskTransformer(model)
            network.load_state_dict(weights)
            for parameter_name, parameter in network.named_parameters():
                parameter.requires_grad_(name in ("auxiliary", "generator") and parameter_name not in FROZEN)
            self.networks[name] = network
        adam = dict(betas=(options["beta1"], options["beta2"]), eps=options["epsilon"])
        self.generator_adam = torch.optim.Adam(self.trainable("generator"), lr=options["generator_lr"], **adam)
        self.auxiliary_adam = torch.optim.Adam(self.trainable("auxiliary"), lr=options["auxiliary_lr"], **adam)
        self.global_step = 0

    def trainable(self, name):
        return [p for p in self.networks[name].parameters() if p.requires_grad]

    def generate(self, draws):
        o = self.options
        z = self.networks["generator"](self.initial_tokens(draws), draws["labels"], draws["noise"], o["noise"])
        cumulative = torch.softmax(z.detach(), -1).cumsum(-1)
        tokens = (cumulative <= draws["sample_uniforms"][..., None]).sum(-1).clamp(max=z.shape[-1] - 1)
        return z, tokens

    def generator_step(self, draws, lr=None):
        o = self.options
        batch = draws["labels"].shape[0]
        z, tokens = self.generate(draws)
        masked, is_masked = self.remask(tokens, draws)
        with torch.no_grad():
            null = torch.full_like(draws["labels"], self.model.classes)
            conditional = self.networks["teacher"](masked, draws["labels"])
            unconditional = self.networks["teacher"](masked, null)
            teacher = unconditional + o["guidance"] * (conditional - unconditional)
            auxiliary = self.networks["auxiliary"](masked, draws["labels"])
            gradient = torch.softmax(auxiliary, -1) - torch.softmax(teacher, -1)
            gradient = torch.where(is_masked[..., None], gradient, torch.zeros_like(gradient))
            target = z - torch.nan_to_num(gradient)
        loss = 0.5 * F.mse_loss(z, target, reduction="sum") / batch
        loss.backward()
        norm = None
        if o["clip"] > 0:
            norm = nn.utils.clip_grad_norm_(self.trainable("generator"), o["clip"])
        self.step(self.generator_adam, lr)
        rate = min(o["ema_decay"], (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for average, parameter in zip(self.networks["average"].parameters(), self.networks["generator"].parameters()):
                average.mul_(rate).add_(parameter, alpha=1 - rate)
        self.global_step += 1
        return loss.detach(), norm

    def auxiliary_step(self, draws, lr=None):
        with torch.no_grad():
            _, tokens = self.generate(draws)
        masked, is_masked = self.remask(tokens, draws)
        logits = self.networks["auxiliary"](masked, draws["labels"])
        target = torch.where(is_masked, tokens, -1)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, label_smoothing=self.options["smoothing"])
        loss.backward()
        self.step(self.auxiliary_adam, lr)
        return loss.detach()

    def step(self, adam, lr):
        parameters = adam.param_groups[0]["params"]
        for parameter in parameters:
            parameter.grad = torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5)
        if lr is not None:
            adam.param_groups[0]["lr"] = lr
        adam.step()
        adam.zero_grad()
