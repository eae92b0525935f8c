"""The published class-conditional ImageNet models in eager PyTorch, the yardstick of maskgit-sample.mjs: files in their
layout with random weights, and sampling as the public code does it: `nn.Module`s in float32, one no_grad pass after another.

    python maskgit_torch.py write FOLDER public|tiny   teacher/ and generator/ in FOLDER
    python maskgit_torch.py serve                      JSON requests on stdin, JSON answers on stdout, one a line
"""

import math
import os
import sys
from types import SimpleNamespace

import torch

from decoder_torch import Decoder
from torch_serve import serve
from train_step_torch_plain import MaskTransformer

SIZES = {
    "public": dict(hidden=768, depth=24, heads=16, mlp=3072, grid=16, codes=1024, classes=1000, channels=128, multipliers=[1, 1, 2, 2, 4], blocks=2, latent=256),
    "tiny": dict(hidden=32, depth=2, heads=2, mlp=64, grid=4, codes=32, classes=1000, channels=32, multipliers=[1, 2], blocks=1, latent=32),
}
MASK_RATIO = 0.6


def facts(size):
    length = size["grid"] ** 2
    return SimpleNamespace(**size, length=length, vocabulary=size["codes"] + size["classes"] + 2)


class Names:
    """Parameters of a VQGAN by their published names, with random values that keep the size of what they are given."""

    def __init__(self):
        self.weights = {}

    def add(self, name, *shape):
        fan = math.prod(shape[1:])
        self.weights[name + ".weight"] = torch.randn(shape) / math.sqrt(fan) if len(shape) > 1 else torch.ones(shape)
        if "embedding" not in name:
            self.weights[name + ".bias"] = 0.02 * torch.randn(shape[0])

    def block(self, name, before, after):
        self.add(name + ".norm1", before)
        self.add(name + ".conv1", after, before, 3, 3)
        self.add(name + ".norm2", after)
        self.add(name + ".conv2", after, after, 3, 3)
        if before != after:
            self.add(name + ".nin_shortcut", after, before, 1, 1)

    def attention(self, name, width):
        self.add(name + ".norm", width)
        for part in ("q", "k", "v", "proj_out"):
            self.add(f"{name}.{part}", width, width, 1, 1)

    def middle(self, name, width):
        self.block(name + ".block_1", width, width)
        self.attention(name + ".attn_1", width)
        self.block(name + ".block_2", width, width)


def vqgan(size):
    """Encoder, decoder, codebook and the discriminator of its training."""
    names, last = Names(), len(size["multipliers"]) - 1
    widths = [size["channels"] * multiplier for multiplier in size["multipliers"]]
    latent = size["latent"]
    names.add("encoder.conv_in", size["channels"], 3, 3, 3)
    before = size["channels"]
    for i, width in enumerate(widths):
        for j in range(size["blocks"]):
            names.block(f"encoder.down.{i}.block.{j}", before, width)
            before = width
            if i == last:
                names.attention(f"encoder.down.{i}.attn.{j}", width)
        if i < last:
            names.add(f"encoder.down.{i}.downsample.conv", width, width, 3, 3)
    names.middle("encoder.mid", before)
    names.add("encoder.norm_out", before)
    names.add("encoder.conv_out", latent, before, 3, 3)
    names.add("quant_conv", latent, latent, 1, 1)
    names.add("quantize.embedding", size["codes"], latent)
    names.add("post_quant_conv", latent, latent, 1, 1)
    names.add("decoder.conv_in", before, latent, 3, 3)
    names.middle("decoder.mid", before)
    for i in reversed(range(last + 1)):
        for j in range(size["blocks"] + 1):
            names.block(f"decoder.up.{i}.block.{j}", before, widths[i])
            before = widths[i]
            if i == last:
                names.attention(f"decoder.up.{i}.attn.{j}", before)
        if i > 0:
            names.add(f"decoder.up.{i}.upsample.conv", before, before, 3, 3)
    names.add("decoder.norm_out", before)
    names.add("decoder.conv_out", 3, before, 3, 3)
    # What the published file holds besides: the discriminator and the features of the perceptual loss.
    for i, (a, b) in enumerate(((3, 64), (64, 128), (128, 256), (256, 512), (512, 1))):
        names.add(f"loss.discriminator.main.{2 * i}", b, a, 4, 4)
    for i, (a, b) in enumerate(((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512), (512, 512), (512, 512))):
        names.add(f"loss.perceptual_loss.net.slice{i}.{i}", b, a, 3, 3)
    return names.weights


