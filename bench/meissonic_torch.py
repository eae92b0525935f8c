"""One forward pass of Meissonic's transformer in eager PyTorch, the yardstick of meissonic-full-size.mjs.

Written for speed in eager mode: float32, scaled_dot_product_attention, fused norms, rotary embedding by views, one
no_grad pass.

    python meissonic_torch.py serve     JSON requests on stdin, JSON answers on stdout, one a line
"""

import glob
import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from torch_serve import serve


def load(folder, dtype):
    """Weights by name, tensor by tensor, so that files and tensors are not in memory together."""
    weights = {}
    for path in sorted(glob.glob(os.path.join(folder, "transformer", "*.safetensors"))):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                weights[name] = file.get_tensor(name).to(dtype)
    return weights


class Transformer:
    def __init__(self, config, weights, grid):
        self.w, self.grid = weights, grid
        self.heads, self.head = config["num_attention_heads"], config["attention_head_dim"]
        self.joint, self.single = config["num_layers"], config["num_single_layers"]
        side = grid // 2 if config["downsample"] else grid
        self.downsample = config["downsample"]
        self.rotary = self.angles(config["axes_dims_rope"], side)

    def angles(self, axes, side, text=77):
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        positions = torch.stack([torch.zeros(side * side), rows.reshape(-1), columns.reshape(-1)], 1).double()
        positions = torch.cat([torch.zeros(text, 3, dtype=torch.float64), positions])
        parts = [positions[:, i : i + 1] * 10000 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size) for i, size in enumerate(axes)]
        angle = torch.cat(parts, 1)
        dtype = self.w["embed.conv.weight"].dtype
        return angle.cos().to(dtype), angle.sin().to(dtype)

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def rms(self, name, x):
        return F.rms_norm(x, x.shape[-1:], self.w[name + ".weight"], 1e-6)

    def modulated(self, x, shift, scale):
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift

    def rotate(self, x):
        cos, sin = self.rotary
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)

    def project(self, prefix, x, names):
        split = lambda t: t.unflatten(-1, (self.heads, self.head)).transpose(1, 2)
        q, k, v = (split(self.linear(f"{prefix}.{name}", x)) for name in names[:3])
        return self.rms(f"{prefix}.{names[3]}", q), self.rms(f"{prefix}.{names[4]}", k), v

    def attend(self, q, k, v):
        mixed = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v)
        return mixed.transpose(1, 2).flatten(-2)

    def forward(self, tokens, text, pooled, micro, time):
        w, silu = self.w, F.silu
        grid, width = self.grid, self.heads * self.head
        x = self.rms("embed.layer_norm", F.embedding(tokens, w["embed.embeddings.weight"]))
        x = F.linear(x, w["embed.conv.weight"].flatten(1))
        text = self.rms("encoder_proj_layer_norm", self.linear("context_embedder", text))
        mlp = lambda name, h: self.linear(name + ".linear_2", silu(self.linear(name + ".linear_1", h)))
        facts = mlp("cond_embed", torch.cat([pooled, micro.flatten(1)], 1))
        temb = silu(mlp("time_text_embed.timestep_embedder", time) + mlp("time_text_embed.text_embedder", facts))
        if self.downsample:
            image = self.rms("down_block.downsample.norm", x).transpose(1, 2).unflatten(2, (grid, grid))
            x = F.conv2d(image, w["down_block.downsample.conv.weight"], stride=2).flatten(2).transpose(1, 2)
        x = F.linear(self.rms("project_to_hidden_norm", x), w["project_to_hidden.weight"])
        for n in range(self.joint):
            x, text = self.joint_block(f"transformer_blocks.{n}", x, text, temb)
        h = torch.cat([text, x], 1)
        for n in range(self.single):
            h = self.single_block(f"single_transformer_blocks.{n}", h, temb)
        x = h[:, text.shape[1] :]
        x = F.linear(self.rms("project_from_hidden_norm", x), w["project_from_hidden.weight"])
        if self.downsample:
            image = self.rms("up_block.upsample.norm", x).transpose(1, 2).unflatten(2, (grid // 2, grid // 2))
            x = F.conv_transpose2d(image, w["up_block.upsample.conv.weight"], stride=2).flatten(2).transpose(1, 2)
        x = self.rms("mlm_layer.layer_norm", F.linear(x, w["mlm_layer.conv1.weight"].flatten(1)))
        return F.linear(x, w["mlm_layer.conv2.weight"].flatten(1))

    def joint_block(self, name, image, text, temb):
        modulation = lambda norm: self.linear(f"{name}.{norm}.linear", temb).unsqueeze(1).chunk(6, -1)
        i, t = modulation("norm1"), modulation("norm1_context")
        hi, ht = self.modulated(image, i[0], i[1]), self.modulated(text, t[0], t[1])
        of_text = self.project(f"{name}.attn", ht, ["add_q_proj", "add_k_proj", "add_v_proj", "norm_added_q", "norm_added_k"])
        of_image = self.project(f"{name}.attn", hi, ["to_q", "to_k", "to_v", "norm_q", "norm_k"])
        mixed = self.attend(*(torch.cat([a, b], 2) for a, b in zip(of_text, of_image)))
        mixed_text, mixed_image = mixed.split([text.shape[1], image.shape[1]], 1)
        image = image + i[2] * self.linear(f"{name}.attn.to_out.0", mixed_image)
        text = text + t[2] * self.linear(f"{name}.attn.to_add_out", mixed_text)
        feed = lambda ff, x, m: x + m[5] * self.linear(f"{name}.{ff}.net.2", F.gelu(self.linear(f"{name}.{ff}.net.0.proj", self.modulated(x, m[3], m[4])), approximate="tanh"))
        return feed("ff", image, i), feed("ff_context", text, t)

    def single_block(self, name, x, temb):
        shift, scale, gate = self.linear(f"{name}.norm.linear", temb).unsqueeze(1).chunk(3, -1)
        h = self.modulated(x, shift, scale)
        mixed = self.attend(*self.project(f"{name}.attn", h, ["to_q", "to_k", "to_v", "norm_q", "norm_k"]))
        inner = F.gelu(self.linear(f"{name}.proj_mlp", h), approximate="tanh")
        return x + gate * self.linear(f"{name}.proj_out", torch.cat([mixed, inner], -1))


def main():
    run = {}

    def start(request):
        torch.set_num_threads(request["threads"])
        with open(os.path.join(request["folder"], "transformer", "config.json")) as file:
            config = json.load(file)
        run["model"] = Transformer(config, load(request["folder"], torch.float32), request["grid"])
        given = load_file(request["inputFile"])
        names = ["tokens", "condition/textStates", "condition/pooledText", "condition/microConditions", "time/timestep"]
        tokens, *others = (given[name] for name in names)
        run["inputs"] = [tokens.long(), *others]
        return {"versions": torch.__version__}

    def forward(_):
        run["logits"] = run["model"].forward(*run["inputs"])

    def compare(request):
        expected = run["logits"][0, request["rows"]]
        found = load_file(request["file"])["logits"]
        return {"largestDifference": float((expected - found).abs().max()), "largestLogit": float(expected.abs().max())}

    serve({"start": start, "forward": forward, "compare": compare})


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        main()
    else:
        sys.exit(__doc__)
