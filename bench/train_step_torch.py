"""One Di[M]O distillation step in eager PyTorch, the yardstick of train-step.mjs.

The same model and step as ours (MaskTransformer; generator update with a guided teacher, auxiliary update, Adam, moving
average), written for speed in eager mode: scaled_dot_product_attention, fused layer norms and Adam, gradients passed
straight to `backward`, only the needed rows and columns of the output projection, foreach moving average.

    python train_step_torch.py verify FOLDER   replays a golden trace and prints the largest differences
    python train_step_torch.py serve           JSON requests on stdin, JSON answers on stdout, one a line
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from torch_serve import peak_rss

FROZEN = ("tok_emb.weight", "pos_emb", "bias")


class Model:
    """Facts of a MaskTransformer; its weights are a dict with the original names."""

    def __init__(self, hidden, depth, heads, mlp, grid, codes, classes):
        self.hidden, self.depth, self.heads, self.mlp = hidden, depth, heads, mlp
        self.length, self.codes, self.classes = grid * grid, codes, classes
        self.mask_id, self.vocabulary = codes, codes + 1 + classes + 1

    def initialize(self, seed):
        torch.manual_seed(seed)
        h, n, v = self.hidden, self.length, self.vocabulary
        shapes = {"tok_emb.weight": (v, h), "pos_emb": (1, n + 1, h), "bias": (n + 1, v)}

        def norm(name):
            shapes[name + ".weight"] = (h,)
            shapes[name + ".bias"] = (h,)

        def linear(name, outputs, inputs):
            shapes[name + ".weight"] = (outputs, inputs)
            shapes[name + ".bias"] = (outputs,)

        for block, linears in (("first_layer", (2, 6)), ("last_layer", (2,))):
            norm(block + ".0"), norm(block + ".4")
            for i in linears:
                linear(f"{block}.{i}", h, h)
        for i in range(self.depth):
            layer = f"transformer.layers.{i}"
            norm(layer + ".0.norm"), norm(layer + ".1.norm")
            shapes[layer + ".0.fn.mha.in_proj_weight"] = (3 * h, h)
            shapes[layer + ".0.fn.mha.in_proj_bias"] = (3 * h,)
            linear(layer + ".0.fn.mha.out_proj", h, h)
            linear(layer + ".1.fn.net.0", self.mlp, h)
            linear(layer + ".1.fn.net.3", h, self.mlp)
        weights = {}
        for name, shape in shapes.items():
            is_norm = name.endswith(".weight") and len(shape) == 1
            weights[name] = torch.ones(shape) if is_norm else torch.zeros(shape) if name.endswith("bias") else torch.randn(shape) * 0.08
        return weights

    def logits(self, w, tokens, labels, noise=None, noise_scale=0.0):
        """tokens int64 [B, N], labels int64 [B] (self.classes = no label) -> [B, N, codes + 1]."""
        batch, n = tokens.shape
        h = self.hidden
        ids = torch.cat([tokens, (self.codes + 1 + labels)[:, None]], 1)
        x = F.embedding(ids, w["tok_emb.weight"])
        if noise is not None and noise_scale > 0:
            perturbed = torch.add(x[:, :n] * (1 - noise_scale**2) ** 0.5, noise, alpha=noise_scale)
            x = torch.cat([perturbed, x[:, n:]], 1)
        x = x + w["pos_emb"]

        def norm(y, name, eps):
            return F.layer_norm(y, (h,), w[name + ".weight"], w[name + ".bias"], eps)

        def linear(y, name):
            return F.linear(y, w[name + ".weight"], w[name + ".bias"])

        x = linear(norm(x, "first_layer.0", 1e-12), "first_layer.2")
        x = linear(norm(F.gelu(x), "first_layer.4", 1e-12), "first_layer.6")
        for i in range(self.depth):
            layer = f"transformer.layers.{i}"
            qkv = F.linear(norm(x, layer + ".0.norm", 1e-5), w[layer + ".0.fn.mha.in_proj_weight"], w[layer + ".0.fn.mha.in_proj_bias"])
            q, k, v = qkv.view(batch, n + 1, 3, self.heads, h // self.heads).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, n + 1, h)
            x = x + linear(attended, layer + ".0.fn.mha.out_proj")
            x = x + linear(F.gelu(linear(norm(x, layer + ".1.norm", 1e-5), layer + ".1.fn.net.0")), layer + ".1.fn.net.3")
        x = F.gelu(linear(norm(x[:, :n], "last_layer.0", 1e-12), "last_layer.2"))
        x = norm(x, "last_layer.4", 1e-12)
        columns = self.codes + 1
        return F.linear(x, w["tok_emb.weight"][:columns]) + w["bias"][:n, :columns]


class Distillation:
    """Teacher, auxiliary, generator, moving average and the two optimizers."""

    def __init__(self, model, options, teacher, auxiliary, generator):
        self.model, self.options, self.teacher = model, options, teacher
        trainable = [name for name in generator if name not in FROZEN]
        self.auxiliary = {k: v.clone().requires_grad_(k in trainable) for k, v in auxiliary.items()}
        self.generator = {k: v.clone().requires_grad_(k in trainable) for k, v in generator.items()}
        self.average = {k: v.clone() for k, v in generator.items()}
        self.trainable = trainable
        adam = dict(betas=(options["beta1"], options["beta2"]), eps=options["epsilon"], fused=True)
        self.generator_adam = torch.optim.Adam([self.generator[n] for n in trainable], lr=options["generator_lr"], **adam)
        self.auxiliary_adam = torch.optim.Adam([self.auxiliary[n] for n in trainable], lr=options["auxiliary_lr"], **adam)
        self.global_step = 0

    def draws(self, batch):
        """Random numbers of one phase."""
        m = self.model
        return {
            "labels": torch.randint(m.classes, (batch,)),
            "init_code": torch.randint(m.codes, (batch, m.length)),
            "init_mask_uniforms": torch.rand(batch, m.length),
            "noise": torch.randn(batch, m.length, m.hidden),
            "sample_uniforms": torch.rand(batch, m.length),
            "mask_ratio_r": torch.rand(batch),
            "mask_uniforms": torch.rand(batch, m.length),
        }

    def initial_tokens(self, draws):
        m = self.model
        count = max(1, round(m.length * self.options["init_ratio"]))
        ranks = draws["init_mask_uniforms"].argsort(1)
        return torch.where(ranks < count, m.mask_id, draws["init_code"].view(-1, m.length))

    def generate(self, draws):
        """One-step generation: logits [B, N, V] and tokens [B, N] by inverse cumulative distribution."""
        o = self.options
        z = self.model.logits(self.generator, self.initial_tokens(draws), draws["labels"], draws["noise"], o["noise"])
        cumulative = torch.softmax(z.detach(), -1).cumsum(-1)
        tokens = (cumulative <= draws["sample_uniforms"][..., None]).sum(-1).clamp_(max=z.shape[-1] - 1)
        return z, tokens

    def remask(self, tokens, draws):
        n = self.model.length
        ratio = torch.acos(draws["mask_ratio_r"]) / (torch.pi / 2)
        count = (ratio * n).round().clamp(min=1)
        is_masked = draws["mask_uniforms"].argsort(1) < count[:, None]
        return torch.where(is_masked, self.model.mask_id, tokens), is_masked

    def generator_step(self, draws, lr=None):
        o, m = self.options, self.model
        batch = draws["labels"].shape[0]
        z, tokens = self.generate(draws)
        with torch.no_grad():
            masked, is_masked = self.remask(tokens, draws)
            null = torch.full_like(draws["labels"], m.classes)
            both = m.logits(self.teacher, torch.cat([masked, masked]), torch.cat([draws["labels"], null]))
            conditional, unconditional = both.chunk(2)
            teacher = torch.lerp(unconditional, conditional, o["guidance"])
            auxiliary = m.logits(self.auxiliary, masked, draws["labels"])
            # Gradient of the forward KL, Eq. 4, at re-masked positions.
            g = (torch.softmax(auxiliary, -1) - torch.softmax(teacher, -1)) * is_masked[..., None]
            g = torch.nan_to_num(g)
            loss = 0.5 * g.square().sum() / batch
        z.backward(g / batch)
        parameters = self.generator_adam.param_groups[0]["params"]
        norm = None
        if o["clip"] > 0:
            norm = torch.nn.utils.clip_grad_norm_(parameters, o["clip"], foreach=True)
        if lr is not None:
            self.generator_adam.param_groups[0]["lr"] = lr
        if o.get("keep_gradients"):
            self.last_gradients = {n: self.generator[n].grad.clone() for n in self.trainable}
        self.generator_adam.step()
        self.generator_adam.zero_grad(set_to_none=True)
        rate = min(o["ema_decay"], (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            torch._foreach_lerp_([self.average[n] for n in self.trainable], [self.generator[n] for n in self.trainable], 1 - rate)
        self.global_step += 1
        return loss, norm

    def auxiliary_step(self, draws, lr=None):
        o = self.options
        with torch.no_grad():
            _, tokens = self.generate(draws)
        masked, is_masked = self.remask(tokens, draws)
        logits = self.model.logits(self.auxiliary, masked, draws["labels"])
        target = torch.where(is_masked, tokens, -1)
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-1, label_smoothing=o["smoothing"])
        loss.backward()
        if lr is not None:
            self.auxiliary_adam.param_groups[0]["lr"] = lr
        self.auxiliary_adam.step()
        self.auxiliary_adam.zero_grad(set_to_none=True)
        return loss.detach()


def synchronize():
    """Waits for the GPU, if one is used."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def use_device(device):
    """Everything made from now on is on `device`, and float32 means float32: no TF32."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    if device != "cpu":  # costs a little at every call
        torch.set_default_device(device)


def device_of(run):
    return next(iter(run.generator_adam.param_groups[0]["params"])).device


def gemm_rate(size=1024, repeats=8):
    """FLOP/s of a square float32 matrix product, best of `repeats`."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    for _ in range(repeats):
        synchronize()
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def as_int64(draws):
    return {k: v.long() if v.dtype == torch.int32 else v for k, v in draws.items()}