def write(folder, name):
    torch.manual_seed(1)
    size = facts(SIZES[name])
    model = MaskTransformer(size)
    moments = {i: {"step": torch.tensor(1.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)} for i, p in enumerate(model.parameters())}
    for part in ("teacher", "generator"):
        os.makedirs(os.path.join(folder, part), exist_ok=True)
        content = {"iter": 1000, "global_epoch": 1, "model_state_dict": model.state_dict(), "optimizer_state_dict": {"state": moments, "param_groups": [{"lr": 1e-4, "params": list(moments)}]}}
        torch.save(content if part == "teacher" else model.state_dict(), os.path.join(folder, part, "MaskGIT_ImageNet_256.pth"))
    torch.save({"epoch": 1, "global_step": 1000, "state_dict": vqgan(SIZES[name])}, os.path.join(folder, "teacher", "last.ckpt"))


class Sampler:
    def __init__(self, folder, name):
        self.size = facts(SIZES[name])
        self.model = MaskTransformer(self.size).eval()
        path = os.path.join(folder, "teacher", "MaskGIT_ImageNet_256.pth")
        self.model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model_state_dict"])
        weights = torch.load(os.path.join(folder, "teacher", "last.ckpt"), map_location="cpu", weights_only=True)["state_dict"]
        self.decoder = Decoder("maskgit", {k: v for k, v in weights.items() if not k.startswith(("encoder.", "loss."))}, self.size.grid)

    def one_step(self, labels):
        n, codes = self.size.length, self.size.codes
        tokens = torch.randint(0, codes, (len(labels), n))
        tokens = torch.where(torch.rand(len(labels), n) < MASK_RATIO, torch.full_like(tokens, codes), tokens)
        logits = self.model(tokens, labels)[..., :codes]
        return torch.distributions.Categorical(logits=logits).sample()

    def many_steps(self, labels, steps, guidance=4.0, choice_temperature=4.5):
        n, codes = self.size.length, self.size.codes
        tokens = torch.full((len(labels), n), codes)
        null = torch.full_like(labels, self.size.classes)
        for step in range(steps):
            logits = self.model(torch.cat([tokens, tokens]), torch.cat([labels, null]))[..., :codes]
            conditional, unconditional = logits.chunk(2)
            scale = guidance * (step + 1) / steps
            probabilities = torch.softmax((1 + scale) * conditional - scale * unconditional, -1)
            drawn = torch.distributions.Categorical(probs=probabilities).sample()
            chosen = torch.gather(probabilities, 2, drawn[..., None])[..., 0]
            confidence = torch.log(chosen) + choice_temperature * (1 - (step + 1) / steps) * -torch.log(-torch.log(torch.rand_like(chosen)))
            is_masked = tokens == codes
            confidence = torch.where(is_masked, confidence, torch.full_like(confidence, -math.inf))
            left = int(n * 2 / math.pi * math.acos((step + 1) / steps))
            count = max(1, int(is_masked[0].sum()) - left)
            place = torch.topk(confidence, count, dim=-1).indices
            tokens = tokens.scatter(1, place, torch.gather(drawn, 1, place))
        return torch.where(tokens == codes, torch.zeros_like(tokens), tokens)


def main():
    run = {}

    def start(request):
        torch.set_num_threads(request["threads"])
        torch.manual_seed(0)
        run["sampler"] = Sampler(request["folder"], request["size"])
        return {"versions": torch.__version__}

    def sample(request):
        sampler = run["sampler"]
        labels = torch.arange(request["batch"]) % sampler.size.classes
        tokens = sampler.one_step(labels) if request["steps"] == 0 else sampler.many_steps(labels, request["steps"])
        sampler.decoder.decode(tokens)

    serve({"start": start, "sample": sample})


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        main()
    elif len(sys.argv) == 4 and sys.argv[1] == "write" and sys.argv[3] in SIZES:
        write(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)
