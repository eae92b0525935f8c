"""Image decoders of Meissonic (diffusers VQModel) and MaskGIT (Taming VQGAN) in eager PyTorch, the yardstick of
decoder.mjs: float32, channels first, as the public code runs them, one no_grad pass. Sizes are read from the weights.

    python decoder_torch.py serve     JSON requests on stdin, JSON answers on stdout, one a line
"""

import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from torch_serve import serve


class Decoder:
    def __init__(self, kind, weights, grid):
        self.kind, self.w, self.grid = kind, weights, grid
        prefix = "decoder.up_blocks." if kind == "meissonic" else "decoder.up."
        self.levels = 1 + max(int(name[len(prefix) :].split(".")[0]) for name in weights if name.startswith(prefix))

    def conv(self, name, x):
        weight = self.w[name + ".weight"]
        return F.conv2d(x, weight, self.w[name + ".bias"], padding=weight.shape[2] // 2)

    def norm(self, name, x):
        return F.group_norm(x, 32, self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)

    def block(self, name, x, shortcut):
        h = self.conv(name + ".conv1", F.silu(self.norm(name + ".norm1", x)))
        h = self.conv(name + ".conv2", F.silu(self.norm(name + ".norm2", h)))
        return h + (self.conv(f"{name}.{shortcut}", x) if f"{name}.{shortcut}.weight" in self.w else x)

    def attention(self, name, x):
        h = self.norm(name + ".norm", x)
        q, k, v = (self.conv(f"{name}.{part}", h).flatten(2).transpose(1, 2)[:, None] for part in "qkv")
        mixed = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.conv(name + ".proj_out", mixed)

    def decode(self, tokens):
        table = self.w["quantize.embedding.weight"]
        x = F.embedding(tokens, table).unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", x))
        if self.kind == "meissonic":
            for j in range(2):
                x = self.block(f"decoder.mid_block.resnets.{j}", x, "conv_shortcut")
            for i in range(self.levels):
                x = self.level(f"decoder.up_blocks.{i}.resnets", f"decoder.up_blocks.{i}.upsamplers.0.conv", x, "conv_shortcut")
            return self.conv("decoder.conv_out", F.silu(self.norm("decoder.conv_norm_out", x))).clamp(0, 1)
        x = self.attention("decoder.mid.attn_1", self.block("decoder.mid.block_1", x, "nin_shortcut"))
        x = self.block("decoder.mid.block_2", x, "nin_shortcut")
        for i in reversed(range(self.levels)):
            x = self.level(f"decoder.up.{i}.block", f"decoder.up.{i}.upsample.conv", x, "nin_shortcut")
        return (self.conv("decoder.conv_out", F.silu(self.norm("decoder.norm_out", x))) / 2 + 0.5).clamp(0, 1)

    def level(self, blocks, upsample, x, shortcut):
        j = 0
        while f"{blocks}.{j}.conv1.weight" in self.w:
            x = self.block(f"{blocks}.{j}", x, shortcut)
            attention = f"{blocks[:-5]}attn.{j}"
            if f"{attention}.q.weight" in self.w:
                x = self.attention(attention, x)
            j += 1
        return self.conv(upsample, F.interpolate(x, scale_factor=2.0, mode="nearest")) if upsample + ".weight" in self.w else x


def main():
    run = {}

    def start(request):
        torch.set_num_threads(request["threads"])
        weights = load_file(request["file"])
        run["tokens"] = weights.pop("tokens").long()
        run["decoder"] = Decoder(request["decoder"], weights, request["pixels"] // 16)
        return {"versions": torch.__version__}

    def decode(_):
        run["images"] = run["decoder"].decode(run["tokens"])

    def compare(request):
        found = load_file(request["file"])["images"].permute(0, 3, 1, 2)
        return {"largestDifference": float((run["images"] - found).abs().max())}

    serve({"start": start, "decode": decode, "compare": compare})


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        main()
    else:
        sys.exit(__doc__)
