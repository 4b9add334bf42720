"""Stage A of the registered multimodal method: structure maps and brain masks from noise.

    f        structure map of a real slice, its lesion removed; 1 = edge         (B, 1, H, W)
    mask     1 = background, 0 = brain                                           (B, 1, H, W)
    EC_f     encoder: mean, log variance of a code; code = mean + sd noise       (B, latent)
    DC_f     decoder: f_r = DC_f(code), f_g = DC_f(z), z ~ N(0, 1); two channels (no edge, edge)
    MASK     mask_r = MASK(f), mask_g = MASK(f_g); two channels (brain, background)
    D, C     critics of structure maps and of codes

    L_D    = d [(D(f) - 1)^2 + D(f_g)^2] + c [(C(z) - 1)^2 + C(code)^2]
    L_G    = f_adversarial (D(f_g) - 1)^2 + code_adversarial (C(code) - 1)^2
           + normal [(mean of code means)^2 + (mean of code sds - 1)^2]
           + rec (f - f_r)^2 + rec_classes w (onehot - f_r)^2   (w = 5 on edges, else 1)
           + rec_background (f_r mask)^2
    L_MASK = mask (mask - mask_r)^2 + mask_classes (both channels)
           + mask_edges [(f mask_r)^2 + (f_r mask_r)^2 + (f_g mask_g)^2]

All means over pixels. In the published code f_r, f_g and the masks enter through argmax, which has
no gradient; here the edge and the background channel do. MASK's input is f_g after argmax, as it
is in generation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.methods.registered_settings import RegisteredNumbers
from scansmith.nets.fusion import Decoder, Encoder
from scansmith.nets.norm_relu import start
from scansmith.nets.structure_vae import (
    DenseCodeCritic,
    StructureCritic,
    StructureDecoder,
    StructureEncoder,
    sampled_code,
)


class StructureStage(nn.Module):
    """The structure VAE-GAN and MASK, with their players.

    Args:
        size: (H, W).
    """

    def __init__(self, numbers: RegisteredNumbers, size: tuple[int, int]):
        super().__init__()
        self.numbers, self.weights, self.size = numbers, numbers.structure, size
        base, latent = numbers.base, numbers.latent
        cap, dropout = numbers.cap, numbers.dropout
        norm = numbers.head_norm
        self.encoder = StructureEncoder(size, latent, base, cap=cap, dropout=dropout)
        self.decoder = StructureDecoder(
            self.encoder.sizes, latent, base, head_norm=norm, cap=cap, dropout=dropout
        )
        self.mask_encoder = Encoder(1, base, cap=cap, dropout=dropout)
        self.mask_decoder = Decoder(2, base, head_norm=norm, cap=cap, dropout=dropout)
        self.critic = StructureCritic(base, cap=cap, dropout=dropout)
        self.code_critic = DenseCodeCritic(base, cap=cap, dropout=dropout)
        generators = [self.encoder, self.decoder, self.mask_encoder, self.mask_decoder]
        start(generators, [self.critic, self.code_critic], numbers.init, numbers.norm_least)

    def play(self, f: Tensor, mask: Tensor) -> Scene:
        """Encode and decode f; decode noise."""
        mean, log_variance = self.encoder(f)
        code = sampled_code(mean, log_variance)
        z = torch.randn_like(mean)
        f_r, f_g = self.decoder(torch.cat([code, z])).chunk(2)
        return {
            "A.f": f,
            "A.mask": mask,
            "A.mean": mean,
            "A.sd": torch.exp(log_variance / 2),
            "A.code": code,
            "A.z": z,
            "A.f_r": f_r,
            "A.f_g": f_g,
        }

    def players(self) -> list[Player]:
        """The critics, the VAE, MASK: the published code's three optimisers."""
        rate = self.numbers.learning_rate_structure
        critics_rate = self.numbers.learning_rate_critic
        critics, vae = (self.critic, self.code_critic), (self.encoder, self.decoder)
        masks = (self.mask_encoder, self.mask_decoder)
        return [
            Player("D_f", critics, self.critic_loss, critic=True, learning_rate=critics_rate),
            Player("G_f", vae, self.generator_loss, learning_rate=rate),
            Player("MASK", masks, self.mask_loss, critic=True, learning_rate=rate),
        ]

    def critic_loss(self, scene: Scene) -> Terms:
        """L_D."""
        structure = losses.lsgan_critic(
            self.critic(scene["A.f"]), self.critic(self.judged_edge(scene))
        )
        code = losses.lsgan_critic(
            self.code_critic(scene["A.z"]), self.code_critic(scene["A.code"])
        )
        return {"f": self.weights.d * structure, "code": self.weights.c * code}

    def generator_loss(self, scene: Scene) -> Terms:
        """L_G."""
        w, f, f_r = self.weights, scene["A.f"], scene["A.f_r"]
        hot = torch.cat([1 - f, f], dim=1)
        weight = 1 + (w.edge_class - 1) * f
        normal = scene["A.mean"].mean() ** 2 + (scene["A.sd"].mean() - 1) ** 2
        adversarial = losses.lsgan_generator(self.critic(self.judged_edge(scene)))
        code = losses.lsgan_generator(self.code_critic(scene["A.code"]))
        terms = {
            "f_adversarial": w.f_adversarial * adversarial,
            "code_adversarial": w.code_adversarial * code,
            "normal": w.normal * normal,
            "rec": w.rec * losses.mse(f, f_r[:, 1:]),
            "rec_classes": w.rec_classes * (weight * (hot - f_r) ** 2).mean(),
            "rec_background": w.rec_background * ((f_r[:, 1:] * scene["A.mask"]) ** 2).mean(),
        }
        if w.kl:
            mean, variance = scene["A.mean"], scene["A.sd"] ** 2
            divergence = (mean**2 + variance - torch.log(variance) - 1).mean() / 2
            terms["kl"] = w.kl * divergence
        return terms

    def judged_edge(self, scene: Scene) -> Tensor:
        """What D sees of f_g: the edge channel, or zeros and ones with its gradient."""
        probability = edge(scene, "f_g")
        if self.numbers.edges == "probability":
            return probability
        return chosen(scene["A.f_g"]) + probability - probability.detach()

    def mask_loss(self, scene: Scene) -> Terms:
        """L_MASK."""
        w, f, mask = self.weights, scene["A.f"], scene["A.mask"]
        both = self.masks(torch.cat([f, chosen(scene["A.f_g"])]))
        (mask_r, mask_g) = both[:, 1:].chunk(2)
        hot = torch.cat([1 - mask, mask], dim=1)
        products = [(f, mask_r), (edge(scene, "f_r"), mask_r), (edge(scene, "f_g"), mask_g)]
        edges = torch.stack([((a * b) ** 2).mean() for a, b in products]).sum()
        return {
            "mask": w.mask * losses.mse(mask, mask_r),
            "mask_classes": w.mask_classes * losses.mse(hot, both.chunk(2)[0]),
            "mask_edges": w.mask_edges * edges,
        }

    def masks(self, f: Tensor) -> Tensor:
        """MASK(f): probabilities of brain and background, (B, 2, H, W)."""
        return self.mask_decoder(self.mask_encoder(f), self.size).float()

    def drawn(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Structure maps of noise with their masks, zeros and ones, and D's mean score of each.

        Args:
            z: (B, latent).
        """
        f_g = self.decoder(z)
        f = chosen(f_g)
        score = self.critic(self.judged_edge({"A.f_g": f_g})).mean(dim=(1, 2, 3))
        return f, chosen(self.masks(f)), score

    def reconstructed(self, f: Tensor) -> Tensor:
        """f through the mean of its code and back, zeros and ones."""
        return chosen(self.decoder(self.encoder(f)[0]))

    def watch(self, scene: Scene) -> dict[str, float]:
        """How often the critics are right, and how good reconstruction and MASK are."""
        shown = {
            "D_f": (self.critic(scene["A.f"]), self.critic(self.judged_edge(scene))),
            "C_f": (self.code_critic(scene["A.z"]), self.code_critic(scene["A.code"])),
        }
        found = {}
        for name, (real, fake) in shown.items():
            on_real, on_fake = losses.accuracy(real, fake, threshold=0.5)
            found[f"{name}.accuracy_real"] = float(on_real)
            found[f"{name}.accuracy_fake"] = float(on_fake)
        f_r, mask_r = chosen(scene["A.f_r"]), chosen(self.masks(scene["A.f"]))
        found["f_r.dice"] = float(losses.label_value_dice(scene["A.f"], f_r).mean())
        found["f_g.edges"] = float(chosen(scene["A.f_g"]).mean() / scene["A.f"].mean())
        found["mask.mae"] = float((mask_r - scene["A.mask"]).abs().mean())
        return found


def edge(scene: Scene, name: str) -> Tensor:
    """The edge channel of a made structure map, (B, 1, H, W) in 0..1."""
    return scene[f"A.{name}"][:, 1:]


def chosen(two: Tensor) -> Tensor:
    """Two channels to a map of zeros and ones, (B, 1, H, W): 1 where the second is larger."""
    return (two[:, 1:] > two[:, :1]).to(two.dtype)