def verify(folder):
    """Replays a golden trace with forward KL, hard auxiliary loss and frozen embeddings."""
    with open(os.path.join(folder, "meta.json")) as file:
        meta = json.load(file)
    c, o = meta["model"], meta["options"]
    if o["distil_loss_type"] != "FKL" or o["alpha_fake"] != 0 or o["adaptive_cfg"] or not o["fix_emb_layer"]:
        sys.exit(f"{folder}: only plain forward-KL traces can be replayed by this script")
    model = Model(c["hidden_dim"], c["depth"], c["heads"], c["mlp_dim"], c["img_size"] // 16, c["codebook_size"], c["nclass"])
    init = {name: load_file(os.path.join(folder, "..", "init", name + ".safetensors")) for name in ("teacher", "auxiliary", "generator")}
    if o["init"] == "teacher-copy":
        init = dict.fromkeys(init, init["teacher"])
    options = dict(beta1=o["adam_beta1"], beta2=o["adam_beta2"], epsilon=o["adam_epsilon"], generator_lr=o["generator_lr"], auxiliary_lr=o["fake_lr"], guidance=o["true_cfg"], init_ratio=o["fixed_ratio"], noise=o["noise_emb_perturb"], clip=o["clip_generator_grad_norm"] or 0, smoothing=o["label_smoothing"], ema_decay=o["ema_decay"])
    run = Distillation(model, options, init["teacher"], init["auxiliary"], init["generator"])
    everything = as_int64(load_file(os.path.join(folder, "draws.safetensors")))
    worst_loss = 0.0
    for entry in meta["per_step"]:
        s = entry["step"]

        def phase(name):
            prefix = f"step{s}.{name}."
            draws = {k[len(prefix):]: v for k, v in everything.items() if k.startswith(prefix)}
            draws["init_code"] = draws["init_code"].flatten(1)
            return draws

        loss, norm = run.generator_step(phase("gen"), entry["lr_generator"])
        auxiliary = run.auxiliary_step(phase("aux"), entry["lr_auxiliary"])
        for ours, theirs in ((loss, entry["loss_generator"]), (auxiliary, entry["loss_auxiliary"]), (norm, entry["grad_norm_generator"])):
            if ours is not None:
                worst_loss = max(worst_loss, abs(float(ours) - theirs) / abs(theirs))
    final = load_file(os.path.join(folder, "params_final.safetensors"))
    worst = 0.0
    for owner, weights in (("generator", run.generator), ("auxiliary", run.auxiliary), ("ema", run.average)):
        for name in run.trainable:
            difference = (weights[name].detach() - final[f"{owner}.{name}"]).abs()
            if name.endswith("in_proj_bias"):  # the key bias has no gradient but rounding noise
                difference[model.hidden : 2 * model.hidden] = 0
            worst = max(worst, float(difference.max()))
    print(json.dumps({"losses_relative": worst_loss, "parameters_absolute": worst}))
    # Tolerances of the trace's README.
    sys.exit(0 if worst_loss < 1e-4 and worst < 2e-6 else 1)


def serve():
    run = None
    batch = 0
    for line in sys.stdin:
        request = json.loads(line)
        command = request["command"]
        if command == "probe":
            is_there = torch.cuda.is_available()
            answer = {"versions": torch.__version__, "gpu": torch.cuda.get_device_name() if is_there else None}
        elif command == "start":
            torch.set_num_threads(request["threads"])
            use_device(request.get("device", "cpu"))
            model = Model(**request["model"])
            weights = load_file(request["weights"]) if request.get("weights") else model.initialize(request["seed"])
            if request.get("style") == "plain":
                from train_step_torch_plain import PlainDistillation as Style
            else:
                Style = Distillation
            weights = {name: weight.to(request.get("device", "cpu")) for name, weight in weights.items()}
            run = Style(model, request["options"], weights, weights, weights)
            batch = request["batch"]
            answer = {"versions": torch.__version__, "threads": torch.get_num_threads()}
        elif command == "compare":
            # One step from given draws, to check that both sides compute the same.
            draws = as_int64({name: draw.to(device_of(run)) for name, draw in load_file(request["draws"]).items()})
            phase = lambda name: {k[len(name) + 1 :]: v for k, v in draws.items() if k.startswith(name + ".")}
            loss, _ = run.generator_step(phase("generator"))
            answer = {"generator": float(loss), "auxiliary": float(run.auxiliary_step(phase("auxiliary")))}
        elif command == "run":
            generator = auxiliary = 0.0
            synchronize()
            begin, cpu = time.perf_counter(), time.process_time()
            for _ in range(request["steps"]):
                start = time.perf_counter()
                loss, _ = run.generator_step(run.draws(batch))
                middle = time.perf_counter()
                auxiliary_loss = run.auxiliary_step(run.draws(batch))
                generator += middle - start
                synchronize()
                auxiliary += time.perf_counter() - middle
            answer = {"seconds": time.perf_counter() - begin, "cpuSeconds": time.process_time() - cpu, "generator": generator, "auxiliary": auxiliary, "losses": [float(loss), float(auxiliary_loss)], "peakRss": peak_rss()}
        elif command == "sample":
            # One-step generation without embedding noise from draws that are there; least seconds of a batch.
            draws, noise, seconds = run.draws(batch), run.options["noise"], float("inf")
            run.options["noise"] = 0.0
            with torch.no_grad():
                for _ in range(request["rounds"] + 1):
                    synchronize()
                    start = time.perf_counter()
                    run.generate(draws)[1].cpu()
                    seconds = min(seconds, time.perf_counter() - start)
            run.options["noise"] = noise
            answer = {"seconds": seconds}
        elif command == "gemm":
            answer = {"rate": gemm_rate(request.get("size", 1024))}
        else:
            answer = {"error": f"unknown command {command}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    # The other style imports this file by its name.
    sys.modules["train_step_torch"] = sys.modules["__main__"]
    if len(sys.argv) == 3 and sys.argv[1] == "verify":
        verify(sys.argv[2])
    elif len(sys.argv) == 2 and sys.argv[1] == "serve":
        serve()
    else:
        sys.exit(__doc__)
